"""Mixture weights and curriculum of the embedded world's training sequences.

Numbers found by trying; the log (LOG.md) says which others failed.
"""

import itertools
from dataclasses import dataclass, replace

from model.world.defects import has
from model.world.language import Description
from model.world.vocabulary import RELATIONS


@dataclass(frozen=True)
class CurriculumStage:
    """A stage of the judge's curriculum: pictures that are right, or wrong throughout in one respect."""

    respect: str  # one of RESPECTS
    category: str  # of the prompts
    steps: int
    relations: tuple[str, ...] = RELATIONS  # that are asked for

    def suits(self, description: Description) -> bool:
        asked = {relation.word for relation in description.relations}
        return has(description, self.respect) and asked <= set(self.relations)


@dataclass(frozen=True)
class TaskMixture:
    """Shares of the tasks; the paper's are draw 0.2, judge 0.3, redraw 0.5 of a pretrained model."""

    draw: float = 0.0
    judge: float = 0.0
    redraw: float = 0.0
    edit: float = 0.0  # an image and an instruction → the edited image
    paraphrased: float = 0.0  # share of prompts in a person's words
    thinking: float = 0.7  # share of draw, redraw and edit sequences with a thought
    thought_only: float = 0.0  # share of sequences with a thought that end where the image would begin, a third as long
    follow: float = 0.0  # a thought that a person changed → the image that shows it, whatever the prompt says
    condition_dropout: float = 0.05  # share of draw and redraw sequences without condition
    all_wrong: float = 1 / 3  # share of wrong images that are wrong throughout, the others have one defect
    relation_defects: float = 0.0  # share of those with one defect that have it in a relation, where any is asked for
    drafts: float = 0.25  # share of judge sequences with an earlier image in context, of redraw sequences with two
    unplanned_defects: float = 0.15  # share of drafts in redraw sequences that are not as they were planned
    other_request: float = 0.2  # share of redraw sequences whose reason is a person's, who wants something else
    first_place: bool = False  # what a redraw changes goes to the first valid place, instead of one by lot
    anew: float = 0.0  # share of redraws after a thought that plan the prompt anew, instead of near to the last draft
    drafts_without_thought: float = 0.0  # share of redraws after a thought whose drafts had none: a plan after a no
    on_policy: float = 0.5  # share of judge and redraw sequences on a model's own drafts, where there are any
    stages: tuple[CurriculumStage, ...] = ()  # of judge sequences
    stage_share: float = 1.0  # share of judge sequences of a stage, where there are any
    review_share: float = 0.25  # share of those of any stage begun, the others are of the last
    noise: float = 6.0  # most standard deviation of pixel noise, of 255, of images that are looked at


# One respect at a time, where it is plain first: in a mix of everything none of them was learnt. Of relations first
# one, then its opposite, then one of the other axis: what was asked of an object depends on the relation and on the
# side it stands on, and nothing of either shows while the other varies. About 1.5 times the steps after which nine
# verdicts in ten were right (training/LOG.md).
CURRICULUM = (
    CurriculumStage("nouns", "two objects", 160),
    CurriculumStage("nouns", "hard", 40),
    CurriculumStage("colours", "colours", 340),
    CurriculumStage("colours", "colour attribution", 90),
    CurriculumStage("relations", "position", 180, ("above",)),
    CurriculumStage("relations", "position", 180, ("above", "below")),
    CurriculumStage("relations", "position", 320, ("left of",)),
    CurriculumStage("relations", "position", 180),
    CurriculumStage("colours", "hard", 60),
    CurriculumStage("smeared", "two objects", 60),
    CurriculumStage("counts", "counting", 320),
)

# Shares of the tasks by the name that `--mixture` gives them.
MIXTURES = {
    "draw": TaskMixture(draw=1.0, thinking=0.8),  # first of all
    "base": TaskMixture(draw=1.0, thinking=0.6, thought_only=0.7, paraphrased=0.15),  # draws only
    "judge": TaskMixture(draw=0.4, judge=0.6, thinking=0.95, drafts=0.0, stages=CURRICULUM),  # drawing is kept
    "all": TaskMixture(
        draw=0.12,
        follow=0.02,
        judge=0.32,
        redraw=0.42,
        edit=0.12,
        thinking=0.6,
        thought_only=0.7,
        paraphrased=0.15,
        all_wrong=0.2,
        relation_defects=0.5,
        on_policy=0.6,
        stages=tuple(replace(stage, steps=0) for stage in (*CURRICULUM, *CURRICULUM[4:8], CURRICULUM[-1])),
        stage_share=0.1,
        review_share=1.0,
    ),
    # Redraws of its own drafts, where those are worse than drawing afresh: after a thought they repeat the plan that
    # was wrong. Without one a certain place for what changes, instead of any of forty by lot.
    "redraw": TaskMixture(
        draw=0.05,
        judge=0.15,
        redraw=0.75,
        edit=0.05,
        thinking=0.75,
        thought_only=0.85,
        paraphrased=0.1,
        all_wrong=0.1,
        relation_defects=0.5,
        other_request=0.5,
        first_place=True,
        anew=1.0,
        on_policy=0.75,
    ),
    # From a network that has the loop already: all tasks in balance, redraws as in "redraw".
    "loop": TaskMixture(
        draw=0.2,
        follow=0.02,
        judge=0.3,
        redraw=0.4,
        edit=0.08,
        thinking=0.5,
        thought_only=0.5,
        paraphrased=0.15,
        all_wrong=0.1,
        relation_defects=0.5,
        first_place=True,
        anew=1.0,
        drafts_without_thought=0.5,
        on_policy=0.7,
    ),
    # Mostly judging of its own drafts and redraws, where what it says of redraws is less often true than of drafts.
    "reflect": TaskMixture(
        draw=0.1,
        follow=0.02,
        judge=0.6,
        redraw=0.23,
        edit=0.05,
        thinking=0.35,
        thought_only=0.6,
        paraphrased=0.15,
        all_wrong=0.05,
        relation_defects=0.5,
        first_place=True,
        anew=1.0,
        drafts_without_thought=0.5,
        on_policy=0.85,
    ),
    # Beside reinforcement learning: what it meets too rarely to keep.
    "rehearsal": TaskMixture(
        judge=0.5,
        redraw=0.3,
        edit=0.2,
        thinking=0.7,
        thought_only=0.7,
        paraphrased=0.15,
        all_wrong=0.1,
        relation_defects=0.5,
        other_request=0.4,
        first_place=True,
        anew=1.0,
        drafts_without_thought=0.5,
    ),
}


def at_step(mix: TaskMixture, step: int) -> TaskMixture:
    """A mix that follows the curriculum, at a step; after its end all of it is reviewed."""
    if not mix.stages:
        return mix
    begun = itertools.accumulate((stage.steps for stage in mix.stages), initial=0)
    return replace(mix, stages=tuple(stage for stage, first in zip(mix.stages, begun, strict=False) if first <= step))
