"""The page where drawings are compared blind: two of one prompt, left or right or equal or both bad; and who leads.

Knows the queue, which says who stands on which side, and the store. Nothing that is sent to the browser says who drew
what, until it is counted. Every handler checks who is asking; an answer that is sent twice is stored once.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import uuid4

import gradio as gr

from annotations import queue, submitting
from annotations.annotation import Annotation, Status
from annotations.errors import AnnotationsError, NotFoundError
from annotations.progress import answered
from annotations.project import Project, Role
from annotations.questions import PAIR, PREFERENCES, Form, Question
from annotations.queue import Turn
from annotations.store import Store
from annotations.trajectories import MOST
from model.trajectory import Trajectory
from studio.gate import gate, on_opening
from studio.identity import Who, require
from studio.leaderboard import leaderboard
from studio.masthead import intro
from studio.notes import done, said
from studio.pages.projects import PLAIN
from studio.render import SMOOTH, data_url, text, width_of
from studio.settings import Settings
from studio.stage import progress_line
from studio.theme import script

NONE = '<p class="none">There are no pairs. <a href="projects">Make a project</a> of pairs and put drawings in.</p>'
NOTHING = '<p class="none">Nothing waits for you: you have compared all pairs that still want an answer.</p>'
BUTTONS = dict(zip(PREFERENCES, ("Left", "Right", "Equal", "Both bad"), strict=True))


@dataclass(frozen=True)
class Showing:
    """A pair on the page, and the question that it is asked about."""

    project: str
    item: int
    trajectory_id: str
    left: str
    right: str
    question: str  # its name
    key: str  # of this showing


class View(NamedTuple):
    """What a handler gives back, in the order of `page`."""

    showing: Any
    chosen: Any  # the menu of projects
    progress: Any
    heading: Any
    left: Any
    right: Any
    desk: Any  # pictures and buttons
    none: Any  # the button that leaves a question open
    note: Any


def can_be_asked(project: Project) -> bool:
    """Whether this page has a form for all that is required in a project."""
    forms = {question.form for question in project.questions if question.required}
    return project.subject == PAIR and project.closed_at is None and forms == {Form.PREFERENCE}


def asked(project: Project) -> list[Question]:
    return [question for question in project.questions if question.form is Form.PREFERENCE]


# HTML


def heading(prompt: str, question: Question, number: int, of: int) -> str:
    which = f"Question {number} of {of}. " if of > 1 else ""
    return (
        f'<p class="eyebrow">The prompt</p><h1>{text(prompt)}</h1>'
        f'<p class="question"><b>{text(question.title)}</b> <span>{which}{text(question.help)}</span></p>'
    )


def picture(png: bytes | None, side: str) -> str:
    """One drawing; its words tell nothing but where it stands."""
    if png is None:
        return '<div class="side"><span class="lost">picture lost</span></div>'
    smooth = ' class="smooth"' if width_of(png) > SMOOTH else ""
    shown = f'<img src="{data_url(png)}" alt="The {side} drawing"{smooth}>'
    return f'<div class="side" data-press="arena-{side}">{shown}</div>'


# Handlers


@dataclass(frozen=True)
class Ring:
    """The handlers of the page."""

    store: Store
    settings: Settings

    def start(self, request: gr.Request) -> View:
        """The pair that this person was at, or the next; of the project in the address, or the oldest."""
        asking = require(Role.ANNOTATOR, request, self.settings, self.store)
        return self._next(asking, dict(request.query_params).get("project"))

    def choose(self, project: str | None, request: gr.Request) -> View:
        return self._next(require(Role.ANNOTATOR, request, self.settings, self.store), project)

    def answer(self, showing: Showing | None, choice: str, request: gr.Request) -> View:
        """One of PREFERENCES, or nothing for a question that need not be answered; after the last it is submitted."""
        asking = require(Role.ANNOTATOR, request, self.settings, self.store)
        if showing is None:
            return self._next(asking, None)
        try:
            project = self.store.project(showing.project)
            questions = asked(project)
            at = next(i for i, question in enumerate(questions) if question.name == showing.question)
            given = {q.name: v for q in questions[:at] if (v := self._before(asking, showing).get(q.name)) is not None}
            if choice:
                given |= {showing.question: {"choice": choice, "left": showing.left, "right": showing.right}}
            made = Annotation(showing.trajectory_id, None, asking.name, given, item=showing.item, project=project.id)
            if at + 1 < len(questions):
                submitting.save(self.store, showing.item, asking.name, [made])
                return self._next(asking, project.id, question=questions[at + 1].name, item=showing.item)
            signed = Annotation(**vars(made) | {"key": showing.key})
            receipt = submitting.submit(self.store, showing.item, asking.name, [signed])
            right = "".join(_feedback(one.right, one.because) for one in receipt.feedback)
            note = (said(receipt.message) if receipt.message else "") + right
            return self._next(asking, project.id)._replace(note=note)
        except (AnnotationsError, StopIteration) as error:
            return self._next(asking, showing.project)._replace(note=said(str(error)))

    def skip(self, showing: Showing | None, request: gr.Request) -> View:
        asking = require(Role.ANNOTATOR, request, self.settings, self.store)
        if showing is None:
            return self._next(asking, None)
        with suppress(NotFoundError):  # deleted meanwhile: skipped for everybody
            submitting.skip_item(self.store, showing.item, asking.name)
        return self._next(asking, showing.project)

    def undo(self, project: str | None, request: gr.Request) -> View:
        """Take back what this person compared or skipped last, and show it again."""
        asking = require(Role.ANNOTATOR, request, self.settings, self.store)
        mine = self.store.annotations(annotator=asking.name, project=project or "")
        last = next((a for a in reversed(mine) if a.status is not Status.UNFINISHED), None)
        try:
            if last is None:
                return _stay("There is nothing to undo.")
            self.store.undo(last.trajectory_id, None, asking.name, project=last.project, item=last.item)
        except AnnotationsError as error:
            return _stay(str(error))
        return self._next(asking, project)._replace(note=done("Taken back; compare them again."))

    def leaders(self, project: str | None, request: gr.Request) -> str:
        """Who draws better, for those who are not to be blind."""
        require(Role.REVIEWER, request, self.settings, self.store)
        try:
            told = answered(self.store, project or "")
        except NotFoundError:
            return ""
        ids = list(dict.fromkeys(id for a in told.given for id in (a.trajectory_id, told.others.get(a.item, ""))))
        known: list[Trajectory] = []
        for start in range(0, len(ids), MOST):
            known += self.store.trajectories_by_id(ids[start : start + MOST]).values()
        return leaderboard(told, known)

    def _open(self, asking: Who) -> list[Project]:
        return [p for p in self.store.projects() if can_be_asked(p) and p.is_open_to(asking.name, asking.role)]

    def _next(
        self, asking: Who, project_id: str | None, *, question: str | None = None, item: int | None = None
    ) -> View:
        """The pair that this person holds, at the first question without an answer, or at `question` of `item`."""
        open_ = self._open(asking)
        project = next((p for p in open_ if p.id == project_id), next(iter(open_), None))
        menu = gr.update(choices=[(p.name, p.id) for p in open_], value=project and project.id, visible=len(open_) > 1)
        empty = View(None, menu, "", NONE, "", "", gr.update(visible=False), gr.skip(), "")
        if project is None:
            return empty
        turn = queue.claim(self.store, project.id, asking.name)
        progress = progress_line(queue.progress(self.store, asking.name, project.id))
        if turn is None:
            return empty._replace(progress=progress, heading=NOTHING)
        return self._shown(asking, project, turn, question if item == turn.item else None)._replace(
            chosen=menu, progress=progress
        )

    def _shown(self, asking: Who, project: Project, turn: Turn, wanted: str | None) -> View:
        right = turn.other_id if turn.left == turn.trajectory_id else turn.trajectory_id
        questions = asked(project)
        place = Showing(project.id, turn.item, turn.trajectory_id, turn.left, right, "", uuid4().hex)
        before = self._before(asking, place)
        at = next((i for i, q in enumerate(questions) if q.name == wanted), None)
        if at is None:
            at = next((i for i, q in enumerate(questions) if q.name not in before), 0)
        one, other = self.store.trajectory(turn.left), self.store.trajectory(right)
        return View(
            showing=Showing(**vars(place) | {"question": questions[at].name}),
            chosen=gr.skip(),
            progress=gr.skip(),
            heading=heading(one.prompt, questions[at], at + 1, len(questions)),
            left=picture(self._last(one), "left"),
            right=picture(self._last(other), "right"),
            desk=gr.update(visible=True),
            none=gr.update(visible=not questions[at].required),
            note="",
        )

    def _before(self, asking: Who, showing: Showing) -> dict[str, Any]:
        """What this person answered of the pair before, and has not submitted."""
        mine = self.store.annotations(annotator=asking.name, item=showing.item)
        return dict(mine[-1].answers) if mine and mine[-1].status is Status.UNFINISHED else {}

    def _last(self, trajectory: Trajectory) -> bytes | None:
        drawn = [image.sha256 for image in trajectory.images if image.sha256]
        try:
            return self.store.picture(drawn[-1]) if drawn else None
        except AnnotationsError:
            return None


def _feedback(right: bool, because: str) -> str:
    return f'<p class="{"done" if right else "wrong"}">{"Right." if right else "Not right."} {text(because)}</p>'


def _stay(words: str) -> View:
    """Everything as it is, and a line that says why."""
    return View(*[gr.skip()] * (len(View._fields) - 1), note=said(words))


# Layout


def page(store: Store, settings: Settings) -> None:
    """Build the page inside the current route."""
    with gate(Role.ANNOTATOR, "arena", store, settings):
        _arena(store, settings)


def _arena(store: Store, settings: Settings) -> None:
    ring = Ring(store, settings)
    showing = gr.State(None)
    with gr.Column(elem_id="arena"):
        with gr.Row(elem_id="arena-top"):
            head = gr.HTML(elem_id="arena-prompt", js_on_load=script("arena.js"), apply_default_css=False)
            progress = gr.HTML(elem_id="arena-progress", **PLAIN)
            chosen = gr.Dropdown([], label="Project", show_label=False, container=False, visible=False, scale=0)
        with gr.Column(visible=False) as desk:
            with gr.Row(elem_id="arena-sides"):
                sides = [gr.HTML(elem_id=f"arena-picture-{side}", **PLAIN) for side in ("left", "right")]
            with gr.Row(elem_id="arena-buttons"):
                order = ("left", "tie", "both_bad", "right")
                buttons = {c: gr.Button(BUTTONS[c], elem_id=f"arena-{c}", min_width=90) for c in order}
        with gr.Row(elem_id="arena-more"):
            none = gr.Button("No answer", size="sm", scale=0, min_width=110, elem_id="arena-none", visible=False)
            skip = gr.Button("Skip", size="sm", scale=0, min_width=90, elem_id="arena-skip")
            undo = gr.Button("Undo", size="sm", scale=0, min_width=90, elem_id="arena-undo")
            note = gr.HTML(elem_id="arena-note", **PLAIN)
    with gr.Column(elem_id="arena-board"):
        intro("Who leads", "From all votes of this project so far. Look here after voting, lest it persuade you.")
        count = gr.Button("Count the votes", scale=0, min_width=160, elem_id="arena-count")
        leaders = gr.HTML(**PLAIN)
    view = [*View(showing, chosen, progress, head, *sides, desk, none, note)]
    quick = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": None}
    on_opening(Role.ANNOTATOR, ring.start, view, store, settings, **quick)
    chosen.input(ring.choose, [chosen], view, **quick)
    for choice, button in (*buttons.items(), ("", none)):
        button.click(ring.answer, [showing, gr.State(choice)], view, **quick)
    skip.click(ring.skip, [showing], view, **quick)
    undo.click(ring.undo, [chosen], view, **quick)
    count.click(ring.leaders, [chosen], [leaders], **quick)
