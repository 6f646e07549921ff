"""Conversion of a trajectory to the columns of its row: its JSON body, and what lists, items and pictures need.

Pure functions; no database.
"""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

from annotations.db.json_text import JsonText, sorted_json
from annotations.errors import TrajectoryError
from annotations.schema.field_types import is_storable
from annotations.store.search_index import terms_of
from model.trajectory import Image, Reflection, Segment, Source, Thought, Trajectory
from model.world.language import category_of, parse

MAX_POSITION = 2**31  # of a segment or token that a branch leaves from; and of ids
ANSWERS = ("yes", "no")


class PreparedRows(NamedTuple):
    """What is written of a trajectory, computed before the writing transaction begins."""

    outline: Trajectory  # without codes and tokens
    columns: dict[str, Any]  # all but its number; the body is JsonText
    terms: set[bytes]

    @property
    def id(self) -> str:
        return self.outline.id

    @property
    def trajectory(self) -> Trajectory:
        """With codes and tokens, read from the body."""
        return Trajectory.from_dict(json.loads(self.columns["body"]))


def check_storable(trajectory: Trajectory, owner: str = "") -> None:
    """Raises TrajectoryError for an id, text, parent or time that the database cannot store."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", trajectory.id):
        raise TrajectoryError(
            f"got the id {trajectory.id[:80]!r}, wanted at most 64 letters, digits, - and _; "
            "leave it empty for a new one"
        )
    for name, text in {"prompt": trajectory.prompt, "checkpoint": trajectory.checkpoint, "owner": owner}.items():
        if not is_storable(text):
            raise TrajectoryError(f"the {name} has characters that cannot be stored; type it again")
    parent = trajectory.parent
    if parent is not None and not (0 <= parent.segment < MAX_POSITION and 0 <= parent.token < MAX_POSITION):
        raise TrajectoryError(f"got the parent {parent}, wanted a segment and a token from 0 to {MAX_POSITION - 1}")
    creation_time(trajectory)


def check_importable(trajectory: Trajectory) -> None:
    """Raises TrajectoryError for a verdict or number that no network here makes, and that no export could hold."""
    if (problem := _problem(trajectory)) is not None:
        raise TrajectoryError(problem)


def _problem(trajectory: Trajectory) -> str | None:
    settings = {"seed": (trajectory.seed, 2**63), "rounds": (trajectory.rounds, 2**31)}
    settings |= {name: (getattr(trajectory.sampling, name) or 0, 2**63) for name in ("top_k", "text_top_k")}
    for name, (value, most) in settings.items():
        if not 0 <= value < most:
            return f"got the {name} {value!r:.40}, wanted a whole number from 0 to {most - 1}"
    for at, segment in enumerate(trajectory.segments):
        if isinstance(segment, Reflection):
            if segment.answer not in ANSWERS and segment.finished:
                return f"got the answer {segment.answer!r:.40} in segment {at}, wanted yes or no"
            if not 0 <= segment.p_yes <= 1:
                return f"got the p_yes {segment.p_yes!r:.40} in segment {at}, wanted a number from 0 to 1"
        if isinstance(segment, Image) and len(segment.origins) not in (0, len(segment.codes)):
            return f"got {len(segment.origins)} origins of {len(segment.codes)} codes in segment {at}, wanted as many"
        ids = segment.codes if isinstance(segment, Image | Source) else [token.id for token in segment.tokens]
        least = 0 if isinstance(segment, Image | Source) else -1  # the id of what is no token of a vocabulary
        if ids and not (least <= min(ids) and max(ids) < MAX_POSITION):
            got = f"{min(ids)!r:.40} to {max(ids)!r:.40}"
            return f"got ids from {got} in segment {at}, wanted {least} to {MAX_POSITION - 1}"
    return None


def prepare(
    trajectory: Trajectory, *, owner: str, recorded: bool = False, body: JsonText | None = None
) -> PreparedRows:
    """`body`: the trajectory as JSON, where the caller has it already. Raises TrajectoryError."""
    try:
        columns = columns_of(trajectory) | {"id": trajectory.id, "body": body or sorted_json(trajectory.to_dict())}
    except ValueError as error:
        raise TrajectoryError(f"trajectory {trajectory.id} cannot be kept as JSON: {str(error)[:200]}") from error
    columns |= {"owner": owner, "recorded": recorded}
    return PreparedRows(outline_of(trajectory), columns, terms_of(columns))


def outline_of(trajectory: Trajectory) -> Trajectory:
    """The trajectory without codes and tokens: enough to derive its items and its pictures."""
    return replace(trajectory, segments=tuple(_outline(segment) for segment in trajectory.segments))


def _outline(segment: Segment) -> Segment:
    match segment:
        case Image():
            return Image((), segment.sha256, (), segment.finished, segment.frames)
        case Source():
            return Source((), segment.sha256, segment.finished)
        case Reflection():
            return Reflection(segment.answer, segment.p_yes, (), segment.finished)
        case Thought():
            return Thought((), segment.finished)


def columns_of(trajectory: Trajectory) -> dict[str, object]:
    """The columns that repeat parts of the body, so that lists need not read it. Raises TrajectoryError."""
    pictures = pictures_by_position(trajectory)
    shown = [sha256 for (_, frame), sha256 in pictures.items() if frame == 0] or list(pictures.values())
    parent = trajectory.parent
    return {
        "prompt": trajectory.prompt,
        "seed": str(trajectory.seed),
        "checkpoint": trajectory.checkpoint,
        "stop_reason": trajectory.stop_reason,
        "aha": trajectory.aha,
        "answers": " ".join(reflection.answer for reflection in trajectory.reflections),
        "num_reflections": sum(reflection.finished for reflection in trajectory.reflections),
        "cover": shown[-1] if shown else None,
        "parent_id": parent and parent.trajectory_id,
        "parent_segment": parent and parent.segment,
        "parent_token": parent and parent.token,
        "created_at": creation_time(trajectory),
        "category": category(trajectory.prompt),
    }


def pictures_by_position(trajectory: Trajectory) -> dict[tuple[int, int], str]:
    """The hashes of its pictures by segment and frame, which is 0 for the finished picture of a segment."""
    pictures: dict[tuple[int, int], str] = {}
    for index, segment in enumerate(trajectory.segments):
        if isinstance(segment, Image | Source) and segment.sha256:
            pictures[index, 0] = segment.sha256
        frames = segment.frames if isinstance(segment, Image) else ()
        pictures |= {(index, number): sha256 for number, sha256 in enumerate(frames, start=1)}
    return pictures


def category(prompt: str) -> str | None:
    """The category of a prompt of the embedded world; None for any other prompt."""
    try:
        return category_of(parse(prompt))
    except ValueError:
        return None


def creation_time(trajectory: Trajectory) -> datetime:
    """`created_at`, in UTC where it names no zone. Raises TrajectoryError for what is no ISO 8601 time."""
    try:
        moment = datetime.fromisoformat(trajectory.created_at)
        moment.astimezone(UTC)  # raises OverflowError before year 1 and after 9999
    except (ValueError, OverflowError) as error:
        raise TrajectoryError(
            f"got created_at {trajectory.created_at!r}, wanted ISO 8601 such as 2026-01-31T12:00:00+00:00"
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
