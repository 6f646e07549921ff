"""The form of a new run: its fields, the command that they make, estimated memory and time."""

from __future__ import annotations

import argparse
import pkgutil
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from annotations.calibration.report import file_of
from annotations.export.jobs import exports_of, folder_of
from annotations.export.manifest import read_manifest
from annotations.store.store import Store
from model.backends.registry import JANUS, backend_name, is_janus
from model.training.methods import METHODS, Method
from model.training.rewards.janus_pro_r1 import RewardError
from model.training.rewards.registry import read_choice
from model.training.runs.command import add_settings
from model.training.runs.command import settings_of as command_settings
from model.training.runs.estimate import config_of, work_of
from model.training.runs.estimate import estimate as memory_of
from model.training.runs.load_for_training import KINDS as ADAPTERS
from model.training.runs.load_for_training import add_load_options, load_options_of
from model.training.runs.settings import option_names
from model.training.safeguards.critic_agreement import add_agreement, check_agreement
from studio.settings import Settings
from studio.training.curves import seconds_per_step
from studio.training.launch import RunError
from studio.training.runs import RunRequest, TrainingRun, runs_in

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")
MOST_STEPS = 100_000
REWARDED = "grpo"  # the method that learns from rewards
SAVES = 8  # at least so many in a run
USUAL_SAVE = 50  # steps
AGREEMENT = {"--least-agreement": float, "--uncalibrated": bool}  # of methods with rewards, where there is a report
LOAD_OPTIONS = {"--rank": int, "--alpha": int, "--base-precision": str, "--checkpointing": bool}  # of every method
MOMENTS = 12  # bytes of a parameter in a run's state: its float32 weight, and two moments


class Asked(NamedTuple):
    """The form's fields, in the page's order."""

    method: str
    data: Sequence[str]  # names of exports
    folder: str  # on the server, beside them
    checkpoint: str
    steps: float
    replays: bool
    adapter: str  # a kind of adapter; empty: all weights are trained
    name: str
    options: str  # “--learning-rate 1e-4”


@dataclass(frozen=True)
class RunEstimate:
    """What a run will take; None: not known yet."""

    rows: int | None  # of its data
    seconds_per_step: float | None
    memory: int | None  # bytes
    disk: int  # bytes


def runs_dir(store: Store) -> Path:
    """The folder of all runs."""
    return store.database.directory / "runs"


def checkpoints_of(store: Store, settings: Settings) -> dict[str, str]:
    """What can be trained: by name, what `--checkpoint` takes. The studio's own first, then those that runs made."""
    configured = filter(is_janus, settings.checkpoints)
    known = {backend_name(source): absolute(source.removeprefix(f"{JANUS}:")) for source in configured}
    return known | {run.name: str(run.out) for run in runs_in(runs_dir(store)) if run.has_checkpoint}


def absolute(source: str) -> str:
    """A folder's whole path: a run begins elsewhere. Names of shipped checkpoints and of the Hub stay as they are."""
    return str(Path(source).resolve()) if Path(source).is_dir() else source


def exports_for(store: Store, method: Method) -> list[str]:
    """The names of exports that a method learns from, newest first."""
    return [name for name, manifest in exports_of(store).items() if manifest.kind in method.kinds]


def folders(asked: Asked, store: Store) -> list[Path]:
    """The folders of rows that are asked for. Raises RunError."""
    known = exports_of(store)
    if unknown := [name for name in asked.data or () if name not in known]:
        raise RunError(f"there is no export {unknown[0][:80]} any more; choose another")
    chosen = [folder_of(store) / name for name in asked.data or ()]
    if written := (asked.folder or "").strip():
        folder = Path(written).expanduser()
        if not folder.is_absolute() or not folder.exists():
            raise RunError(f"there is no folder {written[:200]} on the server; give its whole path")
        chosen.append(folder)
    return chosen


