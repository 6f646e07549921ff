"""The training loop of every method: gradient steps, schedule, clipping, log, save, exact resume, evaluation, signals.

It runs on accelerate: one process here, several by `torchrun`. The batch of a step belongs to all processes together;
each takes its share, and losses are divided by totals over all, so that the number of processes does not change what is
learnt. A run saves every `save_every` steps, at its end, and when SIGTERM or SIGINT stops it; it resumes with the same
weights and metrics as without the interruption.

The loop knows no method and no network. A method is an `Objective`; a source makes a step's batches for it.
"""

import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs
from torch.distributed.tensor import DTensor

from model.backends.checkpoint.saving import check_finite as check_weights
from model.training.batch import token_counts
from model.training.optimization import TrainingError, check_finite, new_optimizers, new_schedules, summed
from model.training.runs.alarms import Alarms
from model.training.runs.folder import FROM_THE_START, RunPaths, RunStart, RunStopped, StopSignal, remembered_signals
from model.training.runs.metrics_log import Log
from model.training.runs.settings import LoopSettings
from model.training.runs.sharding import Gathered, answering, shard, whole
from model.training.runs.state import RunState, defining
from model.training.runs.trackers import start_tracker, track

Item = TypeVar("Item")


class Objective(Protocol):
    """What a method minimises. Losses and metrics add up over micro-batches and processes."""

    def totals(self, batch: Any, /) -> Mapping[str, float]:
        """Counts of a batch; summed over a step and all processes they are the denominators of its means."""

    def __call__(
        self, module: Any, batch: Any, totals: Mapping[str, float], /
    ) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        """A batch's share of the step's loss, and of its metrics."""


@dataclass(frozen=True)
class ObjectiveBatches:
    """An objective and this process's micro-batches for it. `padding`: a batch that contributes nothing, for a process
    that has fewer batches than another; needed where numbers may differ."""

    objective: Objective
    batches: Sequence[Any]
    padding: Any = None


@dataclass(frozen=True)
class StepData:
    """What one step learns from. `names` of rows appear in errors; `metrics` are averaged over processes."""

    objectives: Sequence[ObjectiveBatches]
    names: Sequence[str] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)


Source = Callable[[int], StepData]  # step → its data, in this process


@dataclass(frozen=True)
class Evaluation:
    """A hook: metrics computed after every `every`-th step and the last, logged with it and kept in provenance.

    With `begin`, which is told the first step, also before a run's first one. With `is_best` the checkpoint of `out` is
    the best of those evaluated, and the last one only until there is one.
    """

    every: int  # 0: after the last step alone
    run: Callable[[int], Mapping[str, Any]]  # finished steps → metrics
    begin: Callable[[int], None] | None = None
    is_best: Callable[[int], bool] | None = None  # finished steps, evaluated → whether none was better
    finish: Callable[[], None] = lambda: None  # called in the first process at the end


@dataclass(frozen=True)
class Run:
    """What is trained, where it is saved, and its provenance. `save` writes a checkpoint, given its provenance."""

    module: torch.nn.Module  # its parameters that require gradients are trained
    network: torch.nn.Module  # what the run's state holds; `module` is it, or shares its parameters
    out: Path
    provenance: Mapping[str, Any]
    save: Callable[[dict[str, Any]], None]
    matrices: Sequence[torch.nn.Parameter] = ()  # that Muon takes
    start: RunStart = FROM_THE_START
    evaluation: Evaluation | None = None
    saved: Callable[[int], None] = lambda step: None  # called in the first process after a save
    printed_every: int = 10  # steps
    trained: Any = None  # what the state holds, with state_dict and load_state_dict, in place of the whole network
    fsdp_units: Sequence[torch.nn.Module] = ()  # that are gathered each by itself where weights are sharded
    stateful: Mapping[str, Any] = field(default_factory=dict)  # what else the state holds, the same in all processes


