"""The training loop on a network of one layer: it knows no method, and what it promises holds for each."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from model.training.loop import Evaluation, Loop, ObjectiveBatches, Run, StepData, prefetched
from model.training.optimization import TrainingError
from model.training.runs.folder import RunStart
from model.training.runs.settings import LoopSettings
from model.training.runs.state import read_state

SETTINGS = LoopSettings(steps=6, learning_rate=0.1, warmup=1, save_every=2, muon=0.01)
PADDING = (torch.zeros(1, 3), torch.zeros(1))


class SquaredError:
    """Mean over all rows of a step."""

    def totals(self, batch: tuple[torch.Tensor, torch.Tensor]) -> dict[str, float]:
        return {"rows": len(batch[0])}

    def __call__(
        self, module: torch.nn.Module, batch: tuple[torch.Tensor, torch.Tensor], totals: Mapping[str, float]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        inputs, targets = batch
        loss = (module(inputs)[:, 0] - targets).square().sum() / totals["rows"]
        return loss, {"loss": loss}


def rows_at(step: int, parts: int = 2, scale: float = 1.0) -> StepData:
    generator = torch.Generator().manual_seed(step)
    inputs = torch.randn(8, 3, generator=generator) * scale
    batches = list(zip(inputs.chunk(parts), inputs.sum(1).chunk(parts), strict=True))
    return StepData(
        [ObjectiveBatches(SquaredError(), batches, PADDING)], [f"row {step}.{n}" for n in range(2)], {"seen": 8}
    )


def train(out: Path, source=rows_at, settings: LoopSettings = SETTINGS, saved: list[dict] | None = None, **begins):
    """A run of a linear layer; returns it. What would be saved is appended to `saved`."""
    torch.manual_seed(0)
    layer, written = torch.nn.Linear(3, 1), [] if saved is None else saved
    evaluation = Evaluation(4, lambda step: {"norm": float(layer.weight.detach().norm())})
    run = Run(layer, layer, out, {"recipe": "line"}, written.append, [layer.weight], RunStart(**begins), evaluation)
    Loop(settings).train(run, source)
    return layer


def log_of(out: Path) -> list[dict]:
    rows = [json.loads(line) for line in Path(f"{out}.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in ("seconds", "eta_seconds")} for row in rows]


def test_any_objective_is_minimised_and_micro_batches_make_no_difference(tmp_path: Path):
    whole = train(tmp_path / "whole", lambda step: rows_at(step, parts=1))
    parts = train(tmp_path / "parts", lambda step: rows_at(step, parts=4))
    torch.testing.assert_close(whole.weight, parts.weight)
    first, *_, last = log_of(tmp_path / "parts")
    assert last["loss"] < first["loss"] and first["seen"] == 8
    assert [row["learning_rate"] for row in (first, last)] == pytest.approx([0.1, 0.1 / 1.5])


def test_a_run_that_was_cut_ends_as_one_that_was_not(tmp_path: Path):
    def cut(step: int) -> StepData:
        if step == 5:
            raise KeyboardInterrupt
        return rows_at(step)

    whole = train(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", cut)
    assert read_state(tmp_path / "cut.state")["step"] == 4
    resumed = train(tmp_path / "cut", resume=True)
    assert torch.equal(whole.weight, resumed.weight)
    assert log_of(tmp_path / "cut") == log_of(tmp_path / "whole")


def test_the_evaluation_hook_runs_in_its_interval_and_at_the_end_and_is_kept_in_provenance(tmp_path: Path):
    saved: list[dict] = []
    layer = train(tmp_path / "run", saved=saved)
    assert [row["step"] for row in log_of(tmp_path / "run") if "norm" in row] == [3, 5]
    assert [(about["step"], "quality" in about) for about in saved] == [(2, False), (4, True), (6, True)]
    assert saved[-1]["quality"] == {"norm": float(layer.weight.detach().norm())}
    train(tmp_path / "run", saved=saved, resume=True)
    assert saved[-1]["quality"] == saved[-2]["quality"] and saved[-1]["resumed"]


def test_a_loss_that_is_not_finite_stops_before_its_step_and_names_its_rows(tmp_path: Path):
    def source(step: int) -> StepData:
        return rows_at(step, scale=float("inf") if step == 3 else 1.0)

    with pytest.raises(TrainingError, match=r"step 3: loss is nan; .* Learnt from: row 3\.0, row 3\.1\."):
        train(tmp_path / "run", source)
    assert read_state(tmp_path / "run.state")["step"] == 2


def test_a_step_without_batches_moves_nothing(tmp_path: Path):
    layer = train(tmp_path / "run", lambda step: StepData([ObjectiveBatches(SquaredError(), [], PADDING)]))
    torch.manual_seed(0)
    assert torch.equal(layer.weight, torch.nn.Linear(3, 1).weight)
    assert log_of(tmp_path / "run")[0]["gradient_norm"] == 0


def test_steps_are_made_ahead_in_order():
    made: list[int] = []
    with prefetched(lambda step: made.append(step) or step, 5) as ahead:
        assert [ahead(step) for step in range(2, 5)] == [2, 3, 4]
    assert made == [2, 3, 4]
