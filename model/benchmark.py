"""Throughput of the decoding engine against transformers' image generation loop, on the same weights and seeds.

    python -m model.benchmark                              # the embedded network
    python -m model.benchmark --preset 1b --device cuda    # random weights of Janus-Pro-1B's shape

First both must pick the same codes, greedily (but for bfloat16 and random weights, of which the best nearly tie). Then,
median of several runs after one that is not counted: images per second for several drawings at once, against
transformers called one after another, which takes as many times as long as one call, and as one padded batch;
milliseconds per token, time to the first code, peak memory. Every image is decoded to pixels in all of them. On a GPU
also the floor: a step cannot be quicker than reading the weights and the cache once.
"""

import argparse
import functools
import json
import platform
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

import psutil
import torch
from transformers import JanusConfig, JanusForConditionalGeneration, JanusVisionConfig, JanusVQVAEConfig, LlamaConfig

from model.backends.checkpoint.loading import EMBEDDED, CheckpointError, default_device
from model.backends.janus import Janus
from model.backends.memory import position_values
from model.backends.request import Request
from model.decoding.engine import Engine
from model.decoding.load_for_inference import open_checkpoint
from model.events import Failed, ImageCodesAdded, Preview
from model.sequences import prompt_pieces
from model.templates import BEGIN_IMAGE
from model.trajectory import Sampling

PROMPTS = (
    "two cars", "a red cat", "a dog above a tree", "three stars", "a blue heart", "a bird", "two green fish", "a house",
)  # fmt: skip
GUIDANCE = 3.0  # transformers' loop cannot do without
SHAPES = {"1b": (2048, 24, 16, 5632), "7b": (4096, 30, 32, 11008)}  # hidden, layers, heads, intermediate: Janus-Pro's


@dataclass(frozen=True)
class Case:
    """Some drawings at once, and what they took: seconds, median; bytes."""

    name: str
    images: int
    seconds: float
    first_code: float
    memory: int
    one_by_one: float | None = None  # transformers' seconds
    padded: float | None = None

    def line(self, codes: int) -> str:
        shares = [None if other is None else other / self.seconds for other in (self.one_by_one, self.padded)]
        against = "".join(f"{'–' if share is None else f'{share:.2f}×':>16}" for share in shares)
        rate, token = self.images / self.seconds, 1000 * self.seconds / codes
        took = f"{rate:>10.2f}{token:>10.2f}{1000 * self.first_code:>15.1f}{self.memory / 1e6:>10.0f}"
        return f"{self.name:<16}{took}{against}"


HEAD = f"{'':<16}{'images/s':>10}{'ms/step':>10}{'first code ms':>15}{'peak MB':>10}" + "{:>16}{:>16}".format(
    "× one by one", "× one batch"
)


def random_network(shape: str, device: str, dtype: torch.dtype) -> JanusForConditionalGeneration:
    """Random weights of a published network's shape, made where they are used."""
    hidden, layers, heads, intermediate = SHAPES[shape]
    config = JanusConfig(
        text_config=LlamaConfig(
            vocab_size=102_400,
            hidden_size=hidden,
            intermediate_size=intermediate,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            max_position_embeddings=16_384,
        ),
        vision_config=JanusVisionConfig(projection_dim=hidden),
        vq_config=JanusVQVAEConfig(projection_dim=hidden, image_token_embed_dim=hidden),
    )
    with torch.device(device):
        before = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        network = JanusForConditionalGeneration(config)
        torch.set_default_dtype(before)
    return network.eval()


def requests(prompts: Sequence[str], temperature: float) -> list[Request]:
    sampling = Sampling(GUIDANCE, temperature, text_temperature=temperature)
    return [Request(prompt, seed, 1, sampling, None, id=str(seed)) for seed, prompt in enumerate(prompts)]


def roomy(janus: Janus, requested: Sequence[Request]) -> Engine:
    """An engine with just the room for these, still idle."""
    engine = Engine.for_requests(janus, requested, len(requested))
    engine.clear()
    return engine


