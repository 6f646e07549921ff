"""A finished trajectory as two training sequences, in which the sampled tokens are scored as they were drawn.

The rules are those of the rollout (guidance, temperature, top-k, the Yes/No restriction), so the log-probabilities that
a policy computes of these sequences are those of the distributions sampled from. Knows no rewards.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from model.backends.janus import Janus
from model.backends.request import MOST_REFLECTION_TOKENS, MOST_THOUGHT_TOKENS, Task
from model.decoding.sampling import Rule, image_rule, reason_rule, thought_rule, verdict_rule
from model.sequences import (
    Codes,
    Text,
    edit_prompt_pieces,
    image_pixel_pieces,
    prompt_pieces,
    redraw_prompt_pieces,
    segment_pieces,
    self_check_pieces,
)
from model.templates import BEGIN_IMAGE
from model.training.training_sequences import SequenceBuilder, TrainingSequence
from model.trajectory import Image, Origin, Reflection, Sampling, Source, Thought, Trajectory


def trajectory_sequences(
    janus: Janus, trajectory: Trajectory, pictures: Mapping[str, np.ndarray], prefix: int = 0
) -> tuple[TrainingSequence, TrainingSequence]:
    """The drawing and the judging stream; `pictures` are (H, W, 3) uint8 by hash.

    No token of the first `prefix` segments is scored: the trajectory began with them. Raises ValueError for a
    trajectory of `official` sampling.
    """
    if trajectory.sampling.published_contexts:
        raise ValueError("what was drawn with the published code's contexts cannot be scored: positions were left out")
    streams = _Streams(janus, trajectory, pictures)
    streams.begin()
    for index, segment in enumerate(trajectory.segments):
        streams.add(segment, index, sampled=index >= prefix)
    return streams.to_draw.build(), streams.to_judge.build()


class _Streams:
    """Both streams of a trajectory while its segments are added."""

    def __init__(self, janus: Janus, trajectory: Trajectory, pictures: Mapping[str, np.ndarray]):
        self.janus, self.trajectory, self.pictures = janus, trajectory, pictures
        self.to_draw, self.to_judge = SequenceBuilder(janus), SequenceBuilder(janus)
        self.begin_rule: Rule | None = None  # how the beginning of the next image was drawn, if it was

    def begin(self) -> None:
        """The prompt, and the source image if there is one."""
        janus, prompt, first = self.janus, self.trajectory.prompt, self.trajectory.segments[0]
        self.to_judge.context(*prompt_pieces(janus, janus.prompts.read(prompt, Task.DRAW).text))
        if isinstance(first, Source):  # which was edited or judged
            self.to_draw.context(*edit_prompt_pieces(janus, janus.prompts.read(prompt, Task.EDIT).text, first.codes))
            self.to_judge.context(*image_pixel_pieces(janus, self.pictures[first.sha256]))
        else:
            self.to_draw.context(*prompt_pieces(janus, janus.prompts.read(prompt, Task.DRAW).text))

    def add(self, segment: Source | Thought | Image | Reflection, index: int, *, sampled: bool) -> None:
        match segment:
            case Thought():
                self._thought(segment, index, sampled=sampled)
            case Image():
                self._image(segment, index, sampled=sampled)
            case Reflection():
                self._reflection(segment, index, sampled=sampled)

    def _thought(self, thought: Thought, index: int, *, sampled: bool) -> None:
        ids, sampling = self.janus.ids, self.trajectory.sampling
        rules = [thought_rule(ids, sampling, first=number == 0) for number in range(len(thought.tokens))]
        tokens = tuple(token.id for token in thought.tokens)
        self.to_draw.scored(Text(tokens, cfg_masked=True), _of_sampled(thought, rules, sampled=sampled), index)
        own = sampled and all(token.origin is Origin.SAMPLED for token in thought.tokens)
        ended = own and len(thought.tokens) < MOST_THOUGHT_TOKENS
        self.begin_rule = thought_rule(ids, sampling, first=False) if ended else None

    def _image(self, image: Image, index: int, *, sampled: bool) -> None:
        begin = Text(tuple(self.janus.tokenize(BEGIN_IMAGE)))
        self.to_draw.scored(begin, [self.begin_rule], index)
        rule, self.begin_rule = image_rule(self.trajectory.sampling), None
        rules = [rule if origin is Origin.SAMPLED and sampled else None for origin in image.origins]
        self.to_draw.scored(Codes(image.codes), rules, index)
        assert image.sha256 is not None  # a finished image has a picture
        self.to_judge.context(*image_pixel_pieces(self.janus, self.pictures[image.sha256]))

    def _reflection(self, reflection: Reflection, index: int, *, sampled: bool) -> None:
        janus, sampling = self.janus, self.trajectory.sampling
        self.to_draw.context(*segment_pieces(janus, reflection), *redraw_prompt_pieces(janus))
        reason = reason_rule(janus.ids, sampling)
        rules = [verdict_rule(janus.ids, sampling)] + [reason] * (len(reflection.tokens) - 1)
        self.to_judge.context(*self_check_pieces(janus))
        tokens = tuple(token.id for token in reflection.tokens)
        known = verdict_log_prob(reflection, sampling) if sampled else None
        own_rules = _of_sampled(reflection, rules, sampled=sampled)
        self.to_judge.scored(Text(tokens), own_rules, index, first_log_prob=known)
        end, *onward = redraw_prompt_pieces(janus)[0].ids
        own = sampled and reflection.tokens[-1].origin is Origin.SAMPLED
        ended = own and len(reflection.tokens) < MOST_REFLECTION_TOKENS
        self.to_judge.scored(Text((end,)), [reason if ended else None], index)
        self.to_judge.context(Text(tuple(onward)))


def verdict_log_prob(reflection: Reflection, sampling: Sampling) -> float:
    """The log-probability of a verdict under `verdict_rule`, by what the rollout recorded of P(Yes)."""
    rule = Rule(sampling.text_temperature, sampling.text_top_k)
    if rule.greedy or rule.top_k == 1:
        return 0.0
    p_yes = min(max(reflection.p_yes, 1e-12), 1 - 1e-12)
    logit = (math.log(p_yes) - math.log1p(-p_yes)) / rule.temperature
    return -float(np.logaddexp(0, -logit if reflection.answer == "yes" else logit))


def _of_sampled(segment: Thought | Reflection, rules: Sequence[Rule], *, sampled: bool) -> list[Rule | None]:
    """The rules of those tokens that were sampled."""
    own = (sampled and token.origin is Origin.SAMPLED for token in segment.tokens)
    return [rule if kept else None for rule, kept in zip(rules, own, strict=True)]
