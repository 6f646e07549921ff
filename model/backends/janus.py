"""The loaded Janus network: text, understanding and generation embeddings, text and image heads, codec.

One class serves the embedded and the full-size network; only the tokenizer file and the sizes differ. It knows
transformers' Janus modules and their gaps, not the templates and not the decode loop.

Shapes: B batch, T positions, D hidden size, N codes of an image (N = side², raster order), H, W pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from transformers import JanusForConditionalGeneration, PreTrainedTokenizerBase

from model.backends.adapters import Adapter
from model.backends.codec_decoder import painter
from model.backends.contract import Domain
from model.backends.derived_modules import PATCHING, DerivedCache
from model.backends.embedded_world import EMBEDDED_WORLD
from model.backends.preprocessing import Preprocessing, signed
from model.backends.request import Task
from model.sequences import Codes, Piece, Text, edit_prompt_pieces, prompt_pieces
from model.templates import BEGIN_IMAGE, BOS, EOS, NO, PAD, YES
from model.trajectory import Sampling

SMALL = 50_000_000  # parameters
TEXT, CODE, PIXEL = 1, 2, 3  # what a position of a stream holds; 0 is padding
RECENT = 64  # prompts that are not tokenised again


@dataclass
class Janus:
    """A network ready to draw and judge. `name` is what trajectories call its checkpoint."""

    network: JanusForConditionalGeneration
    tokenizer: PreTrainedTokenizerBase
    name: str
    sampling: Sampling  # the checkpoint's own settings
    preprocessing: Preprocessing = Preprocessing()  # of images for the understanding embedding
    fingerprint: str = ""  # of the weights in the checkpoint's files
    adapter: Adapter | None = None  # that is trained beside the weights
    derived: DerivedCache = field(default_factory=DerivedCache, init=False, repr=False, compare=False)

    @property
    def device(self) -> torch.device:
        return self.network.device

    @property
    def dtype(self) -> torch.dtype:
        return self.network.dtype

    @cached_property
    def small(self) -> bool:
        """Whether the network has fewer than SMALL parameters, so that one torch thread is fastest."""
        return sum(parameter.numel() for parameter in self.network.parameters()) < SMALL

    @cached_property
    def side(self) -> int:
        """Image codes per side."""
        return self.network.config.vq_config.num_patches

    @cached_property
    def image_codes(self) -> int:
        return self.side**2

    @cached_property
    def codebook_size(self) -> int:
        """Size K of the codebook."""
        return self.network.config.vq_config.num_embeddings

    @property
    def domain(self) -> Domain:
        """The embedded world where the checkpoint was trained for its words."""
        return EMBEDDED_WORLD if getattr(self.network.config, "embedded_world", False) else Domain()

    @cached_property
    def prompts(self) -> "PromptReader":
        """Prompts as this network reads them."""
        return PromptReader(self.tokenizer, self.domain)

    @property
    def image_size(self) -> int:
        """Pixels per side."""
        return self.network.config.vision_config.image_size

    @cached_property
    def ids(self) -> "SpecialIds":
        def one(token: str) -> int:
            return self.tokenizer.convert_tokens_to_ids(token)

        yes, no = (self.tokenizer.encode(word, add_special_tokens=False)[-1] for word in (YES, NO))
        return SpecialIds(bos=one(BOS), eos=one(EOS), pad=one(PAD), begin_image=one(BEGIN_IMAGE), yes=yes, no=no)

    def tokenize(self, text: str) -> list[int]:
        """Token ids of a piece of a template; special tokens in it are recognised, none is added."""
        return self.prompts.tokenize(text)

    # --- embeddings -------------------------------------------------------------------------------------------

    def embed_text(self, ids: torch.Tensor) -> torch.Tensor:
        """(…) token ids → (…, D)."""
        return self.network.model.language_model.embed_tokens(ids)

    def embed_codes(self, codes: torch.Tensor) -> torch.Tensor:
        """(…) image codes → (…, D): generation embeddings, what the drawing stream sees of an image."""
        return self.network.prepare_embeddings_for_image_generation(codes)

    def embed_pixels(self, images: Sequence[np.ndarray]) -> torch.Tensor:
        """B uint8 images (H, W, 3) → (B, N, D): understanding embeddings, what the judging stream sees."""
        seen = self.preprocessing.values(self._pixels(images)).to(self.dtype)
        return self.network.model.get_image_features(seen).pooler_output

    def embed(self, ids: torch.Tensor, kinds: torch.Tensor, images: Sequence[np.ndarray]) -> torch.Tensor:
        """(B, T) ids and what they are (TEXT, CODE, PIXEL, 0) → (B, T, D), each seen through its own embedding.

        `images` fill the PIXEL positions in order.
        """
        ids, kinds = ids.to(self.device), kinds.to(self.device)
        inputs = self.embed_text(torch.where(kinds == TEXT, ids, 0))
        codes = kinds == CODE
        if codes.any():
            inputs = inputs.masked_scatter(codes[..., None], self.embed_codes(ids[codes]).to(inputs.dtype))
        if images:
            seen = self.embed_pixels(images).flatten(0, 1)
            inputs = inputs.masked_scatter((kinds == PIXEL)[..., None], seen.to(inputs.dtype))
        return inputs

    # --- heads ------------------------------------------------------------------------------------------------

    def text_logits(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.network.lm_head(hidden)

    def image_logits(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.network.model.generation_head(hidden)

    # --- codec ------------------------------------------------------------------------------------------------

    def pixel_values(self, images: Sequence[np.ndarray]) -> torch.Tensor:
        """B uint8 images (H, W, 3) → (B, 3, H, W) in [-1, 1], for the codec; raises ValueError for another size."""
        return signed(self._pixels(images)).to(self.dtype)

    def _pixels(self, images: Sequence[np.ndarray]) -> torch.Tensor:
        size = self.image_size
        for image in images:
            if image.shape != (size, size, 3):
                raise ValueError(f"got an image of shape {image.shape}, this network looks at {size}×{size} RGB")
        return torch.from_numpy(np.stack(images)).to(self.device).permute(0, 3, 1, 2)

    @torch.inference_mode()
    def encode(self, images: Sequence[np.ndarray]) -> torch.Tensor:
        """B uint8 images (H, W, 3) → (B, N) image codes."""
        return nearest_codes(self.network.model.vqmodel, self.pixel_values(images).contiguous())

    @torch.inference_mode()
    def decode(self, codes: torch.Tensor) -> np.ndarray:
        """(B, N) image codes → B uint8 images (H, W, 3); truncated, as Janus does.

        On a CPU one by one, which is no slower, and rounds the same whatever is in the batch.
        """
        parts = codes.to(self.device).split(1 if self.device.type == "cpu" else len(codes))
        pixels = torch.cat([*map(self.pixels, parts)]).float()
        if self.uses_decoder_copy and has_blank(pixels):
            pixels = torch.cat([*map(self.network.model.vqmodel.decode, parts)]).float()  # blank for the codec, too?
        if not torch.isfinite(pixels).all():
            raise FloatingPointError("the picture is not finite: it could not be made of its image codes")
        values = ((pixels + 1) * 127.5).clamp(0, 255).to(torch.uint8)
        return values.permute(0, 2, 3, 1).cpu().numpy()

    @property
    def uses_decoder_copy(self) -> bool:
        """Whether images are decoded by a copy of the codec's decoder that is prepared for CPU inference."""
        return self.small and self.device.type == "cpu"

    def pixels(self, codes: torch.Tensor) -> torch.Tensor:
        """(B, N) image codes → (B, 3, H, W) in [-1, 1]."""
        codec = self.network.model.vqmodel
        if not self.uses_decoder_copy:
            return codec.decode(codes)
        return self.decoder_copy(codec.post_quant_conv(codec.quantize.get_codebook_entry(codes)))

    @property
    def decoder_copy(self) -> torch.nn.Module:
        """The codec's decoder prepared for CPU inference."""
        return self.derived.of(painter, self.network.model.vqmodel.decoder)

    def prepare(self) -> None:
        """Compute all cached properties now instead of at first use."""
        with PATCHING:
            for name in (*CACHED, *(["decoder_copy"] if self.uses_decoder_copy else [])):
                getattr(self, name)

    @cached_property
    def blank_code(self) -> int:
        """The image code for cells that are not drawn yet: the most frequent code of a light grey image."""
        size = self.image_size
        empty = np.full((size, size, 3), 245, np.uint8)
        return int(self.encode([empty]).mode().values.item())


