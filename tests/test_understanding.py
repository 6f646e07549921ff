"""The eye learns what the hand draws, and nothing else moves."""

import random
from pathlib import Path

import preloaded
import torch

from model.backends.janus import Janus
from model.decoding.load_for_inference import open_checkpoint
from model.training.embedded.network import sine_positions
from model.training.embedded.understanding import (
    RelativeError,
    UnderstandingEncoder,
    patch_batch,
    pictures,
    target_embeddings,
)
from model.world.plan import read_plan
from model.world.scene import render
from model.world.sprites import PATCHES


def test_a_patch_is_to_look_like_its_code_its_words_and_its_place(tiny: Janus):
    image = render(read_plan("red cat at 2 3"))
    wanted = target_embeddings(tiny, [image])[0]
    place = sine_positions(8, wanted.shape[-1])
    blank, *codes = (tiny.embed_codes(torch.tensor(code)) for code in (0, *sorted(PATCHES.values())[1:]))
    red_cat = sum(word(tiny, each) for each in (" cat", " red"))
    assert torch.allclose(wanted[0], blank + place[0])
    corner = wanted[3 * 8 + 2] - red_cat - place[3 * 8 + 2]
    assert min((corner - code).norm() for code in codes) < 1e-6


def test_a_sprite_with_a_wrong_cell_is_to_look_broken(tiny: Janus):
    image = render(read_plan("red cat at 2 3"))
    image[24:32, 16:24] = image[24:32, 16:24][::-1]
    wanted = target_embeddings(tiny, [image])[0] - sine_positions(8, 64)
    assert torch.allclose(wanted[3 * 8 + 2], word(tiny, " broken"), atol=1e-6)


def word(janus: Janus, text: str) -> torch.Tensor:
    return janus.embed_text(torch.tensor(janus.tokenize(text)[0]))


def test_the_command_teaches_the_eye_alone(tiny_checkpoint: Path, tmp_path: Path):
    out = tmp_path / "eye"
    command = ["-m", "model.training.embedded.understanding", "--checkpoint", tiny_checkpoint, "--out", out]
    done = preloaded.run(*command, "--steps", "60", "--batch", "8")
    assert done.returncode == 0, done.stderr
    before, after = (open_checkpoint(path, dtype=torch.float32) for path in (tiny_checkpoint, out))

    def error_of(janus: Janus) -> float:
        rng = random.Random("new")
        batch = patch_batch(janus, rng, pictures(rng, 8))
        return RelativeError()(UnderstandingEncoder(janus), batch, {"pictures": 8})[0].item()

    with torch.inference_mode():
        assert error_of(after) < error_of(before) / 5
    weights = after.network.state_dict()
    moved = {name for name, old in before.network.state_dict().items() if not torch.equal(old, weights[name])}
    assert moved and all(name.startswith(("model.vision_model.", "model.aligner.")) for name in moved)
