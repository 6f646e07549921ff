"""Inspect, convert, merge, interpolate and add checkpoints.

`inspect` loads no weights, `convert` reads DeepSeek's layout and writes transformers', `merge` writes an adapter into
its base, `interpolate` goes a share of the way from the weights before training to those after, and `add` sums what
several runs have changed in one parent.

python -m model.checkpoint inspect FOLDER_OR_HUB_ID
python -m model.checkpoint convert FOLDER OUT
python -m model.checkpoint merge ADAPTER OUT
python -m model.checkpoint interpolate PARENT TRAINED OUT --share 0.7
python -m model.checkpoint add PARENT TRAINED TRAINED --out OUT
"""

import argparse
import itertools
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import JanusForConditionalGeneration, JanusProcessor

from model.backends.checkpoint.adapter_folder import AdapterFolder, provenance_in
from model.backends.checkpoint.checks import check_tensors
from model.backends.checkpoint.deepseek import is_original, placed, whole, write_shards
from model.backends.checkpoint.loading import (
    SHARD,
    blank,
    check_layout,
    generation_config_of,
    name_of,
    name_of_dtype,
    one_line,
    open_config,
    open_network,
    open_tokenizer,
    path_of,
    processor_of,
    unstacked,
)
from model.backends.checkpoint.saving import CheckpointError, replacing, save_checkpoint, write_provenance
from model.backends.memory import sizes_of


def convert(source: str | Path, out: Path, shard_bytes: int = SHARD) -> None:
    """A checkpoint in DeepSeek's layout, written to `out` in transformers' own, weights as they are.

    One shard of `shard_bytes` is in memory at a time. Raises CheckpointError.
    """
    check_layout(source)
    folder = Path(source)
    if not is_original(folder):
        raise CheckpointError(f"{source} is in transformers' layout already; there is nothing to convert")
    with one_line(f"{source} could not be converted"):
        tokenizer = open_tokenizer(folder)
        config = open_config(folder, tokenizer)
        network = blank(config)
        with replacing(out) as scratch:
            config.architectures = [type(network).__name__]
            config.dtype = write_shards(whole(network, folder), scratch, shard_bytes)
            config.save_pretrained(scratch)
            generation_config_of(folder, tokenizer).save_pretrained(scratch)
            processor_of(folder, config, tokenizer).save_pretrained(scratch)
            write_provenance(scratch, {"recipe": "convert", "parent": name_of(source)})


def merge(source: str | Path, out: Path) -> None:
    """An adapter (a folder or Hub id) merged into the weights of its base, written to `out` in transformers' layout and
    the dtype of the base. Raises CheckpointError."""
    source = path_of(source)
    check_layout(source)
    with one_line(f"{source} could not be merged"):
        base, adapters = unstacked(source)
        if not adapters:
            raise CheckpointError(f"{source} is no adapter; there is nothing to merge")
        network, processor, dtype = _opened(base, adapters)
        about = {"recipe": "merge", "parent": name_of(base), "adapters": [provenance_of(each) for each in adapters]}
        save_checkpoint(network, processor, out, about, dtype)


def interpolate(parent: str | Path, trained: str | Path, share: float, out: Path) -> None:
    """parent + share · (trained − parent), of two checkpoints of one network (folders or Hub ids, adapters too),
    computed in float32 and written to `out` in the parent's dtype. Such weights keep
    more of what was known before fine-tuning (Wortsman et al., 2022, Robust fine-tuning of zero-shot models). Raises
    CheckpointError."""
    if not 0 <= share <= 1:
        raise CheckpointError(f"--share was {share:g}; it has to lie between 0 (the parent) and 1 (what was trained)")
    with one_line(f"{parent} and {trained} could not be interpolated"):
        network, processor, dtype, weights = _of_one_network(parent, [trained], out)
        for weight, [after] in weights:
            weight.copy_(torch.lerp(weight.float(), after.float(), share))
        about = {
            "recipe": "interpolate",
            "parent": name_of(path_of(parent)),
            "share": share,
            "trained": _trained(trained),
        }
        save_checkpoint(network, processor, out, about, dtype)


def add(parent: str | Path, trained: Sequence[str | Path], out: Path) -> None:
    """parent + Σ (trained − parent), of checkpoints that were trained from one parent, each apart (Ilharco et al.,
    2023, Editing models with task arithmetic), in float32 and written in the parent's dtype. Raises CheckpointError."""
    with one_line(f"what {', '.join(map(str, trained))} learnt could not be added to {parent}"):
        network, processor, dtype, weights = _of_one_network(parent, trained, out)
        for weight, changed in weights:
            before = weight.float()
            weight.copy_(before + sum(after.float() - before for after in changed))
        about = {
            "recipe": "add",
            "parent": name_of(path_of(parent)),
            "trained": [_trained(source) for source in trained],
        }
        save_checkpoint(network, processor, out, about, dtype)


