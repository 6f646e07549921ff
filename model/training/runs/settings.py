"""Settings of the training loop, and those that every method's command offers."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

FORMER_NAMES = {  # of settings: their options are still read, and so are states of runs that were begun with them
    "clip_range": "clip_ratio",
    "decay": "falling",
    "distill": "keep",
    "distill_rollouts": "keep_rollouts",
    "distill_rounds": "keep_rounds",
    "distill_batch": "keep_batch",
    "max_grad_norm": "clip",
    "mixture": "lessons",
    "repair_groups": "mending",
    "untrue_penalty": "truth",
    "verdict_threshold": "learnt",
}


def option_names(setting: str) -> list[str]:
    """The command line options of a setting: its own, and its former one where it had another name."""
    names = (setting, FORMER_NAMES.get(setting))
    return [f"--{name.replace('_', '-')}" for name in names if name is not None]


def by_present_names(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a run with former names of settings replaced by the present ones."""
    present = {former: name for name, former in FORMER_NAMES.items()}
    return {present.get(name, name): value for name, value in settings.items()}


@dataclass(frozen=True)
class LoopSettings:
    """Settings of the loop, the same for every method."""

    steps: int
    learning_rate: float  # AdamW's peak
    warmup: int = 20  # steps
    decay: float = 0.25  # share of the steps over which the learning rates decay, the last ones
    muon: float = 0.0  # Muon's peak learning rate; 0: AdamW for all parameters
    weight_decay: float = 0.0  # AdamW's
    max_grad_norm: float = 1.0  # to which gradients are clipped
    precision: str = "no"  # of the forward pass: float32 (no) or bf16
    save_every: int = 50  # steps; 0: at the end alone
    seed: int = 0  # of the order of rows, of rollouts and of new weights
    updates: int = 1  # optimizer steps on the data of one step
    track: str = "none"  # or a tracker of accelerate
    sharding: str = "none"  # or fsdp2: weights and optimizers in shards over the processes


def loop_settings(settings: Any) -> LoopSettings:
    """The settings of the loop among those of a method; the others are the loop's defaults."""
    names = [each.name for each in fields(LoopSettings) if hasattr(settings, each.name)]
    return LoopSettings(**{name: getattr(settings, name) for name in names})


@dataclass(frozen=True)
class MethodSettings:
    """Choices of a method's command: an option for each field; written into the checkpoint's provenance."""

    steps: int = 100  # gradient steps, of all that a resumed run makes
    batch: int = 16  # rows per step
    learning_rate: float = 2e-5  # AdamW's peak
    warmup: int = 10  # first steps, over which the rates rise
    decay: float = 0.25  # share of the steps over which the rates decay, the last ones
    weight_decay: float = 0.0  # AdamW's
    max_grad_norm: float = 1.0  # to which gradients are clipped
    precision: str = "no"  # of the forward pass: float32 (no) or bf16
    save_every: int = 50  # steps; 0: at the end alone
    seed: int = 0  # of the order of rows, of rollouts and of new weights
    track: str = "none"  # or trackio, tensorboard, wandb

    @property
    def loop(self) -> LoopSettings:
        return loop_settings(self)


@dataclass(frozen=True)
class ShardedSettings(MethodSettings):
    """Those of a method whose weights can be sharded over its processes."""

    sharding: str = "none"  # or fsdp2: weights and optimizer in shards over the processes
