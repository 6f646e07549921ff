"""Rows in external layouts, made from a trajectory's answers or from the record that it was imported from.

A record that nobody has answered otherwise goes out as it came in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
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
from annotations.export.labels.aggregated_answers import with_unused_answers
from annotations.export.labels.pair import Pair, PairExclusion
from annotations.export.labels.pairs import pairs
from annotations.schema.annotation import IMPORTED_KEY_PREFIX, Annotation
from model.trajectory import Trajectory, picture_hashes

IMAGES = "images"  # folder of a layout with files
IMPORTED, ANNOTATED = "imported", "annotated"  # labels by which rows are counted
Restored = tuple[Mapping[str, Any], Mapping[str, bytes]]  # values of a row, and files beside it


def untouched(annotated: AnnotatedTrajectory) -> bool:
    """Whether nobody has answered anything about it but the file that it was imported from."""
    return all(annotation.key.startswith(IMPORTED_KEY_PREFIX) for annotation in in_order(annotated))


def is_imported(group: AnswerGroup) -> bool:
    """Whether all answers about this thing came with a file."""
    return group.decision is None and all(annotation.key.startswith(IMPORTED_KEY_PREFIX) for annotation in group.people)


def rows_of_pairs(
    kind: ExportKind,
    annotated: AnnotatedTrajectory,
    context: Context,
    of_record: Callable[[dict[str, Any], Trajectory], Restored],
    of_pair: Callable[[Pair], ExportRow],
) -> Iterator[ExportRow | Excluded]:
    """A row per pair that people preferred one of, or that only the file which it was imported from has answered
    about: made of its record and its second trajectory."""

    def made() -> Iterator[ExportRow | Excluded | ExportedElsewhere]:
        fresh = []
        for group in annotated.groups:
            other = group.other if is_imported(group) else None
            if other is None or not (records := context.imported([annotated.trajectory.id, other.id], kind.name)):
                fresh.append(group)
                continue
            for record in records:
                values, files = of_record(record, other)
                yield row_of(annotated, values, context, group.people, label=IMPORTED, files=files, others=[other])
        for pair in pairs(replace(annotated, groups=tuple(fresh)), context):
            yield of_pair(pair) if isinstance(pair, Pair) else pair

    yield from with_unused_answers(kind, annotated, made(), PairExclusion.ALONE)


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
