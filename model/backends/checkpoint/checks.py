"""Checks of a checkpoint: config, tensor names and shapes, tokenizer before loading, finite weights after.

Every error is one line: which file, which entry or tensor, what was found, what was wanted, what to do.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from tokenizers import Tokenizer
from torch import nn
from transformers import JanusConfig, JanusForConditionalGeneration, PreTrainedTokenizerBase
from transformers.activations import ACT2FN
from transformers.utils import cached_file

from model.backends.contract import CheckpointError
from model.examples import is_number
from model.templates import NO, SPECIAL_TOKENS, YES

ROPE_TYPES = ("default", "linear", "llama3", "yarn")  # whose angles do not depend on how long a sequence has become
GROUPS = 32  # of channels that the codec normalises together
MOST = 2**31 - 1  # of any size in a config
MOST_OF = {"num_hidden_layers": 1000, "depth": 1000, "num_res_blocks": 1000, "image_size": 8192}
SAMPLE = 4096  # values of a tensor that a fingerprint is made of
AGAIN = "download it again, or take it from the checkpoint that it was trained from"


@dataclass(frozen=True)
class Placed:
    """A tensor of a file."""

    file: str
    shape: tuple[int, ...]


def described(name: str, tensor: torch.Tensor) -> bytes:
    """Name, shape and evenly spaced values of a tensor: what fingerprints are made of."""
    flat = tensor.detach().flatten()
    some = flat[:: max(1, len(flat) // SAMPLE)].cpu().to(torch.float32)
    return f"{name} {tuple(tensor.shape)} ".encode() + some.numpy().tobytes()


def read_json(path: Path) -> dict[str, Any]:
    """Raises CheckpointError for what is no JSON object."""
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not JSON: {error}; {AGAIN}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: got a JSON {type(value).__name__}, wanted an object; {AGAIN}")
    return value


def tokenizer_file(source: str | Path) -> Path:
    """The tokenizer.json of a folder or Hub id. Raises CheckpointError, OSError."""
    file = cached_file(source, "tokenizer.json", _raise_exceptions_for_missing_entries=False)
    if file is None:
        expected = "the tokenizer that the network was trained with, as tokenizer.json"
        raise CheckpointError(f"{source} holds no tokenizer.json; put {expected}, beside config.json")
    return Path(file)


def check_tokenizer_file(path: Path) -> None:
    """Raises CheckpointError where a special token of Janus has no id in the files themselves: transformers would give
    it a new one, for which the network has learnt nothing."""
    read_json(path)
    try:
        own = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises no narrower one
        raise CheckpointError(f"{path} is no tokenizer: {error}; {AGAIN}") from error
    config = path.with_name("tokenizer_config.json")
    declared = read_json(config).get("added_tokens_decoder") if config.is_file() else None
    if declared is not None and not (isinstance(declared, dict) and all(map(str.isdecimal, declared))):
        raise CheckpointError(f"{config}: added_tokens_decoder: got {declared!r:.60}, wanted tokens by id; {AGAIN}")
    known = {entry.get("content") for entry in (declared or {}).values() if isinstance(entry, dict)}
    if missing := [token for token in SPECIAL_TOKENS if own.token_to_id(token) is None and token not in known]:
        raise CheckpointError(f"{path} lacks Janus's tokens {', '.join(missing)}; {AGAIN}")


def check_tokenizer(tokenizer: PreTrainedTokenizerBase, path: Path) -> None:
    """Raises CheckpointError where a special token is not read as one token, or Yes and No are not told apart."""
    for token in SPECIAL_TOKENS:
        if (ids := tokenizer.encode(token, add_special_tokens=False)) != [tokenizer.convert_tokens_to_ids(token)]:
            raise CheckpointError(f"{path}: {token} is read as {len(ids)} tokens, wanted one special token; {AGAIN}")
    yes, no = (tokenizer.encode(word, add_special_tokens=False) for word in (YES, NO))
    if not yes or not no or yes[-1] == no[-1]:
        raise CheckpointError(f"{path}: “{YES}” and “{NO}” end in the same token, so no verdict can be read; {AGAIN}")


def squared(config: Mapping[str, Any], path: str | Path) -> dict[str, Any]:
    """A config with the sizes that may be written as pairs as single numbers. Raises CheckpointError."""
    squared_config = dict(config)
    for part in ("vision_config", "vq_config"):
        if not isinstance(squared_config.get(part), Mapping):
            continue
        squared_config[part] = dict(squared_config[part])
        for name in ("image_size", "patch_size"):
            if name in squared_config[part]:
                squared_config[part][name] = one_side(squared_config[part][name], f"{path}: {part}.{name}")
    return squared_config


def one_side(value: Any, what: str) -> int:
    """`[384, 384]`, `{"height": 384, "width": 384}` or 384 → 384. Raises CheckpointError."""
    sides = (
        list(value.values()) if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else [value]
    )
    whole = all(isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in sides)
    if not sides or not whole or len(set(sides)) > 1:
        raise CheckpointError(f"{what}: got {value!r}, wanted one number of pixels, as pictures are square; correct it")
    return sides[0]


def check_dtypes(config: Mapping[str, Any], path: str | Path) -> None:
    """Raises CheckpointError for a dtype in a config that torch does not know."""
    for part, values in {"": config, **config}.items():
        for key in ("dtype", "torch_dtype"):
            name = values.get(key) if isinstance(values, Mapping) else None
            if name in (None, "auto"):
                continue
            if not isinstance(getattr(torch, str(name).removeprefix("torch."), None), torch.dtype):
                where = f"{part}.{key}" if part else key
                raise CheckpointError(f"{path}: {where}: got {name!r}, wanted float32, bfloat16 or float16; correct it")


def check_config(config: JanusConfig, tokenizer: PreTrainedTokenizerBase, path: str | Path) -> None:
    """Raises CheckpointError where the sizes of the parts do not fit together, or something is not implemented."""
    wrong = next(_disagreements(config, max(tokenizer.get_vocab().values())), None)
    if wrong is not None:
        what, got, expected = wrong
        raise CheckpointError(f"{path}: {what}: got {got}, wanted {expected}; {AGAIN}")


def _disagreements(config: JanusConfig, last_token: int) -> Iterator[tuple[str, Any, str]]:
    """Entry, what was got, what was wanted."""
    text, eye, codec = config.text_config, config.vision_config, config.vq_config
    if text.model_type != "llama":
        yield "text_config.model_type", text.model_type, "llama"
    for part, sizes in (("text_config", text), ("vision_config", eye), ("vq_config", codec)):
        for name in _POSITIVE[part]:
            most = MOST_OF.get(name, MOST)
            if not (isinstance(value := getattr(sizes, name, None), int) and 0 < value <= most):
                yield f"{part}.{name}", value, f"a number from 1 to {most}"
    if last_token >= text.vocab_size:
        yield "text_config.vocab_size", text.vocab_size, f"at least {last_token + 1}, the tokens of tokenizer.json"
    yield from _attention(config)
    rope = text.rope_parameters or {}
    if (kind := rope.get("rope_type", "default")) not in ROPE_TYPES:
        yield "text_config.rope_parameters.rope_type", kind, f"one that is implemented: {', '.join(ROPE_TYPES)}"
    if (share := rope.get("partial_rotary_factor")) not in (None, 1):
        yield "text_config.rope_parameters.partial_rotary_factor", share, "1, as heads turn whole"
    for name in ("rope_theta", "factor"):
        if name in rope and not (is_number(rope[name]) and rope[name] > 0):
            yield f"text_config.rope_parameters.{name}", rope[name], "a number above 0"
    for part, sizes in (("text_config", text), ("vision_config", eye)):
        if sizes.hidden_act not in ACT2FN:
            yield f"{part}.hidden_act", sizes.hidden_act, "an activation that transformers has, such as silu or gelu"
    for part, sizes in (("vision_config", eye), ("vq_config", codec)):
        if sizes.projection_dim != text.hidden_size:
            yield f"{part}.projection_dim", sizes.projection_dim, f"{text.hidden_size}, text_config.hidden_size"
    if codec.image_token_embed_dim != text.hidden_size:
        entry = "vq_config.image_token_embed_dim"
        yield entry, codec.image_token_embed_dim, f"{text.hidden_size}, text_config.hidden_size"
    yield from _pictures(config)


def _attention(config: JanusConfig) -> Iterator[tuple[str, Any, str]]:
    text, eye = config.text_config, config.vision_config
    if text.num_attention_heads % text.num_key_value_heads:
        entry = "text_config.num_key_value_heads"
        yield entry, text.num_key_value_heads, f"a divisor of {text.num_attention_heads}, num_attention_heads"
    width = getattr(text, "head_dim", None)
    if width is None and text.hidden_size % text.num_attention_heads:
        entry = "text_config.num_attention_heads"
        yield entry, text.num_attention_heads, f"a divisor of {text.hidden_size}, hidden_size"
    if (width or text.hidden_size // text.num_attention_heads) % 2:
        yield "text_config.head_dim", width, "an even number"
    if eye.hidden_size % eye.num_attention_heads:
        entry = "vision_config.num_attention_heads"
        yield entry, eye.num_attention_heads, f"a divisor of {eye.hidden_size}, hidden_size"


def _pictures(config: JanusConfig) -> Iterator[tuple[str, Any, str]]:
    eye, codec = config.vision_config, config.vq_config
    grid, halvings = eye.image_size // eye.patch_size, len(codec.channel_multiplier) - 1
    if grid < 1 or grid * 2**halvings != eye.image_size:
        got = f"{halvings} halvings, so {eye.image_size // 2 ** max(halvings, 0)} codes a side"
        expected = f"{grid} codes a side, as many as the eye's patches ({eye.image_size} pixels by {eye.patch_size})"
        yield "vq_config.channel_multiplier", got, expected
    for multiplier in codec.channel_multiplier:
        if not isinstance(multiplier, int) or codec.base_channels * multiplier % GROUPS or multiplier < 1:
            entry = "vq_config.base_channels"
            yield entry, f"{codec.base_channels} × {multiplier}", f"multiples of {GROUPS} channels"
    for name in ("in_channels", "out_channels"):
        if getattr(codec, name) != 3:
            yield f"vq_config.{name}", getattr(codec, name), "3, as pictures are RGB"
    if eye.num_channels != 3:
        yield "vision_config.num_channels", eye.num_channels, "3, as pictures are RGB"
    if codec.double_latent:
        yield "vq_config.double_latent", True, "false: the quantizer takes latent_channels"


_POSITIVE = {
    "text_config": ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    + ("num_key_value_heads", "max_position_embeddings"),
    "vision_config": ("hidden_size", "num_hidden_layers", "num_attention_heads", "image_size", "patch_size", "depth"),
    "vq_config": ("embed_dim", "num_embeddings", "latent_channels", "base_channels", "num_res_blocks")
    + ("num_hidden_layers",),
}


def check_tensors(blank: JanusForConditionalGeneration, tensors: Mapping[str, Placed], source: str | Path) -> None:
    """Raises CheckpointError where `found`, by transformers' names, are not just the tensors of a network without
    weights."""
    expected = {name: tuple(parameter.shape) for name, parameter in blank.named_parameters(remove_duplicate=False)}
    tied = set(getattr(blank, "all_tied_weights_keys", None) or ())
    for name, placed in tensors.items():
        if name not in expected:
            what = "which this network has no place for by its config.json"
            raise CheckpointError(f"{placed.file}: {name}: got a tensor of {_shape(placed.shape)}, {what}; {AGAIN}")
        if placed.shape != expected[name]:
            got, fits = _shape(placed.shape), _shape(expected[name])
            raise CheckpointError(f"{placed.file}: {name}: got {got}, wanted {fits} by config.json; {AGAIN}")
    if missing := [name for name in expected if name not in tensors and name not in tied]:
        more = f" and {len(missing) - 8} more" if len(missing) > 8 else ""
        raise CheckpointError(f"{source} lacks {len(missing)} tensors: {', '.join(missing[:8])}{more}; {AGAIN}")


def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "a single number"


def check_finite(network: nn.Module, source: str | Path) -> None:
    """Raises CheckpointError for a weight that is no number, or too large for the dtype."""
    for name, parameter in network.named_parameters():
        values = parameter.detach()
        if values.device.type == "meta" or not values.is_floating_point():
            continue
        if not all(math.isfinite(end) for end in torch.stack(torch.aminmax(values)).tolist()):
            kind = str(values.dtype).removeprefix("torch.")
            advice = "choose float32 or bfloat16" if values.dtype is torch.float16 else AGAIN
            file = next((file for file, tensor in non_finite(Path(source)) if tensor == name), source)
            raise CheckpointError(f"{file}: {name}: got values that are infinite or not a number as {kind}; {advice}")


def non_finite(folder: Path) -> Iterator[tuple[Path, str]]:
    """The tensors of a folder's safetensors files that hold NaN or infinity, by file."""
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            for name in list(tensors.keys()):
                if not torch.isfinite(tensors.get_tensor(name)).all():
                    yield file, name