def request_of(asked: Asked, store: Store, settings: Settings, by: str) -> tuple[RunRequest, list[Path]]:
    """The request, and the folders that it learns from. Raises RunError."""
    method = method_of(asked.method)
    data = folders(asked, store) if method.kinds else []
    if method.kinds and not data and not (method.replays and asked.replays):
        raise RunError("choose what to learn from: an export, or a folder on the server")
    sources = checkpoints_of(store, settings)
    if asked.checkpoint not in sources:
        raise RunError("choose the checkpoint to start from")
    steps = whole_steps(asked.steps)
    now = datetime.now(UTC)
    name = (asked.name or "").strip() or f"{method.name}-{now:%Y%m%d-%H%M%S}"
    if not NAME.fullmatch(name):
        raise RunError(f"“{name[:60]}” is no name for a folder; use letters, digits, - and _")
    if name in sources:
        raise RunError(f"there is a checkpoint {name} already; give another name")
    if asked.adapter and asked.adapter not in ADAPTERS:
        raise RunError(f"“{asked.adapter[:40]}” is no adapter; there are: {', '.join(ADAPTERS)}")
    report = calibration_report(method, store)
    options = options_of(method, asked.options or "", report)
    check_rewards(method, options, report)
    command = ["-m", f"model.training.{method.name}"]
    command += ["--data", *map(str, data)] if data else []
    command += ["--world"] if method.replays and asked.replays else []
    command += ["--adapter", asked.adapter] if asked.adapter else []
    command += ["--calibration", str(report)] if report else []
    command += ["--checkpoint", sources[asked.checkpoint], "--steps", str(steps)]
    command += ["--save-every", str(max(1, min(USUAL_SAVE, steps // SAVES)))]
    command += [*options, "--out", str(runs_dir(store) / name / name)]
    names = tuple(folder.name for folder in data)
    request = RunRequest(name, method.name, tuple(command), steps, asked.checkpoint, names, by, now.isoformat())
    return request, data


def method_of(name: str) -> Method:
    """Raises RunError."""
    if name not in METHODS:
        raise RunError(f"“{name[:40]}” is no method; there are: {', '.join(METHODS)}")
    return METHODS[name]


def whole_steps(value: Any) -> int:
    """Raises RunError."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= MOST_STEPS:
        raise RunError(f"the number of steps is {value}; wanted one from 1 to {MOST_STEPS:,}")
    return int(value)


def calibration_report(method: Method, store: Store) -> Path | None:
    """What is known of critics, by which the trainer refuses rewards; None where nothing was measured."""
    file = file_of(store)
    return file if method.name == REWARDED and file.exists() else None


def options_of(method: Method, words: str, report: Path | None) -> list[str]:
    """Options of the training command, each the name of one of the method's settings, or, where there is a report of
    calibration, of how much of it is wanted. Raises RunError."""
    try:
        parts = shlex.split(words)
    except ValueError as error:
        raise RunError(f"the options cannot be read: {error}") from error
    settings = settings_of(method.name)
    offered = {option_names(name)[0]: kind for name, kind in settings.items()} | LOAD_OPTIONS
    offered |= AGREEMENT if report else {}
    known = offered | {option: kind for name, kind in settings.items() for option in option_names(name)}
    taken = ("--steps", "--save-every")
    at = 0
    while at < len(parts):
        if parts[at] not in known or parts[at] in taken:
            listed = " ".join(name for name in offered if name not in taken)
            raise RunError(f"{parts[at][:40]} is no setting of {method.name}; there are: {listed}")
        at += 1 if known[parts[at]] is bool else 2
    if at > len(parts):
        raise RunError(f"{parts[-1]} needs a value")
    return parts


def check_rewards(method: Method, options: Sequence[str], report: Path | None) -> None:
    """What the command does first, so that it is said where a run is asked for. Raises RunError for critics that agree
    too little with people."""
    if report is None:
        return
    defaults = pkgutil.resolve_name(f"model.training.{method.name}:{method.settings}")()
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    add_agreement(parser)
    add_settings(parser, defaults)
    try:
        arguments, _ = parser.parse_known_args(["--calibration", str(report), *options])
        check_agreement(arguments, read_choice(command_settings(arguments, defaults).reward))
    except (argparse.ArgumentError, RewardError) as error:
        raise RunError(str(error)) from error


@lru_cache(maxsize=16)
def settings_of(method: str) -> Mapping[str, type]:
    """The settings of a method and their types; its module is imported when it is first asked for."""
    defaults = pkgutil.resolve_name(f"model.training.{method}:{METHODS[method].settings}")()
    return {field.name: type(getattr(defaults, field.name)) for field in fields(defaults)}


def estimate(asked: Asked, store: Store, settings: Settings) -> RunEstimate:
    """What a run like this will take. Raises RunError and CheckpointError."""
    method, sources = method_of(asked.method), checkpoints_of(store, settings)
    manifests = [read_manifest(folder) for folder in (folders(asked, store) if method.kinds else ())]
    rows = sum(m.examples for m in manifests if m) if manifests and all(manifests) else None
    memory, disk = None, 0
    if asked.checkpoint in sources:
        options = ["--adapter", asked.adapter] if asked.adapter else []
        options += options_of(method, asked.options or "", calibration_report(method, store))
        memory, disk = bytes_of(sources[asked.checkpoint], method.name, tuple(options))
    return RunEstimate(rows, measured(runs_in(runs_dir(store)), method.name, asked.checkpoint), memory, disk)


def measured(runs: Sequence[TrainingRun], method: str, checkpoint: str) -> float | None:
    """Seconds per step of the newest run by the same method from the same checkpoint, else from any."""
    alike = [run for run in runs if run.request.method == method]
    for run in sorted(alike, key=lambda run: run.request.checkpoint != checkpoint):
        if (rate := seconds_per_step(run.metrics)) is not None:
            return rate
    return None


@lru_cache(maxsize=32)
def bytes_of(source: str, method: str, options: tuple[str, ...]) -> tuple[int, int]:
    """Bytes of memory while a run goes, as the training command estimates them, and of the disk afterwards. Raises
    CheckpointError, and RunError for options that cannot be read."""
    defaults = pkgutil.resolve_name(f"model.training.{method}:{METHODS[method].settings}")()
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    add_load_options(parser)
    add_settings(parser, defaults)
    try:
        arguments, _ = parser.parse_known_args(options)  # what a report is asked needs no memory
    except argparse.ArgumentError as error:
        raise RunError(str(error)) from error
    load_options = load_options_of(arguments)
    needs = memory_of(config_of(source), load_options, work_of(command_settings(arguments, defaults)))
    saved = 4 * needs.trained if load_options.adapter else 2 * needs.parameters
    return needs.total, MOMENTS * needs.trained + saved
