"""A checkpoint is a folder in transformers' format: weights, config, processor, provenance. Open and convert it.

What this file knows: where the pieces lie and what to say when they do not. `thinks` in config.json says whether the
network writes a thought before it draws; guidance, temperature and top-k stand in generation_config.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch
from accelerate import dispatch_model, infer_auto_device_map, init_empty_weights
from safetensors import SafetensorError
from transformers import (
    JanusConfig,
    JanusForConditionalGeneration,
    JanusImageProcessorPil,
    JanusProcessor,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)
from transformers.image_utils import SizeDict

from model.deepseek import (
    LAYOUT,
    config_of,
    generation_config,
    is_original,
    whole,
    write_shards,
)
from model.folder import CheckpointError, replacing, write_provenance
from model.hub import fetched, is_address, pinned
from model.janus import Janus
from model.sizes import room_on, sizes_of
from model.templates import BEGIN_IMAGE, BOS, CHAT_TEMPLATE, END_IMAGE, EOS, IMAGE_PLACEHOLDER, PAD, SPECIAL_TOKENS
from model.trajectory import Sampling

WEIGHTS = Path(__file__).parent / "weights"
EMBEDDED = WEIGHTS / "embedded"
SHIPPED = {  # what they have learnt, in words
    "base": "draws, judges by chance",
    "sft": "fine-tuned to judge and to redraw",
    "embedded": "fine-tuned, and then reinforced",
}
STAGES = {"rl": EMBEDDED}  # of its training, under another name than their folder's: the last one is what draws
DTYPES = ("float32", "bfloat16", "float16")
SHARD = 2_000_000_000  # bytes of a converted file


def open_checkpoint(
    source: str | Path = EMBEDDED, *, dtype: torch.dtype | str | None = None, device: str | None = None
) -> Janus:
    """Open a folder, a Hub id, or a shipped checkpoint by its name, in transformers' Janus layout, or a folder in
    DeepSeek's; ready for inference.

    dtype (or its name): float32 on a CPU and bfloat16 elsewhere unless given. device: the first GPU, Apple's, or the
    CPU unless given; “auto” spreads the layers over all there are (accelerate). Raises CheckpointError, with the
    numbers where the network does not fit.
    """
    source = path_of(source)
    device = device or default_device()
    dtype = dtype_of(dtype or ("float32" if device == "cpu" else "bfloat16"))
    _check_layout(source)
    try:
        tokenizer = _open_tokenizer(source)
        config = open_config(source, tokenizer)
        if device != "auto":
            _check_room(source, sizes_of(config).weights(dtype), dtype, device)
        if is_original(Path(source)):
            network = _open_original(Path(source), config, tokenizer, dtype)
        else:
            network = JanusForConditionalGeneration.from_pretrained(source, dtype=dtype)
        network = spread(network, dtype) if device == "auto" else network.to(device)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"{source} could not be opened as a Janus checkpoint: {error}") from error
    return Janus(network.eval(), tokenizer, name_of(source), sampling_of(network))


def dtype_of(given: torch.dtype | str) -> torch.dtype:
    """Raises CheckpointError for a name that is none of DTYPES."""
    if isinstance(given, torch.dtype):
        return given
    if given not in DTYPES:
        raise CheckpointError(f"weights cannot be {given}; choose {', '.join(DTYPES)}")
    return getattr(torch, given)


def default_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def spread(network: JanusForConditionalGeneration, dtype: torch.dtype) -> JanusForConditionalGeneration:
    """The network's layers over all devices, each layer whole, the codec in one place (accelerate)."""
    whole = ["LlamaDecoderLayer", "JanusVisionModel", "JanusVQVAE"]
    return dispatch_model(network, infer_auto_device_map(network, no_split_module_classes=whole, dtype=dtype))


def _check_room(source: str | Path, needed: int, dtype: torch.dtype, device: str) -> None:
    """Raises CheckpointError where weights of `needed` bytes do not fit."""
    free = room_on(device)
    if needed > free:
        takes = f"{name_of(source)} takes {needed / 1e9:.1f} GB as {name_of_dtype(dtype)}"
        advice = "choose a smaller dtype, another device, or the device auto, for several"
        raise CheckpointError(f"{takes}, {device} has {free / 1e9:.1f} GB free; {advice}")


