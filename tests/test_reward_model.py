"""A reward model: what it learns of pairs and scores, how it is saved and opened, and that it agrees with the arena."""

import json
import random
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import preloaded
import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest
import torch

from annotations.metrics.bradley_terry import Vote, rank
from model.backends.contract import CheckpointError
from model.decoding.load_for_inference import open_checkpoint
from model.examples import RewardExample
from model.messages import MessageError
from model.training.dataset import RowBounds, Rows, read_rows
from model.training.embedded.reward_pairs import reward_pairs
from model.training.reward import RewardSettings, held_out_figures, train
from model.training.rewards.reward_network import HEAD, REWARD_ROWS, RewardNetwork, open_reward_network
from model.training.runs.folder import RunPaths, RunStart
from model.training.runs.metric_descriptions import NO_METRICS, metric_description
from model.training.sources import WeightedRows
from model.world.defects import spoil
from model.world.language import CATEGORIES, write
from model.world.random_scenes import sample_scene
from model.world.scene import render
from model.world.splits import sample_test

SMALL = RewardSettings(steps=4, batch=4, micro_batch=3, learning_rate=1e-3, warmup=0, decay=0, save_every=2)


def scores(pairs: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The drawings of pairs as rows with scores."""
    for pair in pairs:
        alone = {"type": "score", "prompt": pair["prompt"]}
        yield alone | {"image": pair["image"], "score": 1.0}
        yield alone | {"image": pair["rejected"], "score": 0.0}


def rows_of(network: RewardNetwork, rows: list[dict[str, Any]]) -> Rows:
    opened = Rows(lambda each: REWARD_ROWS.build(network.janus, each, RowBounds()))
    for number, row in enumerate(rows):
        opened.append(RewardExample.from_row(row), f"row {number}")
    return opened


def opened(checkpoint: Path | str) -> RewardNetwork:
    return RewardNetwork(open_checkpoint(checkpoint, dtype=torch.float32))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reward model of the embedded checkpoint, after a few steps on pairs and scores that the verifier gave."""
    network, pairs = opened("embedded"), list(reward_pairs(24, seed=0))
    data = [WeightedRows(rows_of(network, pairs)), WeightedRows(rows_of(network, [*scores(pairs[:12])]), 0.5)]
    out = tmp_path_factory.mktemp("rewards") / "reward"
    settings = RewardSettings(steps=3, batch=12, micro_batch=12, learning_rate=5e-5, warmup=0, save_every=0)
    train(network, data, settings, out, {"recipe": "reward", "parent": "embedded"})
    return out


def test_nine_in_ten_held_out_pairs_are_told_apart(trained: Path, thorough: bool):
    network = open_reward_network(trained)
    pairs = list(reward_pairs(60 if thorough else 20, seed=1, held_out=True))
    figures = held_out_figures(network, [rows_of(network, [*pairs, *scores(pairs[:12])])], 20)
    assert figures["held_out_accuracy"] >= 0.9
    assert figures["held_out_score_error"] < 0.2


def test_scores_of_checkpoints_agree_with_those_of_the_arena(trained: Path):
    """Contestants draw a share of their drawings wrong; people, who vote as the verifier would, see two at a time."""
    network, rng = open_reward_network(trained), random.Random(0)
    shares = {"a": 0.0, "b": 0.2, "c": 0.4, "d": 0.6, "e": 0.8, "f": 1.0}
    prompts = [sample_test(rng, category) for category in CATEGORIES[:6] * 2]
    votes: list[Vote] = []
    rewards: dict[str, list[float]] = {name: [] for name in shares}
    for number, description in enumerate(prompts):
        scene = sample_scene(rng, description)
        wrong = {name: (number + 0.5) / len(prompts) < share for name, share in shares.items()}
        drawn = {name: spoil(rng, description, scene)[1] if wrong[name] else render(scene) for name in shares}
        for name, reward in zip(drawn, network.rewards(write(description), [*drawn.values()]), strict=True):
            rewards[name].append(reward)
        for one, other in [(one, other) for one in shares for other in shares if one < other]:
            choice = "tie" if wrong[one] == wrong[other] else "right" if wrong[one] else "left"
            votes.append(Vote(one, other, choice))
    arena = {standing.name: standing.score for standing in rank(votes)}
    means = {name: sum(values) / len(values) for name, values in rewards.items()}
    ranks = [np.argsort(np.argsort([scored[name] for name in shares])) for scored in (arena, means)]
    assert np.corrcoef(ranks)[0, 1] >= 0.9  # Spearman's


def test_the_head_begins_as_the_verdict_and_is_saved_with_the_checkpoint(trained: Path, tmp_path: Path):
    provenance = json.loads((trained / "provenance.json").read_text())
    assert (provenance["recipe"], provenance["step"]) == ("reward", 3)
    assert open_checkpoint(trained).name == "reward"  # it still draws and judges
    [pair] = reward_pairs(1, seed=2)
    network, begun = open_reward_network(trained), opened("embedded")
    with torch.no_grad():
        assert not torch.equal(network.head.weight, begun.head.weight)
        logits = begun.head.weight[0] @ begun.network.lm_head.weight.T
    assert logits[begun.janus.ids.yes] > 0 > logits[begun.janus.ids.no]
    with pytest.raises(CheckpointError, match="is no reward model: it has no reward_head"):
        open_reward_network("embedded")
    broken = Path(shutil.copytree(trained, tmp_path / "broken"))
    (broken / HEAD).write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="is damaged"):
        open_reward_network(broken)
    assert pair["prompt"]


