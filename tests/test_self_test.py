"""A network draws right from its first drawing on, whatever is loaded beside it, or it is not opened."""

import json
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import preloaded
import pytest
import torch
from accelerate import init_empty_weights
from safetensors.torch import load_file, save_file

from model.backends.checkpoint.loading import WEIGHTS, CheckpointError
from model.backends.derived_modules import PATCHING
from model.backends.janus import Janus
from model.backends.request import Request
from model.decoding import self_test
from model.decoding.load_for_inference import open_checkpoint
from model.decoding.rollout import rollout
from model.events import fold

COLD_START = Path(__file__).parent / "cold_start.py"
NAMES = ("embedded", "sft")
NORM = "model.language_model.norm.weight"


@pytest.fixture(scope="module")
def alone() -> list:
    """What each shipped checkpoint draws by itself, in one thread: with more, sums have another order."""
    threads, drawn = torch.get_num_threads(), []
    torch.set_num_threads(1)
    for name in NAMES:
        told = fold(rollout(open_checkpoint(name, device="cpu"), [Request("a red apple", 3, 1)]))
        drawn.append([[list(image.codes), image.sha256] for image in told.images] + [told.reflections[0].text])
    torch.set_num_threads(threads)
    return drawn


def test_a_first_drawing_beside_the_loading_of_another_checkpoint_is_what_it_is_alone(
    alone: list, tmp_path: Path, thorough: bool
):
    for start in range(20 if thorough else 1):
        folders = [str(WEIGHTS / name) for name in NAMES]
        environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
        done = preloaded.run(COLD_START, *folders, tmp_path / str(start), environment=environment)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == alone, f"cold start {start}"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_checkpoint_that_was_opened_and_has_drawn_can_be_trained(tiny_checkpoint: Path, dtype: torch.dtype):
    """What is made of its weights leaves none as an inference tensor, of which autograd saves nothing."""
    janus = open_checkpoint(tiny_checkpoint, dtype=dtype)
    list(rollout(janus, [Request("a red apple", 3, 1)]))
    inputs = janus.embed_text(torch.tensor([janus.tokenize("a red apple")]))
    janus.text_logits(janus.network.model.language_model(inputs_embeds=inputs).last_hidden_state).sum().backward()
    assert janus.network.model.language_model.layers[0].self_attn.q_proj.weight.grad is not None


def test_what_is_made_of_weights_waits_while_another_thread_patches_torch(tiny_checkpoint: Path):
    janus = open_checkpoint(tiny_checkpoint)
    plain = janus.network.model.vqmodel.decode(self_test.spread_over(janus, janus.image_codes))
    janus.derived._made.clear()
    made: list[torch.nn.Module] = []
    making = threading.Thread(target=lambda: made.append(janus.decoder_copy))
    with PATCHING, init_empty_weights():
        making.start()
        making.join(0.2)
        assert made == []
    making.join()
    assert {weight.device.type for weight in made[0].parameters()} == {"cpu"}
    torch.testing.assert_close(janus.pixels(self_test.spread_over(janus, janus.image_codes)), plain)


def test_all_that_drawing_needs_is_made_when_a_checkpoint_is_opened(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
):
    janus = open_checkpoint(tiny_checkpoint)
    before = dict(janus.derived._made)
    fold(rollout(janus, [Request("a cat", 1, 1)]))
    assert {make: id(made) for make, (_, made) in before.items()} == {
        make: id(made) for make, (_, made) in janus.derived._made.items()
    }
    assert {"small", "side", "image_codes", "codebook_size", "ids", "blank_code"} <= set(vars(janus))


def test_a_picture_of_one_colour_is_made_again_by_the_codec_itself(tiny_checkpoint: Path):
    """Whatever made the copy of it blank."""
    janus = open_checkpoint(tiny_checkpoint)
    codes = self_test.spread_over(janus, janus.image_codes)
    right = janus.decode(codes)
    with torch.inference_mode():
        for weight in janus.decoder_copy.parameters():
            weight.zero_()
    assert np.abs(janus.decode(codes).astype(int) - right).max() <= 1
    with torch.inference_mode():
        for weight in janus.decoder_copy.parameters():
            weight.fill_(torch.nan)
    assert np.abs(janus.decode(codes).astype(int) - right).max() <= 1


def test_a_picture_that_is_not_finite_is_an_error_and_is_not_finished(tiny_checkpoint: Path):
    janus = open_checkpoint(tiny_checkpoint)
    with torch.no_grad():
        janus.network.model.vqmodel.decoder.conv_out.bias.fill_(torch.nan)
    told = fold(rollout(janus, [Request("a cat", 1, 1)]))
    assert told.error.startswith("FloatingPointError: the picture is not finite")
    assert not told.images[0].finished and told.images[0].sha256 is None


def damaged(tiny_checkpoint: Path, folder: Path, change: Callable[[torch.Tensor], torch.Tensor]) -> Path:
    shutil.copytree(tiny_checkpoint, folder)
    for file in folder.glob("*.safetensors"):
        tensors = load_file(file)
        if NORM in tensors:
            tensors[NORM] = change(tensors[NORM])
            save_file(tensors, file, {"format": "pt"})
    return folder


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_weights_that_are_not_finite_are_refused_with_file_and_tensor(
    tiny_checkpoint: Path, tmp_path: Path, value: float
):
    folder = damaged(
        tiny_checkpoint, tmp_path / "broken", lambda weight: weight.index_fill(0, torch.tensor([3]), value)
    )
    said = rf"broken/model\S*.safetensors: {NORM}: got values that are infinite or not a number as float32"
    with pytest.raises(CheckpointError, match=said):
        open_checkpoint(folder, device="cpu")


def test_weights_too_large_for_a_dtype_are_refused_with_the_dtype(tiny_checkpoint: Path, tmp_path: Path):
    folder = damaged(tiny_checkpoint, tmp_path / "large", lambda weight: weight.float() + 1e6)
    with pytest.raises(CheckpointError, match=f"{NORM}: got values .* as float16; choose float32"):
        open_checkpoint(folder, dtype="float16", device="cpu")


def test_a_network_that_is_decoded_otherwise_than_it_computes_is_refused(
    tiny: Janus, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
):
    real = self_test.decoded
    monkeypatch.setattr(self_test, "decoded", lambda janus, inputs: real(janus, inputs.flip(1)))
    with pytest.raises(CheckpointError, match="decodes image codes otherwise than the plain network does"):
        open_checkpoint(tiny_checkpoint)
