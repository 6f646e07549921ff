"""The contract of an export kind: an annotated trajectory in, rows and exclusions with their reasons out.

A kind is one class in one file of `kinds` (training here and in TRL) or `formats` (layouts of others), and a line in
`registry`; README and studio call the kinds of `formats` formats. It sees values only; pictures come from the context.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from datasets import Features, Image, List, Value

from annotations.export.aggregate.votes import Votes
from annotations.export.annotated_trajectories import AnnotatedTrajectory, AnswerGroup
from annotations.export.query import Query
from annotations.schema.annotation import Annotation
from annotations.schema.questions import Question

MESSAGES = List({"role": Value("string"), "content": List({"type": Value("string"), "text": Value("string")})})
IMAGES = List(Image())
PROVENANCE = {  # columns of every kind that has no layout of others'
    "project": Value("string"),
    "trajectory_id": Value("string"),
    "segment": Value("int64"),  # null: about the whole trajectory, or a pair
    "checkpoint": Value("string"),
    "annotator": Value("string"),  # pseudonym; null: of several people, or nobody's
    "decided": Value("bool"),  # by a reviewer
    "votes": Value("int64"),  # people who answered
    "agreement": Value("float64"),  # the label's weight among their votes; 1 where a reviewer decided
}
ACTS = (  # of people, beside answers to questions
    "branch",  # a drawing continued from a changed segment
    "plan",  # a plan that a person wrote, in a branch
    "verdict",  # a verdict or reason that a person wrote, in a branch
    "skip",  # with a reason perhaps
    "flag",  # a note for the reviewers, and their answer
    "decision",  # a reviewer's
)
Answer = tuple[int, str]  # a revision and the name of the question that it answers


@dataclass(frozen=True)
class ExportRow:
    """One row of an export, and what it was made from."""

    values: Mapping[str, Any]
    answers: tuple[Answer, ...] = ()
    trajectories: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()  # under which it is counted
    people: tuple[str, ...] = ()  # pseudonyms
    files: Mapping[str, bytes] = field(default_factory=dict)  # beside the row, by relative path: layouts with files
    size: int = 1000  # bytes in memory, about


@dataclass(frozen=True)
class Excluded:
    """Answers that make no row, and why."""

    reason: str
    answers: tuple[Answer, ...] = ()


@dataclass(frozen=True)
class ExportedElsewhere:
    """Answers that are in a row of another trajectory."""

    answers: tuple[Answer, ...] = ()


class Context(ABC):
    """What a kind may ask for beside the trajectory."""

    query: Query

    @abstractmethod
    def picture(self, sha256: str) -> bytes:
        """The PNG. Raises NotFoundError where it was deleted a moment ago, PictureError where it is damaged."""

    @abstractmethod
    def pseudonym(self, annotator: str) -> str: ...

    @abstractmethod
    def imported(self, ids: Sequence[str], format: str) -> list[dict[str, Any]]:
        """The records from which trajectories were imported together, as they stood in files of the format."""

    @abstractmethod
    def same_prompt(self, annotated: AnnotatedTrajectory) -> Sequence[AnnotatedTrajectory]:
        """Other trajectories of its prompt with answers in projects that ask for ratings: the nearest before and after
        it. Of each two of a prompt either both see the other, or neither does."""

    @abstractmethod
    def votes(self, group: AnswerGroup, question: str, part: str | None = None) -> Votes | None:
        """What was answered to one question about one thing, aggregated as the query says; None: by nobody. `part`: of
        the parts by which the question's form compares answers, this one only."""


