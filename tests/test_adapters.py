"""Layers that compute something else than their weights say are not decoded or saved."""

from pathlib import Path

import pytest
import torch

from model.backends.adapters import AdapterError, check_merged
from model.backends.contract import CheckpointError
from model.decoding.load_for_inference import open_checkpoint
from model.decoding.packed_weights import prepared
from model.training.policy import write_checkpoint


class LowRank(torch.nn.Module):
    """A linear layer with an adapter beside its weight, shaped as peft's are."""

    def __init__(self, base_layer: torch.nn.Linear):
        super().__init__()
        self.base_layer, self.merged, self.disable_adapters = base_layer, False, False
        self.change = torch.nn.Parameter(torch.full_like(base_layer.weight, 0.01))

    @property
    def weight(self) -> torch.nn.Parameter:
        return self.base_layer.weight

    @property
    def bias(self) -> torch.nn.Parameter | None:
        return self.base_layer.bias

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        beside = 0 if self.merged or self.disable_adapters else hidden @ self.change.T
        return self.base_layer(hidden) + beside


def test_a_network_with_an_adapter_is_neither_decoded_nor_saved_until_it_is_merged(
    tiny_checkpoint: Path, tmp_path: Path
):
    janus = open_checkpoint(tiny_checkpoint, dtype=torch.float32)
    attention = janus.network.model.language_model.layers[0].self_attn
    adapter = attention.q_proj = LowRank(attention.q_proj)
    with pytest.raises(AdapterError, match=r"1 layers .*layers\.0\.self_attn\.q_proj.*merge_and_unload"):
        prepared(janus)
    with pytest.raises(CheckpointError, match="merge_and_unload"):
        write_checkpoint(janus, tmp_path / "out", {"parent": str(tiny_checkpoint)})
    adapter.disable_adapters = True
    prepared(janus)
    adapter.base_layer.weight.data += adapter.change.data
    adapter.merged, adapter.disable_adapters = True, False
    check_merged(janus.network)
    attention.q_proj = adapter.base_layer
    prepared(janus)
    write_checkpoint(janus, tmp_path / "out", {"parent": str(tiny_checkpoint)})