def _of_one_network(
    parent: str | Path, trained: Sequence[str | Path], out: Path
) -> tuple[
    JanusForConditionalGeneration, JanusProcessor, torch.dtype, Iterator[tuple[torch.Tensor, list[torch.Tensor]]]
]:
    """The parent's network, processor and stored dtype, and every weight of it, to be changed in place, with the same
    weight of the trained checkpoints; a weight that is tied comes once. Raises CheckpointError where they are
    different networks, or `out` is one of them."""
    sources = [path_of(source) for source in (parent, *trained)]
    for source in sources:
        check_layout(source)
        if Path(source).exists() and Path(source).resolve() == out.resolve():
            raise CheckpointError(f"{out} is read from, so it cannot be written to; choose another folder")
    (network, processor, dtype), *others = (_opened(*unstacked(source)) for source in sources)
    weights, changed = network.state_dict(), [other.state_dict() for other, *_ in others]
    for each in changed:
        if differing := _shapes(weights) ^ _shapes(each):
            raise CheckpointError(
                f"they are two networks: {min(differing)[0]} differs in shape, or is in one of them alone"
            )
    once = dict(itertools.chain(network.named_parameters(), network.named_buffers()))
    floating = (name for name, weight in weights.items() if name in once and weight.is_floating_point())
    return network, processor, dtype, ((weights[name], [each[name] for each in changed]) for name in floating)


def _trained(source: str | Path) -> dict[str, Any]:
    """A trained checkpoint in the provenance of what was made of it."""
    source = path_of(source)
    return {"checkpoint": name_of(source)} | provenance_in(Path(source))


def _shapes(weights: Mapping[str, torch.Tensor]) -> set[tuple[str, torch.Size]]:
    return {(name, weight.shape) for name, weight in weights.items()}


def _opened(
    base: str | Path, adapters: list[AdapterFolder]
) -> tuple[JanusForConditionalGeneration, JanusProcessor, torch.dtype]:
    """Network with the adapters in its weights, processor, and the dtype that the weights are stored in."""
    tokenizer = open_tokenizer(base)
    config = open_config(base, tokenizer)
    dtype = config.dtype if isinstance(config.dtype, torch.dtype) else torch.float16
    network, _ = open_network(base, config, tokenizer, dtype, adapters)
    return network, processor_of(base, config, tokenizer), dtype


def provenance_of(adapter: AdapterFolder) -> dict[str, Any]:
    """What the folder of an adapter says of it."""
    return {"adapter": name_of(adapter.folder)} | provenance_in(adapter.folder)


def inspect(source: str | Path) -> dict[str, Any]:
    """What a checkpoint is and needs, without its weights being loaded. Raises CheckpointError."""
    check_layout(source)
    with one_line(f"{source} could not be read"):
        base, adapters = unstacked(source)
        tokenizer = open_tokenizer(base)
        config = open_config(base, tokenizer)
        network = blank(config)
        if Path(base).exists():
            check_tensors(network, placed(Path(base)), base)
        for adapter in adapters:
            adapter.check_layers(network)
    sizes, text, codec = sizes_of(config), config.text_config, config.vq_config
    return {
        "checkpoint": name_of(source),
        "layout": "DeepSeek's" if is_original(Path(base)) else "transformers'",
        "adapters": [f"{name_of(each.folder)}, beside {each.base}, {each.parameters:,} numbers" for each in adapters],
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
    merging = commands.add_parser("merge", help="an adapter into its base, as a checkpoint of its own")
    merging.add_argument("source", help="a folder or Hub id")
    merging.add_argument("out", type=Path, help="a folder to write")
    converting = commands.add_parser("convert", help="from DeepSeek's layout to transformers'")
    converting.add_argument("source", help="a folder")
    converting.add_argument("out", type=Path, help="a folder to write")
    between = commands.add_parser("interpolate", help="weights between those before and after training")
    between.add_argument("parent", help="a folder or Hub id")
    between.add_argument("trained", help="a folder or Hub id")
    between.add_argument("out", type=Path, help="a folder to write")
    between.add_argument("--share", type=float, default=0.7, help="of the change (default: %(default)s)")
    adding = commands.add_parser("add", help="what several runs from one checkpoint learnt, each apart")
    adding.add_argument("parent", help="a folder or Hub id: what they were trained from")
    adding.add_argument("trained", nargs="+", help="folders or Hub ids")
    adding.add_argument("--out", type=Path, required=True, help="a folder to write")
    arguments = parser.parse_args()
    try:
        if arguments.command == "interpolate":
            interpolate(arguments.parent, arguments.trained, arguments.share, arguments.out)
            return
        if arguments.command == "add":
            add(arguments.parent, arguments.trained, arguments.out)
            return
        if arguments.command != "inspect":
            {"convert": convert, "merge": merge}[arguments.command](arguments.source, arguments.out)
            return
        inspection = inspect(arguments.source)
    except CheckpointError as error:
        sys.exit(f"checkpoint: {error}")
    print(json.dumps(inspection, ensure_ascii=False, indent=2) if arguments.json else told(inspection))


def told(inspection: dict[str, Any]) -> str:
    """An inspection as lines of text."""
    lines = [f"{inspection['checkpoint']}: {inspection['parameters']:,} parameters, in {inspection['layout']} layout"]
    lines += [f"  with the adapter {adapter}" for adapter in inspection["adapters"]]
    lines += [f"  {part:<40}{count:>16,}" for part, count in inspection["parts"].items()]
    lines += [f"  {name}: {inspection[name]}" for name in ("language model", "images")]
    lines += [f"  {'thinks before it draws' if inspection['thinks'] else 'draws without a thought'}"]
    return "\n".join([*lines, *(f"  {what:<40}{count / 1e9:>13.3f} GB" for what, count in inspection["bytes"].items())])


if __name__ == "__main__":
    main()
