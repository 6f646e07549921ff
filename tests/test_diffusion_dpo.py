"""Diffusion-DPO: the loss of the paper, three families of pipelines, learnt from an export, resumed as it was."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_pipelines
import torch
from PIL import Image as Picture
from torch.nn.functional import logsigmoid

from model.backends.adapters import adapted_layers
from model.backends.registry import open_backend
from model.backends.request import Request
from model.events import fold
from model.examples import DrawnExample, PreferenceExample, StoredImage
from model.images import encode_png
from model.messages import MessageError
from model.training.dataset import RowBounds, Rows
from model.training.diffusion.denoiser import Denoiser
from model.training.diffusion.dpo import (
    DenoiserPolicy,
    DiffusionDpoSettings,
    DiffusionPreferenceLoss,
    open_denoiser,
    pair_batch,
    pair_rows,
    train,
)
from model.training.runs.folder import RunPaths, RunStart
from model.training.runs.load_for_training import AdapterOptions
from model.training.runs.metric_descriptions import NO_METRICS, metric_description
from model.training.sources import WeightedRows

FAMILIES = {"class_conditional": "dog", "stable_diffusion": "a red car", "flow": "a red car"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pipelines")
    return {name: getattr(tiny_pipelines, name)(folder / name) for name in FAMILIES}


def opened(folders: dict[str, Path], family: str, adapter: AdapterOptions | None = None) -> Denoiser:
    return open_denoiser(f"{folders[family]}?steps=2&size=32", adapter, 0)


def picture(*colour: int) -> StoredImage:
    return StoredImage(encode_png(Picture.new("RGB", (32, 32), colour)))


def pairs(denoiser: Denoiser, prompt: str, count: int = 2) -> Rows:
    row_format = pair_rows(denoiser)
    rows = Rows(lambda each: row_format.build(denoiser, each, RowBounds()))
    for number in range(count):
        red, blue = picture(220, 20 * number, 30), picture(30, 20 * number, 220)
        rows.append(PreferenceExample(DrawnExample(prompt, red), DrawnExample(prompt, blue)), f"row {number}")
    return rows


@pytest.mark.parametrize("family", FAMILIES)
def test_the_loss_is_the_papers_for_every_family(folders, family: str):
    denoiser = opened(folders, family)
    policy, loss = DenoiserPolicy(denoiser), DiffusionPreferenceLoss("sigmoid", 50.0)
    rows = pairs(denoiser, FAMILIES[family])
    batch = pair_batch(denoiser, [rows[0], rows[1]], [7, 8])
    with torch.no_grad():
        same, metrics = loss(policy, batch, loss.totals(batch))
        assert float(same) == pytest.approx(math.log(2), abs=1e-6)
        for parameter in policy.module.parameters():
            parameter.add_(0.05)
        value, _ = loss(policy, batch, loss.totals(batch))
        expected = torch.zeros(())
        for number in range(2):  # each pair by itself, as Wallace et al. (2023) write it
            one = pair_batch(denoiser, [rows[number]], [7 + number])
            errors = [
                [denoiser.error(module, latents, one.noising, one.given) for latents in (one.chosen, one.rejected)]
                for module in (policy.module, policy._reference[0])
            ]
            gap = (errors[0][0] - errors[1][0]) - (errors[0][1] - errors[1][1])
            expected = expected - logsigmoid(-50.0 * gap).mean() / 2
    assert float(value) == pytest.approx(float(expected), rel=2e-3)
    assert float(metrics["margin"]) == pytest.approx(0, abs=1e-4)


def test_the_error_of_flow_matching_is_that_of_the_velocity(folders):
    denoiser = opened(folders, "flow")
    batch = pair_batch(denoiser, [pairs(denoiser, "a red car")[0]], [3])
    share, noise = batch.noising.levels[:, None, None, None], batch.noising.noise
    noisy = denoiser.pipeline._pack_latents((1 - share) * batch.chosen + share * noise, *batch.chosen.shape)
    with torch.no_grad():
        velocity = denoiser.module(hidden_states=noisy, timestep=batch.noising.levels, **batch.given.arguments)[0]
        target = denoiser.pipeline._pack_latents(noise - batch.chosen, *batch.chosen.shape)
        error = denoiser.error(denoiser.module, batch.chosen, batch.noising, batch.given)
    assert float(error) == pytest.approx(float((velocity - target).square().mean()), rel=1e-5)


def test_noise_is_learnt_at_the_levels_that_the_scheduler_draws_at(folders):
    denoiser, levels = opened(folders, "flow"), []
    for shift in (1.0, 3.0):
        denoiser.scheduler.register_to_config(shift=shift)
        noising = denoiser.noising((64, 4, 8, 8), torch.Generator().manual_seed(0))
        levels.append(noising.levels)
    before, after = levels
    assert torch.allclose(after, 3 * before / (1 + 2 * before), atol=1e-6)


@pytest.mark.parametrize("adapter", [None, AdapterOptions(rank=2, alpha=4)], ids=["whole", "lora"])
def test_the_chosen_becomes_likelier_and_a_resumed_run_is_the_same(folders, tmp_path: Path, adapter):
    rate = 2e-3 if adapter is None else 5e-2
    settings = DiffusionDpoSettings(
        steps=6, batch=2, micro_batch=1, learning_rate=rate, warmup=0, decay=0, save_every=3
    )
    logs = []
    for name, stops in (("whole", (6,)), ("cut", (3, 6))):
        for stop in stops:
            denoiser = opened(folders, "flow", adapter)
            data = [WeightedRows(pairs(denoiser, "a red car"))]
            start = RunStart(resume=stop != stops[0])
            train(denoiser, data, replace(settings, steps=stop), tmp_path / name, {"recipe": "diffusion dpo"}, start)
        logs.append([json.loads(line) for line in RunPaths(tmp_path / name).log.read_text().splitlines()])
    assert [line["loss"] for line in logs[0]] == [line["loss"] for line in logs[1]]
    assert logs[0][0]["loss"] == pytest.approx(math.log(2), abs=1e-3)  # β is 5,000 or so
    assert all(map(metric_description, logs[0][-1].keys() - {*NO_METRICS}))
    assert logs[0][-1]["accuracy"] == 1 and logs[0][-1]["margin"] > 0.1 > logs[0][0]["margin"]
    assert bool(adapted_layers(denoiser.module)) == (adapter is not None)
    learnt = opened({"flow": tmp_path / "whole"}, "flow")
    assert not adapted_layers(learnt.module)
    before = dict(opened(folders, "flow").module.named_parameters())
    assert any(not torch.equal(weight, before[name]) for name, weight in learnt.module.named_parameters())


def test_what_is_saved_paints_like_any_pipeline(folders, tmp_path: Path):
    denoiser = opened(folders, "stable_diffusion")
    settings = DiffusionDpoSettings(steps=1, batch=2, micro_batch=2)
    train(denoiser, [WeightedRows(pairs(denoiser, "a red car"))], settings, tmp_path / "out", {"recipe": "dpo"})
    backend = open_backend(f"diffusion:{tmp_path / 'out'}?steps=2&size=32")
    trajectory = fold(backend.events(Request("a red car", 0, 1)))
    assert trajectory.error is None and len(trajectory.images) == 1
    with pytest.raises(MessageError, match="the same to the autoencoder"):
        same = DrawnExample("a red car", picture(9, 9, 9))
        pair_rows(denoiser).build(denoiser, PreferenceExample(same, same), RowBounds())


def test_latents_are_those_that_the_pipeline_decodes(folders):
    denoiser = opened(folders, "flow")
    config = denoiser.pipeline.vae.config
    latents = denoiser.latents([np.full((32, 32, 3), 90, np.uint8)])
    pixels = torch.full((1, 3, 32, 32), 90 / 127.5 - 1)
    with torch.no_grad():
        encoded = denoiser.pipeline.vae.encode(pixels).latent_dist.mode()
    assert torch.allclose(latents / config.scaling_factor + config.shift_factor, encoded, atol=1e-3)
