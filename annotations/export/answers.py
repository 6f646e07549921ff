"""The kind `answers`: every answer that counts, one row each, in a column of its form; decisions are marked.

Knows annotations, questions and trajectories; no pictures, which are in the studio by the trajectory's id.
"""

from collections.abc import Callable, Iterator
from typing import Any

from datasets import Features, List, Value

from annotations.export.manifest import Tally
from annotations.schema.annotation import Answers
from annotations.schema.forms.question_form import Feature
from annotations.schema.forms.registry import FORMS
from annotations.store.store import Store

ROW_BYTES = 1000  # about, in memory
AT_ONCE = 100  # annotations whose trajectories are read from the store in one go


def _feature(feature: Feature) -> Any:
    """The same as a feature of `datasets`."""
    if isinstance(feature, str):
        return Value(feature)
    if isinstance(feature, list):
        return List(_feature(feature[0]))
    return {name: _feature(field) for name, field in feature.items()}


FEATURES = Features(
    {
        "project": Value("string"),
        "question": Value("string"),
        "title": Value("string"),
        "form": Value("string"),
        "prompt": Value("string"),
        "trajectory_id": Value("string"),
        "segment": Value("int64"),  # null: about all of it, or about a pair
        "annotator": Value("string"),
        "decision": Value("string"),  # null: no reviewer's
        "seconds": Value("float64"),  # spent on the annotation that the answer is part of
        **{form.name: _feature(form.feature) for form in FORMS.values()},
    }
)


def answer_rows(
    store: Store, tally: Tally, on_progress: Callable[[int, int], None]
) -> Iterator[tuple[dict[str, Any], int]]:
    """(a row, about how many bytes it has) for every answer of what is submitted and visible; practice is left out."""
    submitted = store.counted()
    names = store.pseudonyms({annotation.annotator for annotation in submitted})
    questions = {project.id: {q.name: q for q in project.questions} for project in store.projects()}
    for start in range(0, len(submitted), AT_ONCE):
        some = submitted[start : start + AT_ONCE]
        found = store.trajectories_by_id(list({annotation.trajectory_id for annotation in some}))
        for done, annotation in enumerate(some, start=start + 1):
            on_progress(done, len(submitted))
            if (trajectory := found.get(annotation.trajectory_id)) is None:
                tally.left_out["trajectory deleted meanwhile"] += 1
                continue
            about = {
                "project": annotation.project,
                "prompt": trajectory.prompt,
                "trajectory_id": trajectory.id,
                "segment": annotation.segment,
                "annotator": names[annotation.annotator],
                "decision": annotation.decision and annotation.decision.value,
                "seconds": float(annotation.seconds),
            }
            for name, value in Answers(annotation.answers).to_dict().items():
                if (question := questions[annotation.project].get(name)) is None:
                    tally.left_out["its question is not asked any more"] += 1
                    continue
                form = question.form
                tally.rows.update(["examples", form.name, *(["decided"] if annotation.decision else [])])
                tally.annotators.add(about["annotator"])
                tally.trajectories.add(trajectory.id)
                tally.checkpoints.add(trajectory.checkpoint)
                row = about | {"question": name, "title": question.title, "form": form.name}
                yield row | {form.name: form.column(value)}, ROW_BYTES
