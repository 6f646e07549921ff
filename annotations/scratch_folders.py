"""Temporary folders named after their process: what a killed one left is removed at the next start of a studio."""

import os
import shutil
import tempfile
from pathlib import Path

PREFIX = "aha-studio-"


def process_prefix() -> str:
    """Of the names of this process's temporary folders."""
    return f"{PREFIX}{os.getpid()}-"


def scratch_folder() -> "tempfile.TemporaryDirectory[str]":
    """A context: a new folder, which is removed at its end."""
    return tempfile.TemporaryDirectory(prefix=process_prefix())


def remove_left_behind() -> None:
    """Remove the folders of processes that are gone."""
    for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        number = left.name.removeprefix(PREFIX).partition("-")[0]
        if number.isdecimal() and not _is_running(int(number)):
            shutil.rmtree(left, ignore_errors=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
