"""Training sequences: pieces of text, image codes and pixels, and the tokens among them that are scored.

Rows of a dataset, sequences of the embedded world and trajectories of a rollout all become a `TrainingSequence`. Which
tokens are scored, and how, stands in its `Targets`.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np

from model.backends.janus import Janus
from model.decoding.sampling import Rule
from model.sequences import (
    Codes,
    Piece,
    Pixels,
    Text,
    edit_prompt_pieces,
    ids,
    prompt_pieces,
    redraw_prompt_pieces,
    size,
    unconditional,
)
from model.templates import BEGIN_IMAGE, CHECK, EOS

MODEL_DISTRIBUTION = Rule()  # temperature 1, no guidance, nothing excluded


class TokenKind(StrEnum):
    """What a scored token is. The values are the names of the losses in a run's log."""

    CODE = "codes"
    TEXT = "text"  # all text but the verdict
    VERDICT = "verdict"  # Yes or No
    JUDGING_AUXILIARY = "notes"  # auxiliary target in a sequence with pixels
    DRAWING_AUXILIARY = "hand_notes"  # auxiliary target in any other sequence


@dataclass(frozen=True)
class Targets:
    """Tokens of one sequence that are scored alike.

    `positions[i]` is the position whose hidden state predicts `tokens[i]`: the one before it, or for an auxiliary
    target any position, after a share `depth` of the layers.
    """

    kind: TokenKind
    positions: tuple[int, ...]
    tokens: tuple[int, ...]
    rule: Rule = MODEL_DISTRIBUTION  # distribution of which the log-probability is computed
    depth: float = 1.0  # 0…1
    segment: int = 0  # of the trajectory
    advantage: float = 0.0
    rollout_log_probs: tuple[float, ...] = ()  # of the tokens when they were sampled; empty: not recorded

    @property
    def auxiliary(self) -> bool:
        return self.kind in (TokenKind.JUDGING_AUXILIARY, TokenKind.DRAWING_AUXILIARY)

    def only(self, keep: Sequence[bool]) -> "Targets":
        """The targets for which `keep` is true."""
        kept = [pair for pair, kept in zip(zip(self.positions, self.tokens, strict=True), keep, strict=True) if kept]
        positions, tokens = zip(*kept, strict=True) if kept else ((), ())
        recorded = zip(self.rollout_log_probs, keep, strict=bool(self.rollout_log_probs))
        return replace(self, positions=positions, tokens=tokens, rollout_log_probs=tuple(v for v, k in recorded if k))


@dataclass(frozen=True)
class TrainingSequence:
    """One sequence; `weight` scales its loss, `name` says where it comes from."""

    pieces: tuple[Piece, ...]
    targets: tuple[Targets, ...] = ()
    weight: float = 1.0
    name: str = ""

    @property
    def target_count(self) -> int:
        return sum(len(targets.tokens) for targets in self.targets)


@dataclass(frozen=True)
class AuxiliaryTarget:
    """A token that the text head is to read off a position's hidden state after a share `depth` of the layers."""

    id: int
    depth: float  # 0…1


AuxiliaryTargets = tuple[tuple[AuxiliaryTarget, ...], ...]  # for every position of a piece


@dataclass
class SequenceBuilder:
    """Builds a sequence piece by piece."""

    janus: Janus
    pieces: list[Piece] = field(default_factory=list)
    targets: list[Targets] = field(default_factory=list)
    auxiliary: dict[float, list[tuple[int, int]]] = field(default_factory=dict)  # depth → (position, token)
    length: int = 0

    def context(self, *pieces: Piece, auxiliary: AuxiliaryTargets = ()) -> None:
        """Pieces that are read but not scored; `auxiliary` targets lie on the first one's positions."""
        for position, there in enumerate(auxiliary, self.length):
            for target in there:
                self.auxiliary.setdefault(target.depth, []).append((position, target.id))
        self.pieces += pieces
        self.length += sum(size(piece, self.janus.image_codes) for piece in pieces)

    def scored(
        self,
        piece: Text | Codes,
        rules: Sequence[Rule | None] | None = None,
        segment: int = 0,
        auxiliary: AuxiliaryTargets = (),
        first_log_prob: float | None = None,
    ) -> None:
        """A piece whose tokens are scored: by the model's distribution, or each by its rule (None: not at all).
        `first_log_prob`: of the first token, when it was sampled."""
        code = isinstance(piece, Codes)
        tokens = piece.codes if code else piece.ids
        verdicts = (self.janus.ids.yes, self.janus.ids.no)
        groups: dict[tuple[TokenKind, Rule], list[tuple[int, int]]] = {}
        for offset, token in enumerate(tokens):
            rule = MODEL_DISTRIBUTION if rules is None else rules[offset]
            if rule is not None:
                kind = TokenKind.CODE if code else TokenKind.VERDICT if token in verdicts else TokenKind.TEXT
                groups.setdefault((kind, rule), []).append((self.length + offset - 1, token))
        for (kind, rule), pairs in groups.items():
            positions, tokens = zip(*pairs, strict=True)
            first = len(pairs) == 1 and positions[0] == self.length - 1
            recorded = (first_log_prob,) if first and first_log_prob is not None else ()
            self.targets.append(Targets(kind, positions, tokens, rule, segment=segment, rollout_log_probs=recorded))
        self.context(piece, auxiliary=auxiliary)

    def build(self) -> TrainingSequence:
        judges = any(isinstance(piece, Pixels) for piece in self.pieces)
        kind = TokenKind.JUDGING_AUXILIARY if judges else TokenKind.DRAWING_AUXILIARY
        auxiliary: list[Targets] = []
        for depth, pairs in sorted(self.auxiliary.items()):
            positions, tokens = zip(*pairs, strict=True)
            auxiliary.append(Targets(kind, positions, tokens, depth=depth))
        return TrainingSequence(tuple(self.pieces), (*self.targets, *auxiliary))


