"""The section of a project's page that edits its questions: add, change, order, remove, preview as annotators see them.

Knows projects and the renderer of sheets. What is answered already keeps its meaning: the store refuses other changes.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple
from uuid import uuid4

import gradio as gr

from annotations.errors import AnnotationsError, ProjectError, redact_paths
from annotations.queue.progress import first_item
from annotations.schema.forms.question_form import QuestionForm
from annotations.schema.forms.registry import FORMS, form_of
from annotations.schema.forms.text import Text
from annotations.schema.names import name_key
from annotations.schema.project import Project, Role
from annotations.schema.question_targets import PAIR, QUESTION_TARGETS, WHOLE
from annotations.schema.questions import Question, check_questions
from model.backends.contract import Domain
from model.trajectory import Image, Reflection, Source, Thought
from studio.annotate.reflection_form import asks_only_about_reflections
from studio.auth.identity import PageHandlers
from studio.components.forms.prompt_facts import for_drawing
from studio.components.forms.sheet import Sheet, sheet_component, sheet_targets, value_of
from studio.components.notices import error_notice, success_notice
from studio.components.page_options import PLAIN, QUICK, stay

NEW = "A new question"
ABOUT = {
    "image": "every image",
    "reflection": "every verdict and its reason",
    "thought": "every plan",
    "source": "the image given",
    WHOLE: "all of the drawing",
    PAIR: "the pair",
}
ON_A_SHEET = (
    Source.kind,
    Thought.kind,
    Image.kind,
    Reflection.kind,
    WHOLE,
    PAIR,
)  # the order in which a sheet asks
NO_DRAWING = '<p class="soft">Put items in first; then the questions are shown here with one of them.</p>'
OPTIONAL = {"choices": "choices", "lowest": "scale", "highest": "scale"}  # by widget: the form's field that it is for


class QuestionFields(NamedTuple):
    """What the form says of a question, in the order of its widgets."""

    title: str
    help: str
    about: str  # of QUESTION_TARGETS
    form: str  # of FORMS
    choices: str  # one a line
    lowest: float | None  # of the scale
    highest: float | None
    required: bool

    @staticmethod
    def of(question: Question) -> "QuestionFields":
        options = question.form.options()
        scale = options.get("scale", (1, 5))
        choices = "\n".join(options.get("choices", ()))
        return QuestionFields(
            question.title, question.help, question.segment, question.form.name, choices, *scale, question.required
        )

    def question(self, name: str) -> Question:
        """Raises ProjectError."""
        try:
            form = form_of({"form": self.form} | self._options(FORMS[self.form]))
        except (KeyError, TypeError, ValueError) as error:
            raise ProjectError(f"choose how “{self.title}” is answered, and give its scale in whole numbers") from error
        return Question(name, self.about, form, (self.title or "").strip(), (self.help or "").strip(), self.required)

    def _options(self, form: type[QuestionForm]) -> dict[str, Any]:
        choices = [line.strip() for line in (self.choices or "").splitlines() if line.strip()]
        known = {"choices": choices, "scale": (int(self.lowest or 0), int(self.highest or 0))}
        return {field.name: known[field.name] for field in fields(form) if field.name in known}


class QuestionEditorView(NamedTuple):
    """What a handler gives back, in the order of the section."""

    chosen: Any  # the menu of questions
    title: Any
    help: Any
    about: Any
    form: Any
    choices: Any
    lowest: Any
    highest: Any
    required: Any
    read: Any  # the chosen question as it is shown, a dict; None for a new one
    sheet: Any
    note: Any


def name_of(title: str, taken: Sequence[str]) -> str:
    """The name under which answers are stored: “How good?” is how_good; with a number where that is taken."""
    words = re.sub(r"[^a-z0-9]+", "_", name_key(title)).strip("_")[:32].strip("_")
    base = words if re.match("[a-z]", words) else "question"
    names = (base, *(f"{base}_{number}" for number in range(2, len(taken) + 3)))
    return next(name for name in names if name not in taken)


def in_order(project: Project) -> list[Question]:
    """The questions as a page asks them: thing after thing, those about one thing in the project's order."""
    if asks_only_about_reflections(project):
        return sorted(project.questions, key=lambda question: question.segment == Thought.kind)
    return sorted(project.questions, key=lambda question: ON_A_SHEET.index(question.segment))


