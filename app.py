"""Aha Studio: `python app.py`. Where the parts meet: settings, store, generator, site.

The only place that reads the environment. What cannot work is said in one line."""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from pathlib import Path

from annotations.backup import keep_backing_up, restore
from annotations.database import FILE, default_directory
from annotations.errors import BackupError, DatabaseError
from annotations.queue import recover
from annotations.recorded import fill_if_empty
from annotations.store import open_store
from annotations.webhooks import keep_telling
from model.checkpoint import CheckpointError, open_checkpoint
from studio.checkpoints import Checkpoints
from studio.generator import Generator
from studio.server import start
from studio.settings import Settings, SettingsError, from_environment, read_settings

BACKUPS = timedelta(minutes=10)  # between two
CONFIG = Path(__file__).parent / "spaces_config.yaml"


def main() -> None:
    try:
        settings = read_settings(CONFIG, from_environment(os.environ))
        serve(settings)
    except (SettingsError, CheckpointError, DatabaseError, BackupError) as error:
        sys.exit(f"Aha Studio cannot start: {error}")


def serve(settings: Settings) -> None:
    data, hook = Path(settings.data).expanduser() if settings.data else default_directory(), settings.hook
    if settings.backup and settings.database:
        raise BackupError("backups here are of SQLite; a PostgreSQL database is backed up by pg_dump, on its server")
    if settings.backup and not (data / FILE).exists():
        restore(settings.backup, data)
    with open_store(data, settings.database) as store:
        recover(store)
        if settings.examples:
            fill_if_empty(store)
        store.purge()
        first, *others = settings.checkpoints
        checkpoints = Checkpoints(Generator(open_checkpoint(first), store), others, settings.mode)
        demo = start(settings, store, checkpoints)
        if settings.backup:
            keep_backing_up(data, settings.backup, BACKUPS)
        if hook:
            keep_telling(store, hook)
        print(f"Aha Studio is at http://localhost:{settings.port}", flush=True)
        demo.block_thread()


if __name__ == "__main__":
    main()
