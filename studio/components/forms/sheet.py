"""Questions about an item as JSON for the script of a page, and annotations from what comes back.

Knows projects, questions and trajectories; no store and no page. What comes back is somebody's input. Of a pair, the
page learns which picture stands left, never who drew it; which one that was is added to the answer here.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import gradio as gr

from annotations.errors import AnswerError
from annotations.schema.annotation import Annotation, Answers
from annotations.schema.forms.registry import FORMS
from annotations.schema.project import Project
from annotations.schema.question_targets import PAIR, WHOLE
from annotations.schema.questions import Question, questions_about
from annotations.store.items import subjects_of
from model.trajectory import Image, Reflection, Source, Thought, Trajectory
from studio.components.render import SMOOTH, data_url, rounds_of, sentence, width_of
from studio.theme import script

PictureOf = Callable[[str], bytes | None]  # the PNG of a hash, None where it is lost
Kept = Mapping[int | None, Answers]  # what somebody has said so far, by segment

LONGEST = 200_000  # characters of a filled-in sheet
ALL = "all"  # instead of a segment: the whole of it
UNREADABLE = "what this page sent does not fit what is asked; load it again"
TEMPLATE = '<section class="sheet" hidden><div class="pictures"></div><div class="asked"></div></section>'
# The last script has the state that the others read.
PARTS = ("options", *FORMS, "pictures", "sheet")
SCRIPTS = ("components/keys.js", *(f"components/forms/{name}.js" for name in PARTS))


@dataclass(frozen=True)
class Otherwise:
    """Other words for a question, once another one about the same thing has a certain answer."""

    question: str  # the name of the other one
    answer: str
    title: str
    help: str


@dataclass(frozen=True)
class Wording:
    """Other words for a question and its choices on this page; what is stored stays the same."""

    title: str
    help: str
    choices: tuple[tuple[str, Any], ...]  # (label, value)


@dataclass(frozen=True)
class SheetTarget:
    """What some of the questions are about."""

    segment: int | None
    pane: int | None  # the picture that it is shown with; None with any of them
    said: str  # what the model wrote there
    questions: tuple[Question, ...]
    needed: bool  # whether the item is not done without it
    name: str = ""  # of its picture, where there are several
    originals: Mapping[str, str] = field(default_factory=dict)  # by question: the text that a person may write anew
    otherwise: Mapping[str, Otherwise] = field(default_factory=dict)  # by question
    unless: Mapping[str, tuple[str, Any]] = field(default_factory=dict)  # by question: another's answer that ends it
    worded: Mapping[str, Wording] = field(default_factory=dict)  # by question
    suggestions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # by question: texts to choose from

    @property
    def key(self) -> str:
        return ALL if self.segment is None else str(self.segment)


@dataclass(frozen=True)
class Sheet:
    """An item of a project as it is shown. Of a pair, `left` is the id of what stands left, for this person."""

    project: Project
    trajectory: Trajectory
    other: Trajectory | None = None
    left: str | None = None
    layout: str = "alone"  # a class for the styles
    pictures: bool = True  # whether it shows the pictures; else they are elsewhere on the page
    spread: bool = False  # whether all questions are seen at once, else those about the picture that is large
    asked: tuple[SheetTarget, ...] = ()  # what is asked about, where that is less than everything

    @property
    def right(self) -> str | None:
        ids = (self.trajectory.id, self.other.id) if self.other is not None else (None, None)
        return ids[1] if self.left == ids[0] else ids[0]


@dataclass(frozen=True)
class Pane:
    """A picture, and the segments that belong to it."""

    name: str
    sha256: str | None
    segments: frozenset[int] = frozenset()


def sheet_component(elem_id: str) -> gr.HTML:
    """A component that shows a `value_of`, or nothing for None."""
    return gr.HTML(None, html_template=TEMPLATE, js_on_load=script(*SCRIPTS), apply_default_css=False, elem_id=elem_id)


def filled_in(elem_id: str, before: int = 2) -> str:
    """The JavaScript by which a page sends what is filled in as the last of its values, after so many others."""
    return f"(...values) => [...values.slice(0, {before}), document.querySelector('#{elem_id} .sheet').filled]"


def panes_of(sheet: Sheet) -> list[Pane]:
    """The pictures: of a pair the last of each, left and right; else all that were finished."""
    if sheet.other is not None:
        sides = sorted((sheet.trajectory, sheet.other), key=lambda side: side.id != sheet.left)
        return [Pane(name, _last(side)) for name, side in zip(("Left", "Right"), sides, strict=True)]
    made = []
    for shown in rounds_of(sheet.trajectory):
        for _, segment in shown.segments:
            if isinstance(segment, Image | Source) and segment.finished:
                name = f"Image {shown.number}" if shown.number else "The image given"
                made.append(Pane(name, segment.sha256, frozenset(dict(shown.segments))))
    return made


def _last(trajectory: Trajectory) -> str | None:
    return next((image.sha256 for image in reversed(trajectory.images) if image.sha256), None)


def sheet_targets(sheet: Sheet) -> list[SheetTarget]:
    """All that is asked about, in the order in which it was drawn; what is about all of it comes last."""
    project, trajectory = sheet.project, sheet.trajectory
    if sheet.asked:
        return list(sheet.asked)
    if sheet.other is not None:
        return [SheetTarget(None, None, "", questions_about(PAIR, project.questions), needed=True)]
    panes, needed, made = panes_of(sheet), set(subjects_of(project, trajectory)), []
    for index, segment in enumerate(trajectory.segments):
        asked = questions_about(segment.kind, project.questions)
        if asked and segment.finished:
            pane = next((number for number, pane in enumerate(panes) if index in pane.segments), None)
            words = segment.text.strip() if isinstance(segment, Thought | Reflection) else ""
            name = panes[pane].name if pane is not None and len(panes) > 1 else ""
            made.append(SheetTarget(index, pane, words, asked, index in needed, name))
    if asked := questions_about(WHOLE, project.questions):
        made.append(SheetTarget(None, None, "", asked, None in needed, "All of it" if made else ""))
    return made


def value_of(sheet: Sheet, key: str, kept: Kept, picture: PictureOf) -> dict[str, Any]:
    """The value of the component; `key` is that of this showing."""
    things = sheet_targets(sheet)
    return {
        "key": key,
        "layout": sheet.layout,
        "pair": sheet.other is not None,
        "spread": sheet.spread,
        "panes": [_pane(pane, picture) for pane in panes_of(sheet)] if sheet.pictures else [],
        "things": [_thing(thing, sheet.trajectory) for thing in things],
        "answers": {thing.key: _to_page(sheet, kept.get(thing.segment, Answers())) for thing in things},
    }


def _pane(pane: Pane, picture: PictureOf) -> dict[str, Any]:
    png = picture(pane.sha256) if pane.sha256 else None
    if png is None:
        return {"name": pane.name, "src": None}
    return {"name": pane.name, "src": data_url(png), "smooth": width_of(png) > SMOOTH}


def _thing(thing: SheetTarget, trajectory: Trajectory) -> dict[str, Any]:
    shown = {name: getattr(thing, name) for name in ("key", "pane", "name", "said", "needed")}
    return shown | {"questions": [_question(question, thing, trajectory) for question in thing.questions]}


def _question(question: Question, thing: SheetTarget, trajectory: Trajectory) -> dict[str, Any]:
    words = thing.worded.get(question.name)
    shown = {"name": question.name, "required": question.required}
    shown |= {name: getattr(words or question, name) for name in ("title", "help")}
    choices = [list(choice) for choice in (words.choices if words else question.form.choices_for(trajectory))]
    more: dict[str, Any] = {"original": thing.originals[question.name]} if question.name in thing.originals else {}
    if question.name in thing.suggestions:
        more["suggestions"] = list(thing.suggestions[question.name])
    if question.name in thing.unless:
        more["unless"] = dict(zip(("question", "answer"), thing.unless[question.name], strict=True))
    if question.name in thing.otherwise:
        more["otherwise"] = asdict(thing.otherwise[question.name])
    return shown | {"form": question.form.name, "choices": choices} | more


def _to_page(sheet: Sheet, answers: Answers) -> dict[str, Any]:
    """Answers as the page keeps them."""
    forms = {question.name: question.form for question in sheet.project.questions}
    return {
        name: forms[name].to_page(value, sheet.left) if name in forms else value
        for name, value in answers.to_dict().items()
    }


# The way back


def annotations_of(
    sheet: Sheet, key: str, filled: str | None, annotator: str, seconds: float = 0.0
) -> list[Annotation]:
    """What is handed in: about everything that the item needs, and whatever else something was said of.

    Raises AnswerError for what is no filled-in sheet; whether the answers fit is checked by who stores them.
    """
    needed = {thing.segment for thing in sheet_targets(sheet) if thing.needed}
    made = _annotations(sheet, key, filled, annotator, seconds)
    return [annotation for annotation in made if annotation.segment in needed or annotation.answers]


def unfinished(
    sheet: Sheet, key: str, filled: str | None, annotator: str, kept: Kept, seconds: float = 0.0
) -> list[Annotation]:
    """What is not as it was kept before, of a sheet that is not filled in yet. Raises AnswerError."""
    made = _annotations(sheet, key, filled, annotator, seconds)
    return [annotation for annotation in made if annotation.answers != kept.get(annotation.segment, Answers())]


def _annotations(sheet: Sheet, key: str, filled: str | None, annotator: str, seconds: float) -> list[Annotation]:
    """One about each thing; the time spent is counted once, of the first."""
    answers, things = _read(filled), sheet_targets(sheet)
    if set(answers) - {thing.key for thing in things}:
        raise AnswerError(UNREADABLE)
    return [
        Annotation(
            sheet.trajectory.id,
            thing.segment,
            annotator,
            _answers(sheet, thing, answers.get(thing.key, {})),
            seconds=0.0 if number else seconds,
            key=f"{key}-{thing.key}",
        )
        for number, thing in enumerate(things)
    ]


def _read(filled: str | None) -> dict[str, dict[str, Any]]:
    if not isinstance(filled, str | None):
        raise AnswerError(UNREADABLE)
    if len(filled or "") > LONGEST:
        raise AnswerError(f"got {len(filled)} characters of answers, wanted at most {LONGEST}; shorten them")
    try:
        values = json.loads(filled or "{}")
    except (ValueError, RecursionError) as error:
        raise AnswerError(UNREADABLE) from error
    if not isinstance(values, dict) or not all(isinstance(answers, dict) for answers in values.values()):
        raise AnswerError(UNREADABLE)
    return values


def _answers(sheet: Sheet, thing: SheetTarget, values: Mapping[str, Any]) -> Answers:
    """The answers that the page's values stand for; a text that is still the original is none."""
    forms = {question.name: question.form for question in thing.questions}
    answers = {}
    for name, value in values.items():
        if sheet.asked and name not in forms:
            continue  # it was not on the page
        if name in thing.originals and isinstance(value, str):
            value = rewritten(value, thing.originals[name])
        answers[name] = forms[name].from_page(value, sheet.left, sheet.right) if name in forms else value
    return Answers(answers)


def rewritten(text: str | None, original: str) -> str | None:
    """The text as a person wrote it, or None where it is the model's own (with or without a capital), or blank."""
    words = " ".join((text or "").split())
    return None if not words or sentence(words) == sentence(" ".join(original.split())) else text
