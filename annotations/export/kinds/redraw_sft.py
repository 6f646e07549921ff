"""The kind `redraw_sft`: a rejected draft, the reason, and an accepted revision."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from datasets import Features, List, Value

from annotations.export.annotated_trajectories import AnnotatedTrajectory
from annotations.export.kind import IMAGES, Context, Excluded, ExportKind, ExportRow, answers_of, png
from annotations.export.labels.accepted import COUNTED, DRAWING, accepted_drawing, is_edit, with_values
from annotations.export.labels.drawings import CODES, DrawingLabel, drawing_labels, is_drawn, speaks_of_drawings
from annotations.export.labels.judge_targets import JudgeTarget, context_of, is_rated_good, judge_target
from annotations.export.labels.reflections import WITH_EDIT, aggregate_reflections
from annotations.schema.annotation import Annotation
from annotations.schema.questions import EDIT, REASON_RATING, Question
from model.reflection_text import first_verdict, own_words
from model.templates import NO
from model.trajectory import Image, Reflection, Trajectory

EQUAL = 1e-6


@dataclass(frozen=True)
class Said:
    """What is to be said of a draft."""

    text: str
    correction: str | None = None
    edit: str | None = None
    people: tuple[Annotation, ...] = ()  # who wrote it; nobody of the model's


class RedrawSft(ExportKind):
    """One row per draft that people reject and revision that they accept."""

    name = "redraw_sft"
    title = "Redraws to learn"
    purpose = (
        "Redraws: a drawing that people reject, what is wrong with it, and the next drawing, which they accept. "
        "`drafts`, `draft_codes` and `reflections` are all drawings before and what was said of each; the last "
        "reflection begins with No, and its reason is as a person wrote it (`correction`), else the model’s own; "
        "`edit` is what to change, where somebody or the model said so. The other columns are draw_sft’s, of the "
        "accepted drawing."
    )
    counted = ("corrected", *COUNTED)
    advice = "say that a no is right, and that the next drawing is"
    forms = ("choice", "rating", "text", "preference", "facts")
    acts = ("verdict", "decision")
    tasks = ("image-to-image",)
    unused = "no part of a redraw whose draft people reject and whose revision they accept"
    features = Features(
        {
            **DRAWING,
            "drafts": IMAGES,
            "draft_codes": List(CODES),
            "reflections": List(Value("string")),
            "correction": Value("string"),
            "edit": Value("string"),
        }
    )

    def reads(self, question: Question) -> bool:
        return speaks_of_drawings(question) or question.name in WITH_EDIT

    def make(self, annotated: AnnotatedTrajectory, context: Context) -> Iterator[ExportRow | Excluded]:
        segments = annotated.trajectory.segments
        labels, _ = drawing_labels(annotated, context)
        drawings = [at for at, each in enumerate(segments) if is_drawn(each) and not is_edit(annotated)]
        for draft, revision in pairwise(drawings):
            rejected, accepted = labels.get(draft), labels.get(revision)
            at = next((at for at in range(draft, revision) if isinstance(segments[at], Reflection)), None)
            before = None if at is None else context_of(annotated.trajectory, at)
            if rejected is None or rejected.accepted is not False or accepted is None or at is None or before is None:
                continue
            said = _said(annotated, at, context)
            if first_verdict(said.text) == NO and accepted.accepted:
                yield _row(annotated, (rejected, accepted, revision), said, before, context)


def _said(annotated: AnnotatedTrajectory, segment: int, context: Context) -> Said:
    """What people wrote of the draft, else the model's own words, and nothing where those are rated bad."""
    reflection = annotated.trajectory.segments[segment]
    assert isinstance(reflection, Reflection)
    said = Said(own_words(reflection), edit=reflection.edit)
    for about in aggregate_reflections(annotated, context, WITH_EDIT):
        if isinstance(about, Excluded) or about.segment != segment:
            continue
        for person in about.people:
            target = judge_target(annotated.trajectory, person, about.rating, context.query.good)
            if isinstance(target, JudgeTarget) and target.correction is not None:
                return Said(target.completion, target.correction, target.edit, (person,))
            if EDIT in person.answers and not said.people:
                said = replace(said, edit=str(person.answers[EDIT]), people=(person,))
        ratings = [person.answers[REASON_RATING] for person in about.people if REASON_RATING in person.answers]
        if any(not is_rated_good(about.rating, rating, context.query.bad + EQUAL) for rating in ratings):
            said = Said("")
    return said


def _row(
    annotated: AnnotatedTrajectory,
    drawings: tuple[DrawingLabel, DrawingLabel, int],
    said: Said,
    before: tuple[tuple[str, ...], tuple[str, ...]],
    context: Context,
) -> ExportRow | Excluded:
    rejected, accepted, revision = drawings
    pictures = [context.picture(sha256) for sha256 in before[0]]
    columns: dict[str, Any] = {
        "drafts": [png(picture) for picture in pictures],
        "draft_codes": _codes(annotated.trajectory, revision),
        "reflections": [*before[1], said.text],
        "correction": said.correction,
        "edit": said.edit,
    }
    row = with_values(accepted_drawing(annotated, revision, accepted, context), columns, sum(map(len, pictures)))
    if isinstance(row, Excluded):
        return row
    written = tuple(answer for person in said.people for answer in answers_of(person, WITH_EDIT))
    return replace(
        row,
        answers=tuple(dict.fromkeys((*row.answers, *rejected.answers, *written))),
        labels=(*row.labels, *(["corrected"] if said.correction else [])),
        people=tuple(dict.fromkeys((*row.people, *rejected.people(context)))),
    )


def _codes(trajectory: Trajectory, revision: int) -> list[list[int]]:
    return [list(segment.codes) for segment in trajectory.segments[:revision] if isinstance(segment, Image)]
