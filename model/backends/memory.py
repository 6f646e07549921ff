"""Parameter counts and memory estimates of a Janus network, and the memory available on a device.

Counted on a network without weights, from its config alone, before it is loaded. One GB is 10⁹ bytes.
"""

from dataclasses import dataclass

import psutil
import torch
from transformers import JanusConfig, JanusForConditionalGeneration

from model.backends.janus import Janus
from model.backends.request import MOST_REFLECTION_TOKENS, MOST_THOUGHT_TOKENS

MOST_PROMPT_TOKENS = 200  # Janus-Pro-R1 cuts here; we refuse
STREAMS = 3  # drawing, its twin, judging
ROUNDS = 3  # of the trajectory whose cache is counted

PARTS = {
    "language model": ("model.language_model.", "lm_head."),
    "understanding": ("model.vision_model.", "model.aligner."),
    "generation": ("model.generation_embeddings.", "model.generation_aligner.", "model.generation_head."),
    "codec": ("model.vqmodel.",),
}


@dataclass(frozen=True)
class Sizes:
    """Parameters by part, and bytes."""

    parts: dict[str, int]
    cache_values: int  # numbers in the cache of one trajectory of ROUNDS rounds

    @property
    def parameters(self) -> int:
        return sum(self.parts.values())

    def weights(self, dtype: torch.dtype) -> int:
        """Bytes of the weights."""
        return self.parameters * dtype.itemsize

    def to_draw(self, dtype: torch.dtype, at_once: int = 1) -> int:
        """Bytes of weights and of the cache of `at_once` trajectories; activations come on top."""
        return self.weights(dtype) + at_once * self.cache_values * dtype.itemsize

    def to_train(self) -> int:
        """Bytes of weights, gradients and AdamW's two moments, in float32, all but the codec trained."""
        return 4 * self.parameters + 12 * (self.parameters - self.parts["codec"])


def sizes_of(config: JanusConfig) -> Sizes:
    with torch.device("meta"):  # of this thread alone
        network = JanusForConditionalGeneration(config)
    parts = dict.fromkeys(PARTS, 0)
    for name, parameter in network.named_parameters():
        parts[next(part for part, starts in PARTS.items() if name.startswith(starts))] += parameter.numel()
    codes = config.vq_config.num_patches**2
    return Sizes(parts, cache_values(config, most_positions(codes, ROUNDS)))


def cache_values(config: JanusConfig, positions: int) -> int:
    """Numbers in the cache of one trajectory whose streams have room for so many positions."""
    return STREAMS * positions * position_values(config)


def position_values(config: JanusConfig) -> int:
    """Numbers that one position of one stream takes in the cache."""
    text = config.text_config
    width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return 2 * text.num_hidden_layers * text.num_key_value_heads * width


def most_positions(image_codes: int, rounds: int) -> int:
    """Positions a stream of any request of so many rounds can grow to."""
    fixed = 64  # self-check and invitation, or what stands around a source
    each = MOST_THOUGHT_TOKENS + image_codes + MOST_REFLECTION_TOKENS + fixed
    return MOST_PROMPT_TOKENS + rounds * each


def most_at_once(janus: Janus, positions: int, most: int, share: float = 1.0) -> int:
    """How many trajectories of `wanted` have room in a share of what memory is free, a fifth of it left for
    activations."""
    trajectory_bytes = cache_values(janus.network.config, positions) * janus.dtype.itemsize
    return max(1, min(most, int(0.8 * share * room_on(str(janus.device)) // trajectory_bytes)))


def room_on(device: str) -> int:
    """Bytes free on a device."""
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if kind == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()
    return psutil.virtual_memory().available