def ours(engine: Engine, requested: Sequence[Request]) -> tuple[list[tuple[int, ...]], float]:
    """The codes of every first drawing, decoded; and seconds to the first code."""
    began = time.perf_counter()
    for request in requested:
        engine.add(request)
    codes: dict[str, tuple[int, ...]] = {request.id: () for request in requested}
    first, shown = 0.0, 0
    while shown < len(requested):
        for event in engine.step():
            if isinstance(event, Failed):
                raise RuntimeError(event.error)
            if isinstance(event, Preview):
                shown += 1
            elif isinstance(event, ImageCodesAdded):
                codes[event.trajectory_id] += event.codes
        first = first or time.perf_counter() - began
    engine.clear()
    return list(codes.values()), first


def theirs(janus: Janus, prompts: Sequence[str], temperature: float) -> list[tuple[int, ...]]:
    """The codes of transformers' own loop for one left-padded batch, decoded by its own codec."""
    pieces = [[i for piece in prompt_pieces(janus, prompt) for i in piece.ids] for prompt in prompts]
    rows = [ids + janus.tokenize(BEGIN_IMAGE) for ids in pieces]
    longest = max(map(len, rows))
    padded = [[janus.ids.pad] * (longest - len(row)) + row for row in rows]
    mask = [[0] * (longest - len(row)) + [1] * len(row) for row in rows]
    sampled = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature else {"do_sample": False}
    with torch.inference_mode():
        codes = janus.network.generate(
            input_ids=torch.tensor(padded, device=janus.device),
            attention_mask=torch.tensor(mask, device=janus.device),
            generation_mode="image",
            guidance_scale=GUIDANCE,
            **sampled,
        )
        janus.network.decode_image_tokens(codes)
    return [tuple(row) for row in codes.tolist()]


def mend_their_loop(network: JanusForConditionalGeneration) -> None:
    """In transformers 5.17 it leaves out an argument of a function of its own."""
    network._prepare_static_cache = functools.partial(network._prepare_static_cache, prefill_chunk_size=None)


def measured(act: Callable[[], object], device: torch.device, repeats: int) -> tuple[float, int, list]:
    """Median seconds, most bytes in use, and what came back, after a first time that does not count."""
    times, results, memory = [], [], 0
    act()
    for _ in range(repeats):
        with Peak(device) as peak:
            began = time.perf_counter()
            results.append(act())
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            times.append(time.perf_counter() - began)
        memory = max(memory, peak.bytes)
    return statistics.median(times), memory, results


class Peak:
    """Most memory in use meanwhile: a GPU's own count; on a CPU the process's, looked at every millisecond."""

    def __init__(self, device: torch.device):
        self.device, self.bytes = device, 0

    def __enter__(self) -> "Peak":
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        else:
            self._done = threading.Event()
            self._watch = threading.Thread(target=self._look)
            self._watch.start()
        return self

    def _look(self) -> None:
        process = psutil.Process()
        while not self._done.wait(0.001):
            self.bytes = max(self.bytes, process.memory_info().rss)

    def __exit__(self, *_: object) -> None:
        if self.device.type == "cuda":
            self.bytes = torch.cuda.max_memory_allocated(self.device)
        else:
            self._done.set()
            self._watch.join()


def run(janus: Janus, counts: Sequence[int], repeats: int) -> list[Case]:
    """Every case, with a line on stderr as it is done."""
    rows = []
    alone, *_ = measured(lambda: theirs(janus, PROMPTS[:1], 1.0), janus.device, repeats)
    for name, prompts in [*((f"{n} at once", _prompts(n)) for n in counts), ("a group of 8", PROMPTS[:1] * 8)]:
        requested = requests(prompts, 1.0)
        engine = roomy(janus, requested)
        seconds, memory, results = measured(
            lambda requested=requested, engine=engine: ours(engine, requested), janus.device, repeats
        )
        engine.close()  # its room is the next one's
        first = statistics.median(first for _, first in results)
        padded = None
        if len(prompts) > 1:
            padded, *_ = measured(lambda prompts=prompts: theirs(janus, prompts, 1.0), janus.device, repeats)
        rows.append(Case(name, len(prompts), seconds, first, memory, len(prompts) * alone, padded))
        print(rows[-1].line(janus.image_codes), file=sys.stderr, flush=True)
    return rows


