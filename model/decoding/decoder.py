"""Batched decode steps: one forward pass for single-token feeds, one for longer ones, then heads, guidance, sampling.

Independent of the grammar: it feeds pieces to slots and samples by rules.
"""

import logging
from collections.abc import Sequence

import torch

from model.backends.janus import CODE, PIXEL, TEXT, Janus
from model.decoding.cuda.cuda_graphs import GraphedSteps, on_gpu
from model.decoding.grammar import Sampled, Step
from model.decoding.kv_cache import CacheWindow, to_device
from model.decoding.packed_weights import prepared
from model.decoding.sampling import draw, guided, uniform
from model.sequences import Codes, Piece, Pixels, Rewind, SkipPosition, Text, size, unconditional

log = logging.getLogger(__name__)


class Decoder:
    """A network with a KV cache of `streams` slots of `capacity` positions."""

    def __init__(self, janus: Janus, streams: int, capacity: int):
        self.janus = janus
        self.prepared = prepared(janus)
        self.slots = self.prepared.llama.slots(streams, capacity)
        gpu = on_gpu(self.prepared.llama, self.slots)
        self.graphed = gpu and GraphedSteps(janus, self.prepared.llama, self.slots, *gpu)

    def close(self) -> None:
        """Free the cache and the captured CUDA graphs."""
        self.slots.stored.clear()
        if self.graphed is not None:
            self.graphed.close()

    @torch.inference_mode()
    def advance(self, steps: Sequence[Step], generators: Sequence[torch.Generator]) -> list[Sampled | Exception]:
        """Feed every step's pieces to its stream and sample its token; a step that fails yields its exception.

        After an exception of the batch the cache is restored and every step is computed separately, with the uniform
        number already drawn for it.
        """
        numbers = [uniform(step.rule, generator) for step, generator in zip(steps, generators, strict=True)]
        before = self.slots.snapshot()
        try:
            return self._advance(steps, numbers)
        except Exception as error:
            if len(steps) == 1:
                log.exception("a step failed")
                return [error]
            log.exception("a step of %d trajectories failed; each is computed by itself", len(steps))
        self.slots.restore(before)
        return [self._by_itself(step, number) for step, number in zip(steps, numbers, strict=True)]

    def _by_itself(self, step: Step, number: float | None) -> Sampled | Exception:
        try:
            return self._advance([step], [number])[0]
        except Exception as error:
            log.exception("a step failed")
            return error

    def _advance(self, steps: Sequence[Step], numbers: Sequence[float | None]) -> list[Sampled | Exception]:
        feeds: list[tuple[int, tuple[Piece, ...]]] = []
        for step in steps:
            feeds.append((step.stream.slot, step.pieces))
            if step.stream.twin is not None:
                feeds.append((step.stream.twin, unconditional(step.pieces, self.janus.ids.pad)))
        return self._sample(steps, numbers, self.forward(feeds))

    def _sample(
        self, steps: Sequence[Step], numbers: Sequence[float | None], hidden: torch.Tensor
    ) -> list[Sampled | Exception]:
        """Sample one token per step from (R, D) hidden states: steps of one head and rule together."""
        outcomes: list[Sampled | Exception | None] = [None] * len(steps)
        first, at = [], 0  # the row of every step, its twin's follows
        for step in steps:
            first.append(at)
            at += 1 + (step.stream.twin is not None)
        kinds: dict[tuple, list[int]] = {}
        for index, step in enumerate(steps):
            twin = step.stream.twin is not None and step.head == "image"
            kinds.setdefault((step.head, step.rule, twin), []).append(index)
        for (head, rule, twin), chosen in kinds.items():
            rows = [first[index] for index in chosen]
            project = self.prepared.image_logits if head == "image" else self.janus.text_logits
            rows = rows + [row + 1 for row in rows] if twin else rows
            logits = project(hidden[to_device(rows, hidden.device)])
            if twin:
                logits = guided(*logits.chunk(2), rule.guidance)
            tokens = draw(logits, rule, [numbers[index] for index in chosen])
            for index, token, row in zip(chosen, tokens, logits, strict=True):
                outcomes[index] = token if isinstance(token, Exception) else Sampled(token, row)
        return outcomes

    def forward(self, feeds: Sequence[tuple[int, Sequence[Piece]]]) -> torch.Tensor:
        """(R, D) hidden states after the last position of every (slot, pieces).

        A beginning that several share is computed once: a group of rollouts reads its prompt together.
        """
        for slot, pieces in feeds:
            if isinstance(pieces[0], Rewind):
                self.slots.rewind(slot, pieces[0].count)
        sizes = [sum(size(piece, self.janus.image_codes) for piece in pieces) for _, pieces in feeds]
        if all(each == 1 for each in sizes):
            return self._run(feeds, sizes)
        first: dict[tuple[Piece, ...], int] = {}
        beginnings = [i for i, (slot, _) in enumerate(feeds) if self.slots.lengths[slot] == 0]
        shared = {i: first.setdefault(tuple(feeds[i][1]), i) for i in beginnings}
        own = [i for i in range(len(feeds)) if shared.get(i, i) == i]
        last: list[torch.Tensor | None] = [None] * len(feeds)
        for group in ([i for i in own if sizes[i] == 1], [i for i in own if sizes[i] > 1]):
            if group:
                hidden = self._run([feeds[i] for i in group], [sizes[i] for i in group])
                for index, row in zip(group, hidden, strict=True):
                    last[index] = row
        for index, source in shared.items():
            if index != source:
                self.slots.copy(feeds[source][0], feeds[index][0])
                last[index] = last[source]
        return torch.stack(last)

    def _run(self, feeds: Sequence[tuple[int, Sequence[Piece]]], counts: Sequence[int]) -> torch.Tensor:
        """(R, D) last hidden states; rows are right-padded, and padding writes to the slots' bins."""
        every_ids, every_kinds, gaps, images = [], [], [[] for _ in feeds], []
        for (_, pieces), count, gap in zip(feeds, counts, gaps, strict=True):
            ids, kinds = [], []
            for piece in pieces:
                match piece:
                    case Text():
                        ids += piece.ids
                        kinds += [TEXT] * len(piece.ids)
                    case Codes():
                        ids += piece.codes
                        kinds += [CODE] * len(piece.codes)
                    case Pixels():
                        ids += [0] * self.janus.image_codes
                        kinds += [PIXEL] * self.janus.image_codes
                        images.append(piece.image)
                    case SkipPosition():
                        gap.append(len(ids))
            padding = [0] * (max(counts) - count)
            every_ids.append(ids + padding)
            every_kinds.append(kinds + padding)
        slots = [slot for slot, _ in feeds]
        if self.graphed is not None and max(counts) == 1 and not images and not any(gaps):
            return self.graphed(slots, [i for [i] in every_ids], [kind for [kind] in every_kinds])
        inputs = self._embed(every_ids, every_kinds, images)
        hidden = self.prepared.llama(inputs, CacheWindow(self.slots, slots, counts, gaps))
        if max(counts) == 1:
            return hidden[:, 0]
        return hidden[torch.arange(len(feeds)), torch.tensor(counts) - 1]

    def _embed(self, ids: list[list[int]], kinds: list[list[int]], images: list) -> torch.Tensor:
        codes = self.prepared.codes
        if codes is not None and all(kind == CODE for row in kinds for kind in row):
            return codes[torch.tensor(ids)]
        return self.janus.embed(torch.tensor(ids), torch.tensor(kinds), images)
