"""Handlers of the Arena: claim a pair, vote, skip, undo, release, standings.

Knows the store and the queue, which chooses the sides; `page` has the layout. Nothing that is sent to the browser says
who drew what before the vote is counted. Every handler checks who is asking; an
answer that is sent twice is stored once. A pair is held by signs of life, and goes to others when the page goes away.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, NamedTuple
from uuid import uuid4

import gradio as gr

from annotations.errors import AnnotationsError, AnswerError, LeaseError, NotFoundError, redact_paths
from annotations.queue import assignment, submission
from annotations.queue.assignment import Assignment
from annotations.queue.progress import project_answers, project_counts
from annotations.schema.annotation import Annotation, Status
from annotations.schema.forms.preference import Preference
from annotations.schema.forms.text import LONGEST_TEXT, Text
from annotations.schema.project import Project, Role
from annotations.schema.question_targets import PAIR
from annotations.schema.questions import Question
from studio.annotate.held_items import HeldItems
from studio.annotate.reflection_view import progress_line
from studio.arena.leaderboard import leaderboard
from studio.auth.identity import Identity, PageHandlers
from studio.auth.project_rights import readable
from studio.components.forms.sheet import UNREADABLE, Sheet, SheetTarget, value_of
from studio.components.notices import error_notice, practice_missing, success_notice
from studio.components.page_options import stay
from studio.components.render import escaped, isolated

TITLE = '<h1 class="no-pairs">Nothing to compare yet</h1>'  # arena.css hides then what could do nothing
NONE = TITLE + (
    '<p class="none">There are no pairs. <a href="projects">Make a project</a> of pairs and put drawings in.</p>'
)
EMPTY = TITLE + (
    '<p class="none">There are no pairs in this project yet: put drawings in under <a href="projects">Projects</a>.</p>'
)
NOTHING = (
    '<h1 class="no-more">Nothing waits for you</h1>'
    '<p class="none">You have compared all pairs that still want an answer.</p>'
)


@dataclass(frozen=True)
class PairToken:
    """A pair on the page, and the question that it is asked about."""

    project: str
    item: int
    trajectory_id: str
    left: str
    right: str
    question: str  # its name
    key: str  # of this showing


class ArenaSession(NamedTuple):
    """Somebody at an open page."""

    who: Identity
    session: str

    @property
    def name(self) -> str:
        return self.who.name


class ArenaView(NamedTuple):
    """What a handler gives back, in the order of `page`."""

    showing: Any
    chosen: Any  # the menu of projects
    progress: Any
    heading: Any
    sheet: Any  # the pictures and the question
    workspace: Any  # … and what stands around them
    none: Any  # the button that leaves a question open
    words: Any  # the boxes of the text questions about the pair
    note: Any


def can_be_asked(project: Project) -> bool:
    """Whether this page has a form for all that is required in a project."""
    forms = {type(question.form) for question in project.questions if question.required}
    return project.subject == PAIR and project.closed_at is None and forms == {Preference}


def asked(project: Project) -> list[Question]:
    return [question for question in project.questions if isinstance(question.form, Preference)]


def texts_asked(project: Project) -> list[Question]:
    """The text questions, which are asked in boxes below every other question of a pair."""
    return [question for question in project.questions if isinstance(question.form, Text)]


# HTML


def heading(prompt: str, question: Question, number: int, of: int) -> str:
    which = f"Question {number} of {of}. " if of > 1 else ""
    return (
        f'<p class="eyebrow">The prompt</p><h1 dir="auto">{escaped(prompt)}</h1>'
        f'<p class="question"><b>{isolated(question.title)}</b> <span>{which}{isolated(question.help)}</span></p>'
    )


def boxes(questions: Sequence[Question], written: Mapping[str, Any], key: str) -> dict[str, Any] | None:
    """A box for each text question, as `words.js` lays them; `key` is that of this showing."""
    if not questions:
        return None
    shown = [
        {"name": question.name, "title": question.title, "help": question.help, "text": written.get(question.name, "")}
        for question in questions
    ]
    return {"key": key, "most": LONGEST_TEXT, "boxes": shown}


# What comes back


def written_texts(project: Project, words: str | None) -> dict[str, str]:
    """The answers to the text questions in the JSON of a page, without blank ones. Raises AnswerError."""
    try:
        values = json.loads(words or "{}")
    except (TypeError, ValueError, RecursionError) as error:
        raise AnswerError(UNREADABLE) from error
    names = {question.name for question in texts_asked(project)}
    if not isinstance(values, dict) or not all(name in names and isinstance(t, str) for name, t in values.items()):
        raise AnswerError(UNREADABLE)
    return {name: text.strip() for name, text in values.items() if text.strip()}


# Handlers


@dataclass(frozen=True)
class ArenaHandlers(PageHandlers):
    """The handlers of the page."""

    holding: HeldItems

    def start(self, request: gr.Request) -> ArenaView:
        """The pair that this person was at, or the next; of the project in the address, or the oldest."""
        at = self._resolve_session(request)
        view = self._next(at, dict(request.query_params).get("project"))
        if not isinstance(view.showing, PairToken) or not at.who.may(Role.ADMIN):
            return view
        project = self.store.project(view.showing.project)
        return view._replace(note=practice_missing(project, project_counts(self.store)[project.id]))

    def choose(self, project: str | None, showing: PairToken | None, request: gr.Request) -> ArenaView:
        """Another project; the shown pair is released."""
        at = self._resolve_session(request)
        if showing is not None:
            assignment.leave(self.store, at.name, showing.item)
        return self._next(at, project)

    def answer(
        self, showing: PairToken | None, choice: str | None, request: gr.Request, words: str | None = None
    ) -> ArenaView:
        """One of PREFERENCES, or nothing for a question that need not be answered, with what stands in the boxes of the
        text questions; after the last it is submitted."""
        at = self._resolve_session(request)
        if showing is None:
            return self._next(at, None)
        try:
            project = self._project(at, showing)
            questions = asked(project)
            number = next(i for i, question in enumerate(questions) if question.name == showing.question)
            before = self._before(at, showing)
            answers = {q.name: v for q in questions[:number] if (v := before.get(q.name)) is not None}
            if choice:
                answers[showing.question] = questions[number].form.from_page(choice, showing.left, showing.right)
            answers |= written_texts(project, words)
            made = Annotation(showing.trajectory_id, None, at.name, answers, item=showing.item, project=project.id)
            if number + 1 < len(questions):
                submission.save(self.store, showing.item, at.name, [made])
                return self._next(at, project.id, question=questions[number + 1].name, item=showing.item)
            signed = replace(made, key=showing.key)
            receipt = submission.submit(self.store, showing.item, at.name, [signed])
            right = "".join(_feedback(answered.right, answered.because) for answered in receipt.feedback)
            note = (error_notice(receipt.message) if receipt.message else "") + right
            return self._next(at, project.id)._replace(note=note)
        except (AnnotationsError, StopIteration) as error:
            return self._next(at, showing.project)._replace(note=error_notice(redact_paths(error)))

    def skip(self, showing: PairToken | None, request: gr.Request) -> ArenaView:
        at = self._resolve_session(request)
        if showing is None:
            return self._next(at, None)
        try:
            self._project(at, showing)
            submission.skip_item(self.store, showing.item, at.name)
        except NotFoundError:  # deleted meanwhile: skipped for everybody
            pass
        except AnnotationsError as error:
            return stay(ArenaView, redact_paths(error))
        return self._next(at, showing.project)

    def undo(self, project: str | None, showing: PairToken | None, request: gr.Request) -> ArenaView:
        """Back to the question before; from a pair's first, take back what this person compared or skipped last."""
        at = self._resolve_session(request)
        if showing is not None and (before := self._asked_before(showing)) is not None:
            view = self._next(at, showing.project, question=before, item=showing.item)
            return view._replace(note=success_notice("Back at the question before."))
        mine = self.store.annotations(annotator=at.name, project=project or "")
        last = next((a for a in reversed(mine) if a.status is not Status.UNFINISHED), None)
        try:
            if last is None:
                return stay(ArenaView, "There is nothing to undo.")
            self.store.undo(last.trajectory_id, None, at.name, project=last.project, item=last.item)
        except AnnotationsError as error:
            return stay(ArenaView, redact_paths(error))
        return self._next(at, project)._replace(note=success_notice("Taken back; compare them again."))

    def _asked_before(self, showing: PairToken) -> str | None:
        """The question before the one on the page, of the same pair."""
        with suppress(NotFoundError):
            names = [question.name for question in asked(self.store.project(showing.project))]
            number = names.index(showing.question)
            return names[number - 1] if number else None
        return None

    def alive(self, showing: PairToken | None, request: gr.Request) -> Any:
        """A sign of life; a notice where the pair is no longer held by this person."""
        at = self._resolve_session(request)
        if showing is None:
            return gr.skip()
        try:
            self._project(at, showing)
            assignment.heartbeat(self.store, showing.item, at.name)
            self.holding.renew(at.session, showing.item)
        except LeaseError as error:
            return error_notice(redact_paths(error))
        except NotFoundError:
            return error_notice("One of these drawings was deleted meanwhile; skip leads to the next pair.")
        return gr.skip()

    def leave(self, request: gr.Request) -> None:
        """The page went away: what only it had open may go to others. It acts for whoever opened the page."""
        self.holding.leave(request.session_hash or "")

    def leaders(self, project: str | None, request: gr.Request) -> str:
        """Who draws better, for those who are not to be blind."""
        user = self.require(Role.REVIEWER, request)
        try:
            answers = project_answers(self.store, readable(self.store, project or "", user).id)
        except NotFoundError:
            return ""
        ids = list(
            dict.fromkeys(id for a in answers.submitted for id in (a.trajectory_id, answers.others.get(a.item, "")))
        )
        return leaderboard(answers, list(self.store.trajectories_by_id(ids).values()))

    def _resolve_session(self, request: gr.Request) -> ArenaSession:
        """Raises gr.Error for visitors."""
        return ArenaSession(self.require(Role.ANNOTATOR, request), request.session_hash or "")

    def _project(self, at: ArenaSession, showing: PairToken) -> Project:
        """The project of what is shown, as long as it is open to this person. Raises NotFoundError."""
        return readable(self.store, showing.project, at.who)

    def _open(self, user: Identity) -> list[Project]:
        return [p for p in self.store.projects() if can_be_asked(p) and p.is_open_to(user.name, user.role)]

    def _next(
        self, at: ArenaSession, project_id: str | None, *, question: str | None = None, item: int | None = None
    ) -> ArenaView:
        """The pair that this person holds, at the first question without an answer, or at `question` of `item`."""
        open_ = self._open(at.who)
        project = next((p for p in open_ if p.id == project_id), next(iter(open_), None))
        menu = gr.update(choices=[(p.name, p.id) for p in open_], value=project and project.id, visible=len(open_) > 1)
        hidden = gr.update(visible=False)
        empty = ArenaView(None, menu, "", NONE, None, hidden, gr.skip(), None, "")
        if project is None:
            return empty
        turn = assignment.claim(self.store, project.id, at.name)
        progress = progress_line(assignment.progress(self.store, at.name, project.id))
        if turn is None:
            known = project_counts(self.store)[project.id].items
            return empty._replace(progress=progress, heading=NOTHING if known else EMPTY)
        self.holding.remember(at.session, at.name, turn.item)
        return self._shown(at, project, turn, question if item == turn.item else None)._replace(
            chosen=menu, progress=progress
        )

    def _shown(self, at: ArenaSession, project: Project, turn: Assignment, asked_for: str | None) -> ArenaView:
        right = turn.other_id if turn.left == turn.trajectory_id else turn.trajectory_id
        questions = asked(project)
        place = PairToken(project.id, turn.item, turn.trajectory_id, turn.left, right, "", uuid4().hex)
        before = self._before(at, place)
        number = next((i for i, q in enumerate(questions) if q.name == asked_for), None)
        if number is None:
            number = next((i for i, q in enumerate(questions) if q.name not in before), 0)
        question = questions[number]
        about = SheetTarget(None, None, "", (question,), needed=question.required)
        left = self.store.trajectory(turn.left)
        pair = Sheet(project, left, self.store.trajectory(right), turn.left, layout="arena", asked=(about,))
        return ArenaView(
            showing=replace(place, question=question.name),
            chosen=gr.skip(),
            progress=gr.skip(),
            heading=heading(left.prompt, question, number + 1, len(questions)),
            sheet=value_of(pair, place.key, {}, self.store.picture_or_none),
            workspace=gr.update(visible=True),
            none=gr.update(visible=not question.required),
            words=boxes(texts_asked(project), before, place.key),
            note="",
        )

    def _before(self, at: ArenaSession, showing: PairToken) -> dict[str, Any]:
        """What this person answered of the pair before, and has not submitted."""
        mine = self.store.annotations(annotator=at.name, item=showing.item)
        return dict(mine[-1].answers) if mine and mine[-1].status is Status.UNFINISHED else {}


def _feedback(right: bool, because: str) -> str:
    return f'<p class="{"done" if right else "wrong"}">{"Right." if right else "Not right."} {isolated(because)}</p>'