@dataclass(frozen=True, eq=False)
class JudgedDraft:
    """An earlier image of the context and its reflection. Codes for drawing, pixels for judging.

    `target`: the reflection is true, and scored as well; `auxiliary` targets on the image (both in `judge`). `thought`
    before it, if any, and `code_auxiliary`: on its codes (both in `draw`: the judging stream leaves thoughts out).
    """

    reflection: str
    codes: tuple[int, ...] = ()
    image: np.ndarray | None = None
    target: bool = False
    auxiliary: "JudgeAuxiliary | None" = None
    thought: str | None = None
    code_auxiliary: AuxiliaryTargets = ()


@dataclass(frozen=True)
class JudgeAuxiliary:
    """Auxiliary targets while an image is judged: deep supervision (Lee et al., 2015). Never read in a rollout."""

    prompt: AuxiliaryTargets  # of the user's turn
    patches: AuxiliaryTargets  # of the image
    check: AuxiliaryTargets  # of the words of the self-check, but the last, which predicts the verdict


@dataclass(frozen=True)
class DrawAuxiliary:
    """Auxiliary targets of the words of a thought, and of every image code, at the position before it."""

    thought: AuxiliaryTargets = ()
    codes: AuxiliaryTargets = ()


def draw(
    janus: Janus,
    prompt: str,
    drafts: Sequence[JudgedDraft],
    thought: str | None,
    codes: Sequence[int],
    auxiliary: DrawAuxiliary = DrawAuxiliary(),
    *,
    given: bool = False,
) -> TrainingSequence:
    """Task I without drafts, Task III with: the thought (if any) and the image are the targets.

    A `given` thought is a person's: only the image is a target.
    """
    builder = SequenceBuilder(janus)
    builder.context(*prompt_pieces(janus, prompt))
    _add_drafts(builder, drafts)
    return _drawn(builder, thought, codes, auxiliary, given=given)


def think(
    janus: Janus, prompt: str, source: Sequence[int] | None, drafts: Sequence[JudgedDraft], thought: str
) -> TrainingSequence:
    """A thought and the beginning of the image after it are the targets; `source`: codes of an image that is edited."""
    builder = SequenceBuilder(janus)
    builder.context(*(prompt_pieces(janus, prompt) if source is None else edit_prompt_pieces(janus, prompt, source)))
    _add_drafts(builder, drafts)
    builder.scored(Text(ids(janus, thought), cfg_masked=True))
    builder.scored(Text(ids(janus, BEGIN_IMAGE)))
    return builder.build()


def _add_drafts(builder: SequenceBuilder, drafts: Sequence[JudgedDraft]) -> None:
    """Earlier drawings as a revision finds them in its context."""
    janus = builder.janus
    for draft in drafts:
        if draft.thought is not None:
            builder.context(Text(ids(janus, draft.thought), cfg_masked=True))
        builder.context(Text(ids(janus, BEGIN_IMAGE)))
        builder.context(Codes(draft.codes), auxiliary=draft.code_auxiliary)
        builder.context(Text(ids(janus, CHECK)), Text(ids(janus, draft.reflection)), *redraw_prompt_pieces(janus))


