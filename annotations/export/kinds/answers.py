"""The kind `answers`: every answer that counts, one row each, in a column of its form; decisions are marked.

No pictures: those are in the studio by the trajectory's id.
"""

from collections.abc import Iterator
from typing import Any

from datasets import Features, List, Value

from annotations.export.annotated_trajectories import AnnotatedTrajectory
from annotations.export.kind import Context, Excluded, ExportKind, ExportRow, in_order, questions_of
from annotations.schema.annotation import Answers
from annotations.schema.forms.question_form import Feature
from annotations.schema.forms.registry import FORMS


def _feature(feature: Feature) -> Any:
    """The same as a feature of `datasets`."""
    if isinstance(feature, str):
        return Value(feature)
    if isinstance(feature, list):
        return List(_feature(feature[0]))
    return {name: _feature(field) for name, field in feature.items()}


class AnswersKind(ExportKind):
    """One row per answer, whatever it is."""

    name = "answers"
    title = "Every answer"
    purpose = (
        "What people answered about drawings of a model, one answer per row: `project`, `question` and `title` say "
        "to what, `trajectory_id` and `segment` about what, and the column that is named by its `form` holds it; the "
        "other forms' columns are null. `decision` says of what kind a reviewer's decision is (`accepted`, `rejected`, "
        "`rewritten`); null are the answers of everybody else. Regions are boxes and points in fractions of the image, "
        "`words` are indices of words of the `prompt`, which is split at white space, a `preference` names the "
        "trajectories that stood on the left and on the right."
    )
    counted = (*FORMS, "decided")
    forms = tuple(FORMS)
    acts = ("decision",)
    features = Features(
        {
            "project": Value("string"),
            "question": Value("string"),
            "title": Value("string"),
            "form": Value("string"),
            "prompt": Value("string"),
            "trajectory_id": Value("string"),
            "segment": Value("int64"),  # null: about all of it, or about a pair
            "checkpoint": Value("string"),
            "annotator": Value("string"),
            "decision": Value("string"),  # null: no reviewer's
            "seconds": Value("float64"),  # spent on the annotation that the answer is part of
            **{form.name: _feature(form.feature) for form in FORMS.values()},
        }
    )

    def make(self, annotated: AnnotatedTrajectory, context: Context) -> Iterator[ExportRow | Excluded]:
        trajectory = annotated.trajectory
        questions = questions_of(annotated)
        for annotation in in_order(annotated):
            annotator = context.pseudonym(annotation.annotator)
            about = {
                "project": annotation.project,
                "prompt": trajectory.prompt,
                "trajectory_id": trajectory.id,
                "segment": annotation.segment,
                "checkpoint": trajectory.checkpoint,
                "annotator": annotator,
                "decision": annotation.decision and annotation.decision.value,
                "seconds": float(annotation.seconds),
            }
            for name, value in Answers(annotation.answers).to_dict().items():
                answers = ((annotation.id or 0, name),)
                if (question := questions[annotation.project].get(name)) is None:
                    yield Excluded("its question is not asked any more", answers)
                    continue
                form = question.form
                values = about | {"question": name, "title": question.title, "form": form.name}
                labels = (form.name, *(["decided"] if annotation.decision else []))
                values[form.name] = form.column(value)
                yield ExportRow(values, answers, (trajectory.id,), labels, (annotator,))
