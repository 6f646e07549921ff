"""PostgreSQL engines by URL; an advisory lock lets one transaction write at a time.

Guarantees the same as `engine` for SQLite: reading transactions are read-only snapshots, and there is one writing
transaction at a time over all processes and machines, by an advisory lock held until its end. Row locks (`FOR UPDATE
SKIP LOCKED`) or serialisable transactions would allow concurrent writers, but each rule of the store would then need a
proof or a retry of its own; one writer at a time needs neither, and a thousand transactions a second are enough.
"""

from typing import Any

import psycopg
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from annotations.db.json_text import to_json
from annotations.errors import DatabaseError

WRITING = 0x61686101  # names of the advisory locks, which belong to one database of a server
MIGRATING = 0x61686102
LOCK_SECONDS = 15  # how long a writer waits for its turn
CONNECTIONS = 20  # for reading
AWAY = ("08", "57P", "53300")  # SQLSTATEs: of connections, of a server that ends or begins, of too many clients


def parse(url: str) -> URL:
    """Raises DatabaseError for what is no address of a PostgreSQL database."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise DatabaseError("the database's URL cannot be read; wanted postgresql+psycopg://user@host/name") from error
    if parsed.get_backend_name() != "postgresql":
        raise DatabaseError(
            f"got a URL of {parsed.get_backend_name()}; wanted postgresql+psycopg://user@host/name, "
            "or none at all for SQLite in the data folder"
        )
    return parsed.set(drivername="postgresql+psycopg")


def shown(url: URL) -> str:
    """The URL without its password."""
    return url.render_as_string(hide_password=True)


def is_unreachable(error: BaseException) -> bool:
    """Whether an error says that the server is stopped, starting, or has no room for another connection."""
    cause = error.orig if isinstance(error, DBAPIError) else None
    if not isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError):
        return False
    return cause.sqlstate is None or cause.sqlstate.startswith(AWAY)


def reader(url: URL) -> Engine:
    """An engine whose transactions are read-only snapshots."""
    return _engine(url, "-c default_transaction_read_only=on", CONNECTIONS, "REPEATABLE READ")


def writer(url: URL) -> Engine:
    """An engine whose transactions hold the advisory lock. Its pool has one connection for all threads."""
    engine = _engine(url, f"-c lock_timeout={LOCK_SECONDS}s", 1, "READ COMMITTED")

    @event.listens_for(engine, "begin")
    def start(connection: Connection) -> None:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITING})")

    return engine


def _engine(url: URL, options: str, connections: int, isolation: str) -> Engine:
    return create_engine(
        url,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=60,
        pool_pre_ping=True,
        isolation_level=isolation,
        json_serializer=_json,
        connect_args={"options": f"-c timezone=utc {options}"},
    )


def _json(value: Any) -> str:
    """Called by the driver, whose errors SQLAlchemy does not wrap here."""
    try:
        return to_json(value)
    except ValueError as error:
        raise SQLAlchemyError(str(error)) from error
