"""The format `richhf`: the columns of RichHF-18K, with image and prompt.

Maps are drawn from regions: boxes are filled, points are discs of the radius that the paper has, and the brightness is
the share of people who marked the place.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from datasets import Features, Image, Value
from PIL import Image as Picture
from PIL import ImageDraw

from annotations.export.annotated_trajectories import AnnotatedTrajectory, AnswerGroup
from annotations.export.formats.external_rows import ANNOTATED, IMPORTED, is_imported, row_of
from annotations.export.kind import PROVENANCE, Answer, Context, Excluded, ExportKind, ExportRow, png, provenance
from annotations.export.labels.aggregated_answers import (
    AggregatedAnswer,
    aggregate_answers,
    answered_questions,
    pseudonyms,
    single_value,
)
from annotations.schema.annotation import Annotation
from annotations.schema.forms.rating import Rating
from annotations.schema.forms.regions import Regions
from annotations.schema.forms.words import Words
from annotations.schema.published_formats import RICHHF_SCORES, richhf_tokens
from annotations.schema.questions import Question
from model.trajectory import Image as Drawing

SIDE = 512  # pixels of a map
RADIUS = SIDE / 20  # of a point
SCORE_OF = {"alignment": "misalignment_score", "appearance": "aesthetics_score"}  # by a question, beside RICHHF_SCORES
MISALIGNED = "misalign"  # in the label of a region or the name of its question; all others are artifacts


class RichHf(ExportKind):
    """One row per image."""

    name = "richhf"
    title = "Rich feedback in RichHF-18K’s columns"
    purpose = (
        "The columns of RichHF-18K with `image` and `prompt`: four scores from 0 to 1, the higher the better (means of "
        "ratings; null where no question asks for them: those named as the columns, `alignment` for "
        "`misalignment_score`, `appearance` for `aesthetics_score`), `artifact_map` and `misalignment_map` (512 × 512 "
        "pixels of grey: the share of people who marked a place) and `prompt_misalignment_label`, one number per token "
        'of the prompt (split at blanks and , . ? ! " : ;), 0 where at least half of the people say that it is not '
        "drawn. Imported rows that nobody else has answered are as they came."
    )
    counted = (ANNOTATED, IMPORTED)
    advice = "rate a drawing, mark what is wrong with it, or click the words that are not drawn"
    forms = ("rating", "regions", "words")
    tasks = ("text-to-image",)
    unused = "a rating of something else than the format’s four scores"
    features = Features(
        {"filename": Value("string")}
        | dict.fromkeys(RICHHF_SCORES, Value("float64"))
        | {"artifact_map": Image(), "misalignment_map": Image(), "prompt_misalignment_label": Value("string")}
        | {"prompt": Value("string"), "image": Image()}
        | PROVENANCE
    )

    def reads(self, question: Question) -> bool:
        return question.segment == Drawing.kind and isinstance(question.form, Rating | Regions | Words)

    def make(self, annotated: AnnotatedTrajectory, context: Context) -> Iterator[ExportRow | Excluded]:
        for group in annotated.groups:
            about = None if group.segment is None else annotated.trajectory.segments[group.segment]
            if not isinstance(about, Drawing) or about.sha256 is None:
                continue
            records = context.imported([annotated.trajectory.id], self.name) if is_imported(group) else []
            for record in records:
                picture = context.picture(about.sha256)
                yield row_of(annotated, _restored(record, picture), context, group.people, label=IMPORTED)
            if records:
                continue
            by_form: dict[str, list[AggregatedAnswer]] = {"rating": [], "regions": [], "words": []}
            for question in answered_questions(group, Rating, Regions, Words):
                if question.form.name != "rating" or _score_of(question) is not None:
                    for aggregated in aggregate_answers(group, question, context):
                        if isinstance(aggregated, Excluded):
                            yield aggregated
                        else:
                            by_form[question.form.name].append(aggregated)
            if any(by_form.values()):
                yield _row(annotated, group, about.sha256, by_form, context)


def _score_of(question: Question) -> str | None:
    """The score that a question asks for."""
    return SCORE_OF.get(question.name) or (question.name if question.name in RICHHF_SCORES else None)


def _row(
    annotated: AnnotatedTrajectory,
    group: AnswerGroup,
    sha256: str,
    found: Mapping[str, Sequence[AggregatedAnswer]],
    context: Context,
) -> ExportRow:
    every = [aggregated for some in found.values() for aggregated in some]
    people = list(dict.fromkeys(person for aggregated in every for person in aggregated.people))
    answers: tuple[Answer, ...] = tuple(answer for aggregated in every for answer in aggregated.answers)
    names = pseudonyms(people, context)
    picture = context.picture(sha256)
    values: dict[str, Any] = {
        "filename": f"{annotated.trajectory.id}-{group.segment}.png",
        **{str(_score_of(aggregated.question)): aggregated.mean for aggregated in found["rating"]},
        "artifact_map": _map(found["regions"], people, misaligned=False),
        "misalignment_map": _map(found["regions"], people, misaligned=True),
        "prompt_misalignment_label": _labels(annotated.trajectory.prompt, found["words"], people),
        "prompt": annotated.trajectory.prompt,
        "image": png(picture),
        **provenance(annotated, group, None, single_value(names)),
        "votes": len(people),
    }
    return row_of(annotated, values, context, people, answers=answers)


def _labels(prompt: str, words: Sequence[AggregatedAnswer], people: Sequence[Annotation]) -> str | None:
    """One number per token; None where nobody was asked. No marked word means that all are drawn."""
    if not words:
        return None
    marked = [index for aggregated in words for said in _said(aggregated) for index in said]
    missing = {index for index in marked if 2 * marked.count(index) >= len(people)}
    return " ".join(str(int(index not in missing)) for _, index in richhf_tokens(prompt))


def _said(aggregated: AggregatedAnswer) -> list[Any]:
    """What each person answered."""
    return [person.answers[aggregated.question.name] for person in aggregated.people]


def _map(
    regions: Sequence[AggregatedAnswer], people: Sequence[Annotation], *, misaligned: bool
) -> dict[str, Any] | None:
    """None where nobody was asked. No marked place means that nothing is wrong."""
    if not regions:
        return None
    total = np.zeros((SIDE, SIDE))
    for aggregated in regions:
        for said in _said(aggregated):
            labels = [f"{aggregated.question.name} {region.get('label', '')}" for region in said]
            chosen = [(MISALIGNED in label) == misaligned for label in labels]
            total += _mask([region for region, is_chosen in zip(said, chosen, strict=True) if is_chosen])
    return _grey(np.minimum(total / len(people), 1.0))


def _mask(regions: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """(SIDE, SIDE): 1 inside of any of them."""
    drawn = Picture.new("L", (SIDE, SIDE))
    draw = ImageDraw.Draw(drawn)
    for region in regions:
        x, y = SIDE * region["x"], SIDE * region["y"]
        if "w" in region:
            draw.rectangle((x, y, x + SIDE * region["w"] - 1, y + SIDE * region["h"] - 1), fill=1)
        else:
            draw.ellipse((x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS), fill=1)
    return np.asarray(drawn, dtype=float)


def _grey(values: np.ndarray) -> dict[str, Any]:
    """A grey PNG of values from 0 to 1."""
    buffer = io.BytesIO()
    Picture.fromarray(np.round(255 * values).astype(np.uint8)).save(buffer, "PNG")
    return png(buffer.getvalue())


def _restored(record: Mapping[str, Any], picture: bytes) -> dict[str, Any]:
    """Pictures as `datasets` stores them; maps of numbers become PNG."""
    maps = {name: _as_picture(record.get(name)) for name in ("artifact_map", "misalignment_map")}
    scores = {name: float(record[name]) for name in RICHHF_SCORES if record.get(name) not in (None, "")}
    prompt = {"prompt": record.get("prompt") or record.get("caption")}
    return dict(record) | maps | scores | prompt | {"image": _as_picture(record.get("image")) or png(picture)}


def _as_picture(value: Any) -> dict[str, Any] | None:
    match value:
        case bytes():
            return png(value)
        case {"bytes": bytes()}:
            return {"bytes": value["bytes"], "path": value.get("path")}
        case list() if value:
            return _grey(np.asarray(value, dtype=float).reshape(len(value), -1)[:, : len(value[0])] / 255)
    return None
