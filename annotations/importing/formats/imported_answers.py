"""The answers in an imported record, and the projects that they belong to.

Formats whose records hold people's labels have a PROJECT of these and a function `answers` of a record and the ids of
its trajectories. Values only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from annotations.schema.forms.choice import Choice
from annotations.schema.forms.preference import Preference
from annotations.schema.forms.rating import Rating
from annotations.schema.forms.words import Words
from annotations.schema.project import Project, Role
from annotations.schema.question_targets import PAIR
from annotations.schema.questions import NO, YES, Question
from model.trajectory import Image


@dataclass(frozen=True)
class ImportedAnswers:
    """One person's answers in a record. `gold`: an item's right answers instead, told as `because`."""

    trajectory_id: str
    other_id: str | None  # the second of a pair
    segment: int | None
    answers: Mapping[str, Any]
    annotator: str
    gold: bool = False
    because: str = ""
    seconds: float = 0.0  # spent on it
    decision: str | None = None  # a reviewer's: its kind
    project: Project | None = None  # None: the format's PROJECT


def preference(ids: Sequence[str], choice: str, annotator: str) -> ImportedAnswers:
    """Of a pair, the first of which counts as left."""
    vote = {"choice": choice, "left": ids[0], "right": ids[1]}
    return ImportedAnswers(ids[0], ids[1], None, {"preference": vote}, annotator)


def imported_project(id: str, name: str, subject: str, *questions: Question) -> Project:
    """A project in which nobody is asked again unless somebody wants it."""
    return Project(
        id=id,
        name=name,
        questions=questions,
        subject=subject,
        guidelines="Its answers came with imported files.",
        overlap=None,
        role=Role.REVIEWER,
    )


PAIRS = imported_project(
    "imported-pairs",
    "Imported pairs",
    PAIR,
    Question("preference", PAIR, Preference(), "Which one is better?", required=True),
)
RICH = imported_project(
    "imported-rich-feedback",
    "Imported rich feedback",
    Image.kind,
    Question("overall_score", Image.kind, Rating(), "How good is it, all in all?", required=True),
    Question("aesthetics_score", Image.kind, Rating(), "How does it look?"),
    Question("artifact_score", Image.kind, Rating(), "How free of artifacts is it?"),
    Question("misalignment_score", Image.kind, Rating(), "How well does it show what was asked for?"),
    Question("words_not_drawn", Image.kind, Words(), "Which words were not drawn?"),
)
EXPERTS = imported_project(
    "imported-gold",
    "Imported gold",
    Image.kind,
    Question("shows_prompt", Image.kind, Choice((YES, NO)), "Does it show what was asked for?", required=True),
)
