"""The folder of uploads and served files: per process, aged out, removed at exit.

Gradio serves the files in it. Its own `delete_cache` knows of what it has stored; uploads that broke off, copies and
the folders of both are removed here, by age.
"""

import atexit
import os
import shutil
import tempfile
import time
from pathlib import Path

from annotations.scratch_folders import process_prefix, remove_left_behind

OLD = 3600.0  # seconds, since it was last written
UNFINISHED = 600.0  # … of an upload that has no name yet


def process_folder() -> Path:
    """Make one, and tell Gradio; those of processes that are gone are removed."""
    remove_left_behind()
    if chosen := os.environ.get("GRADIO_TEMP_DIR"):
        return Path(chosen)
    folder = Path(tempfile.mkdtemp(prefix=process_prefix()))
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    atexit.register(_remove, folder, os.getpid())
    return folder


def remove_old(folder: Path, now: float | None = None) -> int:
    """Remove files that are old, and folders that are empty then; how many files that were."""
    now = time.time() if now is None else now
    removed = 0
    for path in sorted(folder.rglob("*"), reverse=True):  # what is in a folder before the folder
        try:
            age = now - path.lstat().st_mtime
            if path.is_dir() and not path.is_symlink():
                if age > UNFINISHED:
                    path.rmdir()
            elif age > (UNFINISHED if path.parent == folder else OLD):
                path.unlink()
                removed += 1
        except OSError:  # not empty, or gone already
            continue
    return removed


def _remove(folder: Path, process: int) -> None:
    if os.getpid() == process:  # not in a fork
        shutil.rmtree(folder, ignore_errors=True)
