"""What a run needs to go on where it stood: weights, optimizer, schedule, step. One file, replaced whole."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from model.folder import not_saved


class RunState:
    """The state file of one run, beside its checkpoint folder."""

    def __init__(
        self,
        path: Path,
        network: torch.nn.Module,
        optimizers: Sequence[torch.optim.Optimizer],
        schedules: Sequence[torch.optim.lr_scheduler.LRScheduler],
    ):
        self.path = path
        self.parts = {"network": network}
        self.parts |= {f"optimizer {n}": optimizer for n, optimizer in enumerate(optimizers)}
        self.parts |= {f"schedule {n}": schedule for n, schedule in enumerate(schedules)}

    def save(self, step: int) -> None:
        """Write everything as of `step` finished steps; what was there stays until the new file is whole.

        Raises CheckpointError, on a full disk for example.
        """
        scratch = self.path.with_suffix(".part")
        try:
            torch.save({name: part.state_dict() for name, part in self.parts.items()} | {"step": step}, scratch)
            scratch.replace(self.path)
        except (OSError, RuntimeError) as error:  # torch's own writer raises the latter
            scratch.unlink(missing_ok=True)
            raise not_saved(self.path, error) from error

    def load(self) -> int:
        """Put everything back; returns the finished steps, 0 where nothing was saved."""
        if not self.path.exists():
            return 0
        saved = torch.load(self.path, map_location="cpu", weights_only=True)
        for name, part in self.parts.items():
            part.load_state_dict(saved[name])
        return saved["step"]