def test_a_resumed_run_is_the_same_and_what_is_better_gets_more(tiny_checkpoint: Path, tmp_path: Path):
    pairs = list(reward_pairs(4, seed=0))
    logs = []
    for name, stops in (("whole", (4,)), ("cut", (2, 4))):
        for stop in stops:
            network = opened(tiny_checkpoint)
            rows = rows_of(network, [*pairs, *scores(pairs[:1])])
            about, start = {"recipe": "reward", "parent": str(tiny_checkpoint)}, RunStart(resume=stop != stops[0])
            data = [WeightedRows(rows)]
            train(network, data, replace(SMALL, steps=stop), tmp_path / name, about, start, [rows])
        logs.append([json.loads(line) for line in RunPaths(tmp_path / name).log.read_text().splitlines()])
    assert [line["loss"] for line in logs[0]] == [line["loss"] for line in logs[1]]
    assert all(map(metric_description, logs[0][-1].keys() - {*NO_METRICS}))
    assert logs[0][-1]["held_out_accuracy"] > 0.5 and logs[0][-1]["margin"] > logs[0][0]["margin"]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"rejected": None}, "the score is nothing, wanted a number from 0 to 1"),
        ({"rejected": None, "score": 2}, "the score is 2"),
        ({"margin": "much"}, "the margin is 'much'"),
        ({"image": {"bytes": b"", "path": None}}, "image 1 is"),
    ],
)
def test_a_row_that_is_neither_a_pair_nor_a_score_is_refused_in_words(changes: dict[str, Any], problem: str):
    [row] = reward_pairs(1, seed=0)
    with pytest.raises(MessageError, match=problem):
        RewardExample.from_row(row | changes)


def test_the_commands_write_pairs_learn_them_and_print_the_held_out_accuracy(tiny_checkpoint, tmp_path: Path):
    for name, *more in (("pairs.parquet",), ("others.parquet", "--held-out")):
        command = ["-m", "model.training.embedded.reward_pairs", "--pairs", "4", *more, "--out", tmp_path / name]
        done = preloaded.run(*map(str, command))
        assert done.returncode == 0, done.stderr
    assert len(read_rows(open_checkpoint(tiny_checkpoint), tmp_path / "pairs.parquet", REWARD_ROWS)) == 4
    preferred = [
        {"prompt": row["prompt"], "chosen": row["image"], "rejected": row["rejected"]}
        for row in parquet.read_table(tmp_path / "pairs.parquet").to_pylist()
    ]
    parquet.write_table(arrow.Table.from_pylist(preferred), tmp_path / "image_pref.parquet")
    command = ["-m", "model.training.reward", "--data", tmp_path / "pairs.parquet", tmp_path / "image_pref.parquet:0.5"]
    options = ["--held-out", tmp_path / "others.parquet", "--checkpoint", tiny_checkpoint, "--out", tmp_path / "out"]
    done = preloaded.run(*map(str, [*command, *options, "--steps", "1", "--batch", "2"]))
    assert done.returncode == 0, done.stderr
    assert "held_out_accuracy" in done.stderr.splitlines()[-1]
    assert open_reward_network(tmp_path / "out").head.weight.shape == (1, 64)
