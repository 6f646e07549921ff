"""Run the steps of many trajectories together: one forward pass for all that feed one token, one for the rest.

Knows pieces, slots and the network; nothing of drawing and judging, which is the grammar's.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from model.decoding.cache import Slots, Window
from model.decoding.grammar import Sampled, Step
from model.decoding.sampling import draw, guided
from model.janus import CODE, PIXEL, TEXT, Janus
from model.streams import Codes, Piece, Pixels, Text, size, unconditional


def advance(janus: Janus, slots: Slots, steps: Sequence[Step], generators: Sequence[torch.Generator]) -> list[Sampled]:
    """Feed every step's pieces to its stream and sample its token."""
    feeds: list[tuple[int, list[Piece]]] = []
    for step in steps:
        feeds.append((step.stream.slot, list(step.pieces)))
        if step.stream.twin is not None:
            feeds.append((step.stream.twin, unconditional(step.pieces, janus.ids.pad)))
    last = forward(janus, slots, feeds)
    heads = [step.head for step in steps for _ in range(1 + (step.stream.twin is not None))]
    every, results = iter(logits_of(janus, last, heads)), []
    for step, generator in zip(steps, generators, strict=True):
        logits = next(every)
        if step.stream.twin is not None:
            other = next(every)
            logits = guided(logits, other, step.rule.guidance) if step.head == "image" else logits
        results.append(Sampled(draw(logits, step.rule, generator), logits))
    return results


def logits_of(janus: Janus, hidden: Sequence[torch.Tensor], heads: Sequence[str]) -> list[torch.Tensor]:
    """A row of logits for every hidden state (D,), by the head it is for: one product per head."""
    found: dict[int, torch.Tensor] = {}
    for name, head in (("image", janus.image_logits), ("text", janus.text_logits)):
        rows = [row for row, wanted in enumerate(heads) if wanted == name]
        if rows:
            found |= zip(rows, head(torch.stack([hidden[row] for row in rows])), strict=True)
    return [found[row] for row in range(len(heads))]


def forward(janus: Janus, slots: Slots, feeds: Sequence[tuple[int, list[Piece]]]) -> list[torch.Tensor]:
    """The hidden state (D,) after the last position of every (slot, pieces). A beginning that several share is
    computed once: a group of rollouts reads its prompt together."""
    first: dict[tuple[Piece, ...], int] = {}
    beginnings = [i for i, (slot, _) in enumerate(feeds) if slots.lengths[slot] == 0]
    shared = {i: first.setdefault(tuple(feeds[i][1]), i) for i in beginnings}
    sizes = [sum(size(piece, janus.image_codes) for piece in pieces) for _, pieces in feeds]
    last: list[torch.Tensor | None] = [None] * len(feeds)
    own = [i for i in range(len(feeds)) if shared.get(i, i) == i]
    for group in ([i for i in own if sizes[i] == 1], [i for i in own if sizes[i] > 1]):
        if group:
            chosen, counts = [feeds[i] for i in group], [sizes[i] for i in group]
            hidden = run(janus, Window(slots, [slot for slot, _ in chosen], counts), chosen, counts)
            for row, index in enumerate(group):
                last[index] = hidden[row, counts[row] - 1]
    for index, source in shared.items():
        if index != source:
            slots.copy(feeds[source][0], feeds[index][0])
            last[index] = last[source]
    return last


def run(janus: Janus, window: Window, feeds: Sequence[tuple[int, list[Piece]]], counts: Sequence[int]) -> torch.Tensor:
    """(R, Q, D) hidden states; rows are right-padded, and padding writes to the slots' bins."""
    ids = torch.zeros((len(feeds), max(counts)), dtype=torch.long)
    kinds, images = torch.zeros_like(ids), []
    for row, (_, pieces) in enumerate(feeds):
        at = 0
        for piece in pieces:
            end = at + size(piece, janus.image_codes)
            match piece:
                case Text():
                    ids[row, at:end], kinds[row, at:end] = torch.tensor(piece.ids), TEXT
                case Codes():
                    ids[row, at:end], kinds[row, at:end] = torch.tensor(piece.codes), CODE
                case Pixels():
                    kinds[row, at:end] = PIXEL
                    images.append(piece.image)
            at = end
    model = janus.network.model.language_model
    hidden = janus.embed(ids, kinds, images)
    rotary, mask = model.rotary_emb(hidden, position_ids=window.positions), window.mask
    for layer in model.layers:
        hidden = layer(hidden, attention_mask=mask, position_embeddings=rotary, past_key_values=window, use_cache=True)
    return model.norm(hidden)
