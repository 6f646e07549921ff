"""The kind `thought_sft`: target plans for supervised fine-tuning. `labels.plans` has the rule."""

from __future__ import annotations

from collections.abc import Iterator

from datasets import Features, Value

from annotations.export.annotated_trajectories import AnnotatedTrajectory
from annotations.export.kind import IMAGES, MESSAGES, PROVENANCE, Context, Excluded, ExportKind, ExportRow, message
from annotations.export.labels.aggregated_answers import pseudonyms
from annotations.export.labels.drawings import drawing_labels
from annotations.export.labels.plans import READS, Plan, conversation, plans


class ThoughtSft(ExportKind):
    """One row per plan and wording."""

    name = "thought_sft"
    title = "Plans to learn"
    purpose = (
        "Plans that a model should write before it draws: those that people corrected, the model’s own that they rated "
        "good, and those that a person wrote to see what is drawn from it (`source` is `correction`, `rating` or "
        "`branch`; the last have no annotator). `prompt` has the words of the prompt, and earlier plans, drawings and "
        "reflections of the same trajectory; `completion` is the plan. `weight` makes the wordings of one plan weigh 1 "
        "together. Columns are TRL’s: conversational, images in the prompt only; TRL ends a plan with the end of a "
        "turn, where a drawing begins with the begin-of-image token."
    )
    counted = ("correction", "rating", "branch", "decided")
    advice = "correct plans, or rate them good"
    questions = READS
    forms = ("rating", "text")
    acts = ("plan", "branch", "decision")
    everything = True  # branches that nobody was asked about
    tasks = ("text-generation",)
    trl = "SFTTrainer"
    features = Features(
        {
            "prompt": MESSAGES,
            "completion": MESSAGES,
            "images": IMAGES,
            "source": Value("string"),
            "origin": Value("string"),
            "weight": Value("float64"),
            "rating": Value("float64"),  # of the model's plan: mean, from 0 to 1
            **PROVENANCE,
        }
    )

    def make(self, annotated: AnnotatedTrajectory, context: Context) -> Iterator[ExportRow | Excluded]:
        drawings, _ = drawing_labels(annotated, context)
        for plan in plans(annotated, context, drawings):
            yield plan if isinstance(plan, Excluded) else _row(annotated, plan, context)


def _row(annotated: AnnotatedTrajectory, plan: Plan, context: Context) -> ExportRow:
    messages, pictures = conversation(annotated.trajectory, plan.segment, context)
    values = {
        "prompt": messages,
        "completion": [message("assistant", plan.text)],
        "images": pictures,
        "source": plan.source.value,
        "origin": plan.origin.value,
        "weight": plan.weight,
        "rating": plan.rating,
    }
    columns = plan.provenance_columns(annotated, context)
    return ExportRow(
        values=values | columns,
        answers=plan.answers,
        trajectories=(annotated.trajectory.id,),
        labels=(plan.source.value, *(["decided"] if columns["decided"] else [])),
        people=pseudonyms(plan.people, context),
        size=1000 + sum(len(picture["bytes"]) for picture in pictures),
    )
