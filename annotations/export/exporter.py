"""Exports submitted annotations to a folder: Parquet with images, manifest, dataset card.

    python -m annotations.export --kind judge_sft --out my-dataset

Knows the store and the rows that `model.examples` declares; what becomes an example, and that a reviewer's decision
goes before what others said, is known to `judge_sft`. Runs beside a studio that is being used: it only reads, a few
rows at a time.
"""

import argparse
import hashlib
import json
import platform
import shutil
import sqlite3
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Features, Image, List, Value

from annotations.db.engine import default_directory, default_url
from annotations.errors import AnnotationsError, ExportError, NotFoundError, NothingToExportError
from annotations.export import answers
from annotations.export.dataset_card import dataset_card
from annotations.export.judge_sft import (
    DEFAULT_RATING,
    LeftOut,
    Target,
    judge_example,
    preferred_target,
    reason_ratings,
)
from annotations.export.manifest import CARD, MANIFEST, PARQUET, SCHEMA_VERSION, Manifest, Tally, read_manifest
from annotations.queue.review import last_decisions
from annotations.schema.annotation import Annotation
from annotations.schema.forms.rating import GOOD
from annotations.schema.forms.registry import FORMS
from annotations.store.store import Store, open_store_for_reading
from model.atomic_files import sync, sync_tree
from model.examples import JudgeExample
from model.reflection_text import split_verdict
from model.trajectory import Trajectory

AT_ONCE = 100  # annotations read from the store in one go
GROUP_BYTES = 64 * 2**20  # pictures in one row group; viewers refuse groups of more than about 286 MiB

MESSAGES = List({"role": Value("string"), "content": List({"type": Value("string"), "text": Value("string")})})
FEATURES = Features(
    {
        "prompt": MESSAGES,
        "completion": MESSAGES,
        "images": List(Image()),
        "origin": Value("string"),
        "weight": Value("float64"),
        "trajectory_id": Value("string"),
        "segment": Value("int64"),
        "annotator": Value("string"),
        "decided": Value("bool"),
        "correction": Value("string"),
    }
)


def count_examples(store: Store) -> dict[str, int]:
    """How many examples of each kind an export would hold now."""
    return {"judge_sft": sum(isinstance(made.target, Target) for made in targets(store))}


