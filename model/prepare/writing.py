"""Writes the records of a preparation: labels as released, and Parquet shards of every kind of rows.

A kind's folder is made beside its place and moved there once it is whole; what was there of an earlier run goes.
"""

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as arrow
import pyarrow.parquet as parquet

from model.atomic_files import move_whole, sha256_of, sync_tree, write_whole
from model.prepare.released_labels import TRAIN_FILE, label_entry, label_line, state_of
from model.prepare.rows import schema_of
from model.prepare.scored_images import PrepareError
from model.prepare.selection import Selection, Thresholds
from model.prepare.workspace import Workspace

AT_ONCE = 64  # rows in memory
MANIFEST = "manifest.json"
SCHEMA_VERSION = 4  # of an export's manifest
WRITER = "model.prepare"  # in the manifests of what it may replace


def write_labels(folder: Path, selections: Iterable[Selection], thresholds: Thresholds) -> int:
    """The file of released labels, a line for every prompt with an image; returns how many."""
    place, lines = folder / TRAIN_FILE, 0
    place.parent.mkdir(parents=True, exist_ok=True)
    scratch = place.with_name(f".{place.name}.part")
    with scratch.open("wb") as file:
        for selection in selections:
            if selection.images:
                prompt = selection.images[0].drawn.plan.prompt
                line = json.dumps(label_line(prompt, _entries(selection, thresholds)), ensure_ascii=False)
                file.write(f"{line}\n".encode("utf-8", "surrogatepass"))
                lines += 1
    move_whole(scratch, place)
    return lines


def _entries(selection: Selection, thresholds: Thresholds) -> list[dict[str, Any]]:
    return [
        label_entry(
            number,
            Workspace.picture_name(image.drawn.sha256),
            image.reason,
            image.score,
            state_of(image.says_yes, image.score, thresholds.right),
        )
        for number, image in enumerate(selection.images)
    ]


def write_shards(
    folder: Path, kind: str, rows: Iterable[Mapping[str, Any]], shard: int, about: Mapping[str, Any]
) -> int:
    """The folder `kind`, with `shard` rows in a file at most and a manifest; returns the number of rows. Raises
    PrepareError where something else is in its place."""
    place, made = folder / kind, folder / f".{kind}.part"
    _check_ours(place)
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    counts = _write_parts(made, kind, rows, shard)
    files = []
    for number, count in enumerate(counts):
        name = f"train-{number:05}-of-{len(counts):05}.parquet"
        (made / _part(number)).rename(made / name)
        files.append({"name": name, "split": "train", "rows": count, "sha256": sha256_of(made / name)})
    manifest = _manifest(kind, files, sum(counts), about)
    write_whole(made / MANIFEST, json.dumps(manifest, ensure_ascii=False, indent=2) + "\n", mode=0o644)
    sync_tree(made)
    if place.exists():
        shutil.rmtree(place)
    os.replace(made, place)
    return sum(counts)


def _manifest(kind: str, files: list[dict[str, Any]], rows: int, about: Mapping[str, Any]) -> dict[str, Any]:
    """As an export of the studio has it, which the trainer checks files by and the import reads."""
    return {
        "kind": kind,
        "writer": WRITER,
        "schema_version": SCHEMA_VERSION,
        "examples": rows,
        "counts": {},
        "left_out": {},
        "annotators": 0,
        "trajectories": rows,
        "checkpoints": about["painters"],
        "files": files,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {},
        "query": dict(about),
    }


def _write_parts(folder: Path, kind: str, rows: Iterable[Mapping[str, Any]], shard: int) -> list[int]:
    """Files of at most `shard` rows; how many each has."""
    schema, counts = schema_of(kind), list[int]()
    writer: parquet.ParquetWriter | None = None
    waiting: list[Mapping[str, Any]] = []

    def flush() -> None:
        if writer is not None and waiting:
            writer.write_table(arrow.Table.from_pylist(waiting, schema=schema))
            waiting.clear()

    try:
        for row in rows:
            if writer is None or counts[-1] == shard:
                flush()
                if writer is not None:
                    writer.close()
                writer = parquet.ParquetWriter(folder / _part(len(counts)), schema)
                counts.append(0)
            waiting.append(row)
            counts[-1] += 1
            if len(waiting) == AT_ONCE:
                flush()
        flush()
    finally:
        if writer is not None:
            writer.close()
    return counts


def _part(number: int) -> str:
    return f"part-{number:05}"


def _check_ours(place: Path) -> None:
    if not place.exists():
        return
    try:
        ours = json.loads((place / MANIFEST).read_text("utf-8")).get("writer") == WRITER
    except (OSError, ValueError, AttributeError):
        ours = False
    if not ours:
        raise PrepareError(f"{place} is there already, and not of an earlier run; choose another --out")