@dataclass(frozen=True)
class QuestionHandlers(PageHandlers):
    """The handlers of the section. Each checks who is asking."""

    domain: Domain = Domain()  # which knows the facts of prompts

    def choose(self, project_id: str, name: str | None, request: gr.Request) -> QuestionEditorView:
        """One of the questions, or the fields of a new one."""
        return self.shown(self._project(project_id, request), name)

    def preview(self, request: gr.Request, project_id: str, name: str | None, *given: Any) -> tuple[Any, str]:
        """(the sheet, a line): the questions as they would be, with nothing stored."""
        try:
            project, _ = self._changed(self._project(project_id, request), name, QuestionFields(*given))
            return self._sheet(project), ""
        except AnnotationsError as error:
            return gr.skip(), error_notice(redact_paths(error))

    def refresh(self, project_id: str, request: gr.Request) -> tuple[Any, str]:
        """(the sheet, a line): the questions that are stored, after items came in."""
        sheet = self._sheet(self._project(project_id, request))
        return sheet, NO_DRAWING if sheet is None else ""

    def keep(
        self, request: gr.Request, project_id: str, name: str | None, shown: dict[str, Any] | None, *given: Any
    ) -> QuestionEditorView:
        """Store the question: a new one last, any other in its place, unless it is not as it was `shown` any more."""
        read = self._project(project_id, request)
        if shown is not None and shown not in [question.to_dict() for question in read.questions]:
            words = f"“{shown['title']}” was changed or removed by somebody else meanwhile, and yours is not stored."
            return stay(QuestionEditorView, f"{words} Load the page again and choose it, to see what it says now.")
        try:
            project, name = self._changed(read, name, QuestionFields(*given))
        except AnnotationsError as error:
            return stay(QuestionEditorView, redact_paths(error))
        return self._stored(project, read, name, "Stored. Whoever answers from now on sees it.")

    def move(self, project_id: str, name: str | None, by: int, request: gr.Request) -> QuestionEditorView:
        """Put a question before (-1) or after (1) the one beside it that is about the same."""
        project = self._project(project_id, request)
        questions = in_order(project)
        at = next((i for i, question in enumerate(questions) if question.name == name), None)
        if at is None or not 0 <= at + by < len(questions):
            return self.shown(project, name)
        if questions[at].segment != questions[at + by].segment:
            words = "Questions are asked thing after thing: this one changes places only with others about the same."
            return self.shown(project, name)._replace(note=error_notice(words))
        questions[at], questions[at + by] = questions[at + by], questions[at]
        return self._stored(replace(project, questions=tuple(questions)), project, name, "Moved.")

    def remove(self, project_id: str, name: str | None, request: gr.Request) -> QuestionEditorView:
        """Ask a question no more. Refused by the store where people have answered it."""
        project = self._project(project_id, request)
        left = tuple(question for question in project.questions if question.name != name)
        if len(left) == len(project.questions):
            return self.shown(project, None)
        return self._stored(replace(project, questions=left), project, None, "It is not asked any more.")

    def _project(self, project_id: str, request: gr.Request) -> Project:
        self.require(Role.ADMIN, request)
        try:
            return self.store.project(project_id)
        except AnnotationsError as error:  # deleted while its page was open
            raise gr.Error(redact_paths(error)) from error

    def _changed(self, project: Project, name: str | None, given: QuestionFields) -> tuple[Project, str]:
        """The project with what the fields say, and the question's name. Raises ProjectError."""
        names = [question.name for question in project.questions]
        is_known = name in names
        name = name if is_known and name else name_of(given.title or "", names)
        question = given.question(name)
        before = project.questions if is_known else (*project.questions, question)
        questions = tuple(question if each.name == name else each for each in before)
        check_questions(questions)
        return replace(project, questions=questions), name

    def _stored(self, project: Project, read: Project, name: str | None, words: str) -> QuestionEditorView:
        try:
            return self.shown(self.store.change_project(project, read), name)._replace(note=success_notice(words))
        except AnnotationsError as error:
            return stay(QuestionEditorView, redact_paths(error))

    def shown(self, project: Project, name: str | None = None) -> QuestionEditorView:
        """The section with one question chosen; reads only."""
        question = next((each for each in project.questions if each.name == name), None)
        menu = [*((each.title, each.name) for each in in_order(project)), (NEW, "")]
        blank = Question("", project.subject, Text(), "")
        values = QuestionFields.of(question or blank)
        updates = zip(OPTIONAL, optional(values.form), strict=True)
        values = values._replace(**{at: gr.update(value=getattr(values, at)) | update for at, update in updates})
        chosen = gr.update(choices=menu, value=question.name if question else "")
        sheet = self._sheet(project)
        read = question and question.to_dict()
        return QuestionEditorView(chosen, *values, read, sheet, NO_DRAWING if sheet is None else "")

    def _sheet(self, project: Project) -> Any:
        """The questions with the first item; None where there is none."""
        item = first_item(self.store, project.id)
        if item is None:
            return None
        trajectory, other = (self.store.trajectory(id) if id else None for id in item)
        assert trajectory is not None
        asked = for_drawing(project, self.store, self.domain, trajectory)
        sheet = Sheet(asked, trajectory, other, trajectory.id if other else None, layout="preview")
        if asks_only_about_reflections(project):
            about = {at for at, segment in enumerate(trajectory.segments) if isinstance(segment, Thought)}
            things = sorted(sheet_targets(sheet), key=lambda thing: (thing.pane or 0, thing.segment in about))
            sheet = replace(sheet, asked=tuple(things))
        return value_of(sheet, uuid4().hex, {}, self.store.picture_or_none)


