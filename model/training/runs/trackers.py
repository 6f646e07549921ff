"""Experiment trackers of accelerate (trackio, TensorBoard, Weights & Biases), beside the log, where asked for."""

from collections.abc import Mapping
from typing import Any

from accelerate import Accelerator
from accelerate.tracking import filter_trackers

from model.backends.contract import CheckpointError
from model.training.runs.folder import RunPaths

TRACKERS = ("none", "trackio", "tensorboard", "wandb")


def start_tracker(accelerator: Accelerator, name: str, paths: RunPaths, config: Mapping[str, Any]) -> None:
    """Begin a tracker's run, called as the checkpoint's folder; TensorBoard's files lie beside it, in NAME.tracking.

    Raises CheckpointError where the tracker is not installed.
    """
    if name == "none":
        return
    accelerator.project_configuration.set_directories(str(paths.tracking))
    accelerator.log_with = filter_trackers([name], accelerator.logging_dir)
    if not accelerator.log_with:
        raise CheckpointError(f"--track {name}: the package {name} is not installed; pip install {name}")
    plain = {key: value for key, value in config.items() if isinstance(value, int | float | str)}
    accelerator.init_trackers(paths.out.name, plain)


def track(accelerator: Accelerator, row: Mapping[str, Any]) -> None:
    """Log the numbers of a row."""
    if accelerator.trackers:
        numbers = {name: value for name, value in row.items() if isinstance(value, int | float)}
        accelerator.log(numbers, step=int(row["step"]))
