"""Rows in external layouts, made from a trajectory's answers or from the record that it was imported from.

A record that nobody has answered otherwise goes out as it came in.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from annotations.export.annotated_trajectories import AnnotatedTrajectory, AnswerGroup
from annotations.export.kind import (
    Answer,
    Context,
    Excluded,
    ExportedElsewhere,
    ExportKind,
    ExportRow,
    answers_of,
    in_order,
)
from annotations.export.labels.pair import Pair, PairExclusion
from annotations.export.labels.pairs import is_compared, pairs
from annotations.schema.annotation import IMPORTED_KEY_PREFIX, Annotation
from annotations.schema.questions import Question
from model.trajectory import Trajectory, picture_hashes

IMAGES = "images"  # folder of a layout with files
IMPORTED, ANNOTATED = "imported", "annotated"  # labels by which rows are counted
RowContent = tuple[Mapping[str, Any], Mapping[str, bytes]]  # values of a row, and files beside it


def untouched(annotated: AnnotatedTrajectory) -> bool:
    """Whether its only answers are those of the file that it was imported from."""
    return all(annotation.key.startswith(IMPORTED_KEY_PREFIX) for annotation in in_order(annotated))


def is_imported(group: AnswerGroup) -> bool:
    """Whether all answers about this thing came with a file."""
    return group.decision is None and all(annotation.key.startswith(IMPORTED_KEY_PREFIX) for annotation in group.people)


class PairsKind(ExportKind):
    """One row per criterion for each pair of which people preferred one, or whose only answers are those of the file
    that it was imported from."""

    counted = (ANNOTATED, IMPORTED)
    advice = "compare two drawings, choose the best of several, or rate two of a prompt"
    forms = ("preference", "best", "ranking", "rating")
    tasks = ("text-to-image",)
    unused = PairExclusion.ALONE

    def reads(self, question: Question) -> bool:
        return is_compared(question)

    def make(
        self, annotated: AnnotatedTrajectory, context: Context
    ) -> Iterator[ExportRow | Excluded | ExportedElsewhere]:
        fresh = []
        for group in annotated.groups:
            other = group.other if is_imported(group) else None
            if other is None or not (records := context.imported([annotated.trajectory.id, other.id], self.name)):
                fresh.append(group)
                continue
            for record in records:
                values, files = self.restored(annotated.trajectory, other, record, context)
                yield row_of(annotated, values, context, group.people, label=IMPORTED, files=files, others=[other])
        for pair in pairs(replace(annotated, groups=tuple(fresh)), context):
            if isinstance(pair, Pair):
                values, files = self.values(annotated, pair, context)
                row = row_of(annotated, values, context, pair.people, answers=pair.answers, files=files)
                yield replace(row, trajectories=pair.trajectories)
            else:
                yield pair

    @abstractmethod
    def values(self, annotated: AnnotatedTrajectory, pair: Pair, context: Context) -> RowContent:
        """The columns of a pair, and files beside the row."""

    @abstractmethod
    def restored(self, first: Trajectory, second: Trajectory, record: dict[str, Any], context: Context) -> RowContent:
        """The columns of an imported record, and files beside the row."""


def row_of(
    annotated: AnnotatedTrajectory,
    values: Mapping[str, Any],
    context: Context,
    people: Sequence[Annotation],
    *,
    label: str = ANNOTATED,
    answers: tuple[Answer, ...] | None = None,
    files: Mapping[str, bytes] | None = None,
    others: Sequence[Trajectory] = (),
) -> ExportRow:
    """Made of all answers of these people, or of those that are given."""
    size = sum(len(value) for value in values.values() if isinstance(value, bytes))
    return ExportRow(
        values=values,
        answers=tuple(a for person in people for a in answers_of(person)) if answers is None else answers,
        trajectories=(annotated.trajectory.id, *(other.id for other in others)),
        labels=(label,),
        people=tuple(dict.fromkeys(context.pseudonym(person.annotator) for person in people)),
        files=files or {},
        size=1000 + size + sum(map(len, (files or {}).values())),
    )


def image_files(hashes: Sequence[str], context: Context, folder: str = IMAGES) -> tuple[list[str], dict[str, bytes]]:
    """The paths of images in their order, and their files."""
    paths = [f"{folder}/{sha256}.png" for sha256 in hashes]
    return paths, {path: context.picture(sha256) for path, sha256 in zip(paths, hashes, strict=True)}


def hashes_of(*trajectories: Trajectory) -> list[str]:
    """Of all images, in their order."""
    return [sha256 for each in trajectories for segment in each.segments for sha256 in picture_hashes(segment)]
