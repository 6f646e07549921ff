"""The kind `prompts`: prompts with people's mean scores, for reinforcement learning."""

from __future__ import annotations

from collections.abc import Iterator

from datasets import Features, List, Value

from annotations.export.annotated_trajectories import AnnotatedTrajectory
from annotations.export.kind import MESSAGES, Context, Excluded, ExportKind, ExportRow, message
from annotations.export.labels.aggregated_answers import pseudonyms, single_value
from annotations.export.labels.plans import is_narrowed
from annotations.export.labels.scores import DrawingScore, is_scored, scores
from annotations.schema.questions import Question
from model.world.language import PromptError, parse, write_group

NOT_ASKED = "nobody answered about its drawings"


class Prompts(ExportKind):
    """One row per trajectory."""

    name = "prompts"
    title = "Prompts for reinforcement learning"
    purpose = (
        "Prompts for reinforcement learning, one per trajectory, whether people answered about it or not. `prompt` is "
        "conversational, as TRL’s trainers take it, `text` the words alone. Prompts that the embedded world knows have "
        "a `category` and `facts` that must hold of the drawing; of others both are empty. `score` is the mean of what "
        "people hold of the drawings, from 0 to 1, over `scores` criteria and drawings (null: nobody was asked)."
    )
    counted = ("scored", "known")
    advice = "draw something first"
    forms = ("choice", "rating", "facts")
    acts = ("branch", "decision")
    everything = True
    tasks = ("text-to-image",)
    trl = "GRPOTrainer"
    unused = "about no finished drawing"
    features = Features(
        {
            "prompt": MESSAGES,
            "text": Value("string"),
            "category": Value("string"),
            "facts": List(Value("string")),
            "score": Value("float64"),
            "scores": Value("int64"),
            "trajectory_id": Value("string"),
            "parent_id": Value("string"),  # of a branch
            "checkpoint": Value("string"),
            "annotator": Value("string"),
        }
    )

    def reads(self, question: Question) -> bool:
        return is_scored(question)

    def make(self, annotated: AnnotatedTrajectory, context: Context) -> Iterator[ExportRow | Excluded]:
        trajectory = annotated.trajectory
        if not annotated.groups and is_narrowed(context.query):
            yield Excluded(NOT_ASKED)
            return
        made = list(scores(annotated, context))
        yield from (score for score in made if isinstance(score, Excluded))
        ratings = [score for score in made if isinstance(score, DrawingScore) and not score.fact]
        facts = facts_of(trajectory.prompt)
        people = pseudonyms([person for score in ratings for person in score.aggregated.people], context)
        values = {
            "prompt": [message("user", trajectory.prompt)],
            "text": trajectory.prompt,
            "category": annotated.category,
            "facts": facts,
            "score": sum(score.mean for score in ratings) / len(ratings) if ratings else None,
            "scores": len(ratings),
            "trajectory_id": trajectory.id,
            "parent_id": trajectory.parent and trajectory.parent.trajectory_id,
            "checkpoint": trajectory.checkpoint,
            "annotator": single_value(people),
        }
        answers = tuple(answer for score in ratings for answer in score.aggregated.answers)
        labels = (*(["scored"] if ratings else []), *(["known"] if facts else []))
        yield ExportRow(values, answers, (trajectory.id,), labels, people)


def facts_of(prompt: str) -> list[str]:
    """What must hold of a drawing, in words; nothing where the embedded world does not understand the prompt."""
    try:
        description = parse(prompt)
    except PromptError:
        return []
    groups = [write_group(group) for group in description.groups]
    relations = [
        f"{groups[relation.first]} {relation.word} {groups[relation.second]}" for relation in description.relations
    ]
    return [*groups, *relations]
