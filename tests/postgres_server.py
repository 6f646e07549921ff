"""A PostgreSQL server for the tests: Debian's, in a folder of its own, reached through a socket in it, no port.

The server refuses to run as root, so root hands it to the user `postgres`, whom the package makes.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

INSTALLED = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))


def why_not() -> str | None:
    """Why no server can be started here; None where one can."""
    if not INSTALLED:
        return "PostgreSQL is not installed (Debian: apt-get install postgresql; tests/run.sh does as root)"
    if os.getuid() == 0 and "postgres" not in {user.pw_name for user in pwd.getpwall()}:
        return "PostgreSQL does not run as root, and there is no user “postgres” to hand it to"
    return None


def _owner() -> dict[str, object]:
    return {"user": "postgres", "group": "postgres", "extra_groups": []} if os.getuid() == 0 else {}


def control(folder: Path, do: str) -> None:
    """Start or stop the server in a folder, and wait for it."""
    settings = ("listen_addresses=''", "max_connections=200", "shared_buffers=32MB")
    settings += ("fsync=off", "full_page_writes=off")  # the machine does not crash, and all of it is gone afterwards
    options = f"-k {folder} " + " ".join(f"-c {setting}" for setting in settings)
    how = ["-l", folder / "log", "-o", options, "start"] if do == "start" else ["-m", "immediate", "stop"]
    command = [INSTALLED[-1] / "pg_ctl", "-D", folder / "data", "-s", "-w", *how]
    subprocess.run(command, check=do == "start", cwd=folder, stdout=subprocess.DEVNULL, **_owner())


def folder_of(address: str) -> Path:
    """Where a server lives."""
    return Path(address.partition("host=")[2])


@contextmanager
def server() -> Iterator[str]:
    """A running server; the address of a database on it, `{name}` for its name."""
    folder = Path(tempfile.mkdtemp(prefix="aha-postgres-"))
    owner = _owner()
    if owner:
        shutil.chown(folder, "postgres", "postgres")
    data = folder / "data"
    command = {"check": True, "cwd": folder, "stdout": subprocess.DEVNULL} | owner
    subprocess.run(
        [INSTALLED[-1] / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "-N"], **command
    )
    control(folder, "start")
    try:
        yield f"postgresql+psycopg://postgres@/{{name}}?host={folder}"
    finally:
        control(folder, "stop")
        shutil.rmtree(folder, ignore_errors=True)


def run(address: str, statement: str) -> None:
    """One statement outside a transaction, such as CREATE DATABASE."""
    plain = address.replace("+psycopg", "").format(name="postgres")
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(statement)


@contextmanager
def emptied_afterwards(address: str) -> Iterator[None]:
    """A database whose tables then hold what they held before; making a new one for every test takes seconds."""
    with psycopg.connect(address.replace("+psycopg", ""), autocommit=True) as connection:
        listed = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        tables = sorted(name for (name,) in listed if name != "alembic_version")
        for name in ("projects", "properties"):
            connection.execute(f"CREATE TEMP TABLE kept_{name} AS SELECT * FROM {name}")
        yield
        ours = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
        connection.execute(f"{ours} AND pid <> pg_backend_pid()")  # what a test has left open would hold the tables
        connection.execute(f"TRUNCATE {', '.join(tables)} RESTART IDENTITY CASCADE")
        for name in ("projects", "properties"):
            connection.execute(f"INSERT INTO {name} SELECT * FROM kept_{name}")
