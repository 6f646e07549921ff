"""The calibration report: a JSON file that the trainer reads before it takes a critic as a reward."""

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from annotations.calibration.judgements import judgements
from annotations.metrics.calibration import Calibration, calibrations
from annotations.store.store import Store
from model.atomic_files import write_whole

FILE = "calibration.json"  # in the data folder
VERSION = 1


def measure(store: Store) -> list[Calibration]:
    """Of all critics that have judged what people judged."""
    return calibrations(judgements(store))


def write(measured: Sequence[Calibration], file: Path, at: datetime) -> None:
    """The report, whole."""
    rows = [calibration.to_dict() for calibration in measured]
    report = {"version": VERSION, "made_at": at.isoformat(), "critics": rows}
    write_whole(file, json.dumps(report, ensure_ascii=False, indent=1) + "\n", mode=0o600)


def file_of(store: Store) -> Path:
    return store.database.directory / FILE
