"""Training sequences to a right-padded batch: inputs, targets, loss masks, losses.

Shapes: B lessons, T positions, D hidden size, P image positions. Padding stands on the right and everything is
causal, so no mask is needed and no length leaks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from model.backends.janus import CODE, PIXEL, TEXT, Janus
from model.sequences import Codes, Pixels, Text, size
from model.training.training_sequences import TrainingSequence

IGNORE = -100


@dataclass(frozen=True)
class Batch:
    """`labels` stand at the position that predicts them (already shifted); notes where they are."""

    ids: torch.Tensor  # (B, T) token ids, image codes, 0
    kinds: torch.Tensor  # (B, T) TEXT, CODE, PIXEL, 0
    images: list  # uint8 (H, W, 3), in the order of the PIXEL positions
    text_labels: torch.Tensor  # (B, T) token id or IGNORE
    code_labels: torch.Tensor  # (B, T) image code or IGNORE
    weights: torch.Tensor  # (B,)
    notes: torch.Tensor  # (N, 3): row, position and token id of every note
    depths: torch.Tensor  # (N,) share of the layers after which it is known


def length(lesson: TrainingSequence, image_codes: int) -> int:
    """Positions of a lesson."""
    return sum(size(piece, image_codes) for piece in lesson.pieces)


def collate(lessons: Sequence[TrainingSequence], image_codes: int, multiple: int = 1) -> Batch:
    """Right-pad to the longest lesson, rounded up to a multiple."""
    longest = max(length(lesson, image_codes) for lesson in lessons)
    shape = (len(lessons), -(-longest // multiple) * multiple)
    ids, kinds = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    text_labels, code_labels = torch.full(shape, IGNORE), torch.full(shape, IGNORE)
    images, notes, depths = [], [], []
    for row, lesson in enumerate(lessons):
        at = 0
        for piece in lesson.pieces:
            match piece:
                case Text():
                    values, kind, labels = piece.ids, TEXT, text_labels
                case Codes():
                    values, kind, labels = piece.codes, CODE, code_labels
                case Pixels():
                    values, kind, labels = (0,) * image_codes, PIXEL, None
                    images.append(piece.image)
            end = at + len(values)
            ids[row, at:end] = torch.tensor(values, dtype=torch.long)
            kinds[row, at:end] = kind
            if labels is not None and piece.target:
                labels[row, at - 1 : end - 1] = ids[row, at:end]
            for position, there in enumerate(piece.notes, at):
                notes += [(row, position, note.id) for note in there]
                depths += [note.depth for note in there]
            at = end
    weights = torch.tensor([lesson.weight for lesson in lessons])
    noted = torch.tensor(notes, dtype=torch.long).view(-1, 3)
    return Batch(ids, kinds, images, text_labels, code_labels, weights, noted, torch.tensor(depths))


@dataclass(frozen=True)
class Losses:
    """Summed cross-entropies; sums of micro-batches add up."""

    codes: torch.Tensor
    text: torch.Tensor  # all text but the verdict
    verdict: torch.Tensor
    notes: torch.Tensor  # while it looks
    hand_notes: torch.Tensor  # while it draws
    right: int  # verdicts whose more likely word of Yes and No was the target


def losses(janus: Janus, batch: Batch) -> Losses:
    """One pass over the batch, and the losses of the positions that have a label or a note."""
    inputs = janus.embed(batch.ids, batch.kinds, batch.images)
    noted = len(batch.notes) > 0
    seen = janus.network.model.language_model(inputs_embeds=inputs, use_cache=False, output_hidden_states=noted)
    hidden, device = seen.last_hidden_state, inputs.device
    code_labels, text_labels = batch.code_labels.to(device), batch.text_labels.to(device)
    weights = batch.weights.to(device)[:, None].expand_as(code_labels)
    at_code, at_text = code_labels != IGNORE, text_labels != IGNORE
    code_loss = F.cross_entropy(janus.image_logits(hidden[at_code]).float(), code_labels[at_code], reduction="none")
    logits, wanted = janus.text_logits(hidden[at_text]).float(), text_labels[at_text]
    text_loss = F.cross_entropy(logits, wanted, reduction="none") * weights[at_text]
    notes, hand_notes = _note_losses(janus, batch, seen.hidden_states) if noted else hidden.new_zeros(2)
    special = janus.ids
    verdict = (wanted == special.yes) | (wanted == special.no)
    says_yes = logits[verdict, special.yes] > logits[verdict, special.no]
    return Losses(
        codes=(code_loss * weights[at_code]).sum(),
        text=text_loss[~verdict].sum(),
        verdict=text_loss[verdict].sum(),
        notes=notes,
        hand_notes=hand_notes,
        right=int((says_yes == (wanted[verdict] == special.yes)).sum()),
    )


def _looks(batch: Batch) -> torch.Tensor:
    """(N,) whether each note is of a lesson that looks at an image, and not of one that draws."""
    return (batch.kinds == PIXEL).any(1)[batch.notes[:, 0]]


def _note_losses(janus: Janus, batch: Batch, states: Sequence[torch.Tensor]) -> torch.Tensor:
    """(2,) of lessons that look, and of those that draw. The head reads every note off the layer it belongs to
    (`states`: (B, T, D) before the first and after each).
    """
    layers, looks = (batch.depths * (len(states) - 1)).round().long(), _looks(batch)
    found = []
    for layer in layers.unique().tolist():
        rows, positions, wanted = batch.notes[layers == layer].to(states[layer].device).T
        state = states[layer]  # several notes lie at one position: their gradients are summed in a fixed order
        known = state.flatten(0, 1).index_select(0, rows * state.shape[1] + positions)
        if layer + 1 < len(states):  # the last is normalised already
            known = janus.network.model.language_model.norm(known)
        loss = F.cross_entropy(janus.text_logits(known).float(), wanted, reduction="none")
        looking = looks[layers == layer].to(loss.device)
        found.append(torch.stack([loss[looking].sum(), loss[~looking].sum()]))
    return torch.stack(found).sum(0)


def target_counts(janus: Janus, batches: Sequence[Batch]) -> tuple[int, int, int, int, int]:
    """Targets of all micro-batches: image codes, text without verdicts, verdicts, notes while it looks and draws."""
    codes = sum(int((b.code_labels != IGNORE).sum()) for b in batches)
    text = sum(int((b.text_labels != IGNORE).sum()) for b in batches)
    yes, no = janus.ids.yes, janus.ids.no
    verdicts = sum(int(((b.text_labels == yes) | (b.text_labels == no)).sum()) for b in batches)
    looking = sum(int(_looks(b).sum()) for b in batches)
    return codes, text - verdicts, verdicts, looking, sum(len(b.notes) for b in batches) - looking
