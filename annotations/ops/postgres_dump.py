"""PostgreSQL dumps by `pg_dump` and `pg_restore`.

Knows those two commands and addresses; nothing of what the tables mean but where the database keeps its name. A dump is
of one moment, whoever writes meanwhile, and holds nobody up; restoring is one transaction.
"""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from sqlalchemy import URL

from annotations.db import postgres
from annotations.errors import BackupError

INSTALLED = Path("/usr/lib/postgresql")  # where Debian keeps the commands of every version


def dump(url: str, file: Path) -> str:
    """Dump a database in PostgreSQL's own format; the id of its studio. Raises BackupError."""
    address = postgres.parse(url)
    studio = _studio(address)
    _run("pg_dump", address, ["--format=custom", f"--file={file}"])
    return studio


def load(url: str, file: Path) -> None:
    """Restore a dump into an empty database, in one transaction. Raises BackupError."""
    address = postgres.parse(url)
    if not is_empty(url):
        raise BackupError(
            f"{postgres.shown(address)} has tables already, which may be newer; restore into an empty database"
        )
    _run("pg_restore", address, ["--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges", str(file)])


def is_empty(url: str) -> bool:
    """Whether a database has no tables where ours would be. Raises BackupError."""
    tables = "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()"
    return _scalar(postgres.parse(url), tables) == 0


def written(url: str) -> int:
    """How many rows were ever written, by the server's statistics; it differs once something was written."""
    counted = "SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::bigint FROM pg_stat_user_tables"
    return int(_scalar(postgres.parse(url), counted))


def pictures(url: str) -> set[str]:
    """The hashes of the pictures that a database knows. Raises BackupError."""
    return set(_scalar(postgres.parse(url), "SELECT coalesce(array_agg(sha256), '{}') FROM images"))


def _studio(address: URL) -> str:
    if _scalar(address, "SELECT to_regclass('properties') IS NOT NULL"):
        return str(_scalar(address, "SELECT value FROM properties WHERE name = 'salt'"))[:8]
    raise BackupError(f"{postgres.shown(address)} has no tables of a studio; name its database")


def _scalar(address: URL, query: LiteralString) -> Any:
    try:
        with psycopg.connect(_plain(address, with_password=True), connect_timeout=20) as connection:
            row = connection.execute(query).fetchone()
            return None if row is None else row[0]
    except psycopg.Error as error:
        raise BackupError(f"{postgres.shown(address)} cannot be asked: {_first_line(str(error))}") from error


def _run(command: str, address: URL, options: Sequence[str]) -> None:
    """The password goes by the environment: arguments can be read by every process on the machine."""
    program = _find(command)
    environment = dict(os.environ) | ({"PGPASSWORD": str(address.password)} if address.password else {})
    arguments = [program, f"--dbname={_plain(address, with_password=False)}", "--no-password", *options]
    ended = subprocess.run(arguments, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if ended.returncode:
        raise BackupError(f"{command} of {postgres.shown(address)} failed: {_first_line(ended.stderr)}")


def _plain(address: URL, *, with_password: bool) -> str:
    """The address as PostgreSQL's own programs read it."""
    bare = address.set(drivername="postgresql")
    if not with_password:
        bare = URL.create(bare.drivername, bare.username, None, bare.host, bare.port, bare.database, bare.query)
    return bare.render_as_string(hide_password=False)


def _find(command: str) -> str:
    """The newest installed version of a command, since an older one refuses a newer server."""
    versions = sorted(INSTALLED.glob(f"*/bin/{command}"), key=lambda path: int(path.parts[-3]))
    program = str(versions[-1]) if versions else shutil.which(command)
    if program is None:
        raise BackupError(f"{command} is not installed here; install it (Debian: apt-get install postgresql-client)")
    return program


def _first_line(output: str) -> str:
    """The first line of what a program says."""
    return next((line for line in output.strip().splitlines() if line), "nothing")
