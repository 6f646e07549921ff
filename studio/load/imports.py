"""Load test: an import while annotators work and visitors draw.

Everybody goes on until it is over. What came of it is asked of the database, what it was like of who was there.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
from gradio_client import Client, handle_file

from annotations.auth import accounts
from annotations.ops import accounting
from annotations.ops.machine_speed import calibration, spread
from annotations.ops.synthetic import write_rows
from annotations.schema.project import Role
from annotations.store.store import Store, open_store, open_store_for_reading
from studio.load import team
from studio.load.annotators import Annotator, PageActions
from studio.load.server import Server, get_ready
from studio.load.visitors import VisitResult, visits
from studio.settings import Mode

ANNOTATORS, VISITORS = 10, 4
ITEMS = 2000  # that the annotators have, each for two of them
PAUSE = 0.5  # seconds in which an annotator looks at an item; people take longer
LONGEST_SUBMIT = 1.0  # seconds
LONGEST_IMPORT = 180.0
ADMIN = "importing-admin"


@dataclass(frozen=True)
class Account:
    """What came of it."""

    rows: int
    pictures: int  # rows that have one
    machine: dict[str, float]  # ms
    report: dict[str, Any]  # what the studio said of the import
    listed: int  # trajectories of it that people see
    seconds: float  # that it took, with sending the file
    times: tuple[float, ...]  # ms from submit to the next item
    errors: tuple[str, ...]
    lost: tuple[str, ...]  # keys of submits that were confirmed and are not stored as sent
    drawings: tuple[VisitResult, ...]

    @property
    def problems(self) -> list[str]:
        """What was wanted, where it is not so."""
        wanted = {
            f"every row stored, got {self.listed:,} and {len(self.report['errors'])} bad": self.listed == self.rows,
            f"an import within {LONGEST_IMPORT:.0f} s": self.seconds <= LONGEST_IMPORT,
            f"no submit of more than {LONGEST_SUBMIT:.0f} s": max(self.times) <= 1000 * LONGEST_SUBMIT,
            "no error": not self.errors,
            "nothing lost": not self.lost,
            "every drawing shown whole and in order": all(one.complete for one in self.drawings),
        }
        return [name for name, holds in wanted.items() if not holds]


async def measure(rows: int, pictures: int, database: str | None = None, *, items: int = ITEMS) -> Account:
    """Import so many rows at a studio of its own, in SQLite or in an empty PostgreSQL database."""
    with tempfile.TemporaryDirectory() as name:
        folder, password = Path(name), uuid4().hex
        get_ready()
        with open_store(folder, database) as store:
            annotators = team.prepared(store, team.Load(ANNOTATORS, items))
            accounts.add(store, ADMIN, Role.ADMIN, password)
        file = _packed(folder, rows, pictures)
        server = Server(folder, Mode.PUBLIC, database)
        await server.start()
        try:
            report, seconds, drawings = await _at_work(server, annotators, file, password)
        finally:
            server.end()
        with open_store_for_reading(folder, database) as store:
            found = _found(store, report, annotators)
        return Account(rows, pictures, calibration(folder), report, *found[:1], seconds, *found[1:], tuple(drawings))


def _packed(folder: Path, rows: int, pictures: int) -> Path:
    """The rows as a zip, as somebody would send them."""
    file, packed = folder / "rows.jsonl", folder / "rows.zip"
    write_rows(file, rows, pictures)
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.write(file, file.name)
    return packed


async def _at_work(
    server: Server, annotators: Sequence[Annotator], file: Path, password: str
) -> tuple[dict[str, Any], float, list[VisitResult]]:
    """(the report, its seconds, the drawings): the import begins once everybody has begun."""
    async with httpx2.AsyncClient(base_url=server.url, timeout=None) as client:
        desk = PageActions.of((await client.get("/config")).raise_for_status().json())
    await annotators[0].work(server, desk, most=1)  # to warm up
    annotators[0].times.clear()
    over = asyncio.Event()
    working = [asyncio.create_task(one.work(server, desk, over=over.is_set, pause=PAUSE)) for one in annotators]
    drawing = [asyncio.create_task(_draw(server.url, over.is_set)) for _ in range(VISITORS)]
    try:
        while not all(one.confirmed for one in annotators):
            await asyncio.sleep(0.05)
        began = time.monotonic()
        report = await asyncio.to_thread(_send, server.url, file, password)
        seconds = time.monotonic() - began
    finally:
        over.set()
    await asyncio.gather(*working)
    return report, seconds, [one for drawn in await asyncio.gather(*drawing) for one in drawn]


async def _draw(url: str, over: Callable[[], bool]) -> list[VisitResult]:
    """One drawing after the other."""
    drawn: list[VisitResult] = []
    while not over():
        drawn += await visits(url, 1)
    return drawn


def _send(url: str, file: Path, password: str) -> dict[str, Any]:
    """Sign in and import a file, as a program does; what the studio says of it."""
    form = {"name": ADMIN, "password": password, "to": ""}
    cookies = httpx2.post(f"{url}/enter", data=form, timeout=None).cookies
    headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}
    studio = Client(url, headers=headers, verbose=False, httpx_kwargs={"timeout": None})
    return studio.predict([handle_file(file)], "ours", api_name="/import_records")


def _found(
    store: Store, report: dict[str, Any], annotators: Sequence[Annotator]
) -> tuple[int, tuple[float, ...], tuple[str, ...], tuple[str, ...]]:
    """(how many are listed, times, errors, what is lost)."""
    times = tuple(ms for one in annotators for ms in one.times)
    errors = tuple(error for one in annotators for error in one.errors)
    return (
        len(store.imported(report["batch"])),
        times,
        errors,
        tuple(accounting.missing(store, team.confirmed_by(annotators))),
    )


def table(account: Account) -> str:
    half, most = spread(account.times)
    rows = {
        "annotators, and people who draw, at once": f"{ANNOTATORS} + {VISITORS}",
        "rows": f"{account.rows:,}",
        "… with a picture": f"{account.pictures:,}",
        **{name: f"{figure:.1f} ms" for name, figure in account.machine.items()},
        "imported in": f"{account.seconds:.1f} s",
        "rows a second": f"{account.rows / account.seconds:.0f}",
        "rows that are listed now": f"{account.listed:,}",
        "submits confirmed meanwhile": f"{len(account.times):,}",
        "submit and next, median": f"{half:.0f} ms",
        "submit and next, 95 % within": f"{most:.0f} ms",
        "submit and next, longest": f"{max(account.times):.0f} ms",
        "confirmed and lost": f"{len(account.lost)}",
        "errors": f"{len(account.errors)}",
        "drawings": f"{len(account.drawings)}",
        "drawings shown whole and in order": f"{sum(one.complete for one in account.drawings)}",
    }
    return "\n".join(f"{name:44}{figure:>16}" for name, figure in rows.items())