class ExportKind(ABC):
    """One kind of data set."""

    name: ClassVar[str]
    title: ClassVar[str]  # a few words, for a menu
    purpose: ClassVar[str]  # a sentence or two, for the card
    features: ClassVar[Features]
    counted: ClassVar[tuple[str, ...]] = ()  # labels that the manifest counts
    advice: ClassVar[str] = "submit an answer first"
    forms: ClassVar[tuple[str, ...]] = ()  # of the questions whose answers its rows are made from
    questions: ClassVar[tuple[str, ...]] = ()  # names of these questions; empty: all of its forms
    acts: ClassVar[tuple[str, ...]] = ()  # ACTS that its rows are made from
    everything: ClassVar[bool] = False  # whether trajectories without annotations make rows, too
    layout: ClassVar[str] = "parquet"  # of its files; `writers` has them
    tasks: ClassVar[tuple[str, ...]] = ("other",)  # of the Hub
    trl: ClassVar[str] = ""  # the trainer of TRL that takes it as it is
    unused: ClassVar[str] = ""  # the reason of answers that `make` says nothing about; empty: there are none

    def reads(self, question: Question) -> bool:
        """Whether answers to a question become rows, or exclusions with their reasons."""
        return question.name in self.questions if self.questions else question.form.name in self.forms

    def file_name(self, split: str) -> str | None:
        """Of a layout that is one file per split: where it lies in the folder; None: where its layout says."""
        return None

    def rows(self, annotated: AnnotatedTrajectory, context: Context) -> Iterator[ExportRow | Excluded]:
        """Rows and exclusions; every answer that the kind reads is in at least one of them."""
        used: set[Answer] = set()
        for row in self.make(annotated, context):
            used.update(row.answers)
            if not isinstance(row, ExportedElsewhere):
                yield row
        if not self.unused:
            return
        read = {g.project.id: sorted(q.name for q in g.project.questions if self.reads(q)) for g in annotated.groups}
        for annotation in in_order(annotated):
            answers = answers_of(annotation, read[annotation.project])
            if rest := tuple(answer for answer in answers if answer not in used):
                yield Excluded(self.unused, rest)

    @abstractmethod
    def make(
        self, annotated: AnnotatedTrajectory, context: Context
    ) -> Iterable[ExportRow | Excluded | ExportedElsewhere]:
        """Rows, and answers that make none."""


def answers_of(annotation: Annotation, names: Iterable[str] | None = None) -> tuple[Answer, ...]:
    """The answers of an annotation, or those of them that are named."""
    chosen = annotation.answers if names is None else [name for name in names if name in annotation.answers]
    return tuple((annotation.id or 0, name) for name in chosen)


def questions_of(annotated: AnnotatedTrajectory) -> dict[str, dict[str, Question]]:
    """The questions that are asked today, by project and name."""
    projects = {group.project.id: group.project for group in annotated.groups}
    return {id: {question.name: question for question in project.questions} for id, project in projects.items()}


def provenance(
    annotated: AnnotatedTrajectory, group: AnswerGroup, votes: Votes | None, annotator: str | None = None
) -> dict[str, Any]:
    """The columns PROVENANCE of a row."""
    return {
        "project": group.project.id,
        "trajectory_id": annotated.trajectory.id,
        "segment": group.segment,
        "checkpoint": annotated.trajectory.checkpoint,
        "annotator": annotator,
        "decided": group.decision is not None,
        "votes": votes.count if votes else len(group.people),
        "agreement": votes.agreement if votes else None,
    }


def message(role: str, *parts: str | None) -> dict[str, Any]:
    """One message of TRL's; a part that is None is a place for the next image."""
    return {"role": role, "content": [{"type": "image" if part is None else "text", "text": part} for part in parts]}


def png(data: bytes) -> dict[str, Any]:
    """A picture as `datasets.Image` stores it."""
    return {"bytes": data, "path": None}


def in_order(annotated: AnnotatedTrajectory) -> Iterator[Annotation]:
    """All annotations of a trajectory, oldest first."""
    every: list[Annotation] = []
    for group in annotated.groups:
        every += [*group.people, *group.overruled, *([group.decision] if group.decision else [])]
    return iter(sorted(every, key=lambda annotation: annotation.id or 0))


ProgressCallback = Callable[[int, int], None]
