"""Training sequences packed into one row without padding: inputs, the scored tokens of all sequences in groups, and
causal attention over such a row.

Sequences that follow each other and begin alike (both completions of a preference) share the positions of their common
beginning, which are computed once; a `Layout` says which positions see which. On a CPU attention is computed in blocks,
since torch's own kernel takes three times as long in bfloat16 for 220 positions, forward and back, and eight times for
100. Elsewhere torch's kernel is called for every span. Shapes: N positions of the row, B sequences, A scored tokens.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.attention.bias import causal_lower_right
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface

from model.backends.janus import CODE, PIXEL, TEXT, Janus
from model.decoding.sampling import Rule
from model.sequences import Codes, Pixels, Text, size
from model.training.training_sequences import MODEL_DISTRIBUTION, Targets, TokenKind, TrainingSequence

KINDS = tuple(TokenKind)
PADDING = -1  # in place of a kind
LEAST_SHARED = 16  # positions that are worth a span of their own
BLOCK = 128  # queries that are attended at once on a CPU
ATTENTION = "blocks"  # its name in transformers


@dataclass(frozen=True)
class Span:
    """Positions `start`…`stop` of a row: each sees the span up to itself, and all of `prefix` (start, stop)."""

    start: int
    stop: int
    prefix: tuple[int, int] = (0, 0)


class Layout:
    """The spans of a packed row, in order, all positions covered. No dataclass: torch.compile would compile anew for
    each."""

    def __init__(self, spans: tuple[Span, ...]):
        self.spans = spans


@dataclass(frozen=True)
class TargetGroup:
    """Scored tokens `start`…`stop` of a batch: read by one head off one layer, scored by one rule."""

    code: bool  # by the image head
    depth: float
    rule: Rule
    start: int
    stop: int


@dataclass(frozen=True, eq=False)
class Batch:
    """`positions` are those of a sequence that predict the `tokens`, `places` the same in the row."""

    ids: torch.Tensor  # (1, N) token ids, image codes, 0
    unconditional_ids: torch.Tensor | None  # (1, N) the same with pads where guidance hides them; None without guidance
    kinds: torch.Tensor  # (1, N) TEXT, CODE, PIXEL, 0
    position_ids: torch.Tensor  # (1, N) within the sequence
    layout: Layout  # which positions see which
    images: list[np.ndarray]  # uint8 (H, W, 3), in the order of the PIXEL positions
    ends: torch.Tensor  # (B,) place of the last position of each sequence
    groups: tuple[TargetGroup, ...]
    rows: torch.Tensor  # (A,) index of the sequence
    positions: torch.Tensor  # (A,)
    tokens: torch.Tensor  # (A,) token id or image code
    target_kinds: torch.Tensor  # (A,) index into KINDS, or PADDING
    weights: torch.Tensor  # (A,) of the sequence
    advantages: torch.Tensor  # (A,)
    rollout_log_probs: torch.Tensor  # (A,) when the tokens were sampled; NaN where not recorded
    places: torch.Tensor  # (A,)
    read: int  # positions of all sequences, shared ones counted for each
    candidates: torch.Tensor | int = 0  # (A, K) tokens whose log-probabilities are asked for, too; K: the likeliest

    def of_kind(self, kind: TokenKind) -> torch.Tensor:
        """(A,) bool."""
        return self.target_kinds == KINDS.index(kind)


def length(sequence: TrainingSequence, image_codes: int) -> int:
    """Number of positions of a sequence."""
    return sum(size(piece, image_codes) for piece in sequence.pieces)


def micro_batches(janus: Janus, sequences: Sequence[TrainingSequence], most: int, multiple: int = 1) -> list[Batch]:
    """Batches of at most `most` sequences, those of like length together."""
    ordered = sorted(sequences, key=lambda sequence: length(sequence, janus.image_codes))
    return [collate(janus, ordered[i : i + most], multiple) for i in range(0, len(ordered), most)]


def padding_batch(janus: Janus) -> Batch:
    """A batch of one scored token of weight 0 and no kind: for a process that has fewer batches than another."""
    targets = Targets(TokenKind.TEXT, (0,), (janus.ids.pad,))
    batch = collate(janus, [TrainingSequence((Text((janus.ids.pad,) * 2),), (targets,), weight=0.0)])
    batch.target_kinds.fill_(PADDING)
    return batch


def collate(janus: Janus, sequences: Sequence[TrainingSequence], multiple: int = 1) -> Batch:
    """One row of all sequences in order; its length is rounded up to a multiple by pads that nothing sees."""
    ids: list[int] = []
    kinds: list[int] = []
    hidden: list[bool] = []  # from the unconditional branch
    position_ids: list[int] = []
    images: list[np.ndarray] = []
    spans: list[Span] = []
    starts: list[tuple[int, int, int]] = []  # of each sequence: begin and length of the shared part, begin of the rest

    def put(stream: "_Stream", first: int, last: int, prefix: tuple[int, int] = (0, 0)) -> int:
        start = len(ids)
        ids.extend(stream.ids[first:last])
        kinds.extend(stream.kinds[first:last])
        hidden.extend(stream.hidden[first:last])
        position_ids.extend(range(first, last))
        images.extend(image for at, image in stream.images if first <= at < last)
        if last > first:
            spans.append(Span(start, len(ids), prefix))
        return start

    streams = [_stream(sequence, janus.image_codes) for sequence in sequences]
    for family, shared in _families(streams):
        begin = put(family[0], 0, shared)
        starts += [(begin, shared, put(stream, shared, len(stream.ids), (begin, begin + shared))) for stream in family]
    fill = -len(ids) % multiple
    if fill:
        put(_Stream([0] * fill, [0] * fill, [False] * fill, []), 0, fill)
    groups, (rows, positions, *columns) = _scored(sequences)
    guided = any(group.code and group.rule.guidance != 1 for group in groups)
    row = torch.tensor([ids])
    twin = row.masked_fill(torch.tensor([hidden]), janus.ids.pad) if guided else None
    lengths = torch.tensor([len(stream.ids) for stream in streams])
    begun = torch.tensor(starts)
    tokens, target_kinds, weights, advantages, rollout_log_probs = columns
    return Batch(
        ids=row,
        unconditional_ids=twin,
        kinds=torch.tensor([kinds]),
        position_ids=torch.tensor([position_ids]),
        layout=Layout(tuple(spans)),
        images=images,
        ends=_places(begun, torch.arange(len(streams)), lengths - 1),
        groups=groups,
        rows=rows,
        positions=positions,
        tokens=tokens,
        target_kinds=target_kinds,
        weights=weights,
        advantages=advantages,
        rollout_log_probs=rollout_log_probs,
        places=_places(begun, rows, positions),
        read=int(lengths.sum()),
    )


def _places(starts: torch.Tensor, rows: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Places in the row of the `positions` of the sequences `rows`; `starts`: (B, 3)."""
    begin, shared, rest = starts[rows].unbind(-1)
    return torch.where(positions < shared, begin + positions, rest + positions - shared)