class Loop:
    """Settings and processes of one run."""

    def __init__(self, settings: LoopSettings):
        distributed = DistributedDataParallelKwargs(find_unused_parameters=True, broadcast_buffers=False)
        self.settings = settings
        self.accelerator = Accelerator(mixed_precision=settings.precision, kwargs_handlers=[distributed])
        self.processes = self.accelerator.num_processes
        self.sharded = settings.sharding != "none" and self.processes > 1
        if self.sharded and settings.muon:
            raise TrainingError("Muon reads whole matrices, which --sharding takes apart; leave out one of them")
        self.rank_slice = slice(self.accelerator.process_index, None, self.processes)  # this process's items of a step
        torch.manual_seed(settings.seed)

    def train(self, run: Run, source: Source) -> None:
        """Start or resume a run.

        Raises TrainingError for a loss or gradient that is not finite, before the step is taken; CheckpointError for
        what cannot be resumed or written; RunStopped after a signal.
        """
        self._prepare(run)
        first, log = self._begin(run)
        with remembered_signals() as stop, closing(log):
            before = self._evaluated_before(first)
            clock = Clock(first, self.settings.steps)
            for step in range(first, self.settings.steps):
                data = source(step)
                metrics = self._step_and_log(step, data, log, clock) | (before if step == first else {})
                metrics |= self._evaluated(step + 1)
                log.write({"step": step, **clock.times(), **metrics})
                track(self.accelerator, {"step": step, **metrics})
                stopped = summed(self.accelerator, [stop.number > 0]) != [0]  # processes hear of it at different steps
                due = self.settings.save_every and (step + 1) % self.settings.save_every == 0
                if stopped or due or self._is_best(step + 1):
                    self._save(step + 1, log)
                if stopped and step + 1 < self.settings.steps:
                    raise self._stopped(step + 1, stop)
            if first >= self.settings.steps:
                self._evaluated(first)
            self._save(self.settings.steps, log)
            if self.run.evaluation and self.accelerator.is_main_process:
                self.run.evaluation.finish()
        self.accelerator.wait_for_everyone()  # no process leaves the others while they save
        self.accelerator.end_training()
        self._say(f"saved {run.out}")

    def _prepare(self, run: Run) -> None:
        settings, self.run = self.settings, run
        run.network.to(self.accelerator.device)  # all of it, also where only a part is trained
        if self.sharded:
            shard(run.module, run.fsdp_units, self.accelerator.device)
        trained = [p for p in run.module.parameters() if p.requires_grad]
        self.optimizers = new_optimizers(
            trained, settings.learning_rate, settings.weight_decay, settings.muon, run.matrices
        )
        self.schedules = new_schedules(self.optimizers, settings.steps, settings.warmup, settings.decay)
        paths = RunPaths(run.out)
        paths.check(run.provenance.get("parent"))
        definition = defining(run.provenance)
        held = run.trained or run.network
        form = {"held": Gathered} if self.sharded else {}
        parts = self.optimizers, self.schedules
        self.state = RunState(paths.state, held, *parts, definition, settings.steps, run.stateful, **form)
        self.prepared = [self.accelerator.prepare_optimizer(optimizer) for optimizer in self.optimizers]
        self.module = run.module if self.sharded else self.accelerator.prepare_model(run.module)
        self.parameters = [p for p in self.module.parameters() if p.requires_grad]
        self.evaluated: dict[str, Any] = {}
        self.evaluated_at: int | None = None  # finished steps
        self.alarms = Alarms()
        self.saved_at = -1

    def _begin(self, run: Run) -> tuple[int, Log]:
        """Load the state of a resumed run, or check that a new one replaces nothing; returns (first step, log)."""
        if run.start.resume:
            first = self.state.load(accept_changes=run.start.accept_changes)
        else:
            first = 0
            self.state.check_new(restart=run.start.restart)
        self.accelerator.wait_for_everyone()  # all have looked before one writes
        if run.start.restart and self.accelerator.is_main_process:
            self.state.path.unlink(missing_ok=True)
        count, steps = self.processes, self.settings.steps
        self._say(f"{count} process{'es' if count > 1 else ''} on {self.accelerator.device}, steps {first} to {steps}")
        path = RunPaths(run.out).log
        start_tracker(self.accelerator, self.settings.track, RunPaths(run.out), run.provenance.get("settings", {}))
        return first, Log(path, self.accelerator, steps=steps, first=first, every=run.printed_every)

    def _step_and_log(self, step: int, data: StepData, log: Log, clock: "Clock") -> dict[str, Any]:
        """One step with its speed and alarms; a TrainingError is logged before it is raised."""
        try:
            metrics: dict[str, Any] = self._step(step, data)
        except TrainingError as error:
            log.write({"step": step, **clock.times(), "alarms": [f"not finite: {error}"]})
            raise
        counts = [token_counts(batch) for part in data.objectives for batch in part.batches]
        metrics |= clock.after(step, *summed(self.accelerator, map(sum, zip(*counts, (0, 0, 0), strict=True))))
        if alarms := self.alarms.of(metrics):
            metrics["alarms"] = alarms
            self._say(f"step {step}: " + "; ".join(alarms))
        return metrics

    def _step(self, step: int, data: StepData) -> dict[str, float]:
        """All optimizer steps on one step's data, then a step of the schedules; returns the metrics."""
        metrics: dict[str, float] = {}
        try:
            for _ in range(self.settings.updates):
                metrics = self._backward(data.objectives)
                check_finite(metrics)
                metrics["gradient_norm"] = self._optimizer_step()
        except TrainingError as error:
            names = ", ".join(dict.fromkeys(name or "a row without a name" for name in data.names))
            raise TrainingError(
                f"step {step}: {error}; this step was not taken, and what was saved before stands. Learnt from: "
                f"{names}. Look at these, or lower the learning rate"
            ) from error
        metrics["learning_rate"] = self.optimizers[-1].param_groups[0]["lr"]
        for schedule in self.schedules:
            schedule.step()
        means = (value / self.processes for value in summed(self.accelerator, data.metrics.values()))
        return dict(zip(data.metrics, means, strict=True)) | metrics

    def _backward(self, objectives: Sequence[ObjectiveBatches]) -> dict[str, float]:
        """Gradients of all objectives; their metrics, over all processes. Gradients are reduced with the last batch."""
        counts = self._most([len(part.batches) for part in objectives])
        work: list[tuple[Objective, Any, dict[str, float]]] = []
        for part, count in zip(objectives, counts, strict=True):
            batches = [*part.batches, *[part.padding] * (max(count, 1) - len(part.batches))]
            own: dict[str, float] = {}
            for batch in batches:
                for name, value in part.objective.totals(batch).items():
                    own[name] = own.get(name, 0) + value
            totals = dict(zip(own, summed(self.accelerator, own.values()), strict=True))
            work += [(part.objective, batch, totals) for batch in batches]
        sums: dict[str, torch.Tensor] = {}
        for number, (objective, batch, totals) in enumerate(work, 1):
            exchanged = nullcontext() if number == len(work) else self.accelerator.no_sync(self.module)
            with exchanged:
                with self.accelerator.autocast(), torch.set_grad_enabled(any(counts)):
                    loss, metrics = objective(self.module, batch, totals)
                if any(counts):
                    self.accelerator.backward(loss * self.processes)  # gradients are averaged over processes
            for name, value in metrics.items():
                sums[name] = sums.get(name, 0.0) + value.detach()
        values = torch.stack([value.float().cpu() for value in sums.values()]).tolist()
        return dict(zip(sums, summed(self.accelerator, values), strict=True))

    def _most(self, counts: Sequence[int]) -> list[int]:
        """The largest of each count over all processes."""
        every = self.accelerator.gather(torch.tensor([counts], device=self.accelerator.device))
        return every.view(-1, len(counts)).amax(0).tolist()

    def _optimizer_step(self) -> float:
        """Clip the gradient and step the optimizers; returns the gradient's norm before clipping. Raises TrainingError
        before the step where it is not finite."""
        clipped: Any = self.accelerator.clip_grad_norm_(self.parameters, self.settings.max_grad_norm)
        norm = float(clipped.full_tensor() if isinstance(clipped, DTensor) else clipped)
        check_finite({"gradient_norm": norm})
        for optimizer in self.prepared:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return norm

    def _evaluated(self, step: int) -> dict[str, float]:
        """Metrics of the evaluation hook where it is due after `step` finished steps, else none."""
        evaluation = self.run.evaluation
        if evaluation is None or (
            step != self.settings.steps and not (evaluation.every and step % evaluation.every == 0)
        ):
            return {}
        with self.whole():
            self.evaluated, self.evaluated_at = dict(evaluation.run(step)), step
        return self.evaluated

    def _evaluated_before(self, first: int) -> dict[str, Any]:
        """Metrics of the hook before a run's first step."""
        evaluation = self.run.evaluation
        if evaluation is None or evaluation.begin is None:
            return {}
        evaluation.begin(first)
        if first:
            return {}
        with self.whole():
            return dict(evaluation.run(0))

    def _is_best(self, step: int) -> bool:
        """Whether the network was evaluated after these steps, and none before was better."""
        evaluation = self.run.evaluation
        return bool(evaluation and evaluation.is_best and step == self.evaluated_at and evaluation.is_best(step))

    def _kept(self, step: int) -> bool:
        """Whether the checkpoint after these steps replaces the one saved before."""
        judged = self.run.evaluation is not None and self.run.evaluation.is_best is not None
        return not judged or self.evaluated_at is None or self._is_best(step)

    def _save(self, step: int, log: Log) -> None:
        """State and checkpoint as of `step` finished steps. Raises CheckpointError before either is touched where a
        weight is not finite."""
        if step != self.saved_at and (self.sharded or self.accelerator.is_main_process):
            collected = self.state.collected()
            with self._readable(collected["network"]):
                if self.accelerator.is_main_process:
                    self._write(step, log, collected)
        self.saved_at = step

    def _write(self, step: int, log: Log, collected: Mapping[str, Any]) -> None:
        check_weights(self.run.trained or self.run.network, self.run.out)
        log.sync()
        self.state.save(step, collected)
        if self._kept(step):
            about = {"step": step} | ({"quality": self.evaluated} if self.evaluated else {})
            self.run.save({**self.run.provenance, **about, **self.state.about_resumes})
        self.run.saved(step)

    def whole(self) -> AbstractContextManager[None]:
        """Context within which every process holds all weights, also where they are sharded; all processes enter
        together."""
        return whole(self.module) if self.sharded else nullcontext()

    def _readable(self, state: Mapping[str, torch.Tensor]) -> AbstractContextManager[None]:
        """Context within which the first process can save sharded weights: an adapter from whole weights, a network by
        `state`."""
        sharded_network = self.sharded and not self.run.trained
        return answering(self.run.network, state) if sharded_network else self.whole()

    def _stopped(self, step: int, stop: StopSignal) -> RunStopped:
        message = f"stopped by {stop.name} after {step} of {self.settings.steps} steps, saved {self.run.out}"
        return RunStopped(f"{message}; go on by --resume", 128 + (stop.number or signal.SIGTERM))

    def _say(self, message: str) -> None:
        if self.accelerator.is_main_process:
            print(message, file=sys.stderr)


