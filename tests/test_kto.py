"""KTO: its divergence is that of a whole step, what is desirable becomes likelier, a run resumes as it was."""

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image as Picture
from thoroughness import few

from model.backends.janus import Janus
from model.decoding.load_for_inference import open_checkpoint
from model.examples import JudgeExample, LabelledExample
from model.images import encode_png
from model.messages import MessageError
from model.training.dataset import DataError, RowBounds, Rows
from model.training.kto import MISMATCHED, OWN, KtoSettings, LabelledBatch, LabelledLoss, train
from model.training.loop import Loop
from model.training.policy import Policy
from model.training.preferences.losses import label_losses
from model.training.preferences.reference import referenced, row_batch, sums
from model.training.preferences.rows import LABELLED_ROWS, MismatchedRows, labelled_of
from model.training.runs.folder import RunPaths, RunStart
from model.training.runs.metric_descriptions import NO_METRICS, metric_description
from model.training.runs.settings import LoopSettings
from model.training.sources import WeightedRows
from model.world.scene import random_scene, render

WORDS = ("No, there is no cat.", "Yes, I see a red cat.", "No, the cat is blue, not red.")


def example(number: int) -> LabelledExample:
    png = encode_png(Picture.fromarray(render(random_scene(random.Random(number), 2))))
    return LabelledExample(JudgeExample("a red cat", (png,), (), WORDS[number % 3]), number % 3 != 1)


def rows_of(janus: Janus, count: int) -> Rows:
    rows = Rows(lambda each: LABELLED_ROWS.build(janus, each, RowBounds()))
    for number in range(count):
        rows.append(example(number), f"row {number}")
    return rows


def test_a_mismatched_completion_is_that_of_the_row_before_after_its_own_prompt(tiny: Janus):
    rows = MismatchedRows(tiny, rows_of(tiny, 3))
    for number in range(3):
        exchanged = replace(example(number).example, completion=WORDS[number - 1])
        expected = labelled_of(tiny, LabelledExample(exchanged, label=True), RowBounds()).sequences[0]
        assert rows[number].sequences[1].targets == expected.targets


def test_a_step_has_one_divergence_however_it_is_divided(tiny_checkpoint: Path):
    janus = open_checkpoint(tiny_checkpoint, dtype=torch.float64)
    policy, settings = Policy(janus), KtoSettings(beta=0.5, desirable_weight=1.5, undesirable_weight=0.5)
    loss = LabelledLoss(settings, policy, Loop(LoopSettings(1, 1e-3)))
    known = referenced(policy, MismatchedRows(janus, rows_of(janus, 3)), 2)
    rows = [known[at] for at in range(3)]

    def batch(some: list[Any]) -> LabelledBatch:
        return LabelledBatch(row_batch(janus, some, OWN), row_batch(janus, some, MISMATCHED))

    with torch.no_grad():
        for parameter in janus.network.model.language_model.layers[0].parameters():
            parameter.add_(0.02)
        parts = [batch(rows[:1]), batch(rows[1:]), batch([replace(rows[0], weight=0.0)])]
        totals: dict[str, float] = {}
        for part in parts:
            totals = {name: totals.get(name, 0) + value for name, value in loss.totals(part).items()}
        split = [loss(policy, part, totals) for part in parts]
        every = row_batch(janus, rows)
        ratios = sums(policy(every.batch).log_probs, every.batch)[0].view(3, 2) - every.reference
    divergence = max(0.0, float(ratios[:, 1].mean()))
    losses = label_losses("kto", ratios[:, 0], every.labels, divergence, 0.5) * torch.tensor([1.5, 0.5, 1.5])
    assert float(sum(value for value, _ in split)) == pytest.approx(float(losses.mean()), abs=1e-6)
    assert float(sum(metrics["divergence"] for _, metrics in split)) == pytest.approx(divergence, abs=1e-6)


@pytest.mark.parametrize("loss", few(["kto", "apo_zero_unpaired"], 0))
def test_what_is_desirable_becomes_likelier_and_a_resumed_run_is_the_same(tiny_checkpoint, tmp_path, loss: str):
    settings = KtoSettings(steps=4, batch=3, micro_batch=2, loss=loss, learning_rate=3e-3, warmup=0, decay=0)
    settings = replace(settings, save_every=2)
    logs = []
    for name, stops in (("whole", (4,)), ("cut", (2, 4))):
        for stop in stops:
            janus = open_checkpoint(tiny_checkpoint, dtype=torch.float32)
            about, start = {"recipe": "kto", "parent": str(tiny_checkpoint)}, RunStart(resume=stop != stops[0])
            data = [WeightedRows(rows_of(janus, 3))]
            train(janus, data, replace(settings, steps=stop), tmp_path / name, about, start)
        logs.append([json.loads(line) for line in RunPaths(tmp_path / name).log.read_text().splitlines()])
    assert [line["loss"] for line in logs[0]] == [line["loss"] for line in logs[1]]
    assert logs[0][0]["loss"] == pytest.approx(0.5, abs=1e-5)
    assert all(map(metric_description, logs[0][-1].keys() - {*NO_METRICS}))
    assert logs[0][-1]["desirable_reward"] > logs[0][-1]["undesirable_reward"]
    assert open_checkpoint(tmp_path / "whole").name


def test_a_row_without_a_label_and_a_folder_of_one_row_are_refused(tiny: Janus, tmp_path: Path):
    with pytest.raises(MessageError, match="the label is 'yes', wanted true or false"):
        LabelledExample.from_row(example(0).example.to_row() | {"label": "yes"})
    with pytest.raises(DataError, match="one row only"):
        train(tiny, [WeightedRows(rows_of(tiny, 1))], KtoSettings(), tmp_path / "out", {})
