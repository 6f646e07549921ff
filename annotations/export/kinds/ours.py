"""The kind `ours`: the studio's trajectory JSON with pictures and answers, for import into another studio.

Columns `trajectory`, `projects` and `annotations` are JSON, as their values differ from row to row; the importing
format `ours` reads them. Annotators are pseudonyms.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from datasets import Features, Value

from annotations.export.annotated_trajectories import AnnotatedTrajectory, AnswerGroup
from annotations.export.kind import IMAGES, Context, Excluded, ExportKind, ExportRow, answers_of, in_order, png
from annotations.schema.annotation import Annotation, Answers
from annotations.schema.forms.registry import FORMS
from annotations.schema.project import Project
from annotations.store.trajectory_columns import pictures_by_position


class Ours(ExportKind):
    """One row per trajectory."""

    name = "ours"
    title = "Everything, for another studio"
    purpose = (
        "Trajectories as the studio stores them (`trajectory`, JSON), each with its pictures byte for byte, the "
        "questions of the projects in which people were asked about it (`projects`, JSON), and what they answered "
        "(`annotations`, JSON), under pseudonyms. Another studio takes the folder: `python -m annotations.importing "
        "FOLDER`."
    )
    counted = ("annotated", "annotations")
    advice = "draw something first"
    forms = tuple(FORMS)
    acts = ("decision", "branch", "verdict", "plan")
    everything = True
    features = Features(
        {
            "prompt": Value("string"),
            "checkpoint": Value("string"),
            "images": IMAGES,
            "trajectory": Value("string"),
            "projects": Value("string"),
            "annotations": Value("string"),
        }
    )

    def make(self, annotated: AnnotatedTrajectory, context: Context) -> Iterator[ExportRow | Excluded]:
        trajectory = annotated.trajectory
        pngs = [context.picture(sha256) for sha256 in sorted(set(pictures_by_position(trajectory).values()))]
        groups = {(group.project.id, group.item, group.segment): group for group in annotated.groups}
        submitted = list(in_order(annotated))
        rows = [_said(a, groups[a.project, a.item, a.segment], context) for a in submitted]
        projects = {group.project.id: _project(group.project) for group in annotated.groups}
        values = {
            "prompt": trajectory.prompt,
            "checkpoint": trajectory.checkpoint,
            "images": [png(picture) for picture in pngs],
            "trajectory": json.dumps(trajectory.to_dict(), ensure_ascii=False),
            "projects": json.dumps(projects, ensure_ascii=False),
            "annotations": json.dumps(rows, ensure_ascii=False),
        }
        yield ExportRow(
            values=values,
            answers=tuple(answer for annotation in submitted for answer in answers_of(annotation)),
            trajectories=(annotated.trajectory.id,),
            labels=(*(["annotated"] if rows else []), *["annotations"] * len(rows)),
            people=tuple({each["annotator"] for each in rows}),
            size=5000 + sum(map(len, pngs)),
        )


def _said(annotation: Annotation, group: AnswerGroup, context: Context) -> dict[str, Any]:
    return {
        "project": annotation.project,
        "segment": annotation.segment,
        "other_id": group.other and group.other.id,
        "annotator": context.pseudonym(annotation.annotator),
        "answers": Answers(annotation.answers).to_dict(),
        "seconds": annotation.seconds,
        "decision": annotation.decision and annotation.decision.value,
    }


def _project(project: Project) -> dict[str, Any]:
    """What answers mean; nobody's name."""
    row = project.to_dict()
    return {name: row[name] for name in ("id", "name", "subject", "questions")}
