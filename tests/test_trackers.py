"""Trackers of accelerate beside the log of a run."""

from dataclasses import replace
from pathlib import Path

import pytest
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker, is_tensorboard_available
from test_training_loop import SETTINGS, rows_at, train

from model.backends.contract import CheckpointError


class Remembering(GeneralTracker):
    """A tracker that keeps what it is told, as accelerate's own ones send it away."""

    name = "remembering"
    requires_logging_directory = True
    tracker = None
    runs: dict[str, list[dict]] = {}

    def __init__(self, run_name: str, logging_dir: str):
        super().__init__()
        self.rows = self.runs.setdefault(run_name, [])
        self.folder = Path(logging_dir).name

    def store_init_configuration(self, values: dict) -> None:
        self.rows.append({"config": values, "folder": self.folder})

    def log(self, values: dict, step: int | None = None, **others: object) -> None:
        self.rows.append({"step": step, **values})

    def finish(self) -> None:
        self.rows.append({"finished": True})


def test_a_tracker_gets_the_numbers_of_every_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(LOGGER_TYPE_TO_CLASS, "remembering", Remembering)
    train(tmp_path / "run", rows_at, replace(SETTINGS, track="remembering"))
    first, *steps, last = Remembering.runs["run"]
    assert first["folder"] == "run.tracking" and last == {"finished": True}
    assert [row["step"] for row in steps] == [0, 1, 2, 3, 4, 5]
    assert all(isinstance(value, float | int) for row in steps for value in row.values()) and "loss" in steps[0]


@pytest.mark.parametrize("name", ["tensorboard"] if not is_tensorboard_available() else ["comet_ml"])
def test_a_tracker_that_is_not_installed_is_named_before_the_first_step(tmp_path: Path, name: str):
    with pytest.raises(CheckpointError, match=f"--track {name}: .* pip install {name}"):
        train(tmp_path / "run", rows_at, replace(SETTINGS, track=name))
    assert not (tmp_path / "run.jsonl").exists()
