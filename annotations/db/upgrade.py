"""Schema upgrades from any earlier version, by Alembic.

Knows locks, backups and Alembic; nothing of what the tables mean. One process migrates at a time. All steps
and the check of the foreign keys are one transaction: a migration that fails leaves the file as it was, with
a copy beside it. A server's tables are changed in one transaction as well; backing it up is left to its administrator.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from filelock import FileLock, Timeout
from sqlalchemy import URL, Connection, NullPool, create_engine, event, inspect
from sqlalchemy.exc import SQLAlchemyError

from annotations.db import postgres
from annotations.errors import BusyError, DatabaseError, MigrationError
from model.atomic_files import move_whole

MIGRATIONS = Path(__file__).parent / "migrations"
LOCK_SECONDS = 60
PARTIAL = ".partial"  # how the name of a copy ends that is not whole yet


def upgrade(file: Path, migrations: Path = MIGRATIONS) -> Path | None:
    """Bring the tables in `file` to the newest revision; the path of the backup, if one had to be made.

    Raises BusyError when another process has been migrating for a minute, MigrationError when the file is not
    ours, is newer than this code, or does not survive the step (it is then unchanged).
    """
    lock = FileLock(file.with_name("migration.lock"), timeout=LOCK_SECONDS, thread_local=False)
    try:
        with lock:
            current, newest = revisions(file, migrations)
            if current == newest:
                return None
            backup = _back_up(file, current) if current is not None else None
            _run(file, migrations, backup)
            return backup
    except Timeout as error:
        raise BusyError(
            f"another process has been migrating {file} for {LOCK_SECONDS} seconds; wait for it, or end it"
        ) from error


def revisions(file: Path, migrations: Path = MIGRATIONS) -> tuple[str | None, str]:
    """The revision of the tables in `file` (None: no tables yet) and the newest one known.

    Raises MigrationError for a file that is no database of ours, or one that newer code has made.
    """
    engine = create_engine(URL.create("sqlite", database=str(file)), poolclass=NullPool)
    try:
        with engine.connect() as connection:
            return _revisions(connection, str(file), migrations)
    except SQLAlchemyError as error:
        raise MigrationError(
            f"{file} cannot be read as a database ({error.__cause__ or error}); "
            "restore it from a backup, or move it away"
        ) from error


def upgrade_server(url: URL, migrations: Path = MIGRATIONS) -> None:
    """Bring the tables of a PostgreSQL database to the newest revision, all steps or none. One process at a time.

    Raises DatabaseError when it cannot be reached, MigrationError when the tables are not ours, are newer than this
    code, or do not survive the step (they are then unchanged).
    """
    config = _config(migrations)
    with _server_transaction(url) as connection:
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({postgres.MIGRATING})")
        current, newest = _revisions(connection, postgres.shown(url), migrations)
        if current == newest:
            return
        try:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
        except Exception as error:  # whatever a revision raises
            raise MigrationError(f"{postgres.shown(url)} was not migrated: {error}; it is unchanged") from error


def server_revisions(url: URL) -> tuple[str | None, str]:
    """The revision of the tables of a PostgreSQL database and the newest one known. Raises as `upgrade_server`."""
    with _server_transaction(url) as connection:
        return _revisions(connection, postgres.shown(url), MIGRATIONS)


@contextmanager
def _server_transaction(url: URL) -> Iterator[Connection]:
    """A transaction on a PostgreSQL server. Raises DatabaseError where it cannot be reached."""
    engine = create_engine(url, poolclass=NullPool)
    try:
        with engine.begin() as connection:
            yield connection
    except SQLAlchemyError as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise DatabaseError(
            f"{postgres.shown(url)} cannot be opened: {reason}; look whether the server runs and the address is right"
        ) from error
    finally:
        engine.dispose()


def _revisions(connection: Connection, place: str, migrations: Path) -> tuple[str | None, str]:
    script = ScriptDirectory.from_config(_config(migrations))
    newest = script.get_current_head()
    if newest is None:
        raise MigrationError(f"{migrations} holds no revision; this installation is incomplete, reinstall it")
    current = MigrationContext.configure(connection).get_current_revision()
    tables = inspect(connection).get_table_names()
    if current is None and tables:
        raise MigrationError(
            f"{place} is a database of something else: it has the tables {', '.join(tables[:3])}, but no revision; "
            "choose another one"
        )
    if current is not None and current not in {revision.revision for revision in script.walk_revisions()}:
        raise MigrationError(
            f"{place} has tables of revision {current}, the newest known here is {newest}: newer code wrote it; "
            "update this installation, or choose another data folder"
        )
    return current, newest


def _back_up(file: Path, revision: str) -> Path:
    """A compact copy, complete even while others write; copying the file itself would not be."""
    folder = file.with_name("backups")
    backup = folder / f"{file.stem}-{revision}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}.db"
    partial = backup.with_suffix(PARTIAL)
    try:
        folder.mkdir(exist_ok=True, mode=0o700)
        for interrupted in folder.glob(f"*{PARTIAL}"):  # one process migrates at a time
            interrupted.unlink()
        _copy(file, partial)
        move_whole(partial, backup, mode=0o600)
    except (sqlite3.Error, OSError) as error:
        partial.unlink(missing_ok=True)
        raise MigrationError(
            f"{file} was not migrated, because no backup could be written to {backup}: {error}"
        ) from error
    return backup


def _copy(file: Path, copy: Path) -> None:
    """Raises sqlite3.Error, also where the copy fails the integrity check."""
    with closing(sqlite3.connect(file, timeout=15, isolation_level=None)) as connection:
        connection.execute("VACUUM INTO ?", (str(copy),))
    with closing(sqlite3.connect(copy)) as connection:
        [verdict] = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if verdict != "ok":
        raise sqlite3.DatabaseError(f"the copy is damaged: {verdict}")


def _run(file: Path, migrations: Path, backup: Path | None) -> None:
    engine = create_engine(URL.create("sqlite", database=str(file)), poolclass=NullPool)

    @event.listens_for(engine, "connect")
    def prepare(dbapi, _record) -> None:
        dbapi.isolation_level = None  # SQLAlchemy begins and ends transactions, not the driver
        dbapi.execute("PRAGMA busy_timeout = 15000")
        dbapi.execute("PRAGMA foreign_keys = OFF")  # or a rebuilt parent table takes its children along
        dbapi.execute("PRAGMA synchronous = FULL")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    config = _config(migrations)
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            orphans = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
            if orphans:
                raise MigrationError(f"{len(orphans)} rows lost the row they refer to, first {tuple(orphans[0])}")
    except Exception as error:  # whatever a revision raises
        backup_note = f", and there is a copy in {backup}" if backup else ""
        raise MigrationError(f"{file} was not migrated: {error}; it is unchanged{backup_note}") from error
    finally:
        engine.dispose()


def _config(migrations: Path) -> Config:
    config = Config()
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    return config
