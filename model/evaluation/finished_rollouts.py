"""Trajectories of a list of requests, with their pictures, as they finish."""

import sys
from collections.abc import Iterator, Sequence

import numpy as np

from model.backends.contract import GONE, Backend
from model.backends.request import Request
from model.events import Failed, Preview, TrajectoryFinished, advance
from model.images import read_rgb
from model.trajectory import Trajectory

ATTEMPTS = 4  # at a drawing whose machine went away meanwhile


class RolloutError(RuntimeError):
    """A rollout that failed; the message says of which prompt, and why."""


def drawn_pictures(
    backend: Backend, requests: Sequence[Request], batch: int, *, progress: bool = True
) -> Iterator[tuple[str, Trajectory, list[np.ndarray]]]:
    """(id, trajectory, its drawn pictures as (H, W, 3) uint8) of every request, as they end; progress on stderr.

    What a machine that is gone was drawing is drawn again, by its seed. Raises RolloutError for one that failed.
    """
    waiting, finished = list(requests), 0
    for attempt in range(1, ATTEMPTS + 1):
        running: dict[str, Trajectory] = {}
        pictures: dict[str, list[np.ndarray]] = {request.id: [] for request in waiting}
        for event in backend.rollout(waiting, at_once=batch):
            trajectory = running[event.trajectory_id] = advance(running.get(event.trajectory_id), event)
            match event:
                case Preview(whole=True):
                    pictures[trajectory.id].append(np.asarray(read_rgb(event.png)))
                case Failed() if event.error == GONE and attempt < ATTEMPTS:
                    pass  # it is left in `running`
                case Failed():
                    raise RolloutError(f"a rollout of “{trajectory.prompt}” failed: {event.error}")
                case TrajectoryFinished():
                    finished += 1
                    if progress:
                        print(f"\r{finished} of {len(requests)}", end="", file=sys.stderr, flush=True)
                    yield trajectory.id, running.pop(trajectory.id), pictures.pop(trajectory.id)
        waiting = [request for request in waiting if request.id in running]
        if not waiting:
            break
    if progress:
        print(file=sys.stderr)
