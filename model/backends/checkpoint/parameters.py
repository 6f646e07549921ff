"""Parameters of an open network as a safetensors file in memory, and back.

What a trainer sends to whoever draws with its policy: the parameters that it trains, by their names.
"""

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from model.backends.adapters import adapted_layers
from model.backends.contract import CheckpointError
from model.backends.janus import Janus


def parameters_file(janus: Janus) -> bytes:
    """The parameters that require gradients. Raises CheckpointError for a network with an adapter beside its weights,
    which another network does not have."""
    if adapted_layers(janus.network):
        raise CheckpointError("a network with an adapter beside its weights cannot be sent; train all weights")
    trained = {name: weight.detach() for name, weight in janus.network.named_parameters() if weight.requires_grad}
    return save({name: weight.to("cpu", copy=True).contiguous() for name, weight in trained.items()})


@torch.no_grad()
def replace_parameters(janus: Janus, weights: bytes) -> None:
    """Copy them into the network's own, in its dtype. Raises CheckpointError for other names or shapes, and for what is
    not finite; nothing is changed then."""
    try:
        tensors = load(weights)
    except SafetensorError as error:
        raise CheckpointError(f"the weights are no safetensors file: {error}") from error
    own = dict(janus.network.named_parameters())
    for name, weight in tensors.items():
        if name not in own or own[name].shape != weight.shape:
            has = f"of shape {tuple(own[name].shape)}" if name in own else "not there"
            raise CheckpointError(f"{name[:80]} is {tuple(weight.shape)} in the weights, and {has} in {janus.name}")
        if not torch.isfinite(weight).all():
            raise CheckpointError(f"{name} is not finite")
    for name, weight in tensors.items():
        own[name].copy_(weight)
