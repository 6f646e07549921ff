"""A checkpoint against its parent on the parent's rollouts, and lessons of a checkpoint's own faults."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from model.decoding.load_for_inference import open_checkpoint
from model.evaluation.figures import Judged
from model.images import read_rgb
from model.training.dataset import DataError
from model.training.embedded import correction_benchmark
from model.training.embedded.drift import (
    Scored,
    compared,
    effective,
    first_weights,
    mean_divergences,
    parent_rollouts,
    scored,
)
from model.training.policy import Policy
from model.world.language import parse
from model.world.splits import GENEVAL, held_out_prompts
from model.world.verifier import accepted, check, read


@pytest.fixture(scope="module")
def parent(tiny_checkpoint: Path) -> Policy:
    return Policy(open_checkpoint(tiny_checkpoint, dtype=torch.float32))


@pytest.fixture(scope="module")
def rollouts(parent: Policy):
    return parent_rollouts(parent.janus, held_out_prompts(4, GENEVAL), 0, thinks=False)


def test_a_checkpoint_has_not_moved_from_itself_and_another_has(parent: Policy, rollouts, tiny_checkpoint: Path):
    same = scored(parent, parent, rollouts)
    assert effective(first_weights(same)) == pytest.approx(len(rollouts))
    assert max(map(abs, mean_divergences(same).values())) < 1e-6
    assert all(old.value == new.value for old, new in compared(rollouts, same).values())
    other = Policy(open_checkpoint(tiny_checkpoint, dtype=torch.float32))
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.3)
    moved = scored(parent, other, rollouts)
    assert max(mean_divergences(moved).values()) > 1e-3 and effective(first_weights(moved)) < len(rollouts)


def test_drawings_count_as_often_as_the_other_checkpoint_would_draw_them(rollouts, monkeypatch: pytest.MonkeyPatch):
    judged = [rollout.judged for rollout in rollouts]
    monkeypatch.setattr(Judged, "right", property(lambda each: [each is judged[0]]))
    scores = [Scored(log_ratio=math.log(9), first_log_ratio=math.log(3)), *(Scored(0.0, 0.0) for _ in rollouts[1:])]
    rows = compared(rollouts, scores)
    values = {row: [figure.value for figure in pair] for row, pair in rows.items()}
    assert values["first draft"] == pytest.approx([1 / 4, 3 / 6])
    assert "final image" not in values  # of 9, 1, 1 and 1 less than half of four count


def test_faults_are_what_the_network_misjudges_and_fixed_pictures_are_right_and_wrong_in_turn(
    parent: Policy, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(
        correction_benchmark, "verdicts_right", lambda janus, shown: [at % 4 > 0 for at in range(len(shown))]
    )
    known = correction_benchmark.faults(parent.janus, "extra object", 6, seed=0)
    assert len(known) == 6 and all(example.completion.startswith("No") for example in known)
    monkeypatch.setattr(correction_benchmark, "MOST_SHOWN", 16)
    with pytest.raises(DataError, match="only 4 are accepted, not 6"):
        correction_benchmark.faults(parent.janus, "extra object", 6, seed=0)
    pictures = [(e, np.asarray(read_rgb(e.images[0]))) for e in correction_benchmark.fixed_pictures(8)]
    assert [accepted(check(parse(e.prompt), read(picture))) for e, picture in pictures] == [
        True,
        True,
        False,
        False,
    ] * 2
