"""DeepSeek's checkpoint layout (Janus, Janus-Pro, Janus-Pro-R1) mapped to transformers' names, config and processor.

`config.json` says `multi_modality`; attention of the eye is fused, modules are named otherwise. Knows both layouts and
reads one shard after another: no second copy of the weights is ever in memory. Never runs code from a checkpoint.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from zipfile import is_zipfile

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from transformers import (
    GenerationConfig,
    JanusConfig,
    JanusForConditionalGeneration,
    JanusVisionConfig,
    JanusVQVAEConfig,
    LlamaConfig,
)

from model.backends.checkpoint.checks import Placed, check_dtypes, check_tensors, one_side, read_json
from model.backends.contract import CheckpointError

LAYOUT = "multi_modality"
HEAD, HEAD_SO400M = 64, 72  # widths of an attention head of the eye: SigLIP's base and large sizes, and its so400m

# Tensors that Janus never reads: SigLIP's pooling head, a counter of the codec's training, what configs give anyway.
UNUSED = tuple(
    map(
        re.compile,
        (r"(model\.)?vision_model\.(vision_tower\.attn_pool|head)\.", r".*\.codebook_used$", r".*\.inv_freq$")
        + (r".*\.position_ids$",),
    )
)
FLOATS = (torch.float32, torch.bfloat16, torch.float16, torch.float64)  # of stored weights
WRAPPERS = ("module", "model", "state_dict", "model_state_dict")  # under which trainers save what they trained
PREFIXES = re.compile(
    r"^(module\.|_orig_mod\.)+|(?<=\.)_fsdp_wrapped_module\.|^_fsdp_wrapped_module\."
)  # of wrapped modules

_RENAMED = tuple(
    (re.compile(old), new)
    for old, new in (
        (r"language_model\.model\.", "model.language_model."),
        (r"language_model\.lm_head\.", "lm_head."),
        (r"gen_embed\.", "model.generation_embeddings."),
        (r"gen_aligner\.layers\.0\.", "model.generation_aligner.fc1."),
        (r"aligner\.layers\.0\.", "model.aligner.fc1."),
        (r"gen_head\.output_mlp_projector\.", "model.generation_head.proj_out."),
        (r"gen_head\.", "model.generation_head."),
        (r"vision_model\.vision_tower\.patch_embed\.proj\.", "model.vision_model.embeddings.patch_embedding."),
        (r"vision_model\.vision_tower\.pos_embed$", "model.vision_model.embeddings.position_embedding.weight"),
        (r"vision_model\.vision_tower\.norm\.", "model.vision_model.post_layernorm."),
        (
            r"vision_model\.vision_tower\.blocks\.(\d+)\.norm(\d)\.",
            r"model.vision_model.encoder.layers.\1.layer_norm\2.",
        ),
        (
            r"vision_model\.vision_tower\.blocks\.(\d+)\.attn\.proj\.",
            r"model.vision_model.encoder.layers.\1.self_attn.projection_layer.",
        ),
        (r"vision_model\.vision_tower\.blocks\.(\d+)\.mlp\.", r"model.vision_model.encoder.layers.\1.mlp."),
        (r"gen_vision_model\.(encoder|decoder)\.mid\.0\.", r"model.vqmodel.\1.mid.block_1."),
        (r"gen_vision_model\.(encoder|decoder)\.mid\.1\.", r"model.vqmodel.\1.mid.attn_1."),
        (r"gen_vision_model\.(encoder|decoder)\.mid\.2\.", r"model.vqmodel.\1.mid.block_2."),
        (r"gen_vision_model\.encoder\.conv_blocks\.(\d+)\.res\.", r"model.vqmodel.encoder.down.\1.block."),
        (r"gen_vision_model\.encoder\.conv_blocks\.(\d+)\.", r"model.vqmodel.encoder.down.\1."),
        (r"gen_vision_model\.decoder\.conv_blocks\.(\d+)\.res\.", r"model.vqmodel.decoder.up.\1.block."),
        (r"gen_vision_model\.decoder\.conv_blocks\.(\d+)\.", r"model.vqmodel.decoder.up.\1."),
        (r"gen_vision_model\.", "model.vqmodel."),
    )
)
_DEEPER = re.compile(r"(gen_aligner|aligner)\.layers\.(\d+)\.(weight|bias)")  # layers 2, 4, … follow activations
_FUSED = re.compile(r"vision_model\.vision_tower\.blocks\.(\d+)\.attn\.qkv\.(weight|bias)")


class LayoutError(ValueError):
    """A checkpoint in the original layout that is not whole, and which file or tensor it is."""


def is_original(folder: Path) -> bool:
    """Whether a folder's config.json announces the original layout."""
    config = folder / "config.json"
    return config.is_file() and read_json(config).get("model_type") == LAYOUT  # a Hub id is none


