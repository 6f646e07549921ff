"""Judged rollouts kept in a file, one JSON line each, so that an evaluation that was stopped can be resumed.

A line is found again by everything that determines the rollout: the checkpoint's files, prompt, seed, rounds, sampling
and what the drawing begins with.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from model.backends.checkpoint.loading import path_of
from model.backends.checkpoint.stamp import folder_stamp
from model.backends.contract import Backend, CheckpointError
from model.backends.request import Request
from model.distributed.append_log import AppendLog, RecordError
from model.distributed.processes import ALONE, Processes
from model.evaluation.figures import Judged, judge_requests
from model.trajectory import Trajectory, segment_to_dict
from model.world.language import Description, parse, write
from model.world.scene import Item
from model.world.verifier import Reading


class RecordedRollouts:
    """The rollouts of one checkpoint in an append-only log; of several processes each makes and records its share."""

    def __init__(self, file: Path, checkpoint: str, processes: Processes = ALONE) -> None:
        """`checkpoint` as `checkpoint_stamp` makes it. Raises RecordError for a file that holds anything else."""
        self._checkpoint, self.processes = checkpoint, processes
        self.log = AppendLog(file, processes.index)

    def find(self, request: Request) -> Judged | None:
        row = self.log.find(self._key(request))
        return None if row is None else judged_from_dict(row["rollout"])

    def add(self, request: Request, judged: Judged) -> None:
        self.log.add(self._key(request), {"rollout": judged_to_dict(judged)})

    def missing(self, requests: Sequence[Request]) -> list[int]:
        """Indices of the requests of this process's share that are not recorded."""
        share = self.processes.share(range(len(requests)))
        return [index for index in share if self._key(requests[index]) not in self.log]

    def _key(self, request: Request) -> str:
        prefix = [segment_to_dict(segment) for segment in request.prefix]
        sampling = request.sampling.to_dict() if request.sampling else {}
        values = [self._checkpoint, request.prompt, request.seed, request.rounds, sampling]
        return hashlib.sha256(json.dumps([*values, prefix], default=str).encode()).hexdigest()


def judge_recorded(
    backend: Backend,
    requests: Sequence[Request],
    descriptions: Sequence[Description],
    batch: int,
    recorded: RecordedRollouts | None,
) -> list[Judged]:
    """The rollout of every request, each for the description of the same index: those that are recorded are read, the
    others made and recorded, by several processes each its share. Raises RecordError where one has not done its own."""
    if recorded is None:
        made = dict(judge_requests(backend, requests, descriptions, batch)) if requests else {}
        return [made[index] for index in range(len(requests))]
    if missing := recorded.missing(requests):
        chosen = [requests[index] for index in missing], [descriptions[index] for index in missing]
        for index, rollout in judge_requests(backend, *chosen, batch):
            recorded.add(chosen[0][index], rollout)
    recorded.processes.wait()
    recorded.log.reread()
    judged = [recorded.find(request) for request in requests]
    if None in judged:
        raise RecordError(
            f"{judged.count(None)} of {len(judged)} rollouts were not recorded by another process; go on "
            "with the same command"
        )
    return [each for each in judged if each is not None]


def checkpoint_stamp(source: str | Path) -> str:
    """What a checkpoint is called, and the sizes and times of its files, where it is a folder."""
    try:
        folder = Path(path_of(source))
    except CheckpointError:  # opened by another kind of backend
        return str(source)
    return json.dumps([str(source), folder_stamp(folder)])


def judged_to_dict(judged: Judged) -> dict[str, Any]:
    """The trajectory and the readings as JSON values."""
    readings = [
        {
            "items": [list(vars(item).values()) for item in reading.items],
            "broken": [list(cell) for cell in reading.broken],
            "fragments": [list(vars(item).values()) for item in reading.fragments],
        }
        for reading in judged.readings
    ]
    return {"trajectory": judged.trajectory.to_dict(), "readings": readings, "prompt": write(judged.description)}


def judged_from_dict(row: dict[str, Any]) -> Judged:
    readings = tuple(
        Reading(
            tuple(Item(*item) for item in reading["items"]),
            tuple((column, cell_row) for column, cell_row in reading["broken"]),
            tuple(Item(*item) for item in reading["fragments"]),
        )
        for reading in row["readings"]
    )
    return Judged(parse(row["prompt"]), Trajectory.from_dict(row["trajectory"]), readings)
