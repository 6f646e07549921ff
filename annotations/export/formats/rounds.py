"""Rounds of a drawing: each image, whether people accept it, why, and what to change; until one is accepted.

The formats that keep a whole trajectory of reflections are made from them. Words are a person's correction, else the
model's own where its reason is good. An edit is never invented: it is a person's answer, or the model said it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

from annotations.export.annotated_trajectories import AnnotatedTrajectory
from annotations.export.formats.external_rows import ANNOTATED, IMPORTED, image_files, row_of, untouched
from annotations.export.kind import Answer, Context, Excluded, ExportKind, ExportRow, answers_of, in_order
from annotations.export.labels.judge_targets import JudgeExclusion, judge_target
from annotations.export.labels.reflections import WITH_EDIT, AggregatedReflection, aggregate_reflections
from annotations.schema.annotation import Annotation
from model.reflection_text import split_verdict
from model.templates import EDIT_TEXT
from model.trajectory import Image, Reflection, Source, Thought, Trajectory

Files = Mapping[str, bytes]  # by their paths beside a row


class RoundsExclusion(StrEnum):
    """Why a trajectory makes no row."""

    SOURCE = "it begins with a given image"
    UNJUDGED = "not every reflection up to an accepted image was answered"
    UNACCEPTED = "no image of it is accepted"
    NO_EDIT = "nobody said what to change"
    BEHIND = "behind the accepted image, or a second project’s"


@dataclass(frozen=True)
class Round:
    """An image and what should be said of it."""

    segment: int  # of the reflection
    sha256: str
    accepted: bool
    reason: str
    edit: str
    p_yes: float  # the model's
    thought: str  # before the image


@dataclass(frozen=True)
class Rounds:
    """All up to the first accepted image, which is the last one."""

    rounds: tuple[Round, ...]
    answers: tuple[Answer, ...]
    people: tuple[Annotation, ...]


class RoundsKind(ExportKind):
    """One row per trajectory that ends with an accepted image, or that was imported and nobody has answered."""

    counted = (IMPORTED, ANNOTATED)
    advice = "answer every reflection of a drawing up to the accepted one, with what to change"
    questions = WITH_EDIT
    forms = ("choice", "rating", "text")
    everything = True
    tasks = ("text-to-image",)
    unused = RoundsExclusion.BEHIND
    edits: ClassVar[bool] = True  # whether each rejected image needs one

    def make(self, annotated: AnnotatedTrajectory, context: Context) -> Iterator[ExportRow | Excluded]:
        if untouched(annotated):
            records = context.imported([annotated.trajectory.id], self.name)
            for record in records:
                values, files = self.restored(annotated.trajectory, record, context)
                yield row_of(annotated, values, context, list(in_order(annotated)), label=IMPORTED, files=files)
            if records:
                return
        for made in rounds_of(annotated, context, edits=self.edits):
            values = made.reason if isinstance(made, Excluded) else self.values(annotated.trajectory, made.rounds)
            if isinstance(values, str):
                yield Excluded(values, made.answers)
                continue
            assert isinstance(made, Rounds)
            paths, files = image_files([each.sha256 for each in made.rounds], context)
            values, files = self.with_pictures(values, [files[path] for path in paths], files)
            yield row_of(annotated, values, context, made.people, answers=made.answers, files=files)

    @abstractmethod
    def values(self, trajectory: Trajectory, rounds: Sequence[Round]) -> dict[str, Any] | str:
        """The columns of a row, or why it makes none; images are IMAGES/sha256.png."""

    def with_pictures(
        self, values: dict[str, Any], pictures: Sequence[bytes], files: Files
    ) -> tuple[dict[str, Any], Files]:
        """The columns and files, with the pictures of the rounds where the layout has them: beside or in the row."""
        return values, files

    @abstractmethod
    def restored(
        self, trajectory: Trajectory, record: dict[str, Any], context: Context
    ) -> tuple[dict[str, Any], Files]:
        """The columns of an imported record, and its files."""


def rounds_of(annotated: AnnotatedTrajectory, context: Context, *, edits: bool) -> Iterator[Rounds | Excluded]:
    """The rounds of a trajectory, and why answers are left out. `edits`: whether each rejected image needs an edit."""
    by_segment: dict[int, AggregatedReflection] = {}
    for reflection in aggregate_reflections(annotated, context, WITH_EDIT):
        if isinstance(reflection, Excluded):
            yield reflection
        else:
            by_segment.setdefault(reflection.segment, reflection)
    if not by_segment:
        return
    made = _rounds(annotated, by_segment, context, edits)
    used = by_segment.values() if isinstance(made, str) else [by_segment[each.segment] for each in made]
    people = tuple(person for about in used for person in about.people)
    answers = tuple(answer for person in people for answer in answers_of(person, WITH_EDIT))
    yield Excluded(made, answers) if isinstance(made, str) else Rounds(tuple(made), answers, people)


def _rounds(
    annotated: AnnotatedTrajectory, by_segment: dict[int, AggregatedReflection], context: Context, edits: bool
) -> list[Round] | str:
    rounds: list[Round] = []
    sha256, thought = "", ""
    for number, segment in enumerate(annotated.trajectory.segments):
        match segment:
            case Source():
                return RoundsExclusion.SOURCE
            case Thought():
                thought = segment.text.strip()
            case Image():
                sha256 = segment.sha256 or ""
            case Reflection():
                this = _round(annotated, number, sha256, thought, by_segment.get(number), context)
                if isinstance(this, str):
                    return this
                if edits and not this.accepted and not this.edit:
                    return RoundsExclusion.NO_EDIT
                rounds.append(this)
                if this.accepted:
                    return rounds
                thought = ""
    return RoundsExclusion.UNACCEPTED


def _round(
    annotated: AnnotatedTrajectory,
    segment: int,
    sha256: str,
    thought: str,
    about: AggregatedReflection | None,
    context: Context,
) -> Round | str:
    if about is None:
        return RoundsExclusion.UNJUDGED
    why: str = RoundsExclusion.UNJUDGED
    for person in about.people:
        target = judge_target(annotated.trajectory, person, about.rating, context.query.good)
        if isinstance(target, JudgeExclusion):
            why = target
            continue
        verdict, reason = split_verdict(target.completion.partition(f" {EDIT_TEXT} ")[0])
        edit = "" if verdict == "yes" else (target.edit or "").strip()
        reason = split_verdict(target.correction)[1] if target.correction else reason
        return Round(
            segment, sha256, verdict == "yes", reason or target.completion, edit, about.reflection.p_yes, thought
        )
    return why
