"""The sheet of an item as JSON for the page's script, and annotations from what comes back.

Knows projects, questions and trajectories; no store and no page. What comes back is somebody's input. Of a pair, the
page learns which picture stands left, never who drew it; which one that was is added to the answer here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from annotations.errors import AnswerError
from annotations.schema.annotation import Annotation, Answers
from annotations.schema.project import Project
from annotations.schema.questions import Question, questions_about
from annotations.schema.subjects import PAIR, WHOLE
from annotations.store.items import subjects_of
from model.trajectory import Image, Reflection, Source, Thought, Trajectory
from studio.annotate.item_token import ItemToken
from studio.components.render import SMOOTH, data_url, rounds_of, width_of

PictureOf = Callable[[str], bytes | None]  # the PNG of a hash, None where it is lost
Kept = Mapping[int | None, Answers]  # what somebody has said so far, by segment

LONGEST = 200_000  # characters of a filled-in sheet
ALL = "all"  # instead of a segment: the whole of it
UNREADABLE = "what this page sent does not fit what is asked; load it again"


@dataclass(frozen=True)
class Sheet:
    """What is on the table: an item of a project. Of a pair, `left` is the id of what stands left, for this person."""

    project: Project
    trajectory: Trajectory
    other: Trajectory | None = None
    left: str | None = None

    @property
    def right(self) -> str | None:
        ids = (self.trajectory.id, self.other.id) if self.other is not None else (None, None)
        return ids[1] if self.left == ids[0] else ids[0]


@dataclass(frozen=True)
class SheetSubject:
    """What some of the questions are about."""

    segment: int | None
    pane: int | None  # the picture that it is shown with; None with any of them
    said: str  # what the model wrote there
    questions: tuple[Question, ...]
    needed: bool  # whether the item is not done without it

    @property
    def key(self) -> str:
        return ALL if self.segment is None else str(self.segment)


@dataclass(frozen=True)
class Pane:
    """A picture, and the segments that belong to it."""

    name: str
    sha256: str | None
    segments: frozenset[int] = frozenset()


def panes_of(sheet: Sheet) -> list[Pane]:
    """The pictures: of a pair the last of each, left and right; else all that were finished."""
    if sheet.other is not None:
        sides = sorted((sheet.trajectory, sheet.other), key=lambda one: one.id != sheet.left)
        return [Pane(name, _last(one)) for name, one in zip(("Left", "Right"), sides, strict=True)]
    made = []
    for shown in rounds_of(sheet.trajectory):
        for _, segment in shown.segments:
            if isinstance(segment, Image | Source) and segment.finished:
                name = f"Image {shown.number}" if shown.number else "The image given"
                made.append(Pane(name, segment.sha256, frozenset(dict(shown.segments))))
    return made


def _last(trajectory: Trajectory) -> str | None:
    return next((image.sha256 for image in reversed(trajectory.images) if image.sha256), None)


def things_of(sheet: Sheet) -> list[SheetSubject]:
    """All that is asked about, in the order in which it was drawn; what is about all of it comes last."""
    project, trajectory = sheet.project, sheet.trajectory
    if sheet.other is not None:
        return [SheetSubject(None, None, "", questions_about(PAIR, project.questions), needed=True)]
    panes, needed, made = panes_of(sheet), set(subjects_of(project, trajectory)), []
    for index, segment in enumerate(trajectory.segments):
        asked = questions_about(segment.kind, project.questions)
        if asked and segment.finished:
            pane = next((number for number, pane in enumerate(panes) if index in pane.segments), None)
            said = segment.text.strip() if isinstance(segment, Thought | Reflection) else ""
            made.append(SheetSubject(index, pane, said, asked, index in needed))
    if asked := questions_about(WHOLE, project.questions):
        made.append(SheetSubject(None, None, "", asked, None in needed))
    return made


def value_of(sheet: Sheet, showing: ItemToken, kept: Kept, picture: PictureOf) -> dict[str, Any]:
    """The value of the component."""
    things = things_of(sheet)
    return {
        "key": showing.key,
        "pair": sheet.other is not None,
        "panes": [_pane(pane, picture) for pane in panes_of(sheet)],
        "things": [_thing(thing, sheet.trajectory) for thing in things],
        "answers": {thing.key: _told(sheet, kept.get(thing.segment, Answers())) for thing in things},
    }


def _pane(pane: Pane, picture: PictureOf) -> dict[str, Any]:
    png = picture(pane.sha256) if pane.sha256 else None
    if png is None:
        return {"name": pane.name, "src": None}
    return {"name": pane.name, "src": data_url(png), "smooth": width_of(png) > SMOOTH}


def _thing(thing: SheetSubject, trajectory: Trajectory) -> dict[str, Any]:
    return {
        "key": thing.key,
        "pane": thing.pane,
        "said": thing.said,
        "needed": thing.needed,
        "questions": [_question(question, trajectory) for question in thing.questions],
    }


def _question(question: Question, trajectory: Trajectory) -> dict[str, Any]:
    asked = {name: getattr(question, name) for name in ("name", "title", "help", "required")}
    choices = [list(choice) for choice in question.form.choices_for(trajectory)]
    return asked | {"form": question.form.name, "choices": choices}


def _told(sheet: Sheet, answers: Answers) -> dict[str, Any]:
    """As the page keeps them."""
    forms = {question.name: question.form for question in sheet.project.questions}
    return {
        name: forms[name].to_page(value, sheet.left) if name in forms else value
        for name, value in answers.to_dict().items()
    }


# The way back


def annotations_of(sheet: Sheet, showing: ItemToken, filled: str | None, annotator: str) -> list[Annotation]:
    """What is handed in: about everything that the item needs, and whatever else something was said of.

    Raises AnswerError for what is no filled-in sheet; whether the answers fit is checked by who stores them.
    """
    needed = {thing.segment for thing in things_of(sheet) if thing.needed}
    return [a for a in _all(sheet, showing, filled, annotator) if a.segment in needed or a.answers]


def unfinished(sheet: Sheet, showing: ItemToken, filled: str | None, annotator: str, kept: Kept) -> list[Annotation]:
    """What is not as it was kept before, of a sheet that is not filled in yet. Raises AnswerError."""
    return [a for a in _all(sheet, showing, filled, annotator) if a.answers != kept.get(a.segment, Answers())]


def _all(sheet: Sheet, showing: ItemToken, filled: str | None, annotator: str) -> list[Annotation]:
    given = _read(filled)
    things = things_of(sheet)
    if set(given) - {thing.key for thing in things}:
        raise AnswerError(UNREADABLE)
    made = []
    for thing in things:
        answers = Answers({name: _whole(sheet, thing, name, v) for name, v in given.get(thing.key, {}).items()})
        seconds = 0.0 if made else showing.seconds()  # counted once
        key = f"{showing.key}-{thing.key}"
        made.append(Annotation(sheet.trajectory.id, thing.segment, annotator, answers, seconds=seconds, key=key))
    return made


def _read(filled: str | None) -> dict[str, dict[str, Any]]:
    if len(filled or "") > LONGEST:
        raise AnswerError(f"got {len(filled)} characters of answers, wanted at most {LONGEST}; shorten them")
    try:
        given = json.loads(filled or "{}")
    except (ValueError, RecursionError) as error:
        raise AnswerError(UNREADABLE) from error
    if not isinstance(given, dict) or not all(isinstance(answers, dict) for answers in given.values()):
        raise AnswerError(UNREADABLE)
    return given


def _whole(sheet: Sheet, thing: SheetSubject, name: str, value: Any) -> Any:
    """The answer that a value of the page stands for."""
    form = next((question.form for question in thing.questions if question.name == name), None)
    return value if form is None else form.from_page(value, sheet.left, sheet.right)
