"""FSDP2 (torch's `fully_shard`): weights, gradients and optimizer states in shards over the processes of a run.

Each layer of the language model is a unit that is gathered for its own pass; what remains is gathered for the whole
pass. Frozen parts outside the layers stay whole everywhere. State files hold whole tensors, so that a run resumes with
any number of processes, sharded or not. accelerate (1.15) shards on accelerators alone, so torch's function is called
here: the same code runs in processes of a CPU.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils._pytree import tree_map

SHARDINGS = ("none", "fsdp2")


def shard(module: torch.nn.Module, fsdp_units: Iterable[torch.nn.Module], device: torch.device) -> None:
    """Shard a module in place (FSDP2); its parameters are replaced."""
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    within: set[int] = set()
    for unit in fsdp_units:
        fully_shard(unit, mesh=mesh)
        within |= {id(weight) for weight in unit.parameters()}
    frozen = {weight for weight in module.parameters() if not weight.requires_grad and id(weight) not in within}
    fully_shard(module, mesh=mesh, ignored_params=frozen).set_reduce_scatter_unused_params(True)


@contextmanager
def whole(module: torch.nn.Module) -> Iterator[None]:
    """Context within which every process holds all weights as plain tensors. All processes enter together."""
    shards = [part for part in module.modules() if isinstance(part, FSDPModule)]
    for part in shards:
        part.unshard()
    try:
        yield
    finally:
        for part in shards:
            part.reshard()


@contextmanager
def answering(network: torch.nn.Module, state: Mapping[str, torch.Tensor]) -> Iterator[None]:
    """Context within which the network's `state_dict` is `state`, since its own would be of shards."""

    def given(*_: Any, **__: Any) -> dict[str, Any]:
        return dict(state)

    vars(network)["state_dict"] = given
    try:
        yield
    finally:
        del vars(network)["state_dict"]


class Gathered:
    """A network, its trained parameters, or an optimizer of sharded parameters, whose state is of whole tensors.

    All processes ask for it together; the first gets the tensors, in the host's memory, the others None for each.
    """

    def __init__(self, part: Any):
        self.part = part

    def state_dict(self) -> dict[str, Any]:
        return tree_map(_whole_tensor, self.part.state_dict())

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Raises KeyError or ValueError for other names or shapes."""
        if isinstance(self.part, torch.optim.Optimizer):
            parameters = [weight for group in self.part.param_groups for weight in group["params"]]
            states = {
                at: {name: _as_sharded(value, parameters[at]) for name, value in state.items()}
                for at, state in saved["state"].items()
            }
            self.part.load_state_dict({**saved, "state": states})
            return
        own = self.part.state_dict()
        if own.keys() != saved.keys():
            raise ValueError("the weights have other names")
        with torch.no_grad():
            for name, weight in own.items():
                weight.copy_(_as_sharded(saved[name], weight))


def _whole_tensor(value: Any) -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    tensor = value.full_tensor() if isinstance(value, DTensor) else value
    return tensor.cpu() if dist.get_rank() == 0 else None


def _as_sharded(value: Any, like: torch.Tensor) -> Any:
    """A whole tensor of a parameter's shape in the parameter's shards."""
    if not isinstance(like, DTensor) or not isinstance(value, torch.Tensor) or value.shape != like.shape:
        return value
    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements)
