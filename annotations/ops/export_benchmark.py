"""Speed and memory of exports at scale: rows of preferences per second, peak memory, the same bytes after a kill."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import psutil
from datasets import Dataset, disable_progress_bars
from sqlalchemy import insert

from annotations.db.tables import AnnotationRow, ItemRow
from annotations.export.exporter import made_rows
from annotations.export.kind import ExportRow
from annotations.export.manifest import Manifest, read_manifest
from annotations.export.query import EVERYTHING
from annotations.export.registry import KINDS
from annotations.export.store_context import StoreContext
from annotations.export.writing.parts import STATE
from annotations.ops.synthetic import BEGIN, picture
from annotations.pictures import images
from annotations.pictures.storage import FOLDER
from annotations.schema.default_projects import ARENA
from annotations.store import trajectories
from annotations.store.store import Store
from annotations.store.trajectory_columns import prepare
from model.trajectory import Image, Origin, Sampling, StopReason, Trajectory

KIND = "image_pref"
CRITERIA = ("alignment", "appearance")  # rows of one vote
OPPONENTS = 50  # of a drawing
PICTURES = 500  # different ones
MAX_MEMORY = 1e9  # bytes at the peak
SAMPLE = 20_000  # rows that `datasets` writes, for comparison


def fill(store: Store, rows: int) -> None:
    """Votes on pairs of drawings, which make so many rows."""
    pairs = -(-rows // len(CRITERIA))
    firsts = -(-pairs // OPPONENTS)
    pngs = [picture(number) for number in range(min(PICTURES, firsts + OPPONENTS))]
    files = [images.write(store.database.directory / FOLDER, png) for png in pngs]
    store.create_project(ARENA)
    with store.database.writing() as session:
        drawn = [
            prepare(_drawn(number, files[number % len(files)].sha256), owner="visitor")
            for number in range(firsts + OPPONENTS)
        ]
        trajectories.insert_rows(session, drawn, files, visible=True)
    for start in range(0, pairs, 5000):
        with store.database.writing() as session:
            numbers = range(start, min(start + 5000, pairs))
            session.execute(insert(ItemRow), [_item(number) for number in numbers])
            session.execute(insert(AnnotationRow), [_vote(number) for number in numbers])


def _drawn(number: int, sha256: str) -> Trajectory:
    image = Image(tuple((number * 7 + at) % 1024 for at in range(64)), sha256, (Origin.SAMPLED,) * 64)
    prompt = f"drawing {number}"
    return Trajectory(
        prompt,
        number,
        1,
        Sampling(),
        "embedded",
        (image,),
        StopReason.ROUNDS,
        id=_id(number),
        created_at=BEGIN.isoformat(),
    )


def _id(number: int) -> str:
    return f"d{number:08}"


def _pair(number: int) -> tuple[str, str]:
    first = number // OPPONENTS
    return _id(first), _id(first + 1 + number % OPPONENTS)


def _item(number: int) -> dict[str, Any]:
    first, other = _pair(number)
    usual = {
        "project_id": ARENA.id,
        "use": "work",
        "state": "full",
        "priority": 0,
        "rank": 0.0,
        "parts": 1,
        "answers": 1,
    }
    return usual | {"id": number + 1, "trajectory_id": first, "other_id": other}


def _vote(number: int) -> dict[str, Any]:
    left, right = _pair(number)
    answers = {name: {"choice": "left", "left": left, "right": right} for name in CRITERIA}
    usual = {"segment": None, "kind": "pair", "status": "submitted", "seconds": 1.0, "undoes": None, "decision": None}
    about = {"project_id": ARENA.id, "item_id": number + 1, "trajectory_id": left, "annotator": f"a{number % 20}"}
    return usual | about | {"answers": answers, "idempotency_key": f"k{number}", "created_at": BEGIN}


def measure(store: Store, rows: int, url: str | None = None) -> str | None:
    """Print what an export takes; what falls short, where something does. `url`: of the store's PostgreSQL database."""
    fill(store, rows)
    folder = store.database.directory
    with tempfile.TemporaryDirectory(dir=folder.parent) as out:
        whole, seconds, memory = _exported(_command(folder, Path(out) / "whole", url), Path(out) / "whole")
        again = _killed_and_resumed(_command(folder, Path(out) / "again", url), Path(out) / "again")
        theirs = _of_datasets(store, min(rows, SAMPLE), Path(out))
    same = [file.sha256 for file in whole.files] == [file.sha256 for file in again.files]
    ours = whole.examples / seconds
    lines = {
        "rows": f"{whole.examples:,} in {len(whole.files)} files",
        "rows a second": f"{ours:,.0f}",
        "… of datasets.Dataset.from_generator": f"{theirs:,.0f}",
        "peak memory of the command": f"{memory / 1e6:,.0f} MB",
        "killed in the middle and resumed": "the same bytes" if same else "OTHER bytes",
    }
    print("\n".join(f"{name:<40}{figure:>24}" for name, figure in lines.items()))
    if memory > MAX_MEMORY or ours < theirs or not same:
        return (
            f"wanted at most {MAX_MEMORY / 1e6:.0f} MB, at least the speed of `datasets`, and the same bytes after a "
            "kill"
        )
    return None


def _command(folder: Path, out: Path, url: str | None) -> dict[str, Any]:
    """What `subprocess` is to run."""
    options = ["--kind", KIND, "--data", str(folder), "--out", str(out)]
    environment = os.environ | {"AHA_STUDIO_DATABASE": url or ""}
    return {"args": [sys.executable, "-m", "annotations.export", *options], "env": environment}


def _exported(command: dict[str, Any], out: Path) -> tuple[Manifest, float, float]:
    """The manifest, seconds without the start of Python, and bytes at the peak."""
    began = time.perf_counter()
    with subprocess.Popen(**command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr is not None
        started, peak = None, 0.0
        for _ in process.stderr:  # a line of progress
            started = started or time.perf_counter()
            peak = max(peak, psutil.Process(process.pid).memory_info().rss)
    return _manifest(out), time.perf_counter() - (started or began), peak


def _killed_and_resumed(command: dict[str, Any], out: Path) -> Manifest:
    state = out.parent / f".{out.name}.partial" / STATE
    command = command | {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(**command) as process:
        while process.poll() is None and not state.exists():  # its first part is finished
            time.sleep(0.05)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
    subprocess.run(**command, check=True)
    return _manifest(out)


def _manifest(out: Path) -> Manifest:
    manifest = read_manifest(out)
    assert manifest is not None, f"no export in {out}"
    return manifest


def _of_datasets(store: Store, rows: int, folder: Path) -> float:
    """Rows a second that `datasets` writes, of the same rows made in the same way."""

    def generate() -> Iterator[dict[str, Any]]:
        every = (row for _, made in made_rows(StoreContext(store, EVERYTHING), KINDS[KIND]) for row in made)
        yield from (dict(row.values) for row in islice((row for row in every if isinstance(row, ExportRow)), rows))

    disable_progress_bars()
    began = time.perf_counter()
    made = Dataset.from_generator(
        generate,
        features=KINDS[KIND].features,
        cache_dir=str(folder / "datasets"),
        fingerprint=hashlib.sha256(os.urandom(8)).hexdigest()[:16],
    )
    made.to_parquet(str(folder / "datasets.parquet"))
    return rows / (time.perf_counter() - began)
