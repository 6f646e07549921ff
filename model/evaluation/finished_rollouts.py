"""Trajectories of a list of requests, with their pictures, as they finish."""

import sys
from collections.abc import Iterator, Sequence

import numpy as np

from model.backends.contract import Backend
from model.backends.request import Request
from model.events import Failed, Preview, TrajectoryFinished, advance
from model.images import read_rgb
from model.trajectory import Trajectory


def pictures_of(
    backend: Backend, requests: Sequence[Request], batch: int, *, progress: bool = True
) -> Iterator[tuple[str, Trajectory, list[np.ndarray]]]:
    """(id, trajectory, its drawn pictures as (H, W, 3) uint8) of every request, as they end; progress on stderr.

    Raises RuntimeError for one that failed.
    """
    running: dict[str, Trajectory] = {}
    pictures: dict[str, list[np.ndarray]] = {request.id: [] for request in requests}
    finished = 0
    for event in backend.rollout(requests, at_once=batch):
        trajectory = running[event.trajectory_id] = advance(running.get(event.trajectory_id), event)
        match event:
            case Preview(whole=True):
                pictures[trajectory.id].append(np.asarray(read_rgb(event.png)))
            case Failed():
                raise RuntimeError(f"a rollout of “{trajectory.prompt}” failed: {event.error}")
            case TrajectoryFinished():
                finished += 1
                if progress:
                    print(f"\r{finished} of {len(requests)}", end="", file=sys.stderr, flush=True)
                yield trajectory.id, running.pop(trajectory.id), pictures.pop(trajectory.id)
    if progress:
        print(file=sys.stderr)
