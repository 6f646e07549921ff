"""A scripted backend in place of the network, so that load tests measure web server and store."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from annotations.importing import staging
from annotations.ops.example_trajectories import fill_if_empty
from annotations.queue.assignment import recover
from annotations.store import reordering
from annotations.store.listing import Filter
from annotations.store.store import Store, open_store
from model.backends.contract import Backend, Capabilities, ServingOptions
from model.backends.embedded_world import EMBEDDED_WORLD
from model.backends.request import Request, check_values
from model.events import Event, Preview, TrajectoryFinished, TrajectoryStarted, replay
from model.trajectory import Sampling, StopReason, Trajectory
from studio.inference.checkpoints import Checkpoints
from studio.inference.generator import Generator
from studio.server import freeze_memory, start
from studio.settings import Mode, Settings

PATCH_SECONDS = 0.03  # between two patches; everything else comes at once


class ScriptedBackend(Backend):
    """Stands where a network stands, and plays a recorded aha moment to everybody who asks."""

    name, image_size, sampling, domain = "embedded", 64, Sampling(thinks=True), EMBEDDED_WORLD
    capabilities = Capabilities(thought=True)

    def __init__(self, store: Store, pace: float = PATCH_SECONDS) -> None:
        [recorded] = store.trajectories(limit=1, keep=Filter(recorded=True, aha=True))
        self._played = list(timed(store.trajectory(recorded.id), store.picture, pace))

    def serve(self, options: ServingOptions) -> int:
        return options.at_once

    def check(self, request: Request) -> None:
        check_values(request, self.sampling, self.image_size)

    def events(self, request: Request) -> Iterator[Event]:
        began = time.monotonic()
        for due, event in self._played:
            time.sleep(max(0.0, began + due - time.monotonic()))
            if request.stop():
                yield TrajectoryFinished(
                    trajectory_id=request.id, segment=event.segment, stop_reason=StopReason.CANCELLED
                )
                return
            if isinstance(event, TrajectoryStarted):
                event = replace(event, parent=None, created_at=datetime.now(UTC).isoformat())
            yield replace(event, trajectory_id=request.id)


def timed(trajectory: Trajectory, picture: Callable[[str], bytes], pace: float) -> Iterator[tuple[float, Event]]:
    """Its events, with the seconds after which each is due: patch by patch, `pace` seconds apart."""
    due = 0.0
    for event in replay(trajectory, picture, group=1):
        if isinstance(event, Preview) and not event.whole:
            due += pace
        yield due, event


def serve(
    port: int,
    folder: Path,
    mode: Mode = Mode.LOCAL,
    database: str | None = None,
    options: Mapping[str, Any] = MappingProxyType({}),
    pace: float | None = None,
) -> None:
    """The studio, until it is ended or killed; `options` are further settings, `pace` the seconds between patches."""
    settings = Settings(port=port, mode=mode, database=database, **options)
    with open_store(folder, database, settings.pictures) as store:
        recover(store)
        staging.recover(store)
        reordering.recover(store.database)
        fill_if_empty(store)
        scripted = Checkpoints(Generator(ScriptedBackend(store, pace or PATCH_SECONDS), store))
        demo = start(settings, store, scripted)
        freeze_memory()
        demo.block_thread()