# Layout


def optional(form: str) -> list[dict[str, Any]]:
    """Updates of the OPTIONAL widgets, which are visible where questions of this form use them."""
    has = {field.name for field in fields(FORMS[form])} if form in FORMS else set()
    return [gr.update(visible=True if OPTIONAL[name] in has else "hidden") for name in OPTIONAL]


def question_section(handlers: QuestionHandlers, project: gr.State) -> tuple[gr.Accordion, list[Any]]:
    """Build the section; (itself, its components in the order of QuestionEditorView)."""
    with gr.Accordion("Questions", open=False, elem_id="project-questions") as section, gr.Row():
        with gr.Column(scale=2, min_width=320):
            chosen = gr.Radio([], label="Questions, in the order in which they are asked", elem_id="question-chosen")
            with gr.Row():
                up = gr.Button("Earlier", size="sm", min_width=90, elem_id="question-up")
                down = gr.Button("Later", size="sm", min_width=90, elem_id="question-down")
                remove = gr.Button("Remove", size="sm", variant="stop", min_width=90, elem_id="question-remove")
            values, keep = _fields()
            note = gr.HTML(elem_id="question-note", **PLAIN)
        with gr.Column(scale=3, min_width=320, elem_id="project-preview"):
            gr.HTML('<p class="eyebrow">As annotators see it</p>', **PLAIN)
            sheet = sheet_component("question-preview")
    read = gr.State()
    view = [*QuestionEditorView(chosen, *values, read, sheet, note)]
    at = [project, chosen]
    chosen.input(handlers.choose, at, view, **QUICK)
    keep.click(handlers.keep, [*at, read, *values], view, **QUICK)
    up.click(handlers.move, [*at, gr.State(-1)], view, **QUICK)
    down.click(handlers.move, [*at, gr.State(1)], view, **QUICK)
    remove.click(handlers.remove, at, view, **QUICK)
    changes = [value.input if isinstance(value, gr.Dropdown | gr.Checkbox) else value.blur for value in values]
    _, _, _, form, *given, _ = values
    form.input(optional, [form], given, **QUICK)
    gr.on(changes, handlers.preview, [*at, *values], [sheet, note], **QUICK)
    return section, view


def _fields() -> tuple[list[Any], gr.Button]:
    title = gr.Textbox(label="Question", max_lines=2, max_length=200, elem_id="question-title")
    help = gr.Textbox(label="Help beside it", max_lines=2, max_length=500)
    abouts = [(ABOUT[subject], subject) for subject in QUESTION_TARGETS]
    about = gr.Dropdown(abouts, label="About", elem_id="question-about")
    forms = [(form.title, name) for name, form in FORMS.items()]
    form = gr.Dropdown(forms, label="Answered by", elem_id="question-form")
    choices = gr.Textbox(
        label="Choices, one a line",
        info="What people choose from. Facts: leave it empty to ask about what each prompt says.",
        lines=2,
        max_lines=6,
        elem_id="question-choices",
    )
    with gr.Row():
        lowest = gr.Number(1, label="Scale from", precision=0, minimum=0, maximum=100, min_width=100)
        highest = gr.Number(5, label="to", precision=0, minimum=1, maximum=100, min_width=100)
        required = gr.Checkbox(False, label="has to be answered", container=False, min_width=150)
    keep = gr.Button("Store the question", variant="primary", elem_id="question-keep")
    return [title, help, about, form, choices, lowest, highest, required], keep
