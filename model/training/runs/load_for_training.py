"""Opens a checkpoint to be trained, by options that are the same for every method: all weights, or an adapter beside
frozen ones (float32 or bfloat16); gradient checkpointing.
"""

import argparse
import pkgutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch.utils.checkpoint import checkpoint

from model.backends.adapters import Adapter
from model.backends.checkpoint.hub import pinned
from model.backends.checkpoint.loading import EMBEDDED, WEIGHTS, path_of
from model.backends.contract import CheckpointError
from model.backends.janus import Janus
from model.decoding.load_for_inference import open_checkpoint
from model.training.runs.command import bounded

KINDS = {  # of adapters, by the function that adds one beside layers of a pattern, in the module that imports peft
    "lora": "model.training.adapters.lora:add_beside",
    "dora": "model.training.adapters.lora:add_beside",
}
TARGETS = {  # linear layers that an adapter may stand beside, by patterns of their names
    "layers": r"model\.language_model\.layers\.\d+\.(self_attn|mlp)\.\w+_proj",
    "text_head": r"lm_head",
    "image_head": r"model\.generation_head\.(proj_out|vision_head)",
    "image_aligner": r"model\.generation_aligner\.(fc1|hidden_layers\.\d+)",
    "aligner": r"model\.aligner\.(fc1|hidden_layers\.\d+)",
}


@dataclass(frozen=True)
class AdapterOptions:
    """Kind, rank, alpha and target layers of an adapter."""

    kind: str = "lora"
    rank: int = 16
    alpha: int = 32  # the change is multiplied by alpha / rank
    targets: tuple[str, ...] = ("layers",)


@dataclass(frozen=True)
class LoadOptions:
    """How a checkpoint is loaded for training."""

    adapter: AdapterOptions | None = None  # None: all weights are trained
    base_precision: str = "no"  # or bf16: of frozen weights
    checkpointing: bool = False  # layers compute their activations again in the backward pass

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights. Raises CheckpointError where bfloat16 weights would be trained."""
        if self.base_precision == "no":
            return torch.float32
        if self.adapter is None:
            raise CheckpointError("--base-precision bf16 is for frozen weights; give --adapter lora with it")
        return torch.bfloat16


def add_load_options(
    parser: argparse.ArgumentParser, start: str = "what to start from (default: embedded)", default: str = str(EMBEDDED)
) -> None:
    """The options --checkpoint (`start`: its help), --adapter and what belongs to it, --checkpointing."""
    defaults = AdapterOptions()
    parser.add_argument("--checkpoint", default=default, help=start)
    parser.add_argument(
        "--adapter", choices=tuple(KINDS), help="train an adapter (default: all weights but codec and vision tower)"
    )
    parser.add_argument("--rank", type=bounded(int, 1, 4096), default=defaults.rank, help="of an adapter")
    parser.add_argument("--alpha", type=bounded(int, 1, 10**6), default=defaults.alpha, help="of an adapter")
    targets = "layers that an adapter stands beside"
    parser.add_argument(
        "--adapter-targets", nargs="+", choices=tuple(TARGETS), default=list(defaults.targets), help=targets
    )
    frozen = "of the weights under an adapter"
    parser.add_argument("--base-precision", choices=("no", "bf16"), default="no", help=frozen)
    less = "compute activations again in the backward pass: less memory, a third more time"
    parser.add_argument("--checkpointing", action="store_true", help=less)
    parser.add_argument("--estimate", action="store_true", help="print the memory and time of the run, and end")


def load_options_of(arguments: argparse.Namespace) -> LoadOptions:
    """The `LoadOptions` from the options of `add_load_options`."""
    adapter = None
    if arguments.adapter:
        targets: Sequence[str] = arguments.adapter_targets
        adapter = AdapterOptions(arguments.adapter, arguments.rank, arguments.alpha, tuple(dict.fromkeys(targets)))
    return LoadOptions(adapter, arguments.base_precision, arguments.checkpointing)


def open_for_training(
    source: str | Path,
    load_options: LoadOptions = LoadOptions(),
    *,
    seed: int = 0,
    published_contexts: bool | None = None,
) -> Janus:
    """A checkpoint on the CPU, since each process has a device of its own. `seed`: of an adapter's initial weights;
    `published_contexts`: as `open_checkpoint` takes it. Raises CheckpointError."""
    janus = open_checkpoint(source, dtype=load_options.dtype, device="cpu", published_contexts=published_contexts)
    if load_options.adapter is not None:
        add = pkgutil.resolve_name(KINDS[load_options.adapter.kind])
        layers = "|".join(TARGETS[name] for name in load_options.adapter.targets)
        config = add(janus.network, layers, load_options.adapter, base_name(source), seed)
        janus.adapter = Adapter(config, janus.fingerprint)
    if load_options.checkpointing:
        for layer in janus.network.model.language_model.layers:
            layer.gradient_checkpointing = True
            layer._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)
    return janus


def base_name(source: str | Path) -> str:
    """What an adapter's config calls its base: a shipped checkpoint's name, an address on the Hub, or a path."""
    path = Path(path_of(source)).absolute()
    return path.name if path.resolve().parent == WEIGHTS.resolve() else pinned(path) or str(path)
