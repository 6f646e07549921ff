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


@contextmanager
def server() -> Iterator[str]:
    """A running server; the address of a database on it, `{name}` for its name."""
    folder = Path(tempfile.mkdtemp(prefix="aha-postgres-"))
    owner = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.getuid() == 0 else {}
    if owner:
        shutil.chown(folder, "postgres", "postgres")
    data = folder / "data"
    command = {"check": True, "cwd": folder, "stdout": subprocess.DEVNULL} | owner
    subprocess.run(
        [INSTALLED[-1] / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "-N"], **command
    )
    settings = ("listen_addresses=''", "max_connections=200", "shared_buffers=32MB", "fsync=off")  # gone afterwards
    options = f"-k {folder} " + " ".join(f"-c {setting}" for setting in settings)
    control = [INSTALLED[-1] / "pg_ctl", "-D", data, "-s", "-w"]
    subprocess.run([*control, "-l", folder / "log", "-o", options, "start"], **command)
    try:
        yield f"postgresql+psycopg://postgres@/{{name}}?host={folder}"
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], **command)
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
