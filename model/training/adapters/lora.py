"""LoRA (Hu et al., 2021) and DoRA (Liu et al., 2024) layers put beside a network's weights by peft.

The only module that imports peft; it is imported where an adapter is chosen.
"""

from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model

from model.backends.adapters import DEFAULT, adapted_layers
from model.backends.derived_modules import PATCHING
from model.training.runs.load_for_training import AdapterOptions


def add_beside(network: torch.nn.Module, layers: str, options: AdapterOptions, base: str, seed: int) -> dict[str, Any]:
    """Freeze a network and put an adapter beside its linear layers of these names (a pattern), which changes nothing
    yet; returns adapter_config.json. `base`: what the config says that it stands beside. Adapters are float32 at
    least."""
    config = LoraConfig(
        r=options.rank,
        lora_alpha=options.alpha,
        use_dora=options.kind == "dora",
        target_modules=layers,
        base_model_name_or_path=base,
    )
    with PATCHING, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(config, network)
    for parameter in network.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(torch.promote_types(parameter.dtype, torch.float32))
    for layer in adapted_layers(network).values():
        if options.kind == "dora":  # of the weight as it is: peft's was rounded with it
            magnitude, weight = layer.lora_magnitude_vector[DEFAULT].weight, layer.base_layer.weight.detach()
            magnitude.data = torch.linalg.norm(weight.to(magnitude.dtype), dim=1)
    return config.to_dict()
