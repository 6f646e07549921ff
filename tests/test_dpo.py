"""Direct preference optimization: the loss of the papers, learnt from an export, resumed as it was."""

import hashlib
import json
import math
import random
from dataclasses import replace
from pathlib import Path

import preloaded
import pytest
import torch
from PIL import Image as Picture
from test_annotations_samples import judged
from tests_support import UNGUARDED
from torch.nn.functional import logsigmoid

from annotations.export.exporter import export
from annotations.store.store import open_store
from model.backends.janus import Janus
from model.decoding.load_for_inference import open_checkpoint
from model.examples import JudgeExample, PreferenceExample
from model.images import encode_png
from model.messages import MessageError
from model.training.dataset import RowBounds, Rows
from model.training.dpo import DpoSettings, PreferenceLoss, train
from model.training.policy import Policy
from model.training.preferences.reference import RowBatch, referenced, row_batch
from model.training.preferences.rows import PREFERENCE_ROWS
from model.training.runs.folder import RunPaths, RunStart
from model.training.runs.metric_descriptions import NO_METRICS, metric_description
from model.training.sources import WeightedRows
from model.trajectory import Image, Origin, Reflection, Sampling, StopReason, Token, Trajectory
from model.world.scene import random_scene, render


def picture(seed: int) -> bytes:
    return encode_png(Picture.fromarray(render(random_scene(random.Random(seed), 2))))


def example(seed: int, weight: float = 1.0) -> PreferenceExample:
    shared = {"prompt": "a red cat", "images": (picture(seed),), "reflections": (), "weight": weight}
    better = JudgeExample(**shared, completion="No, there is no cat.")
    return PreferenceExample(better, JudgeExample(**shared, completion="Yes, I see a red cat."))


@pytest.fixture
def own(tiny_checkpoint: Path) -> Janus:
    return open_checkpoint(tiny_checkpoint, dtype=torch.float64)


def rows_of(janus: Janus, examples: list[PreferenceExample]) -> Rows:
    rows = Rows(lambda each: PREFERENCE_ROWS.build(janus, each, RowBounds()))
    for number, each in enumerate(examples):
        rows.append(each, f"row {number}")
    return rows


def of_papers(batch: RowBatch, own: torch.Tensor, counts: torch.Tensor, loss: PreferenceLoss) -> float:
    """The losses as Rafailov et al. (2023) and Azar et al. (2024) write them, pair by pair."""
    total = 0.0
    for pair, weight in enumerate(batch.weights.tolist()):
        chosen, rejected = 2 * pair, 2 * pair + 1
        reference = batch.reference.flatten()
        if loss.loss == "ipo":
            gap = (own[chosen] - reference[chosen]) / counts[chosen]
            gap = gap - (own[rejected] - reference[rejected]) / counts[rejected]
            value = (gap - 1 / (2 * loss.beta)) ** 2
        else:
            gap = (own[chosen] - own[rejected]) - (reference[chosen] - reference[rejected])
            value = -(1 - loss.label_smoothing) * logsigmoid(loss.beta * gap)
            value = value - loss.label_smoothing * logsigmoid(-loss.beta * gap)
        total += weight * float(value - loss.chosen_nll * own[chosen] / counts[chosen])
    return total / sum(batch.weights.tolist())


@pytest.mark.parametrize(
    "loss",
    [
        PreferenceLoss("sigmoid", 0.1),
        PreferenceLoss("sigmoid", 0.5, label_smoothing=0.2),
        PreferenceLoss("sigmoid", 0.1, chosen_nll=0.3),
        PreferenceLoss("ipo", 0.2),
    ],
)
def test_the_loss_is_the_papers(own: Janus, loss: PreferenceLoss):
    policy = Policy(own)
    known = referenced(policy, rows_of(own, [example(0), example(1, 0.25), example(2)]), 2)
    batch = row_batch(own, [known[at] for at in range(3)])
    with torch.no_grad():
        same, metrics = loss(policy, batch, loss.totals(batch))
        start = math.log(2) if loss.loss == "sigmoid" else 1 / (4 * loss.beta**2)
        assert loss.chosen_nll or float(same) == pytest.approx(start, abs=1e-6)
        assert float(metrics["margin"]) == pytest.approx(0, abs=1e-6)
        for parameter in own.network.model.language_model.layers[0].parameters():
            parameter.add_(0.02)
        value, metrics = loss(policy, batch, loss.totals(batch))
        scores = policy(batch.batch).log_probs
        own_sums, counts = torch.zeros(6).double(), torch.zeros(6).double()
        for score, row in zip(scores, batch.batch.rows, strict=True):
            own_sums[row] += score
            counts[row] += 1
    assert float(value) == pytest.approx(of_papers(batch, own_sums, counts, loss), abs=1e-5)