def name_of_dtype(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def open_config(source: str | Path, tokenizer: PreTrainedTokenizerBase) -> JanusConfig:
    """The config, read off the tensors where the layout is DeepSeek's."""
    if is_original(Path(source)):
        return config_of(Path(source), tokenizer.convert_tokens_to_ids(IMAGE_PLACEHOLDER))
    return JanusConfig.from_pretrained(source)


def _open_tokenizer(source: str | Path) -> PreTrainedTokenizerBase:
    """The tokenizer as tokenizer.json has it. The published folders name LlamaTokenizerFast, for which transformers 5
    may put SentencePiece's spaces in place of the file's own, silently."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(source, **_ROLES)
    known = tokenizer.convert_tokens_to_ids
    missing = [token for token in SPECIAL_TOKENS if known(token) in (None, tokenizer.unk_token_id)]
    if missing:
        raise CheckpointError(f"the tokenizer of {source} lacks Janus's tokens {', '.join(missing)}")
    return tokenizer


# Of Janus's tokens, by the names that transformers' processor knows them by.
_ROLES = {
    "bos_token": BOS,
    "eos_token": EOS,
    "pad_token": PAD,
    "image_token": IMAGE_PLACEHOLDER,
    "boi_token": BEGIN_IMAGE,
    "eoi_token": END_IMAGE,
}


def open_processor(source: str | Path) -> JanusProcessor:
    """The processor to save beside weights that come from `source`, whatever its layout. Raises CheckpointError."""
    source = path_of(source)
    try:
        tokenizer = _open_tokenizer(source)
        return _processor(source, open_config(source, tokenizer), tokenizer)
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"the processor of {source} could not be opened: {error}") from error


def _processor(source: str | Path, config: JanusConfig, tokenizer: PreTrainedTokenizerBase) -> JanusProcessor:
    """Pictures as the folder's own file says; as Janus does where there is none."""
    side, half = config.vision_config.image_size, [0.5, 0.5, 0.5]
    try:
        images = JanusImageProcessorPil.from_pretrained(source)
    except OSError:
        images = JanusImageProcessorPil(image_mean=half, image_std=half)
    images.size = SizeDict(height=side, width=side)
    template = tokenizer.chat_template or CHAT_TEMPLATE
    patches = config.vision_config.num_image_tokens
    return JanusProcessor(images, tokenizer, chat_template=template, num_image_tokens=patches)


def _open_original(
    folder: Path, config: JanusConfig, tokenizer: PreTrainedTokenizerBase, dtype: torch.dtype
) -> JanusForConditionalGeneration:
    """A network whose weights come one by one from the original layout. Raises LayoutError."""
    with init_empty_weights(include_buffers=False):
        network = JanusForConditionalGeneration(config)
    for name, tensor in whole(network, folder):
        module, _, leaf = name.rpartition(".")
        weight = torch.nn.Parameter(tensor.to(dtype, copy=True), requires_grad=False)
        setattr(network.get_submodule(module), leaf, weight)
    network.generation_config = generation_config(*map(tokenizer.convert_tokens_to_ids, (BOS, EOS, PAD, BEGIN_IMAGE)))
    return network


def _check_layout(source: str | Path) -> None:
    path = Path(source)
    if not path.exists():
        if isinstance(source, Path) or source.count("/") != 1 or source.startswith((".", "/", "~")):
            raise CheckpointError(f"there is no checkpoint at {source}; give a folder with config.json, or a Hub id")
        return
    config = path / "config.json"
    if not config.is_file():
        raise CheckpointError(f"{source} holds no config.json, so it is no checkpoint; give the folder that does")
    try:
        kind = json.loads(config.read_text("utf-8")).get("model_type")
    except ValueError as error:
        raise CheckpointError(f"{config} is not JSON: {error}") from error
    if kind not in ("janus", LAYOUT):
        wanted = f"“janus” (transformers' layout) or “{LAYOUT}” (DeepSeek's)"
        raise CheckpointError(f"{source} is a “{kind}” checkpoint; wanted model_type {wanted}")


def name_of(source: str | Path) -> str:
    """What trajectories and provenance call a checkpoint: the folder's own name, or its address on the Hub."""
    if (address := pinned(Path(source).absolute())) is not None:
        return address
    return Path(source).resolve().name if Path(source).exists() else str(source)


def path_of(source: str | Path) -> Path | str:
    """A shipped checkpoint's folder for its name, that of a commit for an address of the Hub (`owner/name@revision`),
    else what was given. Raises CheckpointError.
    """
    shipped = STAGES.get(str(source), WEIGHTS / source)
    if shipped.is_dir() or not is_address(source):
        return shipped if shipped.is_dir() else source
    try:
        return fetched(source)
    except (OSError, ValueError) as error:
        told = " ".join(str(error).split())[:400]
        raise CheckpointError(f"{source} could not be opened as a Janus checkpoint: {told}") from error


def sampling_of(network: JanusForConditionalGeneration) -> Sampling:
    """The checkpoint's own settings. Greedy (`do_sample: false`) is temperature 0; a missing guidance is Janus's 5."""
    given = network.generation_config
    sampled = given.do_sample is not False
    return Sampling(
        guidance=5.0 if given.guidance_scale is None else float(given.guidance_scale),
        temperature=float(1.0 if given.temperature is None else given.temperature) if sampled else 0.0,
        top_k=given.top_k or None,
        text_temperature=float(getattr(given, "text_temperature", 1.0) or 0.0),
        text_top_k=getattr(given, "text_top_k", None),
        thinks=bool(getattr(network.config, "thinks", False)),
    )


def convert(source: str | Path, out: Path, shard_bytes: int = SHARD) -> None:
    """A checkpoint in DeepSeek's layout, written to `out` in transformers' own, weights as they are.

    One shard of `shard_bytes` is in memory at a time. Raises CheckpointError.
    """
    _check_layout(source)
    folder = Path(source)
    if not is_original(folder):
        raise CheckpointError(f"{source} is in transformers' layout already; there is nothing to convert")
    try:
        tokenizer = _open_tokenizer(folder)
        config = open_config(folder, tokenizer)
        with init_empty_weights(include_buffers=False):
            network = JanusForConditionalGeneration(config)
        ids = map(tokenizer.convert_tokens_to_ids, (BOS, EOS, PAD, BEGIN_IMAGE))
        with replacing(out) as scratch:
            config.architectures = [type(network).__name__]
            config.dtype = write_shards(whole(network, folder), scratch, shard_bytes)
            config.save_pretrained(scratch)
            generation_config(*ids).save_pretrained(scratch)
            _processor(folder, config, tokenizer).save_pretrained(scratch)
            write_provenance(scratch, {"recipe": "convert", "parent": name_of(source)})
    except (ValueError, KeyError) as error:
        raise CheckpointError(f"{source} could not be converted: {error}") from error


def inspect(source: str | Path) -> dict[str, Any]:
    """What a checkpoint is and needs, without its weights being loaded. Raises CheckpointError."""
    _check_layout(source)
    try:
        tokenizer = _open_tokenizer(source)
        config = open_config(source, tokenizer)
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{source} could not be read: {error}") from error
    sizes, text, codec = sizes_of(config), config.text_config, config.vq_config
    return {
        "checkpoint": name_of(source),
        "layout": "DeepSeek's" if is_original(Path(source)) else "transformers'",
        "parameters": sizes.parameters,
        "parts": sizes.parts,
        "language model": f"{text.num_hidden_layers} layers of {text.hidden_size}, {text.vocab_size} tokens",
        "images": f"{config.vision_config.image_size} pixels, {codec.num_patches**2} codes of {codec.num_embeddings}",
        "thinks": bool(getattr(config, "thinks", False)),
        "bytes": {
            f"weights as {name_of_dtype(dtype)}": sizes.weights(dtype) for dtype in (torch.bfloat16, torch.float32)
        }
        | {
            "to draw one, bfloat16": sizes.to_draw(torch.bfloat16),
            "to draw eight at once, bfloat16": sizes.to_draw(torch.bfloat16, 8),
            "to train with AdamW, without activations": sizes.to_train(),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m model.checkpoint", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    looking = commands.add_parser("inspect", help="what a checkpoint is, and the memory it needs")
    looking.add_argument("source", help="a folder or Hub id")
    looking.add_argument("--json", action="store_true")
    converting = commands.add_parser("convert", help="from DeepSeek's layout to transformers'")
    converting.add_argument("source", help="a folder")
    converting.add_argument("out", type=Path, help="a folder to write")
    arguments = parser.parse_args()
    try:
        if arguments.command == "convert":
            convert(arguments.source, arguments.out)
            return
        found = inspect(arguments.source)
    except CheckpointError as error:
        sys.exit(f"checkpoint: {error}")
    print(json.dumps(found, ensure_ascii=False, indent=2) if arguments.json else told(found))


def told(found: dict[str, Any]) -> str:
    """An inspection as lines of text."""
    lines = [f"{found['checkpoint']}: {found['parameters']:,} parameters, in {found['layout']} layout"]
    lines += [f"  {part:<40}{count:>16,}" for part, count in found["parts"].items()]
    lines += [f"  {name}: {found[name]}" for name in ("language model", "images")]
    lines += [f"  {'thinks before it draws' if found['thinks'] else 'draws without a thought'}"]
    return "\n".join([*lines, *(f"  {what:<40}{count / 1e9:>13.3f} GB" for what, count in found["bytes"].items())])


if __name__ == "__main__":
    main()
