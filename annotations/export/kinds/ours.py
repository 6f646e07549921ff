"""The kind `ours`: trajectories with their pictures and all that people said of them, for another studio.

One JSON object per line, as the importing format `ours` reads it: {"trajectory": …, "pictures": {sha256: PNG in
base64}, "projects": {id: …}, "annotations": […]}. Annotators are pseudonyms.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

from datasets import Features, Value

from annotations.export.kind import Context, Kind, LeftOut, Row, answers_of, in_order
from annotations.export.subjects import Group, Subject
from annotations.schema.annotation import Annotation, Answers
from annotations.schema.forms.registry import FORMS
from annotations.schema.project import Project
from annotations.store.trajectory_columns import pictures_of


class Ours(Kind):
    """One row per trajectory."""

    name = "ours"
    title = "Everything, for another studio"
    purpose = (
        "Trajectories as the studio stores them, each with its pictures (PNG in base64, by SHA-256), the questions of "
        "the projects in which people were asked about it, and what they answered, under pseudonyms. Another studio "
        "takes the file back: `python -m annotations.importing train.jsonl --format ours`."
    )
    counted = ("annotated", "annotations")
    advice = "draw something first"
    carries = (*FORMS, "decision", "branch", "verdict", "plan")
    everything = True
    layout = "jsonl"
    features = Features(
        {
            "trajectory": Value("string"),
            "pictures": Value("string"),
            "projects": Value("string"),
            "annotations": Value("string"),
        }
    )

    def rows(self, subject: Subject, context: Context) -> Iterator[Row | LeftOut]:
        pngs = {sha256: context.picture(sha256) for sha256 in sorted(set(pictures_of(subject.trajectory).values()))}
        groups = {(group.project.id, group.item, group.segment): group for group in subject.groups}
        submitted = list(in_order(subject))
        said = [_said(a, groups[a.project, a.item, a.segment], context) for a in submitted]
        projects = {group.project.id: _project(group.project) for group in subject.groups}
        values = {
            "trajectory": subject.trajectory.to_dict(),
            "pictures": {sha256: base64.b64encode(png).decode() for sha256, png in pngs.items()},
            "projects": projects,
            "annotations": said,
        }
        yield Row(
            values=values,
            answers=tuple(answer for annotation in submitted for answer in answers_of(annotation)),
            trajectories=(subject.trajectory.id,),
            labels=(*(["annotated"] if said else []), *["annotations"] * len(said)),
            people=tuple({one["annotator"] for one in said}),
            size=5000 + sum(map(len, pngs.values())) * 4 // 3,
        )


def _said(annotation: Annotation, group: Group, context: Context) -> dict[str, Any]:
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
