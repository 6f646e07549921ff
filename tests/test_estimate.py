"""Memory of a run before it begins: of a network of 7 billion parameters, and of the tiny one as it is."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import JanusConfig, JanusForConditionalGeneration

from model.backends.adapters import adapted_layers, low_rank
from model.backends.checkpoint import deepseek
from model.backends.checkpoint.adapter_folder import AdapterFolder
from model.backends.contract import CheckpointError
from model.training import grpo, sft
from model.training.adapters.lora import add_beside
from model.training.embedded.network import new_config
from model.training.policy import Policy
from model.training.runs import estimate as memory
from model.training.runs.estimate import Workload, adapter_parameters, check_room, estimate
from model.training.runs.load_for_training import TARGETS, AdapterOptions, LoadOptions, open_for_training

GPU = 80_000_000_000
WORK = Workload(8, 8)
LORA = LoadOptions(AdapterOptions(), "bf16", checkpointing=True)


@pytest.fixture(scope="module")
def seven_billion() -> JanusConfig:
    """Janus-Pro-7B's own."""
    keys = json.loads((Path(__file__).parent / "janus_pro_7b_keys.json").read_text())
    given = {"language_config": {"num_attention_heads": 32, "max_position_embeddings": 16384}}
    return deepseek._config(given, {name: tuple(shape) for name, shape in keys.items()}, 100581)


def test_full_fine_tuning_of_7b_is_refused_and_lora_on_bfloat16_fits(seven_billion: JanusConfig):
    full = estimate(seven_billion, LoadOptions(), WORK)
    assert 6.9e9 < full.parameters < 7.6e9
    assert full.parts["weights"] + full.parts["gradients"] + full.parts["optimizer (AdamW)"] > 105e9
    with pytest.raises(CheckpointError) as refused:
        check_room(seven_billion, LoadOptions(), WORK, GPU, "cuda")
    said = str(refused.value)
    assert "cuda has 80.0 GB free; with --checkpointing" in said and "--adapter lora" in said and "weights" in said
    check_room(seven_billion, LORA, WORK, GPU, "cuda")
    adapted = estimate(seven_billion, LORA, WORK)
    assert adapted.trained / adapted.parameters < 0.02
    assert 14e9 < adapted.parts["weights"] < 16e9
    with pytest.raises(CheckpointError, match="no option makes it fit"):
        check_room(seven_billion, LoadOptions(), WORK, 8_000_000_000, "cuda")


def test_lora_beside_7b_trains_two_percent_at_most_and_merges_into_plain_names(seven_billion: JanusConfig):
    with torch.device("meta"):  # shapes without memory
        network = JanusForConditionalGeneration(seven_billion)
        plain = {name: tuple(weight.shape) for name, weight in network.state_dict().items()}
        weights = dict(network.state_dict())
        add_beside(network, TARGETS["layers"], AdapterOptions(), "base", 0)
        trained = sum(weight.numel() for weight in network.parameters() if weight.requires_grad)
        assert 0 < trained / sum(weight.numel() for weight in network.parameters()) <= 0.02
        assert trained == adapter_parameters(JanusForConditionalGeneration(seven_billion), AdapterOptions())
        changes = {f"{name}.weight": low_rank(layer) for name, layer in adapted_layers(network).items()}
        merged = dict(AdapterFolder(Path("adapter"), "base", None, changes).merged(iter(weights.items())))
    assert len(changes) == 7 * seven_billion.text_config.num_hidden_layers
    assert {name: tuple(weight.shape) for name, weight in merged.items()} == plain


def test_a_reference_is_counted_where_all_weights_are_trained_alone(seven_billion: JanusConfig):
    work = replace(WORK, reference=True, rollouts=8)
    full, adapted = (estimate(seven_billion, load_options, work).parts for load_options in (LoadOptions(), LORA))
    assert full["reference"] > 25e9 and adapted["reference"] == 0
    assert full["cache of rollouts"] == 2 * adapted["cache of rollouts"] > 0


@pytest.mark.parametrize(
    "adapter", [None, AdapterOptions("lora", 4), AdapterOptions("dora", 8, targets=("layers", "text_head"))]
)
def test_the_parameters_that_are_counted_are_those_that_are_trained(tiny_checkpoint: Path, adapter):
    janus = open_for_training(tiny_checkpoint, LoadOptions(adapter))
    trained = sum(weight.numel() for weight in Policy(janus).parameters() if weight.requires_grad)
    assert estimate(janus.network.config, LoadOptions(adapter), WORK).trained == trained


def test_checkpointing_keeps_less(tiny_checkpoint: Path):
    config = new_config(hidden=64, layers=8, vision_layers=1)
    kept = [estimate(config, LoadOptions(checkpointing=on), WORK).parts["activations"] for on in (False, True)]
    assert kept[0] > 4 * kept[1]


@pytest.mark.parametrize("method", [sft, grpo])
def test_a_command_prints_the_estimate_or_refuses_before_it_opens_anything(
    method, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    command = ["train", "--checkpoint", str(tiny_checkpoint), "--out", str(tmp_path / "out")]
    command += ["--world"] if method is sft else []
    monkeypatch.setattr(sys, "argv", [*command, "--estimate"])
    with pytest.raises(SystemExit) as ended:
        method.main()
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "optimizer (AdamW)" in said and "GB free" in said and "s a step" in said
    monkeypatch.setattr(sys, "argv", command)
    monkeypatch.setattr(memory, "room_on", lambda device: 1_000_000)
    with pytest.raises(SystemExit, match="the run needs about .* has 0.0 GB free; no option makes it fit"):
        method.main()
    assert not (tmp_path / "out").exists()
