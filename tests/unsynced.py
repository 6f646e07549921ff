"""What tests write is not waited for until it is on the disk: only a loss of power could tell, and the waiting was a
quarter of what tests of the store took. A process that is killed loses nothing by it.
"""

import os
from pathlib import Path

import pytest
from sqlalchemy import Engine

from annotations.db import engine

SYNCED_ENGINE = engine._engine  # for tests of what the studio asks of SQLite


def stop_waiting(patch: pytest.MonkeyPatch) -> None:
    """Until the patch is undone, fsync does nothing, and SQLite's connections call it no more."""
    patch.setattr(os, "fsync", lambda file: None)
    patch.setattr(engine, "_engine", _unsynced_engine)


def _unsynced_engine(file: Path, begin: str, pragma: str, connections: int) -> Engine:
    unsynced = "synchronous = OFF" if pragma.startswith("synchronous") else pragma
    return SYNCED_ENGINE(file, begin, unsynced, connections)