@dataclass(frozen=True)
class _Stream:
    """A sequence position by position; `images` with their first positions."""

    ids: list[int]
    kinds: list[int]
    hidden: list[bool]
    images: list[tuple[int, np.ndarray]]

    def shared_with(self, other: "_Stream") -> int:
        """Positions from the first on that are the same in both, images as a whole."""
        columns = zip(self.ids, self.kinds, self.hidden, other.ids, other.kinds, other.hidden, strict=False)
        count = next((at for at, (a, b, c, d, e, f) in enumerate(columns) if (a, b, c) != (d, e, f)), None)
        count = min(len(self.ids), len(other.ids)) if count is None else count
        for (first, image), (_, others) in zip(self.images, other.images, strict=False):
            if first < count and image is not others and not np.array_equal(image, others):
                return first
        return count


def _stream(sequence: TrainingSequence, image_codes: int) -> _Stream:
    stream = _Stream([], [], [], [])
    for piece in sequence.pieces:
        count = size(piece, image_codes)
        match piece:
            case Text():
                ids, kind, hidden = piece.ids, TEXT, piece.cfg_masked
            case Codes():
                ids, kind, hidden = piece.codes, CODE, False
            case Pixels():
                ids, kind, hidden = (0,) * count, PIXEL, False
                stream.images.append((len(stream.ids), piece.image))
            case _:
                raise ValueError(f"a training sequence holds no {type(piece).__name__}")
        stream.ids.extend(ids)
        stream.kinds.extend([kind] * count)
        stream.hidden.extend([hidden] * count)
    return stream


def _families(streams: Sequence[_Stream]) -> list[tuple[list[_Stream], int]]:
    """Consecutive sequences with the number of positions that they share; each joins those before it where that saves
    positions."""
    families: list[tuple[list[_Stream], int]] = []
    for stream in streams:
        if families:
            family, shared = families[-1]
            common = min(stream.shared_with(family[0]), shared or len(family[0].ids))
            if common * len(family) > max(shared * (len(family) - 1), LEAST_SHARED):
                families[-1] = ([*family, stream], common)
                continue
        families.append(([stream], 0))
    return families


