"""Rollouts of a group by a loop over transformers' own modules, stage after stage: draw, check, draw again.

So does Janus-Pro-R1's published trainer. Each stage is one call for the whole group: contexts padded on the left under
an attention mask, read anew into an empty cache, then a token at a time until the longest is done. The tokens are those
of given trajectories, so that two ways of drawing are compared on the same; every step samples all the same.
"""

import inspect
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache
from transformers.models.llama.modeling_llama import LlamaModel

from model.backends.janus import Janus
from model.backends.request import MOST_REFLECTION_TOKENS
from model.sequences import (
    Codes,
    Piece,
    Pixels,
    Text,
    image_pixel_pieces,
    prompt_pieces,
    redraw_prompt_pieces,
    segment_pieces,
    self_check_pieces,
    unconditional,
)
from model.templates import BEGIN_IMAGE, EOS
from model.trajectory import Reflection, Trajectory

CACHE = "cache" if "cache" in inspect.signature(LlamaModel.forward).parameters else "past_key_values"


class StagedRollouts:
    """Draws trajectories without thoughts again. `log_prob`: the sum over all tokens drawn so far."""

    def __init__(self, janus: Janus):
        self.janus, self.log_prob, self.tokens = janus, 0.0, 0
        self.end = janus.tokenize(EOS)

    @torch.inference_mode()
    def draw(self, group: Sequence[Trajectory], pictures: Mapping[str, np.ndarray]) -> None:
        """All stages of a group; `pictures` (H, W, 3) uint8 by hash are those looked at."""
        rounds = max(len(trajectory.images) for trajectory in group)
        for number in range(rounds):
            left = [trajectory for trajectory in group if len(trajectory.images) > number]
            self._images(left, number)
            self._reflections([each for each in left if len(each.reflections) > number], number, pictures)

    def _images(self, group: Sequence[Trajectory], number: int) -> None:
        janus, guidance = self.janus, group[0].sampling.guidance
        begin = Text(tuple(janus.tokenize(BEGIN_IMAGE)))
        contexts: list[list[Piece]] = []
        for trajectory in group:
            pieces: list[Piece] = [*prompt_pieces(janus, trajectory.prompt)]
            for image, reflection in zip(trajectory.images[:number], trajectory.reflections[:number], strict=True):
                pieces += [
                    *segment_pieces(janus, image),
                    *segment_pieces(janus, reflection),
                    *redraw_prompt_pieces(janus),
                ]
            contexts.append([*pieces, begin])
        rows = [twin for pieces in contexts for twin in (pieces, unconditional(pieces, janus.ids.pad))]
        steps = self._steps(*self._padded(rows))
        hidden = next(steps)
        codes = torch.tensor([trajectory.images[number].codes for trajectory in group])
        for column in codes.T:
            conditional, blind = janus.image_logits(hidden).float().view(len(group), 2, -1).unbind(1)
            self._sample(blind + guidance * (conditional - blind), group[0].sampling.temperature, column)
            hidden = steps.send(janus.embed_codes(column.repeat_interleave(2)[:, None]))
        janus.network.decode_image_tokens(codes)

    def _reflections(self, group: Sequence[Trajectory], number: int, pictures: Mapping[str, np.ndarray]) -> None:
        if not group:
            return
        janus = self.janus
        rows: list[list[Piece]] = []
        for trajectory in group:
            pieces: list[Piece] = [*prompt_pieces(janus, trajectory.prompt)]
            for at, image in enumerate(trajectory.images[: number + 1]):
                pieces += [*image_pixel_pieces(janus, pictures[image.sha256 or ""]), *self_check_pieces(janus)]
                if at < number:
                    token_ids = tuple(token.id for token in trajectory.reflections[at].tokens)
                    pieces += [Text(token_ids), *redraw_prompt_pieces(janus)]
            rows.append(pieces)
        words = [self._said(each.reflections[number]) for each in group]
        drawn = pad_sequence([torch.tensor(each) for each in words], batch_first=True, padding_value=-1)
        steps = self._steps(*self._padded(rows))
        hidden = next(steps)
        for at, column in enumerate(drawn.T):
            logits = janus.text_logits(hidden).float()
            if at == 0:
                allowed = torch.tensor([janus.ids.yes, janus.ids.no])
                kept = torch.full_like(logits, -torch.inf)
                logits = kept.index_copy(-1, allowed, logits.index_select(-1, allowed))
            else:
                logits = logits.index_fill(-1, torch.tensor([janus.ids.begin_image]), -torch.inf)
            self._sample(logits, group[0].sampling.text_temperature, column)
            hidden = steps.send(janus.embed_text(column.clamp(min=0)[:, None]))

    def _said(self, reflection: Reflection) -> list[int]:
        """The tokens drawn of a reflection: with its end, unless it was cut off."""
        ids = [token.id for token in reflection.tokens]
        return ids if len(ids) >= MOST_REFLECTION_TOKENS else [*ids, *self.end]

    def _sample(self, logits: torch.Tensor, temperature: float, tokens: torch.Tensor) -> None:
        """Draw a token of every row, and take the given one (−1: the row has ended)."""
        probabilities = (logits / temperature).softmax(-1)
        torch.multinomial(probabilities, 1)
        own = tokens >= 0
        self.log_prob += float(probabilities[own, tokens[own]].log().sum())
        self.tokens += int(own.sum())

    def _padded(self, rows: Sequence[Sequence[Piece]]) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, T, D) inputs padded on the left, and their (B, T) attention mask."""
        janus = self.janus
        embedded = [torch.cat([self._embedded(piece) for piece in pieces]) for pieces in rows]
        longest = max(map(len, embedded))
        pad = janus.embed_text(torch.tensor([janus.ids.pad]))
        inputs = torch.stack([torch.cat([pad.expand(longest - len(each), -1), each]) for each in embedded])
        mask = torch.tensor([[0] * (longest - len(each)) + [1] * len(each) for each in embedded])
        return inputs, mask

    def _embedded(self, piece: Piece) -> torch.Tensor:
        """(T, D)."""
        match piece:
            case Text():
                return self.janus.embed_text(torch.tensor(piece.ids))
            case Codes():
                return self.janus.embed_codes(torch.tensor(piece.codes)[None])[0]
            case Pixels():
                return self.janus.embed_pixels([piece.image])[0]
        raise ValueError(f"a rollout has no {type(piece).__name__}")

    def _steps(self, inputs: torch.Tensor, mask: torch.Tensor):
        """Hidden states (B, D) of the last position, first of the context, then of every (B, 1, D) that is sent."""
        model = self.janus.network.model.language_model
        cache = DynamicCache(config=model.config)
        while True:
            output = model(inputs_embeds=inputs, attention_mask=mask, use_cache=True, **{CACHE: cache})
            inputs = yield output.last_hidden_state[:, -1]
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], 1)
