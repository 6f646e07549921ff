"""Judged rollouts kept in a file, one JSON line each, so that an evaluation that was stopped goes on where it was.

A line is found again by everything that determines the rollout: the checkpoint's files, prompt, seed, rounds, sampling
and what the drawing begins with.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from model.backends.checkpoint.loading import path_of
from model.backends.contract import Backend, CheckpointError
from model.backends.request import Request
from model.evaluation.figures import Judged, judge_requests
from model.trajectory import Trajectory, segment_to_dict
from model.world.language import Description, parse, write
from model.world.scene import Item
from model.world.verifier import Reading


class RecordError(ValueError):
    """A file of recorded rollouts that cannot be read."""


class RecordedRollouts:
    """The rollouts of one checkpoint in a file; a line cut off at the end (a process that was killed) is written anew.

    Raises RecordError for a file that holds anything else.
    """

    def __init__(self, file: Path, checkpoint: str) -> None:
        """`checkpoint` as `checkpoint_stamp` makes it."""
        self._checkpoint = checkpoint
        self._known: dict[str, dict[str, Any]] = {}
        file.parent.mkdir(parents=True, exist_ok=True)
        whole = file.read_bytes() if file.exists() else b""
        whole = whole[: whole.rfind(b"\n") + 1]
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                row = json.loads(line)
                self._known[row["key"]] = row["rollout"]
            except (ValueError, KeyError, TypeError) as error:
                raise RecordError(f"{file}, line {number}: {error}; give a folder of an earlier evaluation") from error
        self._file = file.open("ab")
        self._file.truncate(len(whole))

    def find(self, request: Request) -> Judged | None:
        row = self._known.get(self._key(request))
        return None if row is None else judged_from_dict(row)

    def add(self, request: Request, judged: Judged) -> None:
        line = {"key": self._key(request), "rollout": judged_to_dict(judged)}
        self._file.write(json.dumps(line).encode() + b"\n")
        self._file.flush()

    def _key(self, request: Request) -> str:
        prefix = [segment_to_dict(segment) for segment in request.prefix]
        values = [self._checkpoint, request.prompt, request.seed, request.rounds, vars(request.sampling or object())]
        return hashlib.sha256(json.dumps([*values, prefix], default=str).encode()).hexdigest()


def judge_recorded(
    backend: Backend,
    requests: Sequence[Request],
    descriptions: Sequence[Description],
    batch: int,
    recorded: RecordedRollouts | None,
) -> list[Judged]:
    """The rollout of every request, each for the description of the same index: those that are recorded are read,
    the others made and recorded."""
    judged = {i: known for i, request in enumerate(requests) if recorded and (known := recorded.find(request))}
    missing = [i for i in range(len(requests)) if i not in judged]
    made = judge_requests(backend, [requests[i] for i in missing], [descriptions[i] for i in missing], batch)
    for index, rollout in made if missing else ():
        judged[missing[index]] = rollout
        if recorded:
            recorded.add(requests[missing[index]], rollout)
    return [judged[i] for i in range(len(requests))]


def checkpoint_stamp(source: str | Path) -> str:
    """What a checkpoint is called, and the sizes and times of its files, where it is a folder."""
    try:
        folder = Path(path_of(source))
    except CheckpointError:  # opened by another kind of backend
        return str(source)
    files = sorted(file for file in folder.glob("*") if file.is_file())
    stats = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return json.dumps([str(source), stats])


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