def renamed(name: str, tensor: torch.Tensor) -> dict[str, torch.Tensor]:
    """An original tensor under its new name or names; none if Janus never reads it. Raises LayoutError."""
    if any(pattern.match(name) for pattern in UNUSED):
        return {}
    if fused := _FUSED.fullmatch(name):
        layer, kind = fused.groups()
        path = f"model.vision_model.encoder.layers.{layer}.self_attn."
        return {
            f"{path}{part}_proj.{kind}": projection for part, projection in zip("qkv", tensor.chunk(3), strict=True)
        }
    if deeper := _DEEPER.fullmatch(name):
        which, layer, kind = deeper.groups()
        module = "generation_aligner" if which == "gen_aligner" else "aligner"
        place = f"hidden_layers.{int(layer) // 2 - 1}" if layer != "0" else "fc1"
        return {f"model.{module}.{place}.{kind}": tensor}
    for pattern, new in _RENAMED:
        if pattern.match(name):
            return {pattern.sub(new, name, count=1): tensor[0] if name.endswith("pos_embed") else tensor}
    raise LayoutError(f"tensor {name} {tuple(tensor.shape)} is none of Janus's")


def shards(folder: Path) -> list[Path]:
    """The files that hold the weights, safetensors before pickles. Raises LayoutError, naming what is missing."""
    for kind in ("model.safetensors", "pytorch_model.bin"):
        index = folder / f"{kind}.index.json"
        if (folder / kind).is_file():
            return [folder / kind]
        if index.is_file():
            listed = read_json(index).get("weight_map")
            if not isinstance(listed, dict) or not all(isinstance(name, str) for name in listed.values()) or not listed:
                raise LayoutError(f"{index} has no weight_map from tensors to files; download it again")
            names = sorted(set(listed.values()))
            if strange := [name for name in names if Path(name).name != name]:
                raise LayoutError(f"{index} names {strange[0]!r}, which leads out of the folder; download it again")
            if absent := [name for name in names if not (folder / name).is_file()]:
                raise LayoutError(f"{folder} lacks {', '.join(absent)}, which {index.name} names; download it again")
            return [folder / name for name in names]
    raise LayoutError(f"{folder} holds no model.safetensors and no pytorch_model.bin, nor an index of either")


@dataclass(frozen=True)
class Shard:
    """One file of weights: the names in it, and how to learn a tensor's shape, or read it."""

    names: list[str]
    shape: Callable[[str], tuple[int, ...]]
    read: Callable[[str], torch.Tensor]


@contextmanager
def opened(path: Path) -> Iterator[Shard]:
    """A shard, open. Raises LayoutError for a broken file."""
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                yield Shard(list(file.keys()), lambda name: tuple(file.get_slice(name).get_shape()), file.get_tensor)
        else:
            mapped = is_zipfile(path)  # not what torch wrote before 1.6
            held = unwrapped(torch.load(path, map_location="cpu", mmap=mapped, weights_only=True), path)
            yield Shard(list(held), lambda name: tuple(held[name].shape), held.__getitem__)
    except UnpicklingError as error:
        what = "holds something else than tensors by name, or is cut short; what would run code is not read"
        advice = "save the network's state dict alone, as safetensors"
        raise LayoutError(f"{path.name} {what}; download it again, or {advice}") from error
    except (OSError, SafetensorError, RuntimeError, EOFError) as error:
        reason = " ".join(str(error).split())[:200]
        raise LayoutError(f"{path.name} cannot be read, it may be cut short: {reason}; download it again") from error


