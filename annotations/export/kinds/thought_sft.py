"""The kind `thought_sft`: what a plan should be, to be learnt as it stands. `labels.plans` has the rule."""

from __future__ import annotations

from collections.abc import Iterator

from datasets import Features, Value

from annotations.export.kind import IMAGES, MESSAGES, PROVENANCE, Context, ExportKind, ExportRow, LeftOut, message
from annotations.export.labels.drawings import standings
from annotations.export.labels.opinions import pseudonyms
from annotations.export.labels.plans import READS, Plan, conversation, plans
from annotations.export.subjects import Subject
from annotations.schema.questions import Question


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
    carries = ("rating", "text", "plan", "branch", "decision")
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

    def reads(self, question: Question) -> bool:
        return question.name in READS

    def rows(self, subject: Subject, context: Context) -> Iterator[ExportRow | LeftOut]:
        drawings, _ = standings(subject, context)
        for plan in plans(subject, context, drawings):
            yield plan if isinstance(plan, LeftOut) else _row(subject, plan, context)


def _row(subject: Subject, plan: Plan, context: Context) -> ExportRow:
    messages, pictures = conversation(subject.trajectory, plan.segment, context)
    values = {
        "prompt": messages,
        "completion": [message("assistant", plan.text)],
        "images": pictures,
        "source": plan.source.value,
        "origin": plan.origin.value,
        "weight": plan.weight,
        "rating": plan.rating,
    }
    beside = plan.beside(subject, context)
    return ExportRow(
        values=values | beside,
        answers=plan.answers,
        trajectories=(subject.trajectory.id,),
        labels=(plan.source.value, *(["decided"] if beside["decided"] else [])),
        people=pseudonyms(plan.people, context),
        size=1000 + sum(len(picture["bytes"]) for picture in pictures),
    )
