"""Training steps as a plain loop over transformers' own Janus makes them, with padding.

Batches are taken in the order of the data and right-padded to their longest sequence under an attention mask; both
heads are applied to all positions, and the loss ignores what is not learnt (label −100). Of preferences the chosen and
the rejected sequences stand in one batch, which the policy and, in every step, a frozen copy of it read (TRL's
concatenated forward). Shapes: B sequences, T positions.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import cross_entropy, logsigmoid
from transformers import JanusForConditionalGeneration

from model.backends.janus import CODE, PIXEL, TEXT, Janus
from model.sequences import Codes, Pixels, Text, size
from model.training.batch import length
from model.training.policy import frozen_parts
from model.training.sft import KIND_WEIGHTS
from model.training.training_sequences import TokenKind, TrainingSequence

IGNORED = -100


@dataclass(frozen=True)
class PaddedBatch:
    """Right-padded sequences, and what each position has to predict."""

    ids: torch.Tensor  # (B, T)
    kinds: torch.Tensor  # (B, T) what an id is: TEXT, CODE, PIXEL, 0
    images: list[np.ndarray]
    labels: dict[bool, torch.Tensor]  # by whether they are image codes: (B, T) token or IGNORED
    weights: torch.Tensor  # (B, T) of the cross-entropy at a position


def padded(janus: Janus, sequences: Sequence[TrainingSequence], weights: dict[TokenKind, float]) -> PaddedBatch:
    """The sequences in their order; `weights`: of a token by its kind."""
    longest = max(length(sequence, janus.image_codes) for sequence in sequences)
    shape = (len(sequences), longest)
    ids, kinds = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    labels = {code: torch.full(shape, IGNORED) for code in (True, False)}
    loss_weights = torch.zeros(shape)
    images: list[np.ndarray] = []
    for row, sequence in enumerate(sequences):
        start = 0
        for piece in sequence.pieces:
            end = start + size(piece, janus.image_codes)
            match piece:
                case Text():
                    ids[row, start:end], kinds[row, start:end] = torch.tensor(piece.ids), TEXT
                case Codes():
                    ids[row, start:end], kinds[row, start:end] = torch.tensor(piece.codes), CODE
                case Pixels():
                    kinds[row, start:end] = PIXEL
                    images.append(piece.image)
            start = end
        for targets in sequence.targets:
            at = list(targets.positions)
            labels[targets.kind is TokenKind.CODE][row, at] = torch.tensor(targets.tokens)
            loss_weights[row, at] = weights[targets.kind]
    return PaddedBatch(ids, kinds, images, labels, loss_weights)


def kind_weights(sequences: Sequence[TrainingSequence]) -> dict[TokenKind, float]:
    """Of a token of each kind, where the loss is the weighted sum of each kind's mean over a step's sequences."""
    counts: dict[TokenKind, int] = {}
    for targets in (targets for sequence in sequences for targets in sequence.targets):
        counts[targets.kind] = counts.get(targets.kind, 0) + len(targets.tokens)
    return {kind: KIND_WEIGHTS[kind] / count for kind, count in counts.items()}


class PlainLoop:
    """AdamW steps on all weights of a network but for codec and vision tower."""

    def __init__(self, janus: Janus, learning_rate: float):
        self.janus = janus
        janus.network.requires_grad_(requires_grad=True)
        for part in frozen_parts(janus):
            part.requires_grad_(requires_grad=False)
        self.reference = copy.deepcopy(janus.network).requires_grad_(requires_grad=False)
        self.parameters = [each for each in janus.network.parameters() if each.requires_grad]
        self.optimizer = torch.optim.AdamW(self.parameters, lr=learning_rate, weight_decay=0.0)

    def supervised(self, sequences: Sequence[TrainingSequence], most: int) -> float:
        """A step on the cross-entropy of sequences, `most` in one pass; its loss."""
        weights, total = kind_weights(sequences), 0.0
        for start in range(0, len(sequences), most):
            batch = padded(self.janus, sequences[start : start + most], weights)
            losses = self._losses(self.janus.network, batch)
            loss = (losses * batch.weights.flatten()).sum()
            loss.backward()
            total += float(loss.detach())
        self._descend()
        return total

    def preferred(self, pairs: Sequence[tuple[TrainingSequence, ...]], most: int, beta: float) -> tuple[float, float]:
        """A step of DPO on pairs (chosen, rejected), `most` pairs in one pass; its loss, and the mean log-probability
        of what is chosen."""
        total = chosen_log_prob = 0.0
        for start in range(0, len(pairs), most):
            some = pairs[start : start + most]
            batch = padded(self.janus, [pair[at] for at in (0, 1) for pair in some], dict.fromkeys(TokenKind, 1.0))
            own = -self._losses(self.janus.network, batch).view(batch.ids.shape).sum(1)
            with torch.no_grad():
                known = -self._losses(self.reference, batch).view(batch.ids.shape).sum(1)
            chosen, rejected = (own - known).chunk(2)
            loss = -logsigmoid(beta * (chosen - rejected)).sum() / len(pairs)
            loss.backward()
            total += float(loss.detach())
            chosen_log_prob += float(own.detach().chunk(2)[0].sum()) / len(pairs)
        self._descend()
        return total, chosen_log_prob

    def _losses(self, network: JanusForConditionalGeneration, batch: PaddedBatch) -> torch.Tensor:
        """(B·T,) cross-entropy at every position that has a label."""
        inputs = self._embedded(network, batch)
        states = network.model.language_model(
            inputs_embeds=inputs, attention_mask=(batch.kinds > 0).long(), use_cache=False
        ).last_hidden_state
        parts = [
            cross_entropy(head(states).float().flatten(0, 1), batch.labels[code].flatten(), reduction="none")
            for code, head in ((True, network.model.generation_head), (False, network.lm_head))
            if (batch.labels[code] != IGNORED).any()
        ]
        return torch.stack(parts).sum(0)

    def _embedded(self, network: JanusForConditionalGeneration, batch: PaddedBatch) -> torch.Tensor:
        """(B, T, D)."""
        inputs = network.model.language_model.embed_tokens(torch.where(batch.kinds == TEXT, batch.ids, 0))
        codes = batch.kinds == CODE
        if codes.any():
            drawn = network.prepare_embeddings_for_image_generation(batch.ids[codes])
            inputs = inputs.masked_scatter(codes[..., None], drawn)
        if batch.images:
            pixels = torch.from_numpy(np.stack(batch.images)).permute(0, 3, 1, 2)
            seen = network.model.get_image_features(self.janus.preprocessing.values(pixels)).pooler_output
            inputs = inputs.masked_scatter((batch.kinds == PIXEL)[..., None], seen.flatten(0, 1))
        return inputs

    def _descend(self) -> None:
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
