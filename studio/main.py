"""Composition root: settings, store, checkpoints, site.

`app.py` calls `serve` once the settings are known to be right, since importing this takes seconds.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path

from annotations.backup import check_target, is_new, keep_backing_up, restore
from annotations.db import postgres
from annotations.db.engine import default_directory
from annotations.db.locks import LOCK_TIMEOUT, lock_of
from annotations.doctor import check_disk
from annotations.importing import staging
from annotations.ops.example_trajectories import fill_if_empty
from annotations.ops.webhooks import start_deliveries
from annotations.processes.periodic import run_periodically
from annotations.queue.assignment import recover
from annotations.store import reordering
from annotations.store.store import Store, open_store
from model.backends.contract import CheckpointError
from model.backends.registry import open_backend
from studio.auth.hub_login import hub_of
from studio.inference.checkpoints import Checkpoints
from studio.inference.generator import Generator
from studio.inference.zerogpu import lender
from studio.server import freeze_memory, start
from studio.settings import Settings, SettingsError
from studio.training.handlers import add_runs

BACKUPS = PURGES = timedelta(minutes=10)  # between two


def serve(settings: Settings) -> None:
    """The studio, until it is ended. Raises SettingsError, DatabaseError, BackupError and DiskFullError."""
    try:
        _serve(settings)
    except CheckpointError as error:
        raise SettingsError(str(error)) from error


def _serve(settings: Settings) -> None:
    data, hook = Path(settings.data).expanduser() if settings.data else default_directory(), settings.hook
    os.umask(0o077)  # what the studio writes is for its owner only
    if settings.backup:
        check_target(settings.backup, data)
    with _starting_alone(data, settings.database):
        if settings.backup and is_new(data, settings.database):
            restore(settings.backup, data, settings.database, settings.pictures)
        store = open_store(data, settings.database, settings.pictures)
    with store:
        recover(store)
        staging.recover(store)
        reordering.recover(store.database)
        if settings.examples:
            fill_if_empty(store)
        run_periodically(store.purge, PURGES, "purge", first=PURGES / 2)  # between two backups
        run_periodically(lambda: check_disk(data), PURGES, "disk")
        run_periodically(partial(staging.recover, store), staging.SILENT, "imports", first=staging.SILENT)
        if hook:
            start_deliveries(store, hook)
        checkpoints = drawing(settings, store, on_loan=os.environ.get("SPACES_ZERO_GPU") == "true")
        add_runs(checkpoints, store)
        demo = start(settings, store, checkpoints, hub_of(os.environ))
        freeze_memory()
        if settings.backup:
            keep_backing_up(data, settings.backup, BACKUPS, settings.database, settings.pictures)
        print(f"Aha Studio is at http://localhost:{settings.port}", flush=True)
        demo.block_thread()


@contextmanager
def _starting_alone(data: Path, database: str | None) -> Iterator[None]:
    """Of several studios that start with one PostgreSQL database, one restores and migrates at a time."""
    if database is None:
        yield
        return
    lock = lock_of(data, postgres.parse(database), "start")
    lock.acquire(LOCK_TIMEOUT.total_seconds())
    try:
        yield
    finally:
        lock.release()


def drawing(settings: Settings, store: Store, *, on_loan: bool) -> Checkpoints:
    """What draws: `on_loan` is a GPU that is lent for a drawing at a time, for which all has to be loaded before."""
    first, *others = settings.checkpoints
    how = {"device": settings.device, "dtype": settings.dtype, "published_contexts": settings.published_contexts}
    opener = partial(open_backend, **how)
    if not on_loan:
        generator = Generator(opener(first), store, share=1 / len(settings.checkpoints))
        return Checkpoints(generator, others, settings.mode, opener=opener)
    borrow = lender()  # before anything else touches a GPU
    backend = opener(first)
    checkpoints = Checkpoints(Generator(backend, store, borrow(backend)), others, settings.mode, borrow, opener)
    for name in checkpoints.names:
        checkpoints.named(name)
    return checkpoints
