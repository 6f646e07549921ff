"""The embedded painter: its codec is the embedded network's, it is trained and resumed, its pictures make pairs."""

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import PixArtSigmaPipeline

from model.backends.checkpoint.loading import WEIGHTS
from model.backends.registry import backend_name, description, open_backend
from model.backends.request import Request
from model.decoding.load_for_inference import open_checkpoint
from model.events import fold
from model.training.embedded.painter import PainterTrainingSettings, drawn, example, measured, train
from model.training.embedded.painter_pairs import pairs_of
from model.training.embedded.painter_pipeline import new_autoencoder, new_pipeline, new_tokenizer
from model.training.runs.folder import RunPaths, RunStart
from model.world.language import parse
from model.world.scene import Item, Scene, random_scene, render
from model.world.sprites import patch_codes
from model.world.verifier import read


def tiny(tiny_checkpoint: Path) -> PixArtSigmaPipeline:
    codec = open_checkpoint(tiny_checkpoint).network.model.vqmodel.float()
    return new_pipeline(codec, hidden=64, layers=1, text_hidden=32, text_layers=1)


def test_diffusers_autoencoder_is_the_codec_of_the_embedded_network():
    autoencoder = new_autoencoder(open_checkpoint().network.model.vqmodel)
    scenes = [random_scene(random.Random(seed), 1 + seed) for seed in range(4)]
    images = np.stack([render(scene) for scene in scenes])
    codes = torch.tensor([patch_codes(image) for image in images])
    rows = autoencoder.quantize.embedding.weight
    assert float(rows[0].abs().max()) < 1e-5 and float((rows[1:].std() - 1).abs()) < 0.2
    with torch.no_grad():
        latents = rows[codes].view(4, 8, 8, -1).permute(0, 3, 1, 2)
        painted = autoencoder.decode(latents + 0.1 * torch.randn_like(latents)).sample
        seen = autoencoder.encode(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1).latents
    pictures = ((painted / 2 + 0.5).clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    assert [read(picture).items for picture in pictures] == [scene.items for scene in scenes]
    nearest = torch.cdist(seen.permute(0, 2, 3, 1).reshape(-1, rows.shape[1]), rows).argmin(1)
    assert torch.equal(nearest.view(4, 64), codes)


def test_prompts_are_of_words_that_the_tokenizer_knows_and_some_say_what_was_wrong():
    tokenizer, prompts = new_tokenizer(), [example(random.Random(seed))[0] for seed in range(200)]
    assert 0 < prompts.count("") < 60 and 20 < sum(". " in prompt for prompt in prompts) < 90
    ids = tokenizer(prompts)["input_ids"]
    assert not any(tokenizer.unk_token_id in each for each in ids)
    assert max(map(len, ids)) <= tokenizer.model_max_length
    assert tokenizer.unk_token_id in tokenizer("a red elephant")["input_ids"]


def test_every_object_that_it_learns_fills_one_patch_of_the_transformer():
    for seed in range(60):
        _, codes = example(random.Random(seed))
        places = np.array(codes).reshape(4, 2, 4, 2).swapaxes(1, 2).reshape(16, 4)
        assert all(not place.any() or (place - place[0] == range(4)).all() for place in places)
        assert places.any()


def test_a_run_that_is_cut_goes_on_as_it_was_and_its_pipeline_opens_as_a_backend(tiny_checkpoint: Path, tmp_path: Path):
    settings = PainterTrainingSettings(steps=4, batch=4, save_every=2, evaluate_every=0, evaluate_prompts=6, warmup=0)
    logs = []
    for name, stops in (("whole", (4,)), ("cut", (2, 4))):
        for stop in stops:
            start = RunStart(resume=stop != stops[0])
            train(tiny(tiny_checkpoint), tmp_path / name, replace(settings, steps=stop), start)
        logs.append([json.loads(line) for line in RunPaths(tmp_path / name).log.read_text().splitlines()])
    assert [line["loss"] for line in logs[0]] == [line["loss"] for line in logs[1]]
    assert 0 <= logs[0][-1]["right"] <= 1
    whole, cut = (open_backend(f"diffusion:{tmp_path / name}?steps=2") for name in ("whole", "cut"))
    weights = cut.painter.pipeline.transformer.state_dict()
    assert all(torch.equal(w, weights[n]) for n, w in whole.painter.pipeline.transformer.state_dict().items())
    assert whole.image_size == 64
    trajectory = fold(whole.events(Request("a red cat", 0, 1)))
    assert trajectory.error is None and trajectory.images[0].sha256


def test_an_image_is_drawn_of_whole_patches(tiny_checkpoint: Path):
    pipeline = tiny(tiny_checkpoint)
    pipeline.set_progress_bar_config(disable=True)
    images = drawn(pipeline, ["a red cat", ""], 0, 2.0)
    assert images.shape == (2, 64, 64, 3) and all(patch_codes(image) for image in images)
    assert set(measured(pipeline, 6)) >= {"right", "facts", "whole", "counting"}


def test_a_right_picture_is_paired_with_a_wrong_one():
    wanted = parse("a red cat")
    right, wrong = (render(Scene((Item("cat", colour, 1, 1),))) for colour in ("red", "blue"))
    [row] = pairs_of(wanted, [wrong, right, wrong])
    assert row["prompt"] == "a red cat" and row["margin"] == pytest.approx(0.5)
    assert row["chosen"]["bytes"] != row["rejected"]["bytes"]
    assert list(pairs_of(wanted, [right, right])) == []


def test_the_shipped_pair_is_called_by_both_names():
    assert backend_name("painter") == "painter+embedded"
    assert "denoising" in description("painter+embedded")


def test_the_shipped_painter_draws_most_prompts_that_it_never_learnt_right():
    pipeline = PixArtSigmaPipeline.from_pretrained(WEIGHTS / "painter", dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    assert measured(pipeline, 30)["right"] >= 0.6
