"""Training sequences to a right-padded batch: inputs, and the scored tokens of all sequences in groups.

Shapes: B sequences, T positions, A scored tokens. Padding stands on the right and attention is causal, so no mask is
needed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from model.backends.janus import CODE, PIXEL, TEXT, Janus
from model.decoding.sampling import Rule
from model.sequences import Codes, Pixels, Text, size
from model.training.training_sequences import MODEL_DISTRIBUTION, Kind, Targets, TrainingSequence

KINDS = tuple(Kind)
PADDING = -1  # in place of a kind


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
    """`positions` are those that predict the `tokens`."""

    ids: torch.Tensor  # (B, T) token ids, image codes, 0
    unconditional_ids: torch.Tensor | None  # (B, T) the same with pads where guidance hides them; None without guidance
    kinds: torch.Tensor  # (B, T) TEXT, CODE, PIXEL, 0
    images: list[np.ndarray]  # uint8 (H, W, 3), in the order of the PIXEL positions
    groups: tuple[TargetGroup, ...]
    rows: torch.Tensor  # (A,) index of the sequence
    positions: torch.Tensor  # (A,)
    tokens: torch.Tensor  # (A,) token id or image code
    target_kinds: torch.Tensor  # (A,) index into KINDS, or PADDING
    weights: torch.Tensor  # (A,) of the sequence
    advantages: torch.Tensor  # (A,)
    rollout_log_probs: torch.Tensor  # (A,) when the tokens were sampled; NaN where not recorded
    candidates: torch.Tensor | int = 0  # (A, K) tokens whose log-probabilities are asked for, too; K: the likeliest

    def of_kind(self, kind: Kind) -> torch.Tensor:
        """(A,) bool."""
        return self.target_kinds == KINDS.index(kind)


def length(sequence: TrainingSequence, image_codes: int) -> int:
    """Positions of a sequence."""
    return sum(size(piece, image_codes) for piece in sequence.pieces)


def micro_batches(janus: Janus, sequences: Sequence[TrainingSequence], most: int, multiple: int = 1) -> list[Batch]:
    """Batches of at most `most` sequences, those of like length together."""
    ordered = sorted(sequences, key=lambda sequence: length(sequence, janus.image_codes))
    return [collate(janus, ordered[i : i + most], multiple) for i in range(0, len(ordered), most)]


def padding_batch(janus: Janus) -> Batch:
    """A batch of one scored token of weight 0 and no kind: for a process that has fewer batches than another."""
    targets = Targets(Kind.TEXT, (0,), (janus.ids.pad,))
    batch = collate(janus, [TrainingSequence((Text((janus.ids.pad,) * 2),), (targets,), weight=0.0)])
    batch.target_kinds.fill_(PADDING)
    return batch


def collate(janus: Janus, sequences: Sequence[TrainingSequence], multiple: int = 1) -> Batch:
    """Right-pad to the longest sequence, rounded up to a multiple."""
    longest = max(length(sequence, janus.image_codes) for sequence in sequences)
    shape = (len(sequences), -(-longest // multiple) * multiple)
    ids, kinds = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    hidden = torch.zeros(shape, dtype=torch.bool)  # from the unconditional branch
    images: list[np.ndarray] = []
    for row, sequence in enumerate(sequences):
        start = 0
        for piece in sequence.pieces:
            end = start + size(piece, janus.image_codes)
            match piece:
                case Text():
                    ids[row, start:end], kinds[row, start:end] = torch.tensor(piece.ids, dtype=torch.long), TEXT
                    hidden[row, start:end] = piece.hideable
                case Codes():
                    ids[row, start:end], kinds[row, start:end] = torch.tensor(piece.codes, dtype=torch.long), CODE
                case Pixels():
                    kinds[row, start:end] = PIXEL
                    images.append(piece.image)
            start = end
    groups, columns = _scored(sequences)
    guided = any(group.code and group.rule.guidance != 1 for group in groups)
    twin = ids.masked_fill(hidden, janus.ids.pad) if guided else None
    return Batch(ids, twin, kinds, images, groups, *columns)


def token_counts(batch: Any) -> tuple[int, int]:
    """(positions that hold something, all positions) of a Batch or of what has one as `batch`; zeros of anything
    else."""
    batch = getattr(batch, "batch", batch)
    return (int((batch.kinds > 0).sum()), batch.kinds.numel()) if isinstance(batch, Batch) else (0, 0)


def _scored(sequences: Sequence[TrainingSequence]) -> tuple[tuple[TargetGroup, ...], list[torch.Tensor]]:
    """The groups of targets, and rows, positions, tokens, kinds, weights, advantages and rollout log-probabilities
    of their tokens."""
    # both heads have a group, be it empty: every parameter gets a gradient whatever a batch holds
    members: dict[tuple[bool, float, Rule], list[tuple[int, Targets]]] = {
        (code, 1.0, MODEL_DISTRIBUTION): [] for code in (True, False)
    }
    for row, sequence in enumerate(sequences):
        for targets in sequence.targets:
            key = (targets.kind is Kind.CODE, targets.depth, targets.rule)
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
