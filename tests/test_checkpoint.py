"""A checkpoint is a folder; what is no checkpoint is said so, and a failed save leaves the old one whole."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import JanusProcessor

from model.checkpoint import PROVENANCE, CheckpointError, open_checkpoint, save_checkpoint


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
    assert janus.embedded_world


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
        ({"config.json": '{"model_type": "janus"}'}, "could not be opened as a Janus checkpoint"),
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


def test_a_save_that_fails_leaves_the_old_checkpoint_and_no_litter(tiny_checkpoint: Path, tmp_path: Path):
    janus = open_checkpoint(tiny_checkpoint)
    out = tmp_path / "kept"
    shutil.copytree(tiny_checkpoint, out)
    with pytest.raises(TypeError):
        save_checkpoint(janus.network, JanusProcessor.from_pretrained(tiny_checkpoint), out, {"not": {"a set of JSON"}})
    assert [p.name for p in tmp_path.iterdir()] == ["kept"]
    open_checkpoint(out)
