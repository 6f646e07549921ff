"""LoRA and DoRA adapters beside the weights of a network, in modules that peft injects: found, merged, switched off.

The decoder and the checkpoint writer read weights. They refuse a network whose layers compute something else, unless
its adapters are merged into them, here for as long as a context lasts.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

DEFAULT = "default"  # peft's name for the only adapter of a network


class AdapterError(ValueError):
    """A network with adapters that are not merged into its weights."""


@dataclass(frozen=True)
class Adapter:
    """The adapter that is trained beside a network's weights."""

    config: Mapping[str, Any]  # adapter_config.json
    base_weights: str  # fingerprint of the weights beside which it is trained


@dataclass(frozen=True)
class LowRank:
    """The change of one weight W (O, I): W + scaling · B A; with a magnitude (DoRA) its rows are of these lengths."""

    a: torch.Tensor  # (R, I)
    b: torch.Tensor  # (O, R)
    scaling: float
    magnitude: torch.Tensor | None = None  # (O,)

    @property
    def parts(self) -> list[torch.Tensor]:
        return [part for part in (self.a, self.b, self.magnitude) if part is not None]

    @torch.no_grad()
    def applied(self, weight: torch.Tensor) -> torch.Tensor:
        """(O, I) → (O, I), in float32 or the weight's own higher precision."""
        exact = torch.promote_types(weight.dtype, torch.float32)
        change = self.b.to(weight.device, exact) @ self.a.to(weight.device, exact)
        changed = weight.to(exact) + self.scaling * change
        if self.magnitude is None:
            return changed
        lengths = torch.linalg.norm(changed, dim=1)
        return changed * (self.magnitude.to(weight.device, exact) / lengths)[:, None]


def adapted_layers(network: nn.Module) -> dict[str, Any]:
    """Layers with an adapter, by name."""
    return {name: module for name, module in network.named_modules() if hasattr(module, "base_layer")}


def check_merged(network: nn.Module) -> None:
    """Raises AdapterError for a layer with an active adapter (as peft injects them) that is not merged."""
    beside = [
        name
        for name, layer in adapted_layers(network).items()
        if not getattr(layer, "merged", False) and not getattr(layer, "disable_adapters", False)
    ]
    if beside:
        raise AdapterError(
            f"{len(beside)} layers have adapters beside their weights, {beside[0]} first, and only weights are read; "
            "merge them (peft's merge_and_unload) or take them off before"
        )


@contextmanager
def merged(network: nn.Module) -> Iterator[None]:
    """Meanwhile the weights include the adapters; afterwards they are bit for bit what they were (kept in the memory of
    the host: peft's own unmerging subtracts, and leaves rounding errors). Nothing happens where nothing is beside."""
    layers = [layer for layer in adapted_layers(network).values() if not (layer.merged or layer.disable_adapters)]
    before = [layer.base_layer.weight.detach().to("cpu", copy=True) for layer in layers]
    try:
        for layer in layers:
            _assign(layer, low_rank(layer).applied(layer.base_layer.weight), [DEFAULT])
        yield
    finally:
        for layer, weight in zip(layers, before, strict=True):
            _assign(layer, weight, [])


@torch.no_grad()
def _assign(layer: Any, weight: torch.Tensor, merged_adapters: list[str]) -> None:
    layer.base_layer.weight.copy_(weight)
    layer.merged_adapters = merged_adapters


def low_rank(layer: Any) -> LowRank:
    """The adapter beside a layer."""
    magnitudes = layer.lora_magnitude_vector
    magnitude = magnitudes[DEFAULT].weight if DEFAULT in magnitudes else None
    return LowRank(layer.lora_A[DEFAULT].weight, layer.lora_B[DEFAULT].weight, layer.scaling[DEFAULT], magnitude)


@contextmanager
def switched_off(network: nn.Module) -> Iterator[None]:
    """Meanwhile the layers compute what they would without adapters; which parameters are trained stays as it is
    (peft's own `enable_adapters` freezes them)."""
    layers = list(adapted_layers(network).values())
    for layer in layers:
        layer._disable_adapters = True
    try:
        yield
    finally:
        for layer in layers:
            layer._disable_adapters = False


class TrainedParameters:
    """The parameters of a network that require gradients, by name, as something that is saved and loaded."""

    def __init__(self, network: nn.Module):
        self.network = network

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """As they are now: a network that is sharded has others."""
        return {name: weight for name, weight in self.network.named_parameters() if weight.requires_grad}

    def state_dict(self) -> dict[str, torch.Tensor]:
        return {name: weight.detach() for name, weight in self.parameters.items()}

    @torch.no_grad()
    def load_state_dict(self, saved: Mapping[str, torch.Tensor]) -> None:
        """Raises ValueError for other names or shapes."""
        own = self.parameters
        shapes = {name: tuple(weight.shape) for name, weight in own.items()}
        if {name: tuple(weight.shape) for name, weight in saved.items()} != shapes:
            raise ValueError("the trained parameters have other names or shapes")
        for name, weight in own.items():
            weight.copy_(saved[name])
