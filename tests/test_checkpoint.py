"""A checkpoint is a folder; what is no checkpoint is said so, and a failed save leaves the old one whole."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from commands import run
from transformers import JanusProcessor

from model.backends.checkpoint.loading import CheckpointError
from model.backends.checkpoint.saving import PROVENANCE, save_checkpoint
from model.backends.embedded_world import EMBEDDED_WORLD
from model.backends.janus import Janus
from model.backends.memory import ROUNDS, cache_values, most_at_once, sizes_of
from model.backends.request import Request
from model.decoding.engine import Engine
from model.decoding.load_for_inference import open_checkpoint
from model.decoding.prepared_request import prepare
from model.decoding.rollout import rollout
from model.events import fold
from model.training.embedded.network import new_config, new_network


def test_a_folder_opens_with_its_own_settings(tiny_checkpoint: Path, tmp_path: Path):
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "mine"))
    settings = json.loads((folder / "generation_config.json").read_text())
    settings |= {"guidance_scale": 3.0, "temperature": 0.7, "top_k": 9}
    (folder / "generation_config.json").write_text(json.dumps(settings))
    janus = open_checkpoint(folder)
    assert janus.name == "mine"
    assert janus.dtype is torch.float32
    assert (janus.sampling.guidance, janus.sampling.temperature, janus.sampling.top_k) == (3.0, 0.7, 9)
    assert janus.sampling.thinks
    assert janus.domain is EMBEDDED_WORLD


def test_a_greedy_checkpoint_is_temperature_zero(tiny_checkpoint: Path, tmp_path: Path):
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "greedy"))
    settings = json.loads((folder / "generation_config.json").read_text()) | {"do_sample": False}
    (folder / "generation_config.json").write_text(json.dumps(settings))
    assert open_checkpoint(folder).sampling.temperature == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no checkpoint at"),
        ({}, "holds no config.json"),
        ({"config.json": "{"}, "is not JSON"),
        ({"config.json": '{"model_type": "llama"}'}, "is a “llama” checkpoint"),
        ({"config.json": "[]"}, "config.json: got a JSON list, wanted an object"),
        ({"config.json": '{"model_type": "janus"}'}, "holds no tokenizer.json; put the tokenizer"),
    ],
)
def test_what_is_no_checkpoint_is_refused_with_what_to_do(tmp_path: Path, content: dict | None, message: str):
    folder = tmp_path / "folder"
    if content is not None:
        folder.mkdir()
        for name, text in content.items():
            (folder / name).write_text(text)
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(folder)


def test_weights_that_do_not_fit_the_config_are_refused(tiny_checkpoint: Path, tmp_path: Path):
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "torn"))
    for weights in folder.glob("*.safetensors"):
        weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="torn"):
        open_checkpoint(folder)


def test_saving_keeps_weights_and_provenance(tiny_checkpoint: Path, tmp_path: Path):
    janus = open_checkpoint(tiny_checkpoint)
    out = tmp_path / "copy"
    save_checkpoint(janus.network, JanusProcessor.from_pretrained(tiny_checkpoint), out, {"parent": "tiny"})
    again = open_checkpoint(out)
    for (name, one), other in zip(janus.network.state_dict().items(), again.network.state_dict().values(), strict=True):
        assert torch.equal(one, other), name
    assert json.loads((out / PROVENANCE).read_text()) == {"parent": "tiny"}
    assert all(file.stat().st_size <= 10_000_000 for file in out.iterdir())


def test_weights_between_two_checkpoints_are_a_checkpoint(tiny_checkpoint: Path, tmp_path: Path):
    processor = JanusProcessor.from_pretrained(tiny_checkpoint)
    other, wide = (
        new_network(new_config(hidden=hidden, layers=2, vision_layers=1, codec=32), seed=1) for hidden in (64, 96)
    )
    save_checkpoint(other, processor, tmp_path / "other", {"parent": "tiny", "recipe": "sft"})
    save_checkpoint(wide, processor, tmp_path / "wide", {"parent": "nothing"})
    out = tmp_path / "between"
    done = run("model.checkpoint", "interpolate", tiny_checkpoint, tmp_path / "other", out, "--share", "0.25")
    assert done.returncode == 0, done.stderr
    about = json.loads((out / PROVENANCE).read_text())
    assert (about["recipe"], about["share"], about["trained"]["recipe"]) == ("interpolate", 0.25, "sft")
    folders = (tiny_checkpoint, tmp_path / "other", out)
    before, after, between = (open_checkpoint(folder).network.state_dict() for folder in folders)
    for name, weight in between.items():
        torch.testing.assert_close(weight, torch.lerp(before[name], after[name], 0.25), atol=2e-3, rtol=2e-3)
    assert any((weight - before[name]).abs().max() > 0.01 for name, weight in between.items())
    twice = tmp_path / "twice"
    done = run("model.checkpoint", "add", tiny_checkpoint, out, tmp_path / "other", "--out", twice)
    assert done.returncode == 0, done.stderr
    assert [each["recipe"] for each in json.loads((twice / PROVENANCE).read_text())["trained"]] == [
        "interpolate",
        "sft",
    ]
    for name, weight in open_checkpoint(twice).network.state_dict().items():
        both = before[name] + 1.25 * (after[name] - before[name])
        torch.testing.assert_close(weight, both, atol=4e-3, rtol=4e-3)
    for trained, share, problem in (("wide", "0.5", "they are two networks"), ("other", "1.5", "between 0")):
        refused = run("model.checkpoint", "interpolate", tiny_checkpoint, tmp_path / trained, out, "--share", share)
        assert refused.returncode == 1 and problem in refused.stderr and refused.stderr.count("\n") == 1
    refused = run("model.checkpoint", "add", tiny_checkpoint, tmp_path / "other", "--out", tmp_path / "other")
    assert refused.returncode == 1 and "is read from" in refused.stderr
    open_checkpoint(tmp_path / "other")


def test_tied_weights_are_added_to_once(tiny_checkpoint: Path, tmp_path: Path):
    processor = JanusProcessor.from_pretrained(tiny_checkpoint)
    for seed, name in enumerate(("parent", "one", "two")):
        config = new_config(hidden=64, layers=2, vision_layers=1, codec=32)
        config.text_config.tie_word_embeddings = config.tie_word_embeddings = True
        network = new_network(config, seed=seed)
        save_checkpoint(network, processor, tmp_path / name, {})
    folders = [tmp_path / name for name in ("parent", "one", "two")]
    assert run("model.checkpoint", "add", *folders, "--out", tmp_path / "sum").returncode == 0
    before, one, two, both = (open_checkpoint(folder).network.lm_head.weight for folder in (*folders, tmp_path / "sum"))
    torch.testing.assert_close(both, one + two - before, atol=4e-3, rtol=4e-3)


def test_a_save_that_fails_leaves_the_old_checkpoint_and_no_litter(tiny_checkpoint: Path, tmp_path: Path):
    janus = open_checkpoint(tiny_checkpoint)
    out = tmp_path / "kept"
    shutil.copytree(tiny_checkpoint, out)
    with pytest.raises(TypeError):
        save_checkpoint(janus.network, JanusProcessor.from_pretrained(tiny_checkpoint), out, {"not": {"a set of JSON"}})
    assert [p.name for p in tmp_path.iterdir()] == ["kept"]
    open_checkpoint(out)


def test_weights_that_do_not_fit_are_refused_with_the_numbers(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("model.backends.checkpoint.loading.room_on", lambda device: 1_000_000)
    with pytest.raises(
        CheckpointError, match=r"takes 0\.0 GB as float32, cpu has 0\.0 GB free; choose a smaller dtype"
    ):
        open_checkpoint(tiny_checkpoint)


def test_an_inspection_counts_what_the_loaded_network_has(tiny_checkpoint: Path):
    command = ("model.checkpoint", "inspect", tiny_checkpoint)
    found = json.loads(run(*command, "--json").stdout)
    network = open_checkpoint(tiny_checkpoint, dtype=torch.float32).network
    assert found["parameters"] == sum(parameter.numel() for parameter in network.parameters())
    assert found["parts"]["codec"] == sum(parameter.numel() for parameter in network.model.vqmodel.parameters())
    assert found["bytes"]["weights as float32"] == sum(parameter.nbytes for parameter in network.parameters())
    assert f"{found['parameters']:,} parameters" in run(*command).stdout


def test_the_cache_that_an_inspection_counts_is_the_one_that_is_made(tiny: Janus):
    request = Request("a cat", rounds=ROUNDS)
    slots = Engine(tiny, at_once=1, capacity=prepare(tiny, request).positions).decoder.slots
    values = sum(each.numel() for each in slots.stored)
    assert values < sizes_of(tiny.network.config).cache_values < 1.3 * values  # for the longest prompt there is


def test_only_as_many_draw_at_once_as_there_is_memory_for(tiny: Janus, monkeypatch: pytest.MonkeyPatch):
    each = 8 * cache_values(tiny.network.config, 500)
    for room, wanted in ((100 * each, 8), (5 * each, 4), (0, 1)):
        monkeypatch.setattr("model.backends.memory.room_on", lambda device, room=room: room)
        assert most_at_once(tiny, 500, 8) == wanted


@pytest.mark.parametrize("arguments", [["inspect", "nowhere"], ["convert", "nowhere", "out"]])
def test_a_folder_that_is_not_there_is_one_line(arguments: list[str], tmp_path: Path):
    done = run("model.checkpoint", *arguments)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "there is no checkpoint at nowhere" in done.stderr


def test_layers_over_several_places_draw_the_same(tiny_checkpoint: Path, tiny: Janus):
    """“auto” on a machine with one place puts everything there."""
    spread = open_checkpoint(tiny_checkpoint, dtype=torch.float64, device="auto")
    one, other = (fold(rollout(janus, [Request("a cat", rounds=1)])) for janus in (spread, tiny))
    assert one == other
