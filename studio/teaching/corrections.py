"""One person's corrections as training rows: answers about reflections, and verdicts written on the Draw page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from annotations.export.kinds.judge_sft import JudgeSft
from annotations.export.labels.judge_targets import JudgeTarget, context_of, judge_example, judge_target
from annotations.export.manifest import SOURCES, TRAIN
from annotations.schema.annotation import Status
from annotations.store.store import Store
from annotations.store.trajectories import MAX_IDS
from model.reflection_text import own_words
from model.trajectory import Origin, Reflection, Trajectory, origin_of

NEWEST = 200  # annotations that are looked through
MOST = 32  # rows
COLUMNS = ("prompt", "completion", "images", "origin", "weight", "correction")


@dataclass(frozen=True)
class Correction:
    """What a person said of a drawing, its pictures still by name."""

    target: JudgeTarget
    trajectory: Trajectory
    revision: int | None = None  # of the annotation; None: a verdict that was written in a branch

    @property
    def is_written(self) -> bool:
        """Whether the person wrote it, rather than confirmed what the model said."""
        return self.target.origin is Origin.PERSON


def corrections_of(store: Store, annotator: str | None, branches: Sequence[str] = ()) -> list[Correction]:
    """The newest, oldest first: of an annotator, and of trajectories that this person began by a verdict of their
    own."""
    return [*_annotated(store, annotator), *_branched(store, branches)][-MOST:]


def count_written(corrections: Iterable[Correction]) -> int:
    return sum(correction.is_written for correction in corrections)


def _annotated(store: Store, annotator: str | None) -> list[Correction]:
    if annotator is None:
        return []
    answers = store.annotations(annotator=annotator, status=Status.SUBMITTED, newest=NEWEST)
    answers = [each for each in answers if each.segment is not None and each.decision is None]
    known = store.trajectories_by_id(list(dict.fromkeys(each.trajectory_id for each in answers))[-MAX_IDS:])
    rows: list[Correction] = []
    for answer in answers:
        if (trajectory := known.get(answer.trajectory_id)) is not None:
            target = judge_target(trajectory, answer)
            rows += [Correction(target, trajectory, answer.id)] if isinstance(target, JudgeTarget) else []
    return rows


def _branched(store: Store, branches: Sequence[str]) -> list[Correction]:
    known = store.trajectories_by_id(list(branches)[-MAX_IDS:]).values()
    written = ((trajectory, _written_verdict(trajectory)) for trajectory in known)
    return [Correction(target, trajectory) for trajectory, target in written if target is not None]


def _written_verdict(trajectory: Trajectory) -> JudgeTarget | None:
    """The first reflection that a person wrote."""
    for number, segment in enumerate(trajectory.segments):
        if isinstance(segment, Reflection) and origin_of(segment) is Origin.PERSON:
            context = context_of(trajectory, number)
            return None if context is None else JudgeTarget(number, own_words(segment), Origin.PERSON, *context)
    return None


def write_rows(store: Store, corrections: Sequence[Correction], folder: Path) -> None:
    """As an export's file of the kind judge_sft, beside it which revisions made its rows. Raises AnnotationsError where
    a picture is lost."""
    examples = [
        judge_example(each.trajectory, each.target, picture=store.picture, annotator="") for each in corrections
    ]
    rows = [{name: value for name, value in each.to_row().items() if name in COLUMNS} for each in examples]
    schema = pa.schema([field for field in JudgeSft.features.arrow_schema if field.name in COLUMNS])
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), folder / "rows.parquet")
    sources = [
        {
            "split": TRAIN,
            "trajectories": [each.trajectory.id],
            "revisions": [] if each.revision is None else [each.revision],
        }
        for each in corrections
    ]
    types = {"split": pa.string(), "trajectories": pa.list_(pa.string()), "revisions": pa.list_(pa.int64())}
    pq.write_table(pa.Table.from_pylist(sources, schema=pa.schema(types)), folder / SOURCES)