def _prompts(count: int) -> tuple[str, ...]:
    return tuple(PROMPTS[i % len(PROMPTS)] for i in range(count))


def differing(janus: Janus, prompts: Sequence[str]) -> int:
    """How many of the greedy codes differ between the two."""
    requested = requests(prompts, 0.0)
    engine = roomy(janus, requested)
    mine, _ = ours(engine, requested)
    engine.close()
    pairs = zip(mine, theirs(janus, prompts, 0.0), strict=True)
    return sum(a != b for first, other in pairs for a, b in zip(first, other, strict=True))


def bandwidth(device: torch.device) -> float:
    """Bytes per second of a copy, reading and writing counted: median of five, of 64 MB on a CPU, 1 GB elsewhere."""
    block = torch.ones(16_000_000 if device.type == "cpu" else 250_000_000, device=device)
    target, times = torch.empty_like(block), []
    for _ in range(6):
        began = time.perf_counter()
        target.copy_(block)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - began)
    return 2 * block.nbytes / statistics.median(times[1:])


def floor(janus: Janus, case: Case, speed: float) -> float:
    """Share of the least time a step can take, weights and live cache read once, in the time it took."""
    model = janus.network.model
    weights = sum(p.nbytes for part in (model.language_model.layers, model.generation_head) for p in part.parameters())
    position = position_values(janus.network.config) * janus.dtype.itemsize
    cache = 2 * case.images * position * (janus.image_codes / 2 + 16)  # on average, with a short prompt
    return (weights + cache) / speed / (case.seconds / janus.image_codes)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m model.benchmark", description=__doc__.split("\n")[0])
    parser.add_argument("--checkpoint", default=str(EMBEDDED), help="a folder or Hub id (default: embedded)")
    parser.add_argument("--preset", choices=tuple(SHAPES), help="random weights of this shape, with its tokenizer")
    parser.add_argument("--device", default=None)
    parser.add_argument(
        "--dtype", choices=("float32", "bfloat16"), help="default: float32 on a CPU, bfloat16 elsewhere"
    )
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 8, 32], help="drawings at once")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="of torch, on a CPU")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.device == "auto":
        parser.error("--device auto: one device is measured; name it")
    device = torch.device(arguments.device or default_device())
    torch.set_num_threads(arguments.threads)
    dtype = getattr(torch, arguments.dtype or ("float32" if device.type == "cpu" else "bfloat16"))
    try:
        janus = open_checkpoint(arguments.checkpoint, dtype=dtype, device=str(device))
    except CheckpointError as error:
        sys.exit(f"benchmark: {error}")
    if arguments.preset:
        network = random_network(arguments.preset, str(device), dtype)
        network.generation_config = janus.network.generation_config
        janus = replace(janus, network=network, name=arguments.preset)
    mend_their_loop(janus.network)
    different, speed = differing(janus, PROMPTS), bandwidth(device)
    cuda = device.type == "cuda"
    machine = torch.cuda.get_device_name(device) if cuda else platform.processor() or platform.machine()
    cases = run(janus, arguments.counts, arguments.repeats)
    shares = [floor(janus, case, speed) if cuda else None for case in cases]
    if arguments.json:
        rows = [asdict(case) | {"share_of_floor": share} for case, share in zip(cases, shares, strict=True)]
        result = {"machine": machine, "bytes_per_second": speed, "greedy_codes_that_differ": different, "cases": rows}
        print(json.dumps(result, indent=2))
        return
    print(f"{janus.name}, {dtype}, {machine}, {arguments.threads} threads; a copy moves {speed / 1e9:.1f} GB/s")
    print(f"greedy codes that differ from transformers': {different} of {len(PROMPTS) * janus.image_codes}\n")
    print(HEAD)
    for case in cases:
        print(case.line(janus.image_codes))
    if not cuda:
        print("\non a GPU: unmeasured")
    for case, share in zip(cases, shares, strict=True):
        if share is not None:
            print(f"{case.name}: {share:.0%} of the floor")


if __name__ == "__main__":
    main()