def test_micro_batches_and_padding_leave_the_loss_alone(own: Janus):
    loss, policy = PreferenceLoss("sigmoid", 0.1, 0.1), Policy(own)
    known = referenced(policy, rows_of(own, [example(at, 1 + at) for at in range(3)]), 8)
    whole = row_batch(own, [known[at] for at in range(3)])
    parts = [row_batch(own, [known[0]]), row_batch(own, [known[1], known[2]])]
    totals = loss.totals(whole)
    with torch.no_grad():
        value, metrics = loss(policy, whole, totals)
        split = [loss(policy, part, totals) for part in parts]
    assert float(sum(each for each, _ in split)) == pytest.approx(float(value), abs=1e-6)
    assert float(sum(m["accuracy"] for _, m in split)) == pytest.approx(float(metrics["accuracy"]))


def test_what_was_chosen_becomes_likelier_and_a_resumed_run_is_the_same(tiny_checkpoint: Path, tmp_path: Path):
    settings = DpoSettings(steps=6, batch=4, micro_batch=2, learning_rate=3e-3, warmup=0, decay=0, save_every=3)
    logs = []
    for name, stops in (("whole", (6,)), ("cut", (3, 6))):
        for stop in stops:
            janus = open_checkpoint(tiny_checkpoint, dtype=torch.float32)
            rows = rows_of(janus, [example(at) for at in range(4)])
            about, start = {"recipe": "dpo", "parent": str(tiny_checkpoint)}, RunStart(resume=stop != stops[0])
            train(janus, [WeightedRows(rows)], replace(settings, steps=stop), tmp_path / name, about, start)
        logs.append([json.loads(line) for line in RunPaths(tmp_path / name).log.read_text().splitlines()])
    assert [line["loss"] for line in logs[0]] == [line["loss"] for line in logs[1]]
    assert logs[0][0]["loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert all(map(metric_description, logs[0][-1].keys() - {*NO_METRICS}))
    assert logs[0][-1]["accuracy"] == 1 and logs[0][-1]["margin"] > 0.1 > logs[0][0]["margin"]
    assert open_checkpoint(tmp_path / "whole").name


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"rejected": None}, "missing: rejected"),
        ({"rejected": "No, there is no cat."}, "wanted two that differ"),
        ({"margin": "much"}, "the margin is 'much'"),
        ({"chosen": "Perhaps."}, "begins with Yes or No"),
    ],
)
def test_a_row_that_is_no_pair_is_refused_in_words(changes, why):
    row = example(0).chosen.to_row()
    words = {"chosen": "No, there is no cat.", "rejected": "Yes, I see a red cat."} | changes
    turns = {
        name: value and [{"role": "assistant", "content": value}] for name, value in words.items() if name != "margin"
    }
    with pytest.raises(MessageError, match=why):
        PreferenceExample.from_row({**row, **turns, "margin": changes.get("margin")})


def test_what_people_prefer_in_the_studio_trains_a_checkpoint(tiny_checkpoint: Path, tmp_path: Path):
    with open_store(tmp_path / "data") as store:
        for seed in range(3):
            png = picture(seed)
            sha256 = hashlib.sha256(png).hexdigest()
            image = Image((1,) * 64, sha256, (Origin.SAMPLED,) * 64)
            said = Reflection("yes", 0.9, (Token(1, "Yes"), Token(2, ", I see a red cat.")))
            drawn = Trajectory("a red cat", seed, 1, Sampling(), "tiny", (image, said), StopReason.CONTENT)
            id = store.save(drawn, {sha256: png}, owner="visitor")
            store.annotate(judged(id, 1, verdict_right="no", reason_correction="there is no cat."))
        assert export(store, "judge_pref", tmp_path / "pairs").examples == 3
    command = ["-m", "model.training.dpo", "--data", tmp_path / "pairs", "--checkpoint", tiny_checkpoint]
    options = ["--out", tmp_path / "out", "--steps", "2", "--batch", "2", "--learning-rate", "1e-3"]
    options += UNGUARDED
    done = preloaded.run(*map(str, [*command, *options]))
    assert done.returncode == 0, done.stderr
    provenance = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert (provenance["recipe"], provenance["examples"], provenance["data"]["kind"]) == ("dpo", 3, "judge_pref")
    assert open_checkpoint(tmp_path / "out").name
    wrong = preloaded.run(*map(str, [*command, "--out", tmp_path / "x", "--loss", "orpo"]))
    assert wrong.returncode == 2 and "orpo" in wrong.stderr
