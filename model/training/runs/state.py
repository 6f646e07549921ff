"""State for exact resume: weights, optimizer, schedule, step, and the settings that define the run.

Data and noise follow from seed and step, so no state of a generator is kept.

One file, replaced whole. A run goes on only as the run it was: what differs is listed, and accepted by whoever resumes
or refused.
"""

import hashlib
import pickle
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from model.atomic_files import move_whole
from model.backends.checkpoint.checks import described
from model.backends.checkpoint.saving import CheckpointError, not_saved
from model.training.runs.settings import by_present_names

# Settings that may differ between the parts of one run: how long it is, how often it saves, how it fits into memory.
FREE = {
    *("steps", "save_every", "compile", "micro_batch", "micro_batches"),
    *("most_tokens", "most_characters", "most_megapixels"),
    *("evaluate_every", "best", "track", "agreement", "sharding"),
}
DAMAGED = (OSError, RuntimeError, EOFError, KeyError, ValueError, TypeError, pickle.UnpicklingError, zipfile.BadZipFile)


def fingerprint(network: torch.nn.Module) -> str:
    """SHA-256 of names, shapes and evenly spaced weights of a network: identifies it."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(described(name, tensor))
    return digest.hexdigest()


class RunState:
    """The state file of one run, beside its checkpoint folder. `definition`: what makes it this run, by name; `more`:
    what else it holds, which keeps its beginning where a file of an earlier version holds none; `held` gives network
    and optimizers the form in which they are saved."""

    def __init__(
        self,
        path: Path,
        network: Any,
        optimizers: Sequence[torch.optim.Optimizer],
        schedules: Sequence[torch.optim.lr_scheduler.LambdaLR],
        definition: Mapping[str, Any],
        steps: int,
        more: Mapping[str, Any] | None = None,
        held: Callable[[Any], Any] = lambda part: part,
    ):
        self.path, self.definition, self.steps = path, dict(definition), steps
        self.optimizers, self.schedules = optimizers, schedules
        self.resumed: list[dict[str, Any]] = []  # when the run was resumed, and what was changed then
        self.parts: dict[str, Any] = {"network": held(network)}
        self.parts |= {f"optimizer {n}": held(optimizer) for n, optimizer in enumerate(optimizers)}
        self.parts |= {f"schedule {n}": schedule for n, schedule in enumerate(schedules)}
        self.more = dict(more or {})

    def collected(self) -> dict[str, Any]:
        """The tensors and values to save, by part."""
        return {name: part.state_dict() for name, part in (self.parts | self.more).items()}

    def save(self, step: int, collected: Mapping[str, Any]) -> None:
        """Write what was collected after `step` finished steps; what was there stays until the new file is whole.

        Raises CheckpointError, on a full disk for example.
        """
        scratch = self.path.with_name(f".{self.path.name}.part")
        about = {"step": step, "steps": self.steps, "definition": self.definition, "resumed": self.resumed}
        try:
            torch.save({**collected, **about}, scratch)
            move_whole(scratch, self.path)
        except (OSError, RuntimeError) as error:  # torch's own writer raises the latter
            scratch.unlink(missing_ok=True)
            raise not_saved(self.path, error) from error

    @property
    def about_resumes(self) -> dict[str, Any]:
        """For provenance: when the run was resumed, if it was, and what was changed then."""
        return {"resumed": self.resumed} if self.resumed else {}

    def check_new(self, *, restart: bool = False) -> None:
        """Raises CheckpointError where a new run would replace a file that is no state, or (but for `restart`) an
        unfinished run."""
        if not self.path.exists():
            return
        saved = read_state(self.path, mapped=True)
        if not restart and saved["step"] < saved.get("steps", saved["step"]):
            raise CheckpointError(
                f"{self.path} is of a run that stands at step {saved['step']} of {saved['steps']}; go on with it by "
                "--resume, replace it by --restart, or choose another --out"
            )

    def load(self, *, accept_changes: bool = False) -> int:
        """Restore the state; returns the number of finished steps. Raises CheckpointError where there is nothing to
        resume, where it is damaged, and for another definition unless changes are accepted: these then apply from here
        on."""
        if not self.path.exists():
            raise CheckpointError(f"there is no {self.path} to go on from; leave out --resume to begin a run")
        saved = read_state(self.path)
        changed = self._changed(saved)
        if changed and not accept_changes:
            listed = "; ".join(f"{name}: {was!r} then, {now!r} now" for name, (was, now) in sorted(changed.items()))
            raise CheckpointError(
                f"{self.path} is of another run: {listed}; give what it was begun with, or --accept-changes to go on "
                "with these, which is written into provenance"
            )
        if saved["step"] > self.steps:
            raise CheckpointError(f"{self.path} stands at step {saved['step']}, after --steps {self.steps}; give more")
        self._put_back(saved)
        if saved.get("steps") != self.steps:
            changed["steps"] = [saved.get("steps"), self.steps]
        self.resumed = [*saved.get("resumed", []), {"step": saved["step"], "changed": changed}]
        return saved["step"]

    def _changed(self, saved: Mapping[str, Any]) -> dict[str, list[Any]]:
        was, now = saved.get("definition"), self.definition
        if not isinstance(was, dict):
            return {"definition": ["saved by a version that kept none", "kept"]}
        was = by_present_names(was)
        return {
            name: [was.get(name), now.get(name)] for name in was.keys() | now.keys() if was.get(name) != now.get(name)
        }

    def _put_back(self, saved: Mapping[str, Any]) -> None:
        """Rates and weight decay stay this run's own: they differ where changes are accepted or steps were added."""
        own = [[dict(group) for group in optimizer.param_groups] for optimizer in self.optimizers]
        rates = [schedule.base_lrs for schedule in self.schedules]
        try:
            for name, part in self.parts.items():
                part.load_state_dict(saved[name])
            for name, part in self.more.items():
                if name in saved:
                    part.load_state_dict(saved[name])
        except DAMAGED as error:
            reason = " ".join(str(error).split())[:300]
            raise CheckpointError(
                f"{self.path} does not fit this network and these optimizers: {reason}; begin another run with --out"
            ) from error
        for optimizer, groups, schedule, base in zip(self.optimizers, own, self.schedules, rates, strict=True):
            schedule.base_lrs = base
            for group, before, rate, factor in zip(
                optimizer.param_groups, groups, base, schedule.lr_lambdas, strict=True
            ):
                group["weight_decay"] = before["weight_decay"]
                group["initial_lr"], group["lr"] = rate, rate * factor(schedule.last_epoch)


def read_state(path: Path, *, mapped: bool = False) -> dict[str, Any]:
    """What a state file holds; `mapped`: tensors are read where they are used. Raises CheckpointError for one that is
    damaged, or no such file."""
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
        if not isinstance(saved.get("step"), int) or "network" not in saved:
            raise ValueError("it holds no step and network")
    except (*DAMAGED, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"{path} is damaged, or no run's state: {reason}; move it away to begin a new run from the checkpoint"
        ) from error
    return saved


def defining(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a provenance that identifies a run: all but where it is saved, how far it is, and what is FREE."""
    settings = {name: value for name, value in provenance.get("settings", {}).items() if name not in FREE}
    left_out = {"settings", "parent", "reference", "step", "data", "resumed", *FREE}
    return settings | {name: value for name, value in provenance.items() if name not in left_out}
