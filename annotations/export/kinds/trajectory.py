"""The kind `trajectory`: whole trajectories with all their answers, one row each.

Trajectories that nobody was asked about are in it as well: branches are what people did, too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from datasets import Features, List, Value

from annotations.export.annotated_trajectories import AnnotatedTrajectory
from annotations.export.kind import (
    IMAGES,
    MESSAGES,
    Context,
    Excluded,
    ExportKind,
    ExportRow,
    answers_of,
    in_order,
    questions_of,
)
from annotations.export.labels.aggregated_answers import single_value
from annotations.export.labels.drawings import RUNS, runs
from annotations.export.labels.plans import conversation, is_narrowed
from annotations.queue.flags import Flag
from annotations.schema.annotation import Annotation, Answers, right_answer
from annotations.schema.forms.regions import Regions
from annotations.schema.forms.registry import FORMS
from annotations.schema.forms.tags import Tags
from annotations.schema.forms.words import Words
from annotations.schema.questions import REASON_CORRECTION, REASON_RATING, SKIP_REASON, VERDICT_RIGHT, Question
from model.trajectory import Image, Origin, Reflection, Segment, Source, Thought, Trajectory, segment_to_dict

NOT_ASKED = "nobody answered about it"
WHO = {"segment": Value("int32"), "annotator": Value("string")}
SEGMENT = {
    "kind": Value("string"),
    "text": Value("string"),
    "answer": Value("string"),  # of a reflection
    "p_yes": Value("float64"),
    "image": Value("int32"),  # its place in `images`
    "finished": Value("bool"),
    "ids": List(Value("int32")),  # token ids of a text, codes of an image
    "origins": RUNS,
    "mask": List({"learn": Value("bool"), "count": Value("int32")}),
}
REGION = {name: Value("float64") for name in "xywh"} | {"label": Value("string")}
SAMPLING = {
    "guidance": Value("float64"),
    "temperature": Value("float64"),
    "top_k": Value("int64"),
    "text_temperature": Value("float64"),
    "text_top_k": Value("int64"),
    "thinks": Value("bool"),
    "official": Value("bool"),
    "thinks_after_no": Value("bool"),
}
VERDICT = {
    **WHO,
    "decided": Value("bool"),
    "model_says": Value("string"),
    "human_says": Value("string"),  # the right verdict
    "reason": Value("string"),
    "reason_corrected": Value("string"),
    "rating": Value("float64"),  # on the question's own scale
}
ANSWER = {
    **WHO,
    "decided": Value("bool"),
    "project": Value("string"),
    "question": Value("string"),
    "form": Value("string"),
    "value": Value("string"),  # JSON
    "seconds": Value("float64"),
}
FLAG = {name: Value("string") for name in ("annotator", "project", "note", "answer", "answered_by")}


class TrajectoryKind(ExportKind):
    """One row per trajectory."""

    name = "trajectory"
    title = "Whole trajectories"
    purpose = (
        "Whole trajectories: prompt, plans, drawings and reflections in the order in which they were made, with image "
        "codes, and all that people answered. `messages` and `images` are conversational, with a place for each image; "
        "`segments` has the same by segment: token ids or image codes in `ids`, who chose them as run lengths in "
        "`origins` (`sampled` by the model, given by the `template`, written by a `person`), and in `mask` whether "
        "they may be learnt (all that no template gave, of finished segments). `verdicts`, `regions`, `words` (indices "
        "of words of the prompt that were not drawn) and `tags` are the usual answers, `answers` has each of them as "
        "JSON, `skips` who would not answer and why, `flags` what was noted for the reviewers, with their answer, and "
        "by them. `parent` is where a branch leaves another trajectory."
    )
    counted = ("annotated", "branch", "edited by a person", "skipped", "flagged", "decided")
    advice = "draw something first"
    forms = tuple(FORMS)
    acts = ("branch", "plan", "verdict", "skip", "flag", "decision")
    everything = True
    tasks = ("text-to-image", "image-text-to-text")
    features = Features(
        {
            "id": Value("string"),
            "prompt": Value("string"),
            "messages": MESSAGES,
            "images": IMAGES,
            "segments": List(SEGMENT),
            "verdicts": List(VERDICT),
            "regions": List({**WHO, **REGION}),
            "words": List({**WHO, "words": List(Value("int32"))}),
            "tags": List({**WHO, "tags": List(Value("string"))}),
            "answers": List(ANSWER),
            "skips": List({**WHO, "reason": Value("string")}),
            "flags": List(FLAG),
            "parent": {"trajectory_id": Value("string"), "segment": Value("int32"), "token": Value("int32")},
            "sampling": SAMPLING,
            "checkpoint": Value("string"),
            "category": Value("string"),
            "seed": Value("int64"),
            "rounds": Value("int32"),
            "stop_reason": Value("string"),
            "created_at": Value("string"),
            "annotator": Value("string"),
        }
    )

    def reads(self, question: Question) -> bool:
        return True

    def make(self, annotated: AnnotatedTrajectory, context: Context) -> Iterator[ExportRow | Excluded]:
        trajectory = annotated.trajectory
        if not annotated.groups and not annotated.skipped and not annotated.flags and is_narrowed(context.query):
            yield Excluded(NOT_ASKED)
            return
        messages, pictures = conversation(trajectory, len(trajectory.segments), context)
        everybody = [a.annotator for a in (*in_order(annotated), *annotated.skipped)] + [
            f.person for f in annotated.flags
        ]
        people = tuple(dict.fromkeys(context.pseudonym(name) for name in everybody))
        values = {
            "id": trajectory.id,
            "prompt": trajectory.prompt,
            "messages": messages,
            "images": pictures,
            "segments": _segments(trajectory),
            **_said(annotated, context),
            "flags": [_flag(flag, context) for flag in annotated.flags],
            "parent": vars(trajectory.parent) if trajectory.parent else None,
            "sampling": trajectory.sampling.to_dict(),
            "checkpoint": trajectory.checkpoint,
            "category": annotated.category,
            "seed": trajectory.seed,
            "rounds": trajectory.rounds,
            "stop_reason": trajectory.stop_reason and trajectory.stop_reason.value,
            "created_at": trajectory.created_at,
            "annotator": single_value(people),
        }
        yield ExportRow(
            values=values,
            answers=tuple(answer for annotation in in_order(annotated) for answer in answers_of(annotation)),
            trajectories=(trajectory.id,),
            labels=tuple(_labels(annotated)),
            people=people,
            size=4000 + sum(len(picture["bytes"]) for picture in pictures),
        )


def _labels(annotated: AnnotatedTrajectory) -> Iterator[str]:
    if annotated.groups:
        yield "annotated"
    if annotated.trajectory.parent is not None:
        yield "branch"
    if any(Origin.PERSON in _origins(segment) for segment in annotated.trajectory.segments):
        yield "edited by a person"
    if annotated.skipped:
        yield "skipped"
    if annotated.flags:
        yield "flagged"
    if any(group.decision is not None for group in annotated.groups):
        yield "decided"


def _segments(trajectory: Trajectory) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    images = 0
    for segment in trajectory.segments:
        row = dict.fromkeys(SEGMENT) | {k: v for k, v in segment_to_dict(segment).items() if k in SEGMENT}
        if isinstance(segment, Image | Source) and segment.sha256:
            row["image"] = images
            images += 1
        origins = _origins(segment)
        row["ids"] = list(segment.codes) if isinstance(segment, Image | Source) else [t.id for t in segment.tokens]
        row["origins"] = runs(origins)
        learnt = groupby(segment.finished and origin is not Origin.TEMPLATE for origin in origins)
        row["mask"] = [{"learn": learn, "count": len(list(run))} for learn, run in learnt]
        rows.append(row)
    return rows


def _origins(segment: Segment) -> tuple[Origin, ...]:
    match segment:
        case Image():
            return segment.origins
        case Thought() | Reflection():
            return tuple(token.origin for token in segment.tokens)
    return (Origin.PERSON,) * len(segment.codes)  # a given image is nobody's sample


def _said(annotated: AnnotatedTrajectory, context: Context) -> dict[str, list[dict[str, Any]]]:
    """The columns of answers, oldest first."""
    columns: dict[str, list[dict[str, Any]]] = {
        name: [] for name in ("verdicts", "regions", "words", "tags", "answers", "skips")
    }
    questions = questions_of(annotated)
    for annotation in in_order(annotated):
        who = {"segment": annotation.segment, "annotator": context.pseudonym(annotation.annotator)}
        decided = {"decided": annotation.decision is not None}
        if (verdict := _verdict(annotated.trajectory, annotation)) is not None:
            columns["verdicts"].append(who | decided | verdict)
        for name, value in Answers(annotation.answers).to_dict().items():
            question = questions[annotation.project].get(name)
            about = who | decided | {"project": annotation.project, "question": name, "seconds": annotation.seconds}
            about |= {"form": question and question.form.name, "value": json.dumps(value, ensure_ascii=False)}
            columns["answers"].append(about)
            match question and question.form:
                case Regions():
                    columns["regions"] += [who | dict.fromkeys(REGION) | region for region in value]
                case Words():
                    columns["words"].append(who | {"words": value})
                case Tags():
                    columns["tags"].append(who | {"tags": value})
    for skip in annotated.skipped:
        who = {"segment": skip.segment, "annotator": context.pseudonym(skip.annotator)}
        columns["skips"].append(who | {"reason": skip.answers.get(SKIP_REASON.name)})
    return columns


def _flag(flag: Flag, context: Context) -> dict[str, str | None]:
    return {
        "annotator": context.pseudonym(flag.person),
        "project": flag.project,
        "note": flag.note,
        "answer": flag.answer,
        "answered_by": flag.answered_by and context.pseudonym(flag.answered_by),
    }


def _verdict(trajectory: Trajectory, annotation: Annotation) -> dict[str, Any] | None:
    segment = None if annotation.segment is None else trajectory.segments[annotation.segment]
    if not isinstance(segment, Reflection):
        return None
    answers = Answers(annotation.answers).to_dict()
    return {
        "model_says": segment.answer,
        "human_says": right_answer(segment, answers) if VERDICT_RIGHT in answers else None,
        "reason": segment.reason,
        "reason_corrected": answers.get(REASON_CORRECTION),
        "rating": answers.get(REASON_RATING),
    }
