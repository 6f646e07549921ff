"""Speed of the CPU decode step by its operations: `native.c` beside oneDNN, torch, `torch.compile` and bfloat16.

    python -m model.evaluation.cpu_benchmark

The same drawings by the same engine, of which only the layers and the image head differ. Milliseconds per step of all
drawings at once, median of the repeats; the ways take turns within a repeat, so that what else the machine does meets
all of them alike.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence

import torch

from model.backends.checkpoint.loading import EMBEDDED, CheckpointError
from model.backends.janus import Janus
from model.backends.request import Request
from model.decoding.cpu.native import native
from model.decoding.cpu.operations import Kernels, Operations
from model.decoding.engine import Engine
from model.decoding.kv_cache import CacheView
from model.decoding.llama import Layer, shape_of
from model.decoding.load_for_inference import open_checkpoint
from model.decoding.packed_weights import DecodingWeights, weights_by
from model.events import Failed
from model.trajectory import Sampling

PROMPT = "two cars"  # one for all: every length of a prompt is compiled for itself
NATIVE = "native.c"
Way = tuple[Janus, DecodingWeights]


def ways_of(checkpoint: str) -> dict[str, Way]:
    """Every way to compute a step, by name. Raises CheckpointError."""
    janus = open_checkpoint(checkpoint, dtype=torch.float32, device="cpu")
    half = open_checkpoint(checkpoint, dtype=torch.bfloat16, device="cpu")
    shape = shape_of(janus.network.model.language_model.config)
    compiled, halves = _weights(janus, None), _weights(half, None)
    torch._dynamo.config.recompile_limit = 1000  # layer numbers and numbers of rows are constants to the compiler
    for weights in (compiled, halves):
        weights.llama.layers = [CompiledLayer(layer) for layer in weights.llama.layers]
    ways: dict[str, Way | None] = {
        NATIVE: (janus, _weights(janus, operations)) if (operations := native(shape)) else None,
        "oneDNN, weights packed": (janus, _weights(janus, Kernels(shape))),
        "torch": (janus, _weights(janus, None)),
        "torch.compile": (janus, compiled),
        "bfloat16, torch": (half, _weights(half, None)),
        "bfloat16, torch.compile": (half, halves),
    }
    return {name: way for name, way in ways.items() if way is not None}


def _weights(janus: Janus, operations: Operations | None) -> DecodingWeights:
    model = janus.network.model
    parts = (model.language_model, model.generation_head, model.generation_embeddings, model.generation_aligner)
    return weights_by(operations, *parts)


class CompiledLayer:
    """A layer by `torch.compile`, for each number of rows by itself."""

    def __init__(self, layer: Layer):
        self.device, self.rotary = layer.device, layer.rotary
        self._compiled = torch.compile(layer.__call__, dynamic=False)

    def __call__(self, hidden: torch.Tensor, view: CacheView, number: int) -> torch.Tensor:
        return self._compiled(hidden, view, number)


def seconds(way: Way, count: int) -> float:
    """Per step of `count` drawings, from the first code of all to the last."""
    janus, weights = way
    sampling = Sampling(guidance=3.0, temperature=1.0)
    requests = [Request(PROMPT, n, 1, sampling, None, id=str(n)) for n in range(count)]
    engine = Engine.for_requests(janus, requests, count)
    engine.decoder.prepared = weights
    engine.decoder.slots = weights.llama.slots(len(engine.decoder.slots.free), engine.decoder.slots.capacity)
    try:
        _advance(engine, 1)  # the prompts
        began = time.perf_counter()
        _advance(engine, janus.image_codes - 2)
        return (time.perf_counter() - began) / (janus.image_codes - 2)
    finally:
        engine.close()


def _advance(engine: Engine, steps: int) -> None:
    for _ in range(steps):
        for event in engine.step():
            if isinstance(event, Failed):
                raise RuntimeError(event.error)


def measured(ways: dict[str, Way], counts: Sequence[int], repeats: int) -> dict[str, list[float]]:
    """Median milliseconds per step of every way, for each number of drawings at once; a first round is not counted."""
    times: dict[str, list[list[float]]] = {name: [[] for _ in counts] for name in ways}
    for repeat in range(repeats + 1):
        for at, count in enumerate(counts):
            for name, way in ways.items():
                took = seconds(way, count)
                if repeat:
                    times[name][at].append(1000 * took)
        print(f"{repeat} of {repeats} repeats", file=sys.stderr, flush=True)
    return {name: [statistics.median(each) for each in taken] for name, taken in times.items()}


def table(figures: dict[str, list[float]], counts: Sequence[int]) -> str:
    best = [min(taken[at] for name, taken in figures.items() if name != NATIVE) for at in range(len(counts))]
    lines = [f"{'ms per step':<26}" + "".join(f"{count:>6} at once" for count in counts)]
    lines += [f"{name:<26}" + "".join(f"{ms:>14.2f}" for ms in taken) for name, taken in figures.items()]
    if NATIVE in figures:
        ratios = [other / own for other, own in zip(best, figures[NATIVE], strict=True)]
        lines.append(f"{'the best other ÷ native.c':<26}" + "".join(f"{ratio:>13.2f}×" for ratio in ratios))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m model.evaluation.cpu_benchmark", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--checkpoint", default=str(EMBEDDED), help="a folder or Hub id (default: embedded)")
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 8, 32], help="drawings at once")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    try:
        ways = ways_of(arguments.checkpoint)
    except CheckpointError as error:
        sys.exit(f"benchmark: {error}")
    figures = measured(ways, arguments.counts, arguments.repeats)
    print(json.dumps(figures, indent=2) if arguments.json else table(figures, arguments.counts))


if __name__ == "__main__":
    main()
