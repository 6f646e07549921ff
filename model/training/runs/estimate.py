"""Memory and time of a training run, estimated from the checkpoint's config before its weights are read.

Counted are weights, reference, gradients, optimizer, activations, logits and the cache of rollouts, for sequences of
the usual length. A run that does not fit is refused, with the options by which it would.
"""

import argparse
import re
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import get_int_from_env
from transformers import JanusConfig, JanusForConditionalGeneration

from model.backends.checkpoint.loading import default_device, one_line, open_config, open_tokenizer, path_of, unstacked
from model.backends.contract import CheckpointError
from model.backends.janus import Janus
from model.backends.memory import PARTS, cache_values, most_positions, room_on
from model.training.runs.folder import RunPaths
from model.training.runs.load_for_training import (
    TARGETS,
    AdapterOptions,
    LoadOptions,
    load_options_of,
    open_for_training,
)

AROUND, WORDS = 64, 96  # text tokens of a sequence: of the prompt and the template, and about each of its images
FROZEN = ("codec", "understanding")  # parts that are never trained
UTILISATION = 0.5  # share of the rate of a plain matrix product that a step reaches


@dataclass(frozen=True)
class Workload:
    """What a step of a method does. `sequences`: in one pass; `step_sequences`: in all passes of a step."""

    sequences: int
    step_sequences: int
    rounds: int = 1  # images of a sequence
    reference: bool = False  # whether a frozen copy stays in memory where all weights are trained
    rollouts: int = 0  # trajectories drawn at the same time
    half: bool = False  # whether passes are in bfloat16
    shards: int = 1  # of gradients and optimizer; weights are whole while a process draws


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes by part, and floating-point operations of a step."""

    parts: dict[str, int]
    trained: int  # parameters
    parameters: int
    operations: float

    @property
    def total(self) -> int:
        return sum(self.parts.values())

    def told(self, device: str, rate: float) -> str:
        """The estimate as lines of text; `rate`: floating-point operations per second."""
        share = self.trained / self.parameters
        lines = [f"trained: {self.trained:,} of {self.parameters:,} parameters ({share:.1%})"]
        lines += [f"  {part:<28}{size / 1e9:>10.3f} GB" for part, size in self.parts.items() if size]
        lines += [f"  {'together':<28}{self.total / 1e9:>10.3f} GB, {device} has {room(device) / 1e9:.1f} GB free"]
        return "\n".join([*lines, f"about {self.operations / (rate * UTILISATION):.3g} s a step, rollouts not counted"])


def estimate(config: JanusConfig, load_options: LoadOptions, work: Workload) -> MemoryEstimate:
    """Memory and operations of a run on a network of this config. Raises CheckpointError where `load_options`
    contradict each other."""
    with torch.device("meta"):
        network = JanusForConditionalGeneration(config)
    sizes = {name: weight.numel() for name, weight in network.named_parameters()}
    frozen = tuple(start for part in FROZEN for start in PARTS[part])
    parameters = sum(sizes.values())
    trainable = sum(size for name, size in sizes.items() if not name.startswith(frozen))
    trained = trainable if load_options.adapter is None else adapter_parameters(network, load_options.adapter)
    text: Any = config.text_config
    codec: Any = config.vq_config
    codes = codec.num_patches**2
    positions = AROUND + work.rounds * (codes + WORDS)
    width = 2 if work.half or load_options.base_precision == "bf16" else 4
    added = 0 if load_options.adapter is None else trained
    copied = work.reference and load_options.adapter is None
    scored = work.rounds * (codes * codec.num_embeddings + WORDS * text.vocab_size)
    reserved = cache_values(config, most_positions(codes, work.rounds))
    parts = {
        "weights": parameters * load_options.dtype.itemsize + 4 * added,
        "reference": 4 * trainable if copied else 0,
        "gradients": 4 * trained // work.shards,
        "optimizer (AdamW)": 8 * trained // work.shards,
        "activations": work.sequences * positions * activation_bytes(config, width, positions, load_options),
        "logits and their gradients": 3 * 4 * work.sequences * scored,
        "cache of rollouts": work.rollouts * reserved * load_options.dtype.itemsize,
    }
    layers = sum(size for name, size in sizes.items() if name.startswith("model.language_model.layers."))
    passes = (
        2 + 2 * load_options.checkpointing + 2 + 2 * trained / trainable
    )  # forward, again, back, gradients of weights
    operations = work.step_sequences * positions * layers * (passes + 2 * work.reference)
    return MemoryEstimate(parts, trained, parameters + added, operations)


def adapter_parameters(network: torch.nn.Module, options: AdapterOptions) -> int:
    """Number of parameters of an adapter beside the linear layers of a network, which may lie on the meta device."""
    patterns = [TARGETS[name] for name in options.targets]
    count = 0
    for name, layer in network.named_modules():
        if isinstance(layer, torch.nn.Linear) and any(re.fullmatch(pattern, name) for pattern in patterns):
            count += options.rank * (layer.in_features + layer.out_features)
            count += layer.out_features if options.kind == "dora" else 0
    return count


def activation_bytes(config: JanusConfig, width: int, positions: int, load_options: LoadOptions) -> int:
    """Bytes kept for the backward pass per position: inputs of every product, norm and gate of a layer; the weights of
    attention where they are computed whole, on a CPU. `width`: bytes of a number."""
    text: Any = config.text_config
    hidden, inner, heads = text.hidden_size, text.intermediate_size, text.num_attention_heads
    attended = 2 * heads * positions if default_device() == "cpu" else 0
    layer = width * (10 * hidden + 4 * inner + attended)
    if load_options.adapter is not None:  # inputs in the adapter's own precision
        layer += 4 * (3 * hidden + inner)
    count = text.num_hidden_layers
    return layer + count * hidden * width if load_options.checkpointing else count * layer


def work_of(settings: Any) -> Workload:
    """The workload of a step by a method's settings."""
    shards = 1 if settings.sharding == "none" else max(1, get_int_from_env(("WORLD_SIZE",), 1))
    return replace(settings.workload, half=settings.precision == "bf16", shards=shards)


