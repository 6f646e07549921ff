"""Throughput of fine-tuning, DPO and GRPO's rollouts, each against a plain loop over transformers' own Janus.

    python -m model.training.benchmark
    python -m model.training.benchmark --checkpoint DIR --repeats 5 --json

Both train the same weights on the same tokens in the same process, in turn; figures are medians over the steps, in
tokens of the sequences per second, whether a token was padded around, or computed together with another sequence's. Of
DPO the pass of the reference over the data, before the first step, is counted in: a third of it, since each pair is
learnt three times. With one thread seconds are the processor's, so that other work on the machine counts less.

Rollouts are those of the engine, drawn again by the plain loop token for token. Of each kind both have to agree: on the
loss of the first step, on the log-probabilities of what was preferred, and on those of what was drawn.
"""

import argparse
import json
import platform
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from model.backends.checkpoint.loading import EMBEDDED
from model.backends.janus import Janus
from model.decoding.load_for_inference import open_checkpoint
from model.training import dpo, sft
from model.training.batch import collate, length, token_counts
from model.training.benchmark.plain_loop import PlainLoop
from model.training.benchmark.staged_rollouts import StagedRollouts
from model.training.benchmark.workloads import drawings, reflections, supervised
from model.training.policy import Policy
from model.training.preferences.reference import ReferencedRow, referenced
from model.training.rewards.registry import Assessment
from model.training.rollouts import Rollout, roll_out, starts_of
from model.training.runs.command import bounded, run_command
from model.training.runs.estimate import matrix_rate
from model.training.runs.folder import RunPaths
from model.training.runs.metrics_log import read_rows
from model.training.sources import WeightedRows
from model.training.training_sequences import TrainingSequence
from model.training.world_data.world_prompts import world_prompts

GUIDANCE = 3.0
SEQUENCES, PAIRS = 32, 16  # of a step
AT_ONCE = 8  # sequences, or pairs, in one pass
RATE = 1e-6  # learning rate: both stay near the same weights
EPOCHS = 3  # of DPO: TRL's default
UNTIMED = 3  # steps of a run: the first, and the last two, while which nothing is fetched
PLAIN = {
    "distill": 0.0,
    "evaluate_prompts": 0,
    "warmup": 0,
    "learning_rate": RATE,
    "save_every": 0,
    "weight_decay": 0.0,
}


@dataclass(frozen=True)
class ThroughputFigure:
    """Tokens per second of one kind of work."""

    name: str
    ours: float
    plain: float
    agreement: float  # relative difference of what both computed
    note: str

    def line(self) -> str:
        ratio = self.ours / self.plain
        return (
            f"{self.name:<34}{self.ours:>10.0f}{self.plain:>12.0f}{ratio:>9.2f}×   {self.agreement:>9.1e}   {self.note}"
        )


HEAD = f"{'tokens/s':<34}{'trainer':>10}{'plain loop':>12}{'ratio':>10}   {'apart by':>9}"


@dataclass
class Stamped:
    """Data that are indexed, and when they were."""

    items: Sequence[Any]
    clock: Callable[[], float]
    stamps: list[float] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        self.stamps.append(self.clock())
        return self.items[index]


