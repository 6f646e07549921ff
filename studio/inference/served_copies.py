"""Files outside the store that show a trajectory, and their removal.

Gradio keeps uploads, and what a page shows from a file, in a folder that it serves. Which of those files show a
trajectory is noted in the data folder (`copies/ID`, one path a line), so that a deletion finds them after a restart,
too. Exports that wait there to be downloaded go with any deletion; they are packed again when somebody asks.
"""

import logging
import re
import shutil
import weakref
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import mkdtemp

from gradio.processing_utils import save_bytes_to_cache
from gradio.utils import get_upload_folder

from annotations.errors import NotFoundError
from annotations.store.store import Store

log = logging.getLogger(__name__)

NOTES = "copies"  # in the data folder
EXPORTS = "exports"  # in the folder that is served


def served_folder() -> Path:
    return Path(get_upload_folder()).resolve()


def served_file(content: bytes, name: str) -> Path:
    """Write a file into the folder that Gradio serves, so that Gradio makes no copy of it."""
    return Path(save_bytes_to_cache(content, name, str(served_folder())))


def served_path(name: str) -> Path:
    """Path of a file in a new subfolder of the served folder, aged out with it."""
    served_folder().mkdir(parents=True, exist_ok=True)
    return Path(mkdtemp(dir=served_folder())) / name


def note(store: Store, run: str, file: Path) -> None:
    """Record that `file` shows the trajectory `run`, so that a deletion removes it; ignored outside the served
    folder."""
    if (path := file.resolve()).is_relative_to(served_folder()):
        notes = _notes(store, run)
        notes.parent.mkdir(exist_ok=True)
        with notes.open("a", encoding="utf-8") as opened:
            opened.write(f"{path}\n")


def note_stored(store: Store, runs: Sequence[str], file: Path) -> None:
    """As `note`, of trajectories that the store has. Raises NotFoundError where one was deleted while the file was
    made, which is removed then.
    """
    for run in runs:
        note(store, run, file)
    if gone := set(runs) - store.visible(runs):
        discard([file])
        many = "a drawing was" if len(gone) == 1 else f"{len(gone)} drawings were"
        raise NotFoundError(f"{many} deleted at this moment; ask again for what is left")


class Removals:
    """Removed trajectories, shared with all processes of a studio."""

    def __init__(self, store: Store) -> None:
        self._store: Store = weakref.proxy(store)
        self._unsent_removals: list[tuple[str, list[str]]] = []

    @staticmethod
    def of(store: Store) -> "Removals":
        return _removals.setdefault(store, Removals(store))

    def add(self, run: str, files: list[str]) -> None:
        """`files`: those that were noted, in a data folder that others may share."""
        if self._store.database.url is not None:
            self._unsent_removals = [*self._unsent_removals, (run, files)]

    def removals_delta(self) -> list[tuple[str, list[str]]]:
        """Those since the last call, with their files."""
        removals_delta, self._unsent_removals = self._unsent_removals, []
        return removals_delta

    def apply_remote_removals(self, process: str, removals_delta: list[tuple[str, list[str]]]) -> None:
        """Another process removed its files."""
        for run, files in removals_delta:
            discard(map(Path, files))
            _remove(self._store, run)


_removals: "weakref.WeakKeyDictionary[Store, Removals]" = weakref.WeakKeyDictionary()


def remove(store: Store, run: str) -> None:
    """Remove every file that is served and shows the trajectory, and exports that might, here and, within a second, at
    other processes of the studio."""
    Removals.of(store).add(run, _remove(store, run))


def _remove(store: Store, run: str) -> list[str]:
    """Remove the noted files of a trajectory."""
    notes = _notes(store, run)
    files = notes.read_text("utf-8").rstrip("\n").split("\n") if notes.is_file() else []
    discard(map(Path, files))
    notes.unlink(missing_ok=True)
    shutil.rmtree(served_folder() / EXPORTS, ignore_errors=True)
    return files


def discard(files: Iterable[Path]) -> None:
    """Remove served files, and their folders where these are empty then; files elsewhere are left alone."""
    folder = served_folder()
    for path in files:
        if not path.resolve().is_relative_to(folder):
            log.info("%s is in no folder that is served, and stays", path.name)
            continue
        path.unlink(missing_ok=True)
        if path.parent != folder and path.parent.is_dir() and not any(path.parent.iterdir()):
            path.parent.rmdir()


def _notes(store: Store, run: str) -> Path:
    """Path of the notes of a trajectory. Raises ValueError for what is no id, so that no name from outside becomes
    another path."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", run):
        raise ValueError(f"{run[:80]!r} is no id of a trajectory")
    return store.database.directory / NOTES / run