def config_of(source: str | Path) -> JanusConfig:
    """Config of a checkpoint, or of an adapter's base. Raises CheckpointError."""
    with one_line(f"{source} could not be opened as a Janus checkpoint"):
        base, _ = unstacked(path_of(source))
        return open_config(base, open_tokenizer(base))


def open_for_run(arguments: argparse.Namespace, settings: Any, *, published_contexts: bool | None = None) -> Janus:
    """The checkpoint that a run trains, as `open_for_training` takes it, once the run's memory is estimated; with
    --estimate that is printed, and the process ends. Raises CheckpointError where --out is not the run's own, and where
    the run does not fit, with options by which it would."""
    RunPaths(arguments.out).check(arguments.checkpoint)
    load_options, device, work = load_options_of(arguments), default_device(), work_of(settings)
    config = config_of(arguments.checkpoint)
    if arguments.estimate:
        rate = matrix_rate(device, torch.bfloat16 if work.half else torch.float32)
        print(estimate(config, load_options, work).told(device, rate))
        sys.exit(0)
    check_room(config, load_options, work, room(device), device)
    options = {"seed": settings.seed, "published_contexts": published_contexts}
    return open_for_training(arguments.checkpoint, load_options, **options)


def check_room(config: JanusConfig, load_options: LoadOptions, work: Workload, free: int, device: str) -> None:
    """Raises CheckpointError where a run needs more than `free` bytes."""
    needed = estimate(config, load_options, work)
    if needed.total <= free:
        return
    parts = ", ".join(f"{part} {size / 1e9:.1f}" for part, size in needed.parts.items() if size >= 5e7)
    message = f"the run needs about {needed.total / 1e9:.1f} GB ({parts}), {device} has {free / 1e9:.1f} GB free"
    for options, changed, smaller in remedies(load_options, work):
        if (less := estimate(config, changed, smaller).total) <= free:
            raise CheckpointError(f"{message}; with {options} it needs about {less / 1e9:.1f} GB")
    raise CheckpointError(f"{message}; no option makes it fit, take a smaller checkpoint or a larger machine")


def remedies(load_options: LoadOptions, work: Workload) -> list[tuple[str, LoadOptions, Workload]]:
    """Options that take less memory, each with those before it."""
    alternatives: list[tuple[str, LoadOptions, Workload]] = []
    options: list[str] = []
    if not load_options.checkpointing:
        options, load_options = [*options, "--checkpointing"], replace(load_options, checkpointing=True)
        alternatives.append((" ".join(options), load_options, work))
    if work.sequences > 1:
        options, work = [*options, "the smallest micro-batch"], replace(work, sequences=1)
        alternatives.append((" and ".join(options), load_options, work))
    if load_options.adapter is None:
        options, load_options = [*options, "--adapter lora"], replace(load_options, adapter=AdapterOptions())
        alternatives.append((" and ".join(options), load_options, work))
    if load_options.base_precision == "no":
        options, load_options = [*options, "--base-precision bf16"], replace(load_options, base_precision="bf16")
        alternatives.append((" and ".join(options), load_options, work))
    return alternatives


def room(device: str) -> int:
    """Bytes free for one process; those of a CPU share its memory."""
    here = get_int_from_env(("LOCAL_WORLD_SIZE",), 1) if device == "cpu" else 1
    return room_on(device) // max(1, here)


def matrix_rate(device: str, dtype: torch.dtype) -> float:
    """Floating-point operations per second of a product of two 1024² matrices, the best of three."""
    matrix = torch.ones(1024, 1024, device=device, dtype=dtype)
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        float((matrix @ matrix)[0, 0])
        seconds.append(time.perf_counter() - began)
    return 2 * 1024**3 / min(seconds)
