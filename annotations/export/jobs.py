"""Exports in the background: one at a time per data folder, with progress that outlives whoever asked.

An export is a folder `KIND-TIME` in `exports` of the data folder. What is under way is known to this process; what was
killed lies unfinished beside it, with what it was asked for, and is resumed when the same is asked again.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from annotations.errors import AnnotationsError, ExportError
from annotations.export.exporter import export
from annotations.export.manifest import Manifest, read_manifest
from annotations.export.query import Query
from annotations.export.registry import KINDS
from annotations.store.store import Store
from model.atomic_files import write_whole

REQUEST = ".{name}.request"


@dataclass(frozen=True)
class ExportProgress:
    """An export as it was last heard of."""

    name: str = ""  # of its folder
    kind: str = ""
    done: int = 0  # trajectories
    total: int = 0
    error: str = ""
    running: bool = False


def folder_of(store: Store) -> Path:
    return store.database.directory / "exports"


def exports_of(store: Store) -> dict[str, Manifest]:
    """The finished exports, newest first, by the name of their folder."""
    manifests = {folder.name: read_manifest(folder) for folder in folder_of(store).glob("[!._]*")}
    known = {name: made for name, made in manifests.items() if made is not None and name.startswith(f"{made.kind}-")}
    return dict(sorted(known.items(), key=lambda named: (named[1].created_at, named[0]), reverse=True))


@dataclass
class ExportJobs:
    """The exports of a store. Every method may be called from any thread."""

    store: Store
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _stop: threading.Event = field(default_factory=threading.Event, repr=False)
    _thread: threading.Thread | None = None
    _progress: ExportProgress = ExportProgress()

    @property
    def progress(self) -> ExportProgress:
        return self._progress

    def start(self, kind: str, query: Query) -> str:
        """Start an export, or resume the same one that was stopped or killed; the name of its folder. Raises
        ExportError where another is under way."""
        if kind not in KINDS:
            raise ExportError(f"“{kind}” is no kind of data set; the kinds are: {', '.join(KINDS)}")
        with self._lock:
            if self._progress.running:
                raise ExportError("another export is under way; wait for it, or stop it")
            requested = {"kind": kind, "query": query.to_dict()}
            name = self._unfinished(requested) or f"{kind}-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}"[: len(kind) + 20]
            try:
                folder_of(self.store).mkdir(parents=True, exist_ok=True)
                write_whole(self._request(name), json.dumps(requested))
            except OSError as error:
                raise ExportError(f"cannot write to {folder_of(self.store)}: {error}; make room") from error
            self._stop.clear()
            self._progress = ExportProgress(name, kind, running=True)
            self._thread = threading.Thread(target=self._work, args=(name, kind, query), name="export", daemon=True)
            self._thread.start()
        return name

    def unfinished(self) -> list[str]:
        """The kinds of exports that were stopped or killed before their end; the same asked again goes on with one."""
        if self._progress.running:
            return []
        requests = sorted(folder_of(self.store).glob(REQUEST.format(name="*")))
        kinds = (request.name.removeprefix(".").rsplit("-", 3)[0] for request in requests)
        return [kind for kind in dict.fromkeys(kinds) if kind in KINDS]

    def stop(self) -> None:
        """End the export between two trajectories; what was written stays, to be resumed."""
        self._stop.set()

    def wait(self, seconds: float | None = None) -> ExportProgress:
        """Until the export has ended, or so long."""
        if (thread := self._thread) is not None:
            thread.join(seconds)
        return self._progress

    def _work(self, name: str, kind: str, query: Query) -> None:
        try:
            export(self.store, kind, folder_of(self.store) / name, self._heard, query, self._stop.is_set)
            self._request(name).unlink(missing_ok=True)
            self._progress = replace(self._progress, running=False)
        except AnnotationsError as error:
            if not (folder_of(self.store) / f".{name}.partial").exists():
                self._request(name).unlink(missing_ok=True)
            self._progress = replace(self._progress, running=False, error=str(error))
        finally:
            if self._progress.running:  # a fault of ours, which the log has
                self._progress = replace(self._progress, running=False, error="the export failed; see the log")

    def _heard(self, done: int, total: int) -> None:
        self._progress = replace(self._progress, done=done, total=total)

    def _request(self, name: str) -> Path:
        return folder_of(self.store) / REQUEST.format(name=name)

    def _unfinished(self, requested: Mapping[str, Any]) -> str:
        """The name of an unfinished export of the same; empty where there is none."""
        for request in sorted(folder_of(self.store).glob(REQUEST.format(name="*"))):
            try:
                if json.loads(request.read_text("utf-8")) == requested:
                    return request.name.removeprefix(".").removesuffix(".request")
            except (OSError, ValueError):
                continue
        return ""
