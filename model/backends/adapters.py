"""LoRA adapters (peft): detection of unmerged ones.

The decoder and the checkpoint writer read weights. They refuse a network whose layers compute something else.
"""

from torch import nn


class AdapterError(ValueError):
    """A network with adapters that are not merged into its weights."""


def check_merged(network: nn.Module) -> None:
    """Raises AdapterError for a layer with an active adapter (as peft injects them) that is not merged."""
    beside = [
        name
        for name, module in network.named_modules()
        if hasattr(module, "base_layer")
        and not getattr(module, "merged", False)
        and not getattr(module, "disable_adapters", False)
    ]
    if beside:
        raise AdapterError(
            f"{len(beside)} layers have adapters beside their weights, {beside[0]} first, and only weights are read; "
            "merge them (peft's merge_and_unload) or take them off before"
        )
