"""Rows of layouts of others: made of a subject's answers, or of the record that it was imported from.

A record that nobody has answered otherwise goes out as it came in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from annotations.export.kind import Answer, Context, Row, answers_of, in_order
from annotations.export.subjects import Group, Subject
from annotations.importing.formats.imported_answers import KEY
from annotations.schema.annotation import Annotation
from model.trajectory import Trajectory, pictures_of

IMAGES = "images"  # folder of a layout with files
IMPORTED, ANNOTATED = "imported", "annotated"  # labels by which rows are counted


def untouched(subject: Subject) -> bool:
    """Whether nobody has answered anything about it but the file that it was imported from."""
    return all(annotation.key.startswith(KEY) for annotation in in_order(subject))


def is_imported(group: Group) -> bool:
    """Whether all answers about this thing came with a file."""
    return group.decision is None and all(annotation.key.startswith(KEY) for annotation in group.people)


def imported_pairs(
    subject: Subject, group: Group, context: Context, format: str
) -> list[tuple[dict[str, Any], Trajectory]]:
    """The records of a pair with its second trajectory, where only their files have answered about it."""
    if group.other is None or not is_imported(group):
        return []
    return [(record, group.other) for record in context.imported([subject.trajectory.id, group.other.id], format)]


def row_of(
    subject: Subject,
    values: Mapping[str, Any],
    context: Context,
    people: Sequence[Annotation],
    *,
    label: str = ANNOTATED,
    answers: tuple[Answer, ...] | None = None,
    files: Mapping[str, bytes] | None = None,
    others: Sequence[Trajectory] = (),
) -> Row:
    """Made of all answers of these people, or of those that are given."""
    size = sum(len(value) for value in values.values() if isinstance(value, bytes))
    return Row(
        values=values,
        answers=tuple(a for person in people for a in answers_of(person)) if answers is None else answers,
        trajectories=(subject.trajectory.id, *(other.id for other in others)),
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
    return [sha256 for each in trajectories for segment in each.segments for sha256 in pictures_of(segment)]