def export(
    store: Store, kind: str, out: Path, on_progress: Callable[[int, int], None] = lambda done, total: None
) -> Manifest:
    """Write the data set to the folder `out`, whole or not at all; an earlier export there is replaced.

    `on_progress(done, total)` counts annotations. Raises ExportError when the kind is unknown or `out` holds
    something else, NothingToExportError when no annotation makes an example.
    """
    if kind not in KINDS:
        raise ExportError(f"“{kind}” is no kind of data set; the kinds are: {', '.join(KINDS)}")
    out = out.expanduser().absolute()
    _check_replaceable(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as name:
            made = Path(name) / "dataset"
            made.mkdir()
            manifest = _write(store, kind, made, on_progress)
            _publish(made, out, Path(name) / "replaced")
    except OSError as error:
        raise ExportError(f"cannot write to {out}: {error}; choose another folder with --out") from error
    return manifest


class Kind(NamedTuple):
    """What a data set is made of."""

    features: Features
    rows: Callable[[Store, Tally, Callable[[int, int], None]], Iterator[tuple[dict[str, Any], int]]]  # and their bytes
    counts: tuple[str, ...]  # what its manifest counts
    advice: str  # where there is nothing to export


def _write(store: Store, kind: str, folder: Path, on_progress: Callable[[int, int], None]) -> Manifest:
    tally, made = Tally.begin(), KINDS[kind]
    file = folder / PARQUET
    with pq.ParquetWriter(file, made.features.arrow_schema, write_page_index=True) as writer:
        rows: list[dict[str, Any]] = []
        size = 0
        for row, row_bytes in made.rows(store, tally, on_progress):
            rows.append(row)
            size += row_bytes
            if size > GROUP_BYTES:
                writer.write_table(pa.Table.from_pylist(rows, schema=made.features.arrow_schema))
                rows.clear()
                size = 0
        if rows:
            writer.write_table(pa.Table.from_pylist(rows, schema=made.features.arrow_schema))
    if not tally.rows["examples"]:
        raise NothingToExportError(_nothing(kind, tally.left_out))
    manifest = _manifest(kind, file, tally)
    (folder / MANIFEST).write_text(json.dumps(manifest.to_dict(), indent=2, ensure_ascii=False) + "\n", "utf-8")
    (folder / CARD).write_text(dataset_card(manifest), "utf-8")
    return manifest


def _judge_rows(
    store: Store, tally: Tally, on_progress: Callable[[int, int], None]
) -> Iterator[tuple[dict[str, Any], int]]:
    submitted = store.counted()
    names = store.pseudonyms({annotation.annotator for annotation in submitted})
    for done, made in enumerate(targets(store, submitted), start=1):
        on_progress(done, len(submitted))
        if isinstance(made.target, LeftOut):
            tally.left_out[made.target.value] += 1
            continue
        annotator = names[made.annotation.annotator]
        about = {"picture": store.picture, "annotator": annotator, "decided": made.decided}
        try:
            example = judge_example(made.trajectory, made.annotation, made.target, **about)
        except NotFoundError:  # hidden a moment ago; a damaged picture is an error and stops the export
            tally.left_out["trajectory deleted meanwhile"] += 1
            continue
        try:
            JudgeExample.from_row(example.to_row())
        except ValueError as error:
            tally.left_out[f"the trainer refuses it: {error}"] += 1
            continue
        verdict = split_verdict(made.target.completion)[0] or "other"
        tally.rows.update(["examples", made.target.origin.value, verdict, *(["decided"] if made.decided else [])])
        tally.annotators.add(annotator)
        tally.trajectories.add(made.trajectory.id)
        tally.checkpoints.add(made.trajectory.checkpoint)
        yield example.to_row(), sum(len(png) for png in example.images)


@dataclass(frozen=True)
class ExampleSource:
    """A submitted annotation, and what it makes."""

    annotation: Annotation
    trajectory: Trajectory
    target: Target | LeftOut
    decided: bool  # whether it is what a reviewer decided


def targets(store: Store, submitted: list[Annotation] | None = None) -> Iterator[ExampleSource]:
    """Every current, submitted annotation of what is visible, and what it makes; a few trajectories at a time."""
    if submitted is None:
        submitted = store.counted()
    decisions, ratings = last_decisions(submitted), reason_ratings(store.projects())
    for start in range(0, len(submitted), AT_ONCE):
        some = submitted[start : start + AT_ONCE]
        found = store.trajectories_by_id(list({annotation.trajectory_id for annotation in some}))
        for annotation in some:
            trajectory = found.get(annotation.trajectory_id)
            if trajectory is not None:
                decision = decisions.get((annotation.item, annotation.segment))
                rating = ratings.get(annotation.project, DEFAULT_RATING)
                target = preferred_target(trajectory, annotation, decision, rating)
                yield ExampleSource(
                    annotation, trajectory, target, decision is not None and decision.id == annotation.id
                )


def _manifest(kind: str, file: Path, tally: Tally) -> Manifest:
    with file.open("rb") as parquet:
        sha256 = hashlib.file_digest(parquet, "sha256").hexdigest()
    packages = {name: version(name) for name in ("datasets", "pyarrow", "sqlalchemy")}
    return Manifest(
        kind=kind,
        schema_version=SCHEMA_VERSION,
        examples=tally.rows["examples"],
        counts={name: tally.rows[name] for name in KINDS[kind].counts},
        left_out=dict(sorted(tally.left_out.items())),
        annotators=len(tally.annotators),
        trajectory_ids=tuple(sorted(tally.trajectories)),
        checkpoints=tuple(sorted(tally.checkpoints)),
        file=file.name,
        sha256=sha256,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        versions={"python": platform.python_version(), "sqlite": sqlite3.sqlite_version} | packages,
    )


def _nothing(kind: str, left_out: Counter[str]) -> str:
    why = "; ".join(f"{number} {reason}" for reason, number in sorted(left_out.items()))
    return (
        f"nothing to export: no submitted annotation makes a {kind} example ({why or 'none is submitted'}); "
        f"{KINDS[kind].advice}"
    )


KINDS = {
    "judge_sft": Kind(
        FEATURES,
        _judge_rows,
        ("person", "sampled", "yes", "no", "decided"),
        f"submit annotations that correct a reflection, or call it right and rate its reason {GOOD}",
    ),
    "answers": Kind(answers.FEATURES, answers.answer_rows, (*FORMS, "decided"), "submit an answer first"),
}


def _check_replaceable(out: Path) -> None:
    """Raises ExportError unless `out` is free, an empty folder, or an export with nothing else in it."""
    if not out.exists():
        return
    if not out.is_dir():
        raise ExportError(f"{out} is a file, wanted a folder; choose another one with --out")
    inside = {path.name for path in out.iterdir()}
    foreign = sorted(inside - {MANIFEST, PARQUET, CARD})
    if foreign:
        raise ExportError(f"{out} holds {foreign[0]}, which no export has written; choose another folder with --out")
    if inside and read_manifest(out) is None:
        raise ExportError(f"{out} is not empty and no export; choose another folder with --out")


def _publish(made: Path, out: Path, replaced: Path) -> None:
    """Put the finished folder in its place. What was there is moved aside first, and back if that fails."""
    sync_tree(made)
    if out.exists():
        _check_replaceable(out)
        out.rename(replaced)
    try:
        made.rename(out)
        sync(out.parent)
    except OSError:
        if replaced.exists():
            replaced.rename(out)
        raise
    shutil.rmtree(replaced, ignore_errors=True)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m annotations.export", description=__doc__.split("\n")[0])
    parser.add_argument("--kind", choices=KINDS, required=True, help="what the examples teach")
    parser.add_argument("--out", type=Path, required=True, help="folder to write; an earlier export is replaced")
    parser.add_argument("--data", type=Path, help="data folder of the studio (default: its usual place)")
    parser.add_argument("--json", action="store_true", help="print the manifest as JSON")
    arguments = parser.parse_args(argv)
    try:
        with open_store_for_reading(arguments.data or default_directory(), default_url()) as store:
            manifest = export(store, arguments.kind, arguments.out, _show_progress)
    except AnnotationsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if arguments.json:
        print(json.dumps(manifest.to_dict(), ensure_ascii=False))
    else:
        print(f"{manifest.examples} examples written to {arguments.out} ({manifest.sha256[:12]}…)")
    return 0


def _show_progress(done: int, total: int) -> None:
    if done % AT_ONCE == 0 or done == total:
        print(f"{done} of {total} annotations", file=sys.stderr)