def edit(
    janus: Janus,
    instruction: str,
    source: Sequence[int],
    thought: str | None,
    codes: Sequence[int],
    auxiliary: DrawAuxiliary = DrawAuxiliary(),
    source_auxiliary: AuxiliaryTargets = (),
) -> TrainingSequence:
    """Editing: from the codes of an image and an instruction to the thought (if any) and the edited image."""
    builder = SequenceBuilder(janus)
    for piece in edit_prompt_pieces(janus, instruction, source):
        builder.context(piece, auxiliary=source_auxiliary if isinstance(piece, Codes) else ())
    return _drawn(builder, thought, codes, auxiliary)


def _drawn(
    builder: SequenceBuilder,
    thought: str | None,
    codes: Sequence[int],
    auxiliary: DrawAuxiliary,
    *,
    given: bool = False,
) -> TrainingSequence:
    own = builder.scored if thought is not None and not given else builder.context
    if thought is not None:
        own(Text(ids(builder.janus, thought), cfg_masked=True), auxiliary=auxiliary.thought)
    own(Text(ids(builder.janus, BEGIN_IMAGE)), auxiliary=auxiliary.codes[:1])
    builder.scored(Codes(tuple(codes)), auxiliary=auxiliary.codes[1:])
    return builder.build()


def judge(
    janus: Janus,
    prompt: str,
    drafts: Sequence[JudgedDraft],
    image: np.ndarray,
    reflection: str,
    auxiliary: JudgeAuxiliary | None = None,
    *,
    ends: bool = True,
) -> TrainingSequence:
    """Task II: verdict and reason on the last image are the targets. Without `ends` the reflection is only begun: no
    end of turn is scored.
    """
    builder = SequenceBuilder(janus)
    *before, turn = prompt_pieces(janus, prompt)
    builder.context(*before)
    builder.context(turn, auxiliary=auxiliary.prompt if auxiliary else ())
    for draft in drafts:
        assert draft.image is not None  # drafts that are judged have pixels
        _judged_image(builder, draft.image, draft.auxiliary)
        feed = builder.scored if draft.target else builder.context
        feed(Text(ids(janus, draft.reflection)))
        builder.context(*redraw_prompt_pieces(janus))
    _judged_image(builder, image, auxiliary)
    builder.scored(Text(ids(janus, reflection + (EOS if ends else ""))))
    return builder.build()


def _judged_image(builder: SequenceBuilder, image: np.ndarray, auxiliary: JudgeAuxiliary | None) -> None:
    patches, check = (auxiliary.patches, auxiliary.check) if auxiliary else ((), ())
    builder.context(Text(ids(builder.janus, BEGIN_IMAGE)))
    builder.context(Pixels(image), auxiliary=patches)
    builder.context(Text(ids(builder.janus, CHECK)), auxiliary=check)


def without_image(sequence: TrainingSequence) -> TrainingSequence:
    """Without the last image where it follows a scored thought: a shorter sequence that trains the thought alone."""
    *before, image = sequence.pieces
    if not isinstance(image, Codes):
        return sequence
    begin = min((p for t in sequence.targets if t.kind is TokenKind.CODE for p in t.positions), default=0)
    if not any(begin - 1 in t.positions for t in sequence.targets if not t.auxiliary):
        return sequence
    kept = (t.only([p <= begin for p in t.positions]) for t in sequence.targets if t.kind is not TokenKind.CODE)
    return replace(sequence, pieces=tuple(before), targets=tuple(t for t in kept if t.tokens))


def drop_condition(sequence: TrainingSequence, janus: Janus, rng: random.Random, share: float) -> TrainingSequence:
    """Condition dropout for classifier-free guidance: with probability `share` prompt and thoughts become pads, which
    are not scored; nor are auxiliary targets."""
    if rng.random() >= share:
        return sequence
    hidden = {position - 1 for position in _hideable_positions(sequence, janus.image_codes)}
    kept = (t.only([p not in hidden for p in t.positions]) for t in sequence.targets if not t.auxiliary)
    pieces = tuple(unconditional(sequence.pieces, janus.ids.pad))
    return replace(sequence, pieces=pieces, targets=tuple(t for t in kept if t.tokens))


def _hideable_positions(sequence: TrainingSequence, image_codes: int) -> Iterator[int]:
    start = 0
    for piece in sequence.pieces:
        end = start + size(piece, image_codes)
        if isinstance(piece, Text) and piece.cfg_masked:
            yield from range(start, end)
        start = end


def with_advantages(sequence: TrainingSequence, advantages: Mapping[int, float] | Sequence[float]) -> TrainingSequence:
    """Every target with the advantage of its segment."""
    return replace(sequence, targets=tuple(replace(t, advantage=advantages[t.segment]) for t in sequence.targets))