@dataclass(frozen=True)
class PromptPieces:
    """A prompt as a network reads it: normalised text, a warning for unknown prompts, and the pieces of the user's
    turn. For an edit the pieces hold no image codes yet."""

    text: str
    warning: str | None
    pieces: tuple[Piece, ...]

    @property
    def size(self) -> int:
        """Text tokens."""
        return sum(len(piece.ids) for piece in self.pieces if isinstance(piece, Text))

    def with_source(self, codes: tuple[int, ...]) -> tuple[Piece, ...]:
        """The pieces of an edit instruction, with the codes of the source image."""
        return tuple(replace(piece, codes=codes) if isinstance(piece, Codes) else piece for piece in self.pieces)


class PromptReader:
    """Normalises and tokenises prompts; the most recent ones are kept."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, domain: Domain):
        self.tokenizer, self.domain = tokenizer, domain
        self.read = lru_cache(RECENT)(self._read)

    def tokenize(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False)

    def _read(self, prompt: str, task: Task) -> PromptPieces:
        reading = self.domain.read(prompt, task)
        pieces = edit_prompt_pieces(self, reading.text, ()) if task is Task.EDIT else prompt_pieces(self, reading.text)
        return PromptPieces(reading.text, reading.warning, tuple(pieces))


@dataclass(frozen=True)
class SpecialIds:
    """Token ids the decode loop needs by name."""

    bos: int
    eos: int
    pad: int
    begin_image: int
    yes: int
    no: int


CACHED = tuple(name for name, value in vars(Janus).items() if isinstance(value, cached_property))


def has_blank(pixels: torch.Tensor) -> bool:
    """Whether any image of (B, C, H, W) is constant or has NaN."""
    spread = pixels.amax((2, 3)) - pixels.amin((2, 3))
    return not bool((spread.amax(1) > 0).all())


def nearest_codes(codec: torch.nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    """(B, 3, H, W) in [-1, 1] → (B, N): the codebook row nearest in angle.

    Both sides are L2-normalised first, as the original VQ does (Janus, `vq_model.py`). `JanusVQVAE.encode` leaves
    that out while its `decode` normalises, so on a codebook whose rows are not of unit norm it gives other codes
    than the network was trained on.
    """
    latents = codec.quant_conv(codec.encoder(pixels))  # (B, E, h, w)
    latents = F.normalize(latents.flatten(2).transpose(1, 2), dim=-1)  # (B, N, E)
    rows = F.normalize(codec.quantize.embedding.weight, dim=-1)  # (K, E)
    return (latents @ rows.T).argmax(-1)
