"""Sampled tokens of a finished trajectory as actions, and their log-probabilities in one teacher-forced pass.

Training computes log-probabilities here from the same distributions that the rollout drew from (guidance,
temperature, top-k, the Yes/No restriction), in one pass without a cache. Knows no rewards.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from model.backends.janus import Janus
from model.decoding.request import MOST_REFLECTION_TOKENS, MOST_THOUGHT_TOKENS, Task, words_of
from model.decoding.sampling import Rule, guided, log_probabilities
from model.decoding.sampling_rules import image_rule, reason_rule, thought_rule, verdict_rule
from model.sequences import (
    Codes,
    Piece,
    Text,
    drawing,
    editing,
    invitation,
    looking,
    opening,
    question,
    size,
    unconditional,
)
from model.templates import BEGIN_IMAGE
from model.training.batch import collate
from model.training.training_sequences import TrainingSequence
from model.trajectory import Image, Origin, Reflection, Source, Thought, Trajectory


@dataclass(frozen=True)
class Action:
    """One sampled token, how it was drawn, and the position of its stream whose hidden state predicts it."""

    position: int
    token: int
    rule: Rule
    segment: int  # of the trajectory


@dataclass
class Choices:
    """One stream of a trajectory and the actions in it."""

    image_codes: int
    pieces: list[Piece] = field(default_factory=list)
    text: list[Action] = field(default_factory=list)
    codes: list[Action] = field(default_factory=list)
    length: int = 0

    def feed(self, *pieces: Piece) -> None:
        """Pieces that nobody chose."""
        self.pieces += pieces
        self.length += sum(size(piece, self.image_codes) for piece in pieces)

    def choose(self, piece: Text | Codes, rules: Iterable[Rule | None], segment: int) -> None:
        """A piece whose tokens were drawn by `rules`; None for one that was not sampled."""
        tokens, actions = (piece.codes, self.codes) if isinstance(piece, Codes) else (piece.ids, self.text)
        for position, (token, rule) in enumerate(zip(tokens, rules, strict=True), self.length - 1):
            if rule is not None:
                actions.append(Action(position, token, rule, segment))
        self.feed(piece)


def choices(
    janus: Janus, trajectory: Trajectory, pictures: Mapping[str, np.ndarray], given: int = 0
) -> tuple[Choices, Choices]:
    """The drawing and the judging stream of a finished trajectory; `pictures` are (H, W, 3) uint8 by hash.

    Nothing was chosen in the first `given` segments: the trajectory began with them. Raises ValueError for a trajectory
    of `official` sampling.
    """
    if trajectory.sampling.official:
        raise ValueError("what was drawn with the published code's contexts cannot be scored: positions were left out")
    to_draw, to_judge = Choices(janus.image_codes), Choices(janus.image_codes)
    sampling, ids, segments = trajectory.sampling, janus.ids, trajectory.segments
    to_judge.feed(*opening(janus, words_of(janus, trajectory.prompt)))
    if isinstance(segments[0], Source):  # which was edited or judged
        to_draw.feed(*editing(janus, words_of(janus, trajectory.prompt, Task.EDIT), segments[0].codes))
        to_judge.feed(*looking(janus, pictures[segments[0].sha256]))
    else:
        to_draw.feed(*opening(janus, words_of(janus, trajectory.prompt)))
    begin = Text(tuple(janus.tokenize(BEGIN_IMAGE)))
    ended: Rule | None = None  # how the beginning of the next image was drawn, if it was
    for index, segment in enumerate(segments):
        match segment:
            case Thought():
                rules = [thought_rule(ids, sampling, first=number == 0) for number in range(len(segment.tokens))]
                to_draw.choose(*_said(segment, rules, hideable=True, chosen=index >= given), index)
                own = index >= given and all(token.origin is Origin.SAMPLED for token in segment.tokens)
                whole = len(segment.tokens) == MOST_THOUGHT_TOKENS
                ended = thought_rule(ids, sampling, first=False) if own and not whole else None
            case Image():
                to_draw.choose(begin, [ended], index)
                rule, ended = image_rule(sampling), None
                drawn = [rule if origin is Origin.SAMPLED and index >= given else None for origin in segment.origins]
                to_draw.choose(Codes(segment.codes), drawn, index)
                to_judge.feed(*looking(janus, pictures[segment.sha256]))
            case Reflection():
                to_draw.feed(*drawing(janus, segment), *invitation(janus))
                rules = [verdict_rule(ids, sampling)] + [reason_rule(ids, sampling)] * (len(segment.tokens) - 1)
                to_judge.feed(*question(janus))
                to_judge.choose(*_said(segment, rules, chosen=index >= given), index)
                end, *onward = invitation(janus)[0].ids
                own = (
                    index >= given
                    and segment.tokens[-1].origin is Origin.SAMPLED
                    and len(segment.tokens) < MOST_REFLECTION_TOKENS
                )
                to_judge.choose(Text((end,)), [reason_rule(ids, sampling) if own else None], index)
                to_judge.feed(Text(tuple(onward)))
    return to_draw, to_judge


def _said(
    segment: Thought | Reflection, rules: Sequence[Rule], *, hideable: bool = False, chosen: bool
) -> tuple[Text, list[Rule | None]]:
    """The text piece of a segment, and the rules of those of its tokens that were sampled."""
    sampled = [chosen and token.origin is Origin.SAMPLED for token in segment.tokens]
    kept = [rule if own else None for rule, own in zip(rules, sampled, strict=True)]
    return Text(tuple(token.id for token in segment.tokens), hideable=hideable), kept


@dataclass(frozen=True)
class Scored:
    """Log-probability and entropy of every action, those of text first: (A,) each; `rows` says whose they are.

    `untruncated` are the log-probabilities without top-k, which are finite in another network, too.
    """

    log_probs: torch.Tensor
    untruncated: torch.Tensor
    entropies: torch.Tensor
    rows: torch.Tensor  # index of the stream
    segments: torch.Tensor  # index of the segment in its trajectory


def score(janus: Janus, streams: Sequence[Choices]) -> Scored:
    """Teacher-force the streams, right-padded, and read off what was chosen in them."""
    pieces = [stream.pieces for stream in streams]
    hidden = _hidden(janus, pieces)
    twins = None
    if any(action.rule.guidance != 1 for stream in streams for action in stream.codes):
        twins = _hidden(janus, [unconditional(each, janus.ids.pad) for each in pieces])
    parts = []
    for head, kept in ((janus.text_logits, "text"), (janus.image_logits, "codes")):
        actions = [(row, action) for row, stream in enumerate(streams) for action in getattr(stream, kept)]
        for rule in dict.fromkeys(action.rule for _, action in actions):
            chosen = [(row, action) for row, action in actions if action.rule == rule]
            rows = torch.tensor([row for row, _ in chosen], device=hidden.device)
            positions = torch.tensor([action.position for _, action in chosen], device=hidden.device)
            logits = head(hidden[rows, positions]).float()
            if kept == "codes" and rule.guidance != 1:
                logits = guided(logits, head(twins[rows, positions]).float(), rule.guidance)
            every = log_probabilities(logits, rule)
            tokens = torch.tensor([action.token for _, action in chosen], device=hidden.device)
            possible = every > -torch.inf
            entropies = -(every.exp() * every.masked_fill(~possible, 0.0)).sum(-1)
            segments = torch.tensor([action.segment for _, action in chosen], device=hidden.device)
            log_probs = every.gather(-1, tokens[:, None])[:, 0]
            free = replace(rule, top_k=None, temperature=rule.temperature or 1.0)
            whole = log_probs
            if free != rule:
                whole = log_probabilities(logits, free).gather(-1, tokens[:, None])[:, 0]
            parts.append((log_probs, whole, entropies, rows, segments))
    return Scored(*(torch.cat(column) for column in zip(*parts, strict=True)))


def _hidden(janus: Janus, pieces: Sequence[Sequence[Piece]]) -> torch.Tensor:
    batch = collate([TrainingSequence(tuple(each)) for each in pieces], janus.image_codes)
    embedded = janus.embed(batch.ids, batch.kinds, batch.images)
    return janus.network.model.language_model(inputs_embeds=embedded, use_cache=False).last_hidden_state