def token_counts(batch: Any) -> tuple[int, int, int]:
    """(positions of all sequences, those of them that are computed, all that are computed) of a Batch or of what has
    one as `batch`; zeros of anything else."""
    batch = getattr(batch, "batch", batch)
    return (batch.read, int((batch.kinds > 0).sum()), batch.kinds.numel()) if isinstance(batch, Batch) else (0, 0, 0)


def _scored(sequences: Sequence[TrainingSequence]) -> tuple[tuple[TargetGroup, ...], list[torch.Tensor]]:
    """The groups of targets, and rows, positions, tokens, kinds, weights, advantages and rollout log-probabilities
    of their tokens."""
    # both heads have a group, be it empty: every parameter gets a gradient whatever a batch holds
    members: dict[tuple[bool, float, Rule], list[tuple[int, Targets]]] = {
        (code, 1.0, MODEL_DISTRIBUTION): [] for code in (True, False)
    }
    for row, sequence in enumerate(sequences):
        for targets in sequence.targets:
            key = (targets.kind is TokenKind.CODE, targets.depth, targets.rule)
            members.setdefault(key, []).append((row, targets))
    groups: list[TargetGroup] = []
    columns: list[list[Any]] = [[] for _ in range(7)]
    rows, positions, tokens, kinds, weights, advantages, recorded = columns
    start = 0
    for (code, depth, rule), group in members.items():
        for row, targets in group:
            count = len(targets.tokens)
            positions += targets.positions
            tokens += targets.tokens
            rows += [row] * count
            kinds += [KINDS.index(targets.kind)] * count
            weights += [sequences[row].weight] * count
            advantages += [targets.advantage] * count
            recorded += targets.rollout_log_probs or [math.nan] * count
        groups.append(TargetGroup(code, depth, rule, start, len(rows)))
        start = len(rows)
    types = [torch.long] * 4 + [torch.float32] * 3
    return tuple(groups), [torch.tensor(column, dtype=kind) for column, kind in zip(columns, types, strict=True)]


def attend_in_spans(janus: Janus) -> None:
    """Let the language model attend so, from here on: by the `layout` that its forward is given, or without one
    causally over rows that are one sequence each, padded on the right."""
    AttentionInterface.register(ATTENTION, _attend)
    AttentionMaskInterface.register(ATTENTION, _no_mask)
    janus.network.model.language_model.config._attn_implementation = ATTENTION


def attention(queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, scale: float) -> torch.Tensor:
    """(B, H, Q, W), (B, H, K, W) twice → (B, H, Q, W): query t sees the first K − Q keys and those up to its own."""
    before = keys.shape[2] - queries.shape[2]
    if queries.device.type != "cpu":
        bias = causal_lower_right(queries.shape[2], keys.shape[2]) if before else None
        return scaled_dot_product_attention(queries, keys, values, attn_mask=bias, is_causal=not before, scale=scale)
    parts: list[torch.Tensor] = []
    last = queries.shape[2]
    for start in range(0, last, BLOCK):
        stop = min(start + BLOCK, last)
        seen = before + stop
        scores = (queries[:, :, start:stop] * scale) @ keys[:, :, :seen].transpose(2, 3)
        later = torch.full((stop - start, seen), -torch.inf, dtype=scores.dtype, device=scores.device)
        later = later.triu(before + start + 1)
        parts.append((scores + later).softmax(-1).to(values.dtype) @ values[:, :, :seen])
    return torch.cat(parts, 2)


def attention_in_spans(
    queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, scale: float, layout: Layout
) -> torch.Tensor:
    """(1, H, N, W) each → (1, H, N, W)."""
    parts: list[torch.Tensor] = []
    for span in layout.spans:
        own, (first, last) = slice(span.start, span.stop), span.prefix
        key, value = keys[:, :, own], values[:, :, own]
        if last > first:
            key, value = (torch.cat([each[:, :, first:last], each[:, :, own]], 2) for each in (keys, values))
        parts.append(attention(queries[:, :, own], key, value, scale))
    return torch.cat(parts, 2)


@torch.compiler.disable
def _attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,
    scaling: float,
    layout: Layout | None = None,
    **_: object,
) -> tuple[torch.Tensor, None]:
    """In transformers' form: (B, T, H, W) out."""
    groups = query.shape[1] // key.shape[1]
    key, value = (each.repeat_interleave(groups, 1) if groups > 1 else each for each in (key, value))
    if layout is None:
        attended = attention(query, key, value, scaling)
    else:
        attended = attention_in_spans(query, key, value, scaling, layout)
    return attended.transpose(1, 2).contiguous(), None


def _no_mask(*_: object, **__: object) -> None:
    return None
