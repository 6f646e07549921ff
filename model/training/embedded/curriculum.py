"""Mixture weights and curriculum of the embedded world's training sequences.

Numbers found by trying; the log (LOG.md) says which others failed.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

from model.world.defects import has
from model.world.language import Description
from model.world.vocabulary import RELATIONS


@dataclass(frozen=True)
class Focus:
    """What the judge looks at for some steps: pictures that are right, or wrong throughout in one respect."""

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
    reworded: float = 0.0  # share of prompts in a person's words
    thinking: float = 0.7  # share of draw, redraw and edit sequences with a thought
    planning: float = 0.0  # share of sequences with a thought that end where the image would begin, a third as long
    follow: float = 0.0  # a thought that a person changed → the image that shows it, whatever the prompt says
    dropout: float = 0.05  # share of draw and redraw sequences without condition
    obvious: float = 1 / 3  # share of wrong images that are wrong throughout, the others have one defect
    misplaced: float = 0.0  # share of those with one defect that have it in a relation, where any is asked for
    drafts: float = 0.25  # share of judge sequences with an earlier image in context, of redraw sequences with two
    slips: float = 0.15  # share of drafts in redraw sequences that are not as they were planned
    steered: float = 0.2  # share of redraw sequences whose reason is a person's, who wants something else
    own: float = 0.5  # share of judge and redraw sequences on a model's own drafts, where there are any
    focus: tuple[Focus, ...] = ()  # of judge sequences
    focused: float = 1.0  # share of judge sequences that are in focus, where there is one
    reviewed: float = 0.25  # share of those on any of `focus`, the others are on the last
    noise: float = 6.0  # most standard deviation of pixel noise, of 255, of images that are looked at


# One respect at a time, where it is plain first: in a mix of everything none of them was learnt. Of relations first
# one, then its opposite, then one of the other axis: what was asked of an object depends on the relation and on the
# side it stands on, and nothing of either shows while the other varies. About 1.5 times the steps after which nine
# verdicts in ten were right (training/LOG.md).
CURRICULUM = (
    Focus("nouns", "two objects", 160),
    Focus("nouns", "hard", 40),
    Focus("colours", "colours", 340),
    Focus("colours", "colour attribution", 90),
    Focus("relations", "position", 180, ("above",)),
    Focus("relations", "position", 180, ("above", "below")),
    Focus("relations", "position", 320, ("left of",)),
    Focus("relations", "position", 180),
    Focus("colours", "hard", 60),
    Focus("smeared", "two objects", 60),
    Focus("counts", "counting", 320),
)

# Shares of the tasks by the name that `--lessons` gives them.
MIXTURES = {
    "draw": TaskMixture(draw=1.0, thinking=0.8),  # first of all
    "base": TaskMixture(draw=1.0, thinking=0.6, planning=0.7, reworded=0.15),  # draws only
    "judge": TaskMixture(draw=0.4, judge=0.6, thinking=0.95, drafts=0.0, focus=CURRICULUM),  # drawing is kept
    "all": TaskMixture(
        draw=0.12,
        follow=0.02,
        judge=0.32,
        redraw=0.42,
        edit=0.12,
        thinking=0.6,
        planning=0.7,
        reworded=0.15,
        obvious=0.2,
        misplaced=0.5,
        own=0.6,
        focus=tuple(replace(focus, steps=0) for focus in (*CURRICULUM, *CURRICULUM[4:8], CURRICULUM[-1])),
        focused=0.1,
        reviewed=1.0,
    ),
    # Beside reinforcement learning: what it meets too rarely to keep.
    "rehearsal": TaskMixture(
        judge=0.5,
        redraw=0.3,
        edit=0.2,
        thinking=0.7,
        planning=0.7,
        reworded=0.15,
        obvious=0.1,
        misplaced=0.5,
        steered=0.4,
    ),
}


def at_step(mix: TaskMixture, step: int) -> TaskMixture:
    """A mix that follows the curriculum, at a step; after its end all of it is reviewed."""
    if not mix.focus:
        return mix
    begun = itertools.accumulate((focus.steps for focus in mix.focus), initial=0)
    return replace(mix, focus=tuple(focus for focus, first in zip(mix.focus, begun, strict=False) if first <= step))