class Clock:
    """Seconds of a run since it was started or resumed; speed and remaining time."""

    def __init__(self, first: int, steps: int):
        self.first, self.steps = first, steps
        self.began = self.last = time.monotonic()
        self.left = 0.0

    def after(self, step: int, tokens: float, filled: float, positions: float) -> dict[str, float]:
        """Metrics of a step of `tokens`: tokens per second, the share computed for several sequences at once, and the
        share of padding in `positions`."""
        now = time.monotonic()
        seconds, self.last = max(now - self.last, 1e-9), now
        self.left = (now - self.began) / (step + 1 - self.first) * (self.steps - step - 1)
        if not positions:
            return {}
        return {"tokens_per_second": tokens / seconds, "shared": 1 - filled / tokens, "padding": 1 - filled / positions}

    def times(self) -> dict[str, float]:
        return {"seconds": round(time.monotonic() - self.began, 1), "eta_seconds": round(self.left, 1)}


@contextmanager
def prefetched(make: Callable[[int], Item], steps: int) -> Iterator[Callable[[int], Item]]:
    """`make` for ascending steps; each next value is computed in a thread during the step before."""
    waiting: dict[int, Future[Item]] = {}
    with ThreadPoolExecutor(1) as maker:

        def next_one(step: int) -> Item:
            made = (waiting.pop(step, None) or maker.submit(make, step)).result()
            if step + 1 < steps:
                waiting[step + 1] = maker.submit(make, step + 1)
            return made

        yield next_one
