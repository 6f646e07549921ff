"""Load test: a team of annotators on one project, and its accounting.

The studio is real and so are its answers. What was confirmed is known from outside, and looked for in the database.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2

from annotations.auth import accounts
from annotations.errors import DatabaseError
from annotations.ops import accounting
from annotations.ops.example_trajectories import fill_if_empty
from annotations.ops.machine_speed import calibration, spread
from annotations.schema.default_projects import REFLECTIONS_PROJECT
from annotations.schema.project import Project, Role
from annotations.store.items import NewItem
from annotations.store.store import Store, open_store, open_store_for_reading
from studio.load.annotators import Annotator, PageActions
from studio.load.server import Server, get_ready
from studio.settings import Mode

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
ALONE = 20  # submits of one annotator before the others come, at most
CLOSING = 30.0  # seconds in which what closed pages held must be free again

Trouble = Callable[[Server, Sequence[Annotator]], Coroutine[Any, Any, None]]  # what happens while they work


@dataclass(frozen=True)
class Load:
    """How much there is to do for how many."""

    annotators: int
    items: int
    overlap: int = 2  # how many answer each item

    @property
    def answers(self) -> int:
        return self.items * self.overlap


@dataclass(frozen=True)
class Account:
    """What came of it, seen by the annotators and by the database."""

    load: Load
    machine: dict[str, float]  # ms
    alone: tuple[float, ...]  # ms from submit to the next item, of one annotator who has the studio to himself
    times: tuple[float, ...]  # … of all at once
    seconds: float  # that they took
    confirmed: int
    cut: int  # submits that broke off
    errors: tuple[str, ...]
    doubled: tuple[int, ...]  # items that were shown to, or answered by, more people than wanted
    lost: tuple[str, ...]  # keys of submits that were confirmed and are not stored as sent
    unfinished: int  # items with fewer answers than wanted, though everybody was told that nothing waits
    held: int  # leases, though every page is closed

    @property
    def is_fine(self) -> bool:
        return not (self.errors or self.doubled or self.lost or self.unfinished or self.held)


async def measure(load: Load, database: str | None = None, trouble: Trouble | None = None) -> Account:
    """Let them work at a studio of their own, in SQLite or in an empty PostgreSQL database."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        get_ready()
        with open_store(folder, database) as store:
            team = prepared(store, load)
        machine = calibration(folder)
        server = Server(folder, Mode.PUBLIC, database)
        await server.start()
        try:
            async with httpx2.AsyncClient(base_url=server.url, timeout=None) as client:
                desk = PageActions.of((await client.get("/config")).raise_for_status().json())
            await team[0].work(server, desk, most=1)  # to warm up
            team[0].times.clear()
            await team[0].work(server, desk, most=max(2, min(ALONE, load.items // 4)))
            alone, team[0].times = tuple(team[0].times), []
            began = time.monotonic()
            happening = asyncio.create_task(trouble(server, team)) if trouble else None
            await asyncio.gather(*(one.work(server, desk) for one in team))
            seconds = time.monotonic() - began
            if happening is not None:
                await happening
            with open_store_for_reading(folder, database) as store:
                await _closed(store)
                return _account(store, load, team, machine, alone, seconds)
        finally:
            server.end()


def prepared(store: Store, load: Load) -> list[Annotator]:
    """Drawings with one reflection each in a project, and an account for everybody. Raises DatabaseError."""
    if store.trajectories(limit=1):
        raise DatabaseError(f"{store.database.place} is not empty; the load test fills it, so give it one of its own")
    fill_if_empty(store)
    listed = store.trajectories(limit=200)
    drawn = [store.trajectory(one.id) for one in listed if len(one.answers) == 1]
    ids = []
    for number in range(load.items):
        trajectory = drawn[number % len(drawn)]
        moment = (BEGIN + timedelta(seconds=number)).isoformat()
        copy = replace(trajectory, id=f"load-{number:07d}", created_at=moment, parent=None)
        ids.append(store.save(copy, {}, owner="visitor"))
    project = replace(REFLECTIONS_PROJECT, id="load", name="Load", overlap=load.overlap, collects=False)
    store.create_project(project)
    store.add_items(project.id, [NewItem(id) for id in ids])
    return [_annotator(store, f"annotator-{number}", project) for number in range(load.annotators)]


def _annotator(store: Store, name: str, project: Project) -> Annotator:
    password = uuid4().hex
    accounts.add(store, name, Role.ANNOTATOR, password)
    return Annotator(name, password, project.id)


async def _closed(store: Store) -> None:
    """Wait until the server has noticed that every page is closed."""
    until = time.monotonic() + CLOSING
    while accounting.held(store) and time.monotonic() < until:
        await asyncio.sleep(0.2)


def confirmed_by(team: Sequence[Annotator]) -> dict[str, dict[str, Any]]:
    return {key: said for one in team for key, said in one.confirmed.items()}


def sent_by(team: Sequence[Annotator]) -> int:
    """Submits that were confirmed, and those that broke off."""
    return sum(len(one.confirmed) + one.cut for one in team)


def doubled_by(store: Store, team: Sequence[Annotator], overlap: int) -> list[int]:
    """Items that more people than wanted were shown, or hold and have answered: nobody gives back what they began."""
    shown = [item for one in team for item in one.shown]
    beyond = {item for item in set(shown) if shown.count(item) > overlap}
    return sorted(beyond | set(accounting.beyond_overlap(store, team[0].project)))


def _account(
    store: Store,
    load: Load,
    team: Sequence[Annotator],
    machine: dict[str, float],
    alone: tuple[float, ...],
    seconds: float,
) -> Account:
    confirmed = confirmed_by(team)
    return Account(
        load=load,
        machine=machine,
        alone=alone,
        times=tuple(ms for one in team for ms in one.times),
        seconds=seconds,
        confirmed=len(confirmed),
        cut=sum(one.cut for one in team),
        errors=tuple(error for one in team for error in one.errors),
        doubled=tuple(doubled_by(store, team, load.overlap)),
        lost=tuple(accounting.missing(store, confirmed)),
        unfinished=load.items - accounting.completed(store, team[0].project),
        held=accounting.held(store),
    )


def table(account: Account) -> str:
    load, (half, most) = account.load, spread(account.times)
    alone = spread(account.alone)
    rows = {
        "annotators at once": f"{load.annotators}",
        "items, and people to answer each": f"{load.items:,} × {load.overlap}",
        **{name: f"{figure:.1f} ms" for name, figure in account.machine.items()},
        "submit and next, one alone, median": f"{alone[0]:.0f} ms",
        "submit and next, one alone, 95 % within": f"{alone[1]:.0f} ms",
        "submit and next, all at once, median": f"{half:.0f} ms",
        "submit and next, all at once, 95 % within": f"{most:.0f} ms",
        "submits a second": f"{len(account.times) / account.seconds:.1f}",
        "submits confirmed": f"{account.confirmed:,}",
        "submits that broke off and were sent again": f"{account.cut:,}",
        "given to more people than wanted": f"{len(account.doubled)}",
        "confirmed and lost": f"{len(account.lost)}",
        "errors": f"{len(account.errors)}",
        "items left without all their answers": f"{account.unfinished}",
        "items held though every page is closed": f"{account.held}",
    }
    return "\n".join(f"{name:44}{figure:>16}" for name, figure in rows.items())
