"""The benchmark runs both engines, and says where they disagree."""

import json
from pathlib import Path

import pytest
import torch
from commands import run

from model.decoding.cpu.operations import Kernels
from model.decoding.llama import shape_of
from model.decoding.load_for_inference import open_checkpoint
from model.decoding.packed_weights import weights_by
from model.evaluation.cpu_benchmark import seconds, table


def test_a_step_is_timed_by_its_operations_and_set_against_the_best_other(tiny_checkpoint: Path):
    janus = open_checkpoint(tiny_checkpoint, dtype=torch.float32)
    model = janus.network.model
    parts = (model.language_model, model.generation_head, model.generation_embeddings, model.generation_aligner)
    operations = Kernels(shape_of(model.language_model.config))
    assert seconds((janus, weights_by(operations, *parts)), 2) > 0
    assert "2.50×" in table({"native.c": [2.0], "oneDNN": [6.0], "torch": [5.0]}, [1])


@pytest.mark.thorough
def test_both_engines_pick_the_same_codes_and_every_case_is_measured():
    done = run("model.benchmark", "--counts", "1", "3", "--repeats", "1", "--device", "cpu", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["greedy_codes_that_differ"] == 0
    alone, three, group = told["cases"]
    assert [case["images"] for case in told["cases"]] == [1, 3, 8]
    assert alone["padded"] is None and min(three["padded"], group["padded"]) > 0
    assert three["one_by_one"] == 3 * alone["one_by_one"]
    assert all(case["share_of_floor"] is None and case["memory"] > 0 for case in told["cases"])