def unwrapped(saved: object, path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a pickle by name: as they are, or out of the dict that a trainer (DeepSpeed, the published code's)
    put them in; without the prefixes of wrapped modules. Raises LayoutError."""
    while isinstance(saved, dict) and not any(isinstance(each, torch.Tensor) for each in saved.values()):
        inner = next((saved[name] for name in WRAPPERS if isinstance(saved.get(name), dict)), None)
        if inner is None:
            break
        saved = inner
    if not isinstance(saved, dict):
        raise LayoutError(f"{path.name} holds a {type(saved).__name__}, wanted tensors by name; save a state dict")
    for name, each in saved.items():
        kind = type(each).__name__
        if isinstance(each, torch.Tensor):
            kind = "tensor without values" if each.is_meta else f"{each.layout} tensor".removeprefix("torch.")
        if kind != "strided tensor" or not isinstance(name, str):
            expected = "a dense tensor by its name"
            raise LayoutError(f"{path.name}: {name}: got a {kind}, wanted {expected}; save the state dict alone")
    return {PREFIXES.sub("", name): each for name, each in saved.items()}


def named(name: str, tensor: torch.Tensor, *, original: bool) -> dict[str, torch.Tensor]:
    """A tensor of either layout under transformers' name or names; none if Janus never reads it. Raises LayoutError."""
    if original:
        return renamed(name, tensor)
    return {} if any(pattern.match(name) for pattern in UNUSED) else {name: tensor}


def placed(folder: Path) -> dict[str, Placed]:
    """File and shape of every tensor, by transformers' name, of a folder in either layout, without the tensors being
    read. Raises LayoutError, also for one that is there twice."""
    places: dict[str, Placed] = {}
    original = is_original(folder)
    for path in shards(folder):
        with opened(path) as shard:
            for name in shard.names:
                try:
                    tensors = named(name, torch.empty(shard.shape(name), device="meta"), original=original)
                except (LayoutError, ValueError) as error:
                    raise LayoutError(f"{path.name}: {name}: {error}") from error
                for new, tensor in tensors.items():
                    if new in places:
                        raise LayoutError(f"{path.name}: {name} is in {places[new].file}, too; keep one of them")
                    places[new] = Placed(path.name, tuple(tensor.shape))
    return places


def whole(network: JanusForConditionalGeneration, folder: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """Every tensor of a folder in either layout under transformers' name, one at a time, shard by shard, once they are
    known to be just the network's. Raises CheckpointError, LayoutError."""
    check_tensors(network, placed(folder), folder)
    original = is_original(folder)
    for path in shards(folder):
        with opened(path) as shard:
            for name in shard.names:
                for new, tensor in named(name, shard.read(name), original=original).items():
                    if tensor.dtype not in FLOATS:
                        raise LayoutError(
                            f"{path.name}: {name}: got values of {tensor.dtype}, wanted {', '.join(map(str, FLOATS))}: "
                            "quantized weights are not read; take the checkpoint that they were made from"
                        )
                    yield new, tensor


def write_shards(tensors: Iterable[tuple[str, torch.Tensor]], out: Path, most: int) -> torch.dtype:
    """Write tensors as they come, in safetensors files of at most `most` bytes and an index; returns their dtype."""
    files: list[list[str]] = []
    held: dict[str, torch.Tensor] = {}
    total = 0

    def write() -> None:
        files.append(list(held))
        save_file(held, out / f"shard-{len(files)}.safetensors", metadata={"format": "pt"})
        held.clear()

    for name, tensor in tensors:
        if held and sum(each.nbytes for each in held.values()) + tensor.nbytes > most:
            write()
        held[name] = tensor.contiguous().clone()
        total += tensor.nbytes
        dtype = tensor.dtype
    write()
    index: dict[str, str] = {}
    for number, names in enumerate(files, start=1):
        file = f"model-{number:05d}-of-{len(files):05d}.safetensors"
        (out / f"shard-{number}.safetensors").rename(out / file)
        index |= dict.fromkeys(names, file)
    described = {"metadata": {"total_size": total}, "weight_map": index}
    (out / "model.safetensors.index.json").write_text(json.dumps(described, indent=2) + "\n", "utf-8")
    return dtype


def shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """The shape of every original tensor, by its original name, without reading the tensors. Raises LayoutError."""
    by_name: dict[str, tuple[int, ...]] = {}
    for path in shards(folder):
        with opened(path) as shard:
            by_name |= {name: shard.shape(name) for name in shard.names}
    return by_name


def config_of(folder: Path, image_token_id: int) -> JanusConfig:
    """transformers' config for a checkpoint: sizes are read off the tensors, the rest off config.json."""
    path = folder / "config.json"
    own, known = read_json(path), shapes(folder)
    check_dtypes(own, path)
    try:
        return _config(own, known, image_token_id)
    except KeyError as error:
        raise LayoutError(f"{folder} holds no tensor {error}, so it is no whole Janus checkpoint") from error
    except (LayoutError, CheckpointError):
        raise
    except (IndexError, ZeroDivisionError, ValueError) as error:
        raise LayoutError(f"{folder} holds tensors of other dimensions than Janus's: {error}") from error


def _config(own: Mapping, known: Mapping[str, tuple[int, ...]], image_token_id: int) -> JanusConfig:
    def count(pattern: str) -> int:
        return len({match.group(1) for name in known if (match := re.match(pattern, name))})

    eye, codec = "vision_model.vision_tower.", "gen_vision_model."
    vocabulary, hidden = known["language_model.model.embed_tokens.weight"]
    width, _, patch, _ = known[f"{eye}patch_embed.proj.weight"]
    positions = known[f"{eye}pos_embed"][1]
    seen = _vision_parameters(own)
    side = one_side(seen.get("image_size", math.isqrt(positions) * patch), "config.json: vision_config.image_size")
    base = known[f"{codec}encoder.conv_in.weight"][0]
    levels = count(r"gen_vision_model\.encoder\.conv_blocks\.(\d+)\.")
    outs = [known[f"{codec}encoder.conv_blocks.{level}.res.0.conv1.weight"][0] for level in range(levels)]
    codebook, code_width = known[f"{codec}quantize.embedding.weight"]
    language = own.get("language_config")
    if not isinstance(language, Mapping):
        expected = "an object with the sizes of the language model that are no tensor's, such as num_attention_heads"
        raise LayoutError(f"config.json: language_config: got {language!r:.60}, wanted {expected}; download it again")
    language = {key: value for key, value in language.items() if key not in _NOT_SIZES}
    return JanusConfig(
        text_config=LlamaConfig(
            **language
            | {
                "vocab_size": vocabulary,
                "hidden_size": hidden,
                "intermediate_size": known["language_model.model.layers.0.mlp.gate_proj.weight"][0],
                "num_hidden_layers": count(r"language_model\.model\.layers\.(\d+)\."),
                "tie_word_embeddings": False,
            }
        ),
        vision_config=JanusVisionConfig(
            hidden_size=width,
            num_hidden_layers=count(r"vision_model\.vision_tower\.blocks\.(\d+)\."),
            num_attention_heads=heads_of(width, seen),
            image_size=side,
            patch_size=patch,
            mlp_ratio=known[f"{eye}blocks.0.mlp.fc1.weight"][0] / width,
            projection_dim=known["aligner.layers.0.weight"][0],
            depth=count(r"aligner\.layers\.(\d+)\."),
            num_image_tokens=positions,
        ),
        vq_config=JanusVQVAEConfig(
            embed_dim=code_width,
            num_embeddings=codebook,
            latent_channels=known[f"{codec}encoder.conv_out.weight"][0],
            base_channels=base,
            channel_multiplier=[out // base for out in outs],
            num_res_blocks=count(r"gen_vision_model\.encoder\.conv_blocks\.0\.res\.(\d+)\."),
            projection_dim=known["gen_aligner.layers.0.weight"][0],
            num_hidden_layers=count(r"gen_aligner\.layers\.(\d+)\."),
            image_token_embed_dim=known["gen_head.output_mlp_projector.weight"][0],
        ),
        image_token_id=image_token_id,
        tie_word_embeddings=False,
    )


def _vision_parameters(config: Mapping) -> dict[str, object]:
    """What config.json says of the eye: DeepSeek's nests it in `params`."""
    parameters = config.get("vision_config")
    parameters = dict(parameters) if isinstance(parameters, Mapping) else {}
    nested = parameters.get("params")
    return parameters | dict(nested if isinstance(nested, Mapping) else {})


def heads_of(width: int, parameters: Mapping) -> int:
    """Attention heads of an eye of `width` channels: as config.json says, by number, width or the name of the published
    model; else as SigLIP of that width has. Raises LayoutError."""
    for name in ("num_attention_heads", "num_heads", "heads"):
        if isinstance(count := parameters.get(name), int) and count > 0:
            return count
    head_width, name = parameters.get("head_dim"), str(parameters.get("model_name", ""))
    if not isinstance(head_width, int) or head_width < 1:
        head_width = HEAD_SO400M if "so400m" in name or width == 16 * HEAD_SO400M or width % HEAD else HEAD
    if width < head_width and "so400m" not in name:
        return 1
    if width % head_width:
        expected = f"a multiple of {head_width}; write num_attention_heads into vision_config"
        raise LayoutError(f"config.json: vision_config: got an eye of {width} channels, wanted {expected}")
    return width // head_width


_NOT_SIZES = ("model_type", "torch_dtype", "dtype", "_attn_implementation", "architectures", "transformers_version")


def generation_config(bos: int, eos: int, pad: int, begin_image: int) -> GenerationConfig:
    """How the published code draws: guidance 5, temperature 1, no top-k (transformers' default would be 50)."""
    return GenerationConfig(
        bos_token_id=bos,
        eos_token_id=eos,
        pad_token_id=pad,
        do_sample=True,
        temperature=1.0,
        top_k=0,
        guidance_scale=5.0,
        generation_kwargs={"boi_token_id": begin_image},
    )