@dataclass(frozen=True)
class Bench:
    """A checkpoint and how it is measured. `clock`: seconds; of the processor, where one thread computes."""

    checkpoint: str
    steps: int
    repeats: int
    folder: Path
    clock: Callable[[], float]

    def opened(self) -> Janus:
        return open_checkpoint(self.checkpoint, dtype=torch.float32, device="cpu")

    def supervised(self, at_once: int) -> ThroughputFigure:
        """Fine-tuning, where the plain loop reads `at_once` sequences in a pass."""
        janus, loop = self.opened(), PlainLoop(self.opened(), RATE)
        steps = [supervised(janus, 0, step, SEQUENCES) for step in range(self.steps + UNTIMED)]
        counts = [tokens(janus, some) for some in steps]
        settings = sft.SftSettings(steps=len(steps), batch=SEQUENCES, micro_batches=SEQUENCES // AT_ONCE, **PLAIN)
        ours: list[float] = []
        plain: list[float] = []
        difference = 0.0
        for number in range(self.repeats):
            out, data = self.folder / f"sft-{at_once}-{number}", Stamped(steps, self.clock)
            about = {"parent": self.checkpoint}
            sft.train(self.opened(), lambda step, which, data=data: data[step][which], settings, out, about)
            ours += step_rates(data.stamps, counts)
            _, loss = self.timed(partial(loop.supervised, steps[0], at_once))
            for count, some in zip(counts[1:-2], steps[1:-2], strict=True):
                seconds, _ = self.timed(partial(loop.supervised, some, at_once))
                plain.append(count / seconds)
            if not number:
                difference = apart(weighted_loss(read_rows(RunPaths(out).log)[0]), loss)
        pads = 1 - sum(counts) / sum(padded_length(janus, some, at_once) for some in steps)
        note = f"{pads:.0%} of the plain loop's positions are pads"
        name = f"sft, {at_once} in a plain pass"
        return ThroughputFigure(name, statistics.median(ours), statistics.median(plain), difference, note)

    def preferences(self, name: str, make: Callable[[Janus, int, int], list[ReferencedRow]]) -> ThroughputFigure:
        """DPO on pairs, each learnt EPOCHS times."""
        janus, loop = self.opened(), PlainLoop(self.opened(), RATE)
        pairs = make(janus, 0, (self.steps + UNTIMED) * PAIRS)
        some = [pairs[at : at + PAIRS] for at in range(0, len(pairs), PAIRS)]
        settings = dpo.DpoSettings(steps=len(some), batch=PAIRS, micro_batch=AT_ONCE, **PLAIN)
        counts = [tokens(janus, [sequence for row in each for sequence in row.sequences]) for each in some]
        ours: list[float] = []
        plain: list[float] = []
        difference = 0.0
        for number in range(self.repeats):
            opened, out = self.opened(), self.folder / f"{name}-{number}".replace(" ", "-")
            seconds, known = self.timed(lambda opened=opened: referenced(Policy(opened), pairs, AT_ONCE))
            data = Stamped(pairs, self.clock)
            dpo.train(opened, [WeightedRows(data)], settings, out, {"parent": self.checkpoint})
            stamps = data.stamps[len(pairs) + 1 :: PAIRS]  # after the reference's and the padding's
            rate = statistics.median(step_rates(stamps, [sum(counts) / len(counts)] * len(counts)))
            ours.append(1 / (1 / rate + seconds / sum(counts) / EPOCHS))
            _, (_, chosen) = self.timed(partial(loop.preferred, sequences_of(some[0]), AT_ONCE, 0.1))
            for count, each in zip(counts[1:-2], some[1:-2], strict=True):
                seconds, _ = self.timed(partial(loop.preferred, sequences_of(each), AT_ONCE, 0.1))
                plain.append(count / seconds)
            if not number:
                own = statistics.mean(log_probs[0] for log_probs in known.log_probs[:PAIRS])
                difference = apart(chosen, own)
        read = [token_counts(collate(janus, [*row.sequences])) for row in pairs]
        shared = 1 - sum(filled for _, filled, _ in read) / sum(every for every, _, _ in read)
        note = f"{shared:.0%} of the tokens are computed once for both of a pair"
        return ThroughputFigure(name, statistics.median(ours), statistics.median(plain), difference, note)

    def timed(self, step: Callable[[], Any]) -> tuple[float, Any]:
        """Seconds of a step, and what it returned."""
        began = self.clock()
        result = step()
        return self.clock() - began, result

    def rollouts(self, prompts: int, size: int) -> ThroughputFigure:
        """Groups of trajectories of two images at most, without thoughts."""
        janus = self.opened()
        sampling = replace(janus.sampling, guidance=GUIDANCE, temperature=1.0, top_k=None, text_temperature=1.0)
        sampling = replace(sampling, text_top_k=None, thinks=False, thinks_after_no=False, published_contexts=False)
        starts = [
            replace(each, sampling=sampling)
            for each in starts_of(janus, world_prompts(0, prompts)(0), 0, 0, random.Random(0))
        ]
        ours: list[float] = []
        plain: list[float] = []
        difference = revised = 0.0
        for number in range(self.repeats + 1):
            began = self.clock()
            groups = roll_out(janus, unrewarded, starts, size, 2, random.Random(number))
            seconds = self.clock() - began
            loop, began = StagedRollouts(janus), self.clock()
            for group in groups:
                pictures = {sha256: picture for rollout in group for sha256, picture in rollout.pictures.items()}
                loop.draw([rollout.trajectory for rollout in group], pictures)
            if number:  # the first does not count
                ours.append(loop.tokens / seconds)
                plain.append(loop.tokens / (self.clock() - began))
            else:
                difference = apart(loop.log_prob, own_log_prob(janus, groups))
                revised = statistics.mean(len(each.trajectory.images) > 1 for group in groups for each in group)
        note = f"{prompts} groups of {size}; {revised:.0%} drew again"
        return ThroughputFigure("rollouts of grpo", statistics.median(ours), statistics.median(plain), difference, note)


def unrewarded(trajectory: Any, pictures: Sequence[Any]) -> Assessment:
    """A reward that costs nothing."""
    return Assessment((0.0,) * len(pictures), (False,) * len(pictures))


@torch.no_grad()
def own_log_prob(janus: Janus, groups: Sequence[Sequence[Rollout]]) -> float:
    """The sum over all tokens of rollouts, as the trainer scores them."""
    policy = Policy(janus)
    sequences = [sequence for group in groups for rollout in group for sequence in rollout.sequences]
    return sum(
        float(policy(collate(janus, sequences[at : at + 8])).log_probs.sum()) for at in range(0, len(sequences), 8)
    )


def step_rates(stamps: Sequence[float], counts: Sequence[float]) -> list[float]:
    """Tokens per second of the steps after the first, by when the data of each were fetched: while the one before is
    learnt."""
    return [counts[step] / (stamps[step + 2] - stamps[step + 1]) for step in range(1, len(stamps) - 2)]


def sequences_of(rows: Sequence[ReferencedRow]) -> list[tuple[TrainingSequence, ...]]:
    return [row.sequences for row in rows]


def tokens(janus: Janus, sequences: Sequence[TrainingSequence]) -> int:
    return sum(length(sequence, janus.image_codes) for sequence in sequences)


def padded_length(janus: Janus, sequences: Sequence[TrainingSequence], at_once: int) -> int:
    """Positions of right-padded batches of so many sequences."""
    lengths = [length(sequence, janus.image_codes) for sequence in sequences]
    parts = [lengths[at : at + at_once] for at in range(0, len(lengths), at_once)]
    return sum(len(part) * max(part) for part in parts)


def weighted_loss(row: dict[str, Any]) -> float:
    """The loss of fine-tuning by its logged parts: of kinds that no sequence has, there is none."""
    return sum(weight * row.get(kind, 0.0) for kind, weight in sft.KIND_WEIGHTS.items())


def apart(first: float, second: float) -> float:
    return abs(first - second) / max(abs(first), abs(second), 1e-12)


def measure(arguments: argparse.Namespace) -> None:
    """Raises CheckpointError."""
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory(prefix="aha-benchmark-") as folder:
        clock = time.process_time if arguments.threads == 1 else time.perf_counter
        bench = Bench(arguments.checkpoint, arguments.steps, arguments.repeats, Path(folder), clock)
        work: list[Callable[[], ThroughputFigure]] = [
            lambda: bench.supervised(AT_ONCE),
            lambda: bench.supervised(SEQUENCES),
            lambda: bench.preferences("dpo on reflections", reflections),
            lambda: bench.preferences("dpo on drawings", drawings),
            lambda: bench.rollouts(arguments.prompts, arguments.group),
        ]
        figures: list[ThroughputFigure] = []
        rates = [matrix_rate("cpu", torch.float32)]
        for each in work:
            figures.append(each())
            rates.append(matrix_rate("cpu", torch.float32))
            print(figures[-1].line(), file=sys.stderr, flush=True)
    machine = platform.processor() or platform.machine()
    if arguments.json:
        result = {"machine": machine, "threads": arguments.threads, "matrix_operations_per_second": rates}
        print(json.dumps(result | {"figures": [asdict(figure) for figure in figures]}, indent=2))
        return
    print(
        f"{Path(arguments.checkpoint).name}, float32, {machine}, {arguments.threads} threads; a product of two 1024² "
        f"matrices ran at"
    )
    print(f"{min(rates) / 1e9:.1f} to {max(rates) / 1e9:.1f} GFLOP/s before and after each row\n")
    print(HEAD)
    for figure in figures:
        print(figure.line())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m model.training.benchmark", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--checkpoint", default=str(EMBEDDED), help="of the embedded network's kind (default: embedded)"
    )
    parser.add_argument("--steps", type=bounded(int, 1, 1000), default=4, help="of a run that count")
    parser.add_argument("--repeats", type=bounded(int, 1, 1000), default=3, help="runs")
    parser.add_argument("--prompts", type=bounded(int, 1, 1000), default=8, help="groups of rollouts")
    parser.add_argument("--group", type=bounded(int, 1, 1000), default=8, help="rollouts of a group")
    parser.add_argument("--threads", type=bounded(int, 1, 1024), default=1)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    run_command("benchmark", lambda: measure(arguments))


if __name__ == "__main__":
    main()
