"""Load test: many annotators on one project; what was confirmed to them is looked up in the database afterwards."""

import asyncio
import tempfile
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from annotations.auth import accounts
from annotations.errors import DatabaseError
from annotations.ops import queue_checks
from annotations.ops.example_trajectories import fill_if_empty
from annotations.ops.machine_speed import calibration, figures, spread
from annotations.schema.default_projects import REFLECTIONS_PROJECT
from annotations.schema.project import Project, Role
from annotations.store.items import NewItem
from annotations.store.store import Store, open_store, open_store_for_reading
from studio.load.annotators import Annotator, PageActions
from studio.load.cluster import Cluster, Studio
from studio.load.server import Server, start_fork_server
from studio.settings import Mode

FIRST_DRAWN = datetime(2026, 1, 1, tzinfo=UTC)
ALONE_AT_MOST = 20  # submits of one annotator before the others come, at most
CLOSE_TIMEOUT = 30.0  # seconds in which what closed pages held must be free again

Disturbance = Callable[[Studio, Sequence[Annotator]], Coroutine[Any, Any, None]]  # what happens while they work


@dataclass(frozen=True)
class AnnotationLoad:
    """How many annotators answer how many items."""

    annotators: int
    items: int
    overlap: int = 2  # how many answer each item

    @property
    def answers(self) -> int:
        return self.items * self.overlap


@dataclass(frozen=True)
class AnnotationResult:
    """Measurements and checks; a run passes when nothing was doubled, lost, refused or left over."""

    load: AnnotationLoad
    machine: dict[str, float]  # ms
    alone: tuple[float, ...]  # ms from submit to the next item, of one annotator who has the studio to himself
    times: tuple[float, ...]  # … of all at once
    seconds: float  # that they took
    confirmed: int
    broken_off: int  # submits without a response
    errors: tuple[str, ...]
    doubled: tuple[int, ...]  # items that were shown to, or answered by, more people than wanted
    lost: tuple[str, ...]  # keys of submits that were confirmed and are not stored as sent
    unfinished: int  # items with fewer answers than wanted, though everybody was told that nothing waits
    held: int  # leases, though every page is closed

    @property
    def passed(self) -> bool:
        return not (self.errors or self.doubled or self.lost or self.unfinished or self.held)


async def measure(
    load: AnnotationLoad,
    database: str | None = None,
    disturbance: Disturbance | None = None,
    processes: int = 1,
    before: Disturbance | None = None,
) -> AnnotationResult:
    """Run a load at a studio of its own, in SQLite or in an empty PostgreSQL database, or at several `processes` with
    one PostgreSQL database behind a proxy. `before`: what happens first.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        start_fork_server()
        with open_store(folder, database) as store:
            team = prepared(store, load)
        machine = calibration(folder)
        async with _studio(folder, database, processes) as server:
            actions = await PageActions.of(server)
            if before is not None:
                await before(server, team)
            await team[0].work(server, actions, most=1)  # to warm up
            team[0].times.clear()
            await team[0].work(server, actions, most=max(2, min(ALONE_AT_MOST, load.items // 4)))
            alone, team[0].times = tuple(team[0].times), []
            began = time.monotonic()
            disturbing = asyncio.create_task(disturbance(server, team)) if disturbance else None
            await asyncio.gather(*(annotator.work(server, actions) for annotator in team))
            seconds = time.monotonic() - began
            if disturbing is not None:
                await disturbing
            with open_store_for_reading(folder, database) as store:
                await _pages_closed(store)
                return _result(store, load, team, machine, alone, seconds)


def _studio(folder: Path, database: str | None, processes: int) -> Studio:
    if database is None or processes == 1:
        return Server(folder, Mode.PUBLIC, database)
    return Cluster(folder, database, processes)


def prepared(store: Store, load: AnnotationLoad) -> list[Annotator]:
    """Drawings with one reflection each in a project, and an account for everybody. Raises DatabaseError."""
    if store.trajectories(limit=1):
        raise DatabaseError(f"{store.database.place} is not empty; the load test fills it, so give it one of its own")
    fill_if_empty(store)
    listed = store.trajectories(limit=200)
    drawings = [store.trajectory(listed_run.id) for listed_run in listed if len(listed_run.answers) == 1]
    ids = []
    for number in range(load.items):
        trajectory = drawings[number % len(drawings)]
        moment = (FIRST_DRAWN + timedelta(seconds=number)).isoformat()
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


async def _pages_closed(store: Store) -> None:
    """Wait until the server has noticed that every page is closed."""
    until = time.monotonic() + CLOSE_TIMEOUT
    while queue_checks.held_leases(store) and time.monotonic() < until:
        await asyncio.sleep(0.2)


def confirmed_by(team: Sequence[Annotator]) -> dict[str, dict[str, Any]]:
    return {key: answers for annotator in team for key, answers in annotator.confirmed.items()}


def sent_by(team: Sequence[Annotator]) -> int:
    """Submits that were confirmed, and those that broke off."""
    return sum(len(annotator.confirmed) + annotator.broken_off for annotator in team)


def doubled_by(store: Store, team: Sequence[Annotator], overlap: int) -> list[int]:
    """Items that more people than wanted were shown, or hold and have answered: nobody gives back what they began."""
    shown = [item for annotator in team for item in annotator.shown]
    beyond = {item for item in set(shown) if shown.count(item) > overlap}
    return sorted(beyond | set(queue_checks.beyond_overlap(store, team[0].project)))


def _result(
    store: Store,
    load: AnnotationLoad,
    team: Sequence[Annotator],
    machine: dict[str, float],
    alone: tuple[float, ...],
    seconds: float,
) -> AnnotationResult:
    confirmed = confirmed_by(team)
    return AnnotationResult(
        load=load,
        machine=machine,
        alone=alone,
        times=tuple(ms for annotator in team for ms in annotator.times),
        seconds=seconds,
        confirmed=len(confirmed),
        broken_off=sum(annotator.broken_off for annotator in team),
        errors=tuple(error for annotator in team for error in annotator.errors),
        doubled=tuple(doubled_by(store, team, load.overlap)),
        lost=tuple(queue_checks.missing_submits(store, confirmed)),
        unfinished=load.items - queue_checks.completed_items(store, team[0].project),
        held=queue_checks.held_leases(store),
    )


def table(result: AnnotationResult) -> str:
    load, (median, p95) = result.load, spread(result.times)
    alone = spread(result.alone)
    rows = {
        "annotators at once": f"{load.annotators}",
        "items, and people to answer each": f"{load.items:,} × {load.overlap}",
        **{name: f"{figure:.1f} ms" for name, figure in result.machine.items()},
        "submit and next, one alone, median": f"{alone[0]:.0f} ms",
        "submit and next, one alone, 95 % within": f"{alone[1]:.0f} ms",
        "submit and next, all at once, median": f"{median:.0f} ms",
        "submit and next, all at once, 95 % within": f"{p95:.0f} ms",
        "submits a second": f"{len(result.times) / result.seconds:.1f}",
        "submits confirmed": f"{result.confirmed:,}",
        "submits that broke off and were sent again": f"{result.broken_off:,}",
        "given to more people than wanted": f"{len(result.doubled)}",
        "confirmed and lost": f"{len(result.lost)}",
        "errors": f"{len(result.errors)}",
        "items left without all their answers": f"{result.unfinished}",
        "items held though every page is closed": f"{result.held}",
    }
    return figures(rows)
