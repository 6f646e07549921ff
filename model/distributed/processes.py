"""Rank of this process under `accelerate launch` or `torchrun`, and its share of a list of work.

What an item of the list becomes must follow from the item alone (its seed comes before it is shared), so that the
result does not depend on the number of processes.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from accelerate import PartialState

Item = TypeVar("Item")
LONGEST_WAIT = timedelta(days=30)  # for processes whose share takes longer


@dataclass(frozen=True)
class Processes:
    """Which of how many processes this is."""

    index: int = 0
    count: int = 1
    local_index: int = 0  # on its machine

    @property
    def is_first(self) -> bool:
        return self.index == 0

    def share(self, items: Sequence[Item]) -> list[Item]:
        """Every `count`-th item from the `index`-th on: the shares of all processes are all items, none twice."""
        return list(items[self.index :: self.count])

    def device(self, given: str | None = None) -> str | None:
        """The device that was asked for, else of several processes on a machine with GPUs this one's GPU."""
        if given is not None or self.count == 1 or not torch.cuda.is_available():
            return given
        return f"cuda:{self.local_index % torch.cuda.device_count()}"

    def wait(self) -> None:
        """Until all processes are here."""
        if self.count > 1:
            PartialState().wait_for_everyone()


ALONE = Processes()


def join_processes() -> Processes:
    """Meet the other processes, over gloo: they exchange nothing but that they are done. Alone without a launcher."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return ALONE
    state = PartialState(cpu=True, timeout=LONGEST_WAIT)
    return Processes(state.process_index, state.num_processes, state.local_process_index)
