"""A project: questions, guidelines, overlap, order, gold share.

Knows questions; no database. `annotations.store.projects` stores it, `annotations.queue` follows it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from annotations.errors import ProjectError
from annotations.schema.field_types import is_storable
from annotations.schema.question_targets import PAIR
from annotations.schema.questions import Question, check_questions

LONGEST_GUIDELINES = 50_000  # characters
MOST_OVERLAP = 100
MOMENTS = ("created_at", "closed_at", "archived_at")
MOST_REASONS, LONGEST_REASON = 9, 300  # stock reasons, which have the keys 1 to 9; characters
MOST_EXAMPLES, LONGEST_NOTE = 24, 300  # pictures of the guidelines; characters


class Role(StrEnum):
    """What a person may do. Each role may do what those before it may, but annotators see no results, which could
    sway them."""

    VISITOR = "visitor"
    GUEST = "guest"  # sees projects, items and results, and changes nothing
    ANNOTATOR = "annotator"
    REVIEWER = "reviewer"
    ADMIN = "admin"

    def includes(self, other: "Role") -> bool:
        order = list(Role)
        if other is Role.GUEST and self is Role.ANNOTATOR:
            return False
        return order.index(self) >= order.index(other)


class Order(StrEnum):
    """Which item comes first, among those of one priority."""

    OLDEST = "oldest"
    NEWEST = "newest"
    MARGIN = "margin"  # where the model was least sure of a verdict
    DISAGREEMENT = "disagreement"  # where the answers so far differ most
    ACQUISITION_SCORE = "expected_use"  # where an answer is expected to teach most (`metrics/acquisition_score.py`)


class Skipping(StrEnum):
    """What a skip does."""

    OTHERS = "others"  # others are asked instead
    LATER = "later"  # it comes back to this person, last
    EVERYBODY = "everybody"  # nobody is asked any more


class ItemPurpose(StrEnum):
    """What an item is for."""

    WORK = "work"
    GOLD = "gold"  # its right answers are known, and compared without a word
    PRACTICE = "practice"  # … and shown afterwards


@dataclass(frozen=True)
class GuidelineExample:
    """A picture that the guidelines show: an image of a trajectory, and what it is an example of."""

    trajectory_id: str
    segment: int  # of the image
    note: str = ""

    @staticmethod
    def from_dict(row: Mapping[str, Any]) -> "GuidelineExample":
        return GuidelineExample(str(row["trajectory_id"]), int(row["segment"]), str(row.get("note", "")))


@dataclass(frozen=True)
class Project:
    """`subject` is what an item is done with, once each such thing in it is answered; other questions may be
    answered besides.
    """

    id: str  # small letters, digits and -, as it stands in an address
    name: str
    questions: tuple[Question, ...]
    subject: str
    guidelines: str = ""  # Markdown
    overlap: int | None = 1  # how many people answer one item; None is as many as come
    gold_share: float = 0.0  # of what a person is given
    practice: int = 0  # items that a new annotator answers first
    role: Role = Role.ANNOTATOR  # the least that sees it
    people: tuple[str, ...] = ()  # the only ones who see it; empty is everybody in the role
    skipping: Skipping = Skipping.OTHERS
    order: Order = Order.OLDEST
    collects: bool = False  # whether every new trajectory that has its subject becomes an item
    hides_verdict: bool = False  # whether a person answers before they see what the model says
    reasons: tuple[str, ...] = ()  # stock reasons, offered on keys
    examples: tuple[GuidelineExample, ...] = ()  # pictures of the guidelines
    created_at: datetime | None = field(default=None, compare=False)  # UTC
    closed_at: datetime | None = field(default=None, compare=False)  # since when nothing is asked
    archived_at: datetime | None = field(default=None, compare=False)  # since when it is in no list but the archive's

    def is_open_to(self, name: str, role: Role) -> bool:
        """Whether this person may see it; an admin may always."""
        if role is Role.ADMIN:
            return True
        return role.includes(self.role) and (not self.people or name in self.people)

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        row = dict(vars(self)) | {"questions": [q.to_dict() for q in self.questions]}
        row |= {"people": list(self.people), "reasons": list(self.reasons)}
        row |= {"examples": [dict(vars(example)) for example in self.examples]}
        return row | {name: row[name] and row[name].isoformat() for name in MOMENTS}

    @staticmethod
    def from_dict(row: Mapping[str, Any]) -> "Project":
        """Raises ProjectError for what is no project."""
        known = dict(row)
        try:
            known["questions"] = tuple(Question.from_dict(question) for question in row["questions"])
            known |= {name: tuple(row.get(name, ())) for name in ("people", "reasons")}
            known["examples"] = tuple(GuidelineExample.from_dict(example) for example in row.get("examples", ()))
            for name, kind in (("role", Role), ("skipping", Skipping), ("order", Order)):
                if name in row:
                    known[name] = kind(row[name])
            for name in MOMENTS:
                if isinstance(row.get(name), str):
                    known[name] = datetime.fromisoformat(row[name])
            return Project(**known)
        except (KeyError, TypeError, ValueError) as error:
            raise ProjectError(f"this is no project: {error}; wanted id, name, questions and subject") from error


def check_project(project: Project) -> None:
    """Raises ProjectError for an impossible project, and says why."""
    check_questions(project.questions)
    if not project.name.strip():
        raise ProjectError("the project has no name; give one of 1 to 120 characters")
    problem = _problem(project)
    if problem:
        raise ProjectError(f"the project “{project.name[:80]}” {problem}")


def _problem(project: Project) -> str | None:
    letters = set("abcdefghijklmnopqrstuvwxyz0123456789-")
    if not 0 < len(project.id) <= 64 or not set(project.id) <= letters:
        return f"has the id {project.id[:80]!r}; wanted at most 64 small letters, digits and -"
    if len(project.name) > 120:
        return f"has a name of {len(project.name)} characters; wanted at most 120"
    if len(project.guidelines) > LONGEST_GUIDELINES or not is_storable(project.guidelines + project.name):
        return f"has guidelines that cannot be stored; wanted at most {LONGEST_GUIDELINES} plain characters"
    asked = {question.segment for question in project.questions}
    if project.subject not in asked:
        return f"is about a {project.subject}, but asks only about: {', '.join(sorted(asked))}"
    if (PAIR in asked) and (project.subject != PAIR or project.collects):
        return "asks about pairs; then its subject is a pair, and its items are put into it by hand"
    if not any(question.required for question in project.questions if question.segment == project.subject):
        return f"requires no answer about its {project.subject}; make at least one question required"
    if project.overlap is not None and not 1 <= project.overlap <= MOST_OVERLAP:
        return f"has an overlap of {project.overlap}; wanted 1 to {MOST_OVERLAP}, or none for as many as come"
    if not 0 <= project.gold_share <= 0.5:
        return f"has a share of gold of {project.gold_share}; wanted 0 to 0.5"
    if not 0 <= project.practice <= 100:
        return f"begins with {project.practice} practice items; wanted 0 to 100"
    return _problem_of_lists(project)


def _problem_of_lists(project: Project) -> str | None:
    texts = [*((each, LONGEST_REASON) for each in project.reasons), *((e.note, LONGEST_NOTE) for e in project.examples)]
    if any(len(each) > longest or not is_storable(each) for each, longest in texts):
        return f"has a stock reason or a note that cannot be stored; wanted at most {LONGEST_REASON} plain characters"
    if len(project.reasons) > MOST_REASONS or not all(each.strip() for each in project.reasons):
        return f"has {len(project.reasons)} stock reasons; wanted at most {MOST_REASONS}, none of them blank"
    if len(project.examples) > MOST_EXAMPLES:
        return f"has {len(project.examples)} pictures in its guidelines; wanted at most {MOST_EXAMPLES}"
    return None
