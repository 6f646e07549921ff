"""Cache of modules derived from a network's weights; rebuilt when the weights have changed."""

import threading
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

Made = TypeVar("Made")
Marks = tuple[float, ...]

# Held while a network is loaded and while modules are made of one. Loading patches torch in the whole process:
# accelerate replaces `Module.register_parameter` and `torch.zeros` by versions that make tensors without memory,
# transformers sets the default dtype. A module that another thread makes meanwhile may get such weights.
PATCHING = threading.RLock()


class DerivedCache:
    """One thing for every way of making."""

    def __init__(self) -> None:
        self._made: dict[Callable[..., object], tuple[Marks, object]] = {}

    def of(self, make: Callable[..., Made], *modules: nn.Module) -> Made:
        """What `make` makes of the modules."""
        marks = marks_of(*modules)
        known = self._made.get(make)
        if known is None or known[0] != marks:
            with PATCHING:
                known = self._made.get(make)
                if known is None or known[0] != marks:
                    known = self._made[make] = (marks, make(*modules))
        return known[1]


@torch.no_grad()
def marks_of(*modules: nn.Module) -> Marks:
    """Marks that change with the weights: their norms, since fused optimizers do not count up a version, and their
    versions, since an exchange of two rows leaves the norm."""
    weights = [weight for module in modules for weight in module.parameters()]
    norms = torch.stack(torch._foreach_norm(weights)).tolist()
    return (*norms, *(0 if weight.is_inference() else weight._version for weight in weights))
