"""Load test: an import while annotators work and visitors draw; its outcome is checked in the database."""

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
from annotations.ops import queue_checks
from annotations.ops.machine_speed import calibration, figures, spread
from annotations.ops.synthetic import write_rows
from annotations.schema.project import Role
from annotations.store.store import open_store, open_store_for_reading
from studio.load.annotation_load import AnnotationLoad, confirmed_by, prepared
from studio.load.annotators import Annotator, PageActions
from studio.load.server import Server, start_fork_server
from studio.load.visitors import VisitResult, visits
from studio.settings import Mode

ANNOTATORS, VISITORS = 10, 4
ITEMS = 2000  # that the annotators have, each for two of them
PAUSE = 0.5  # seconds in which an annotator looks at an item; people take longer
LONGEST_SUBMIT = 1.0  # seconds
LONGEST_IMPORT = 180.0
ADMIN = "importing-admin"


@dataclass(frozen=True)
class ImportResult:
    """Measurements and checks of one run."""

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
        """The requirements that were not met."""
        requirements = {
            f"every row stored, got {self.listed:,} and {len(self.report['errors'])} bad": self.listed == self.rows,
            f"an import within {LONGEST_IMPORT:.0f} s": self.seconds <= LONGEST_IMPORT,
            f"no submit of more than {LONGEST_SUBMIT:.0f} s": max(self.times) <= 1000 * LONGEST_SUBMIT,
            "no error": not self.errors,
            "nothing lost": not self.lost,
            "every drawing shown whole and in order": all(drawing.complete for drawing in self.drawings),
        }
        return [name for name, holds in requirements.items() if not holds]


async def measure(rows: int, pictures: int, database: str | None = None, *, items: int = ITEMS) -> ImportResult:
    """Import so many rows at a studio of its own, in SQLite or in an empty PostgreSQL database."""
    with tempfile.TemporaryDirectory() as name:
        folder, password = Path(name), uuid4().hex
        start_fork_server()
        with open_store(folder, database) as store:
            annotators = prepared(store, AnnotationLoad(ANNOTATORS, items))
            accounts.add(store, ADMIN, Role.ADMIN, password)
        file = _packed(folder, rows, pictures)
        async with Server(folder, Mode.PUBLIC, database) as server:
            report, seconds, drawings = await _at_work(server, annotators, file, password)
        with open_store_for_reading(folder, database) as store:
            return ImportResult(
                rows=rows,
                pictures=pictures,
                machine=calibration(folder),
                report=report,
                listed=len(store.imported(report["batch"])),
                seconds=seconds,
                times=tuple(ms for annotator in annotators for ms in annotator.times),
                errors=tuple(error for annotator in annotators for error in annotator.errors),
                lost=tuple(queue_checks.missing_submits(store, confirmed_by(annotators))),
                drawings=tuple(drawings),
            )


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
    actions = await PageActions.of(server)
    await annotators[0].work(server, actions, most=1)  # to warm up
    annotators[0].times.clear()
    over = asyncio.Event()
    working = [
        asyncio.create_task(annotator.work(server, actions, over=over.is_set, pause=PAUSE)) for annotator in annotators
    ]
    drawing = [asyncio.create_task(_draw(server.url, over.is_set)) for _ in range(VISITORS)]
    try:
        while not all(annotator.confirmed for annotator in annotators):
            await asyncio.sleep(0.05)
        began = time.monotonic()
        report = await asyncio.to_thread(_send, server.url, file, password)
        seconds = time.monotonic() - began
    finally:
        over.set()
    await asyncio.gather(*working)
    return report, seconds, [annotator for drawn in await asyncio.gather(*drawing) for annotator in drawn]


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


def table(result: ImportResult) -> str:
    median, p95 = spread(result.times)
    rows = {
        "annotators, and people who draw, at once": f"{ANNOTATORS} + {VISITORS}",
        "rows": f"{result.rows:,}",
        "… with a picture": f"{result.pictures:,}",
        **{name: f"{figure:.1f} ms" for name, figure in result.machine.items()},
        "imported in": f"{result.seconds:.1f} s",
        "rows a second": f"{result.rows / result.seconds:.0f}",
        "rows that are listed now": f"{result.listed:,}",
        "submits confirmed meanwhile": f"{len(result.times):,}",
        "submit and next, median": f"{median:.0f} ms",
        "submit and next, 95 % within": f"{p95:.0f} ms",
        "submit and next, longest": f"{max(result.times):.0f} ms",
        "confirmed and lost": f"{len(result.lost)}",
        "errors": f"{len(result.errors)}",
        "drawings": f"{len(result.drawings)}",
        "drawings shown whole and in order": f"{sum(drawing.complete for drawing in result.drawings)}",
    }
    return figures(rows)
