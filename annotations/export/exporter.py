"""Writes an export: a folder with shards per split, manifest, dataset card; whole or not at all.

It runs beside a studio that is being used: it only reads, a few trajectories at a time. Rows are written in parts;
after each the state is saved, so that an export that was killed is resumed behind its last part, and ends with the same
bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from filelock import FileLock, Timeout

from annotations.errors import ExportError, NotFoundError, NothingToExportError, PictureError
from annotations.export.annotated_trajectories import (
    AnnotatedTrajectory,
    annotated_trajectories,
    count_annotated_trajectories,
)
from annotations.export.kind import Excluded, ExportKind, ExportRow, ProgressCallback
from annotations.export.manifest import (
    CARD,
    MANIFEST,
    SCHEMA_VERSION,
    SOURCES,
    TRAIN,
    DataFile,
    Manifest,
    read_manifest,
)
from annotations.export.query import EVERYTHING, Query
from annotations.export.registry import KINDS
from annotations.export.splits import splitter
from annotations.export.store_context import StoreContext
from annotations.export.writing.dataset_card import dataset_card
from annotations.export.writing.parts import STATE, ExportPart, ExportState, join_sources, part_file, resumed
from annotations.export.writing.writers import WRITERS, final_names
from annotations.store.store import Store
from model.atomic_files import sha256_of, sync, sync_tree

PART_BYTES = 256 * 2**20  # of rows, in all splits together
DELETED = "trajectory deleted meanwhile"
BESIDE = re.compile(r"(.+/)?images/[0-9a-f]{64}\.png")  # what layouts with files have beside their rows


def export(
    store: Store,
    kind: str,
    out: Path,
    on_progress: ProgressCallback = lambda done, total: None,
    query: Query = EVERYTHING,
    stopped: Callable[[], bool] = lambda: False,
) -> Manifest:
    """Write the data set to the folder `out`; an earlier export there is replaced.

    `on_progress(done, total)` counts trajectories; `stopped` is asked between them, and ends the export by ExportError
    with its state kept. Raises ExportError when the kind is unknown or `out` holds something else, NothingToExportError
    when nothing makes a row, PictureError for a damaged or a lost picture.
    """
    if kind not in KINDS:
        raise ExportError(f"“{kind}” is no kind of data set; the kinds are: {', '.join(KINDS)}")
    out = out.expanduser().absolute()
    _check_replaceable(out)
    folder = out.parent / f".{out.name}.partial"
    made = KINDS[kind]
    _check_known(store, query)
    query = under_pseudonyms(store, query)
    with _alone(out):
        return _export(store, made, query, folder, out, on_progress, stopped)


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """One export writes to a folder at a time: two would share its unfinished parts. Raises ExportError."""
    file = out.parent / f".{out.name}.lock"
    lock = FileLock(file, timeout=0)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise ExportError(
            f"another export is writing to {out}; wait for it, or choose another folder with --out"
        ) from error
    except OSError as error:
        raise ExportError(f"cannot write to {out}: {error}; choose another folder with --out") from error
    try:
        yield
    finally:
        with suppress(OSError):  # Windows removes no open file
            file.unlink()  # while it is held: whoever opens it from now on makes a new one
        lock.release()


def _export(
    store: Store,
    made: ExportKind,
    query: Query,
    folder: Path,
    out: Path,
    on_progress: ProgressCallback,
    stopped: Callable[[], bool],
) -> Manifest:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        state = resumed(folder, _fingerprint(store, made, query))
        _write(store, made, query, folder, state, on_progress, stopped)
        if not state.tally.rows:
            (folder / STATE).unlink(missing_ok=True)
            raise NothingToExportError(_nothing(made, state.tally.left_out))
        manifest = _finish(made, query, folder, state)
        _publish(folder, out)
    except OSError as error:
        raise ExportError(
            f"cannot write to {out}: {error}; make room and export again, which goes on where it stopped, or choose "
            "another folder with --out"
        ) from error
    finally:
        if not (folder / STATE).exists():  # nothing to resume
            shutil.rmtree(folder, ignore_errors=True)
    return manifest


def _check_known(store: Store, query: Query) -> None:
    """Raises ExportError for a name that nothing has: a misspelt one among several would leave its answers out."""
    annotators = store.annotators() if query.annotators else []
    known = {
        "projects": {project.id for project in store.projects()},
        "annotators": {*annotators, *store.pseudonyms(annotators).values()},
        "checkpoints": set(store.checkpoints()) if query.checkpoints else set(),
        "categories": set(store.categories()) if query.categories else set(),
    }
    for name, values in known.items():
        if wrong := [value for value in getattr(query, name) if value not in values]:
            there = ", ".join(sorted(values)[:10]) or "none"
            raise ExportError(f"{name} has {wrong[0][:80]!r}, which is not there; there are: {there[:500]}")


def under_pseudonyms(store: Store, query: Query) -> Query:
    """The query as the manifest may show it: annotators by their pseudonyms."""
    if not query.annotators:
        return query
    known = set(store.pseudonyms(store.annotators()).values())
    names = (name if name in known else store.pseudonyms([name])[name] for name in query.annotators)
    return replace(query, annotators=tuple(names))


def _fingerprint(store: Store, kind: ExportKind, query: Query) -> str:
    """Of what an unfinished export must have been asked for to be resumed."""
    requested = [
        str(store.database.directory),
        kind.name,
        SCHEMA_VERSION,
        query.to_dict(),
        version("pyarrow"),
        PART_BYTES,
    ]
    return hashlib.sha256(json.dumps(requested).encode()).hexdigest()


def made_rows(
    context: StoreContext, kind: ExportKind, *, after: int = 0
) -> Iterator[tuple[AnnotatedTrajectory, list[ExportRow | Excluded]]]:
    """What each trajectory makes, in the order of their numbers. Raises PictureError for a picture that is lost."""
    for annotated in annotated_trajectories(context.store, context.query, everything=kind.everything, after=after):
        try:
            yield annotated, list(kind.rows(annotated, context))
        except NotFoundError as error:  # hidden a moment ago, or its file is gone
            shown = context.shown_with(annotated)
            if context.store.visible(list(shown)) == shown:
                raise PictureError(str(error)) from error
            yield annotated, [Excluded(DELETED)]


def _write(
    store: Store,
    kind: ExportKind,
    query: Query,
    folder: Path,
    state: ExportState,
    on_progress: ProgressCallback,
    stopped: Callable[[], bool],
) -> None:
    total = count_annotated_trajectories(store, query, everything=kind.everything)
    on_progress(state.seen, max(total, state.seen))
    context = StoreContext(store, query)
    part = ExportPart(folder, kind, len({number for _, number, _ in state.parts}), splitter(store, kind, query))
    for annotated, made in made_rows(context, kind, after=state.after):
        if stopped():
            part.discard()
            raise ExportError("the export was stopped; export the same again, which goes on where it stopped")
        for row in made:
            part.add(annotated, row, state.tally)
        state.seen += 1
        on_progress(state.seen, max(total, state.seen))
        if part.size > PART_BYTES:
            state.parts += part.close()
            state.after = annotated.number
            state.save(folder)
            part = ExportPart(folder, kind, part.number + 1, part.split_of)
    state.parts += part.close()


def _finish(kind: ExportKind, query: Query, folder: Path, state: ExportState) -> Manifest:
    """Parts become shards; manifest and card are written, everything else goes."""
    files = []
    for split in sorted({split for split, _, _ in state.parts}, key=lambda name: (name != TRAIN, name)):
        parts = [part_file(folder, kind, split, number) for name, number, _ in state.parts if name == split]
        rows = [rows for name, _, rows in state.parts if name == split]
        made = sum(rows)
        names = final_names(kind, split, len(parts))
        if WRITERS[kind.layout].joined:
            (folder / names[0]).parent.mkdir(parents=True, exist_ok=True)
            rows = [WRITERS[kind.layout].join(parts, folder / names[0])]
            state.tally.rows += rows[0] - made
        else:
            for part, name in zip(parts, names, strict=True):
                os.replace(part, folder / name)
        for name, count in zip(names, rows, strict=True):
            files.append(DataFile(name, split, count, sha256_of(folder / name)))
    trajectories = join_sources(folder)
    tally = state.tally
    manifest = Manifest(
        kind=kind.name,
        schema_version=SCHEMA_VERSION,
        examples=tally.rows,
        counts={name: tally.counts[name] for name in kind.counted},
        left_out=dict(sorted(tally.left_out.items())),
        annotators=len(tally.annotators),
        trajectories=trajectories,
        checkpoints=tuple(sorted(tally.checkpoints)),
        files=tuple(files),
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=_versions(),
        query=query.to_dict(),
        agreement=tally.agreements / tally.agreed if tally.agreed else None,
        sources=sha256_of(folder / SOURCES),
    )
    for path in folder.iterdir():
        if ".partial" in path.suffixes or path.name == STATE:
            path.unlink()
    (folder / MANIFEST).write_text(json.dumps(manifest.to_dict(), indent=2, ensure_ascii=False) + "\n", "utf-8")
    (folder / CARD).write_text(dataset_card(kind, manifest), "utf-8")
    return manifest


def _versions() -> dict[str, str]:
    packages = {name: version(name) for name in ("datasets", "pyarrow", "sqlalchemy")}
    return {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version} | packages


def _nothing(kind: ExportKind, left_out: Counter[str]) -> str:
    why = "; ".join(f"{number} {reason}" for reason, number in sorted(left_out.items()))
    return (
        f"nothing to export: no submitted annotation makes a {kind.name} row ({why or 'none is submitted'}); "
        f"{kind.advice}"
    )


def _check_replaceable(out: Path) -> None:
    """Raises ExportError unless `out` is free, an empty folder, or an export with nothing else in it."""
    if not out.exists():
        return
    if not out.is_dir():
        raise ExportError(f"{out} is a file, wanted a folder; choose another one with --out")
    inside = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    manifest = read_manifest(out)
    own = {MANIFEST, CARD, SOURCES} | ({file.name for file in manifest.files} if manifest else set())
    foreign = sorted(name for name in inside - own if not BESIDE.fullmatch(name))
    if foreign and inside & own:
        raise ExportError(f"{out} holds {foreign[0]}, which no export has written; choose another folder with --out")
    if inside and manifest is None:
        raise ExportError(f"{out} is not empty and no export; choose another folder with --out")


def _publish(made: Path, out: Path) -> None:
    """Put the finished folder in its place. What was there is moved aside first, and back if that fails."""
    sync_tree(made)
    replaced = out.parent / f".{out.name}.replaced"
    if out.exists():
        _check_replaceable(out)
        shutil.rmtree(replaced, ignore_errors=True)
        out.rename(replaced)
    try:
        made.rename(out)
        sync(out.parent)
    except OSError:
        if replaced.exists():
            replaced.rename(out)
        raise
    shutil.rmtree(replaced, ignore_errors=True)
