"""What happens on the Annotate page: an item is taken, kept as one types, submitted, skipped, taken back, left.

Knows the queue, the store and who is asking; how it looks is known to `stage`, where it stands to `pages.annotate`.
Each handler looks up who is asking and whether the project is open to them. Refused answers come back as a line under
the form. The text of a trajectory is somebody's input: it enters HTML escaped.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import uuid4

import gradio as gr

from annotations import queue, standing, submitting
from annotations.annotation import REFLECTIONS, Annotation
from annotations.errors import AnnotationsError, ConflictError, LeaseError, NotFoundError, ProjectError
from annotations.items import subjects_of
from annotations.project import Project, Role
from annotations.questions import (
    NO,
    QUESTIONS,
    REASON_CORRECTION,
    REASON_RATING,
    THOUGHT_CORRECTION,
    THOUGHT_RATING,
    VERDICT_RIGHT,
    YES,
)
from annotations.store import Store
from annotations.submitting import Receipt
from model.trajectory import Reflection
from studio.identity import Who, asking, require
from studio.reflection_form import (
    DONE,
    Answer,
    Item,
    Showing,
    annotations_of,
    last_done,
    open_item,
    shown_again,
    unfinished,
)
from studio.render import text
from studio.settings import Settings
from studio.stage import NOTHING, claim, heading, learnt, progress_line, stage

ASKED = {question.name: question for question in QUESTIONS}


class View(NamedTuple):
    """What a handler gives back: a value or an update for every part of the page, in the order of `page`."""

    token: Any
    project: Any
    guidelines: Any
    heading: Any
    progress: Any
    learnt: Any
    stage: Any
    claim: Any
    verdict: Any
    rating: Any
    reason: Any
    plan_block: Any
    plan_rating: Any
    plan: Any
    why: Any
    desk: Any
    note: Any


class Sitting(NamedTuple):
    """Somebody at an open page, and the project they are at."""

    who: Who
    session: str
    project: Project

    @property
    def name(self) -> str:
        return self.who.name


@dataclass(frozen=True)
class Desk:
    """The handlers of the page. Each checks who is asking."""

    store: Store
    settings: Settings
    open: dict[str, tuple[str, frozenset[int]]] = field(default_factory=dict)  # who has which items on which page

    def start(self, request: gr.Request) -> View:
        """The first item: of the trajectory named in the address, or of the one that is next."""
        if not asking(request, self.settings, self.store).may(Role.ANNOTATOR):
            return stay("")
        at = self._sit(request.query_params.get("project"), request, strict=False)
        choices = [(project.name, project.id) for project in self._projects(at.who)]
        menu = gr.update(choices=choices, value=at.project.id, visible=len(choices) > 1)
        wanted, turn = request.query_params.get("trajectory"), None
        if wanted:
            with suppress(AnnotationsError):
                turn = queue.take(self.store, at.project.id, wanted, at.name)
        view = self._next(at, first=turn)
        guidelines = gr.update(value=at.project.guidelines)
        return view._replace(project=menu, guidelines=guidelines)

    def choose(self, project: str | None, token: str | None, request: gr.Request) -> View:
        """Another project; the item on the table goes back."""
        at = self._sit(project, request)
        if (shown := Showing.read(token)) is not None:
            queue.leave(self.store, at.name, shown.item)
        return self._next(at)._replace(guidelines=gr.update(value=at.project.guidelines))

    def submit(
        self,
        project: str | None,
        token: str | None,
        verdict: str | None,
        rating: int | None,
        reason: str | None,
        plan_rating: int | None,
        plan: str | None,
        request: gr.Request,
    ) -> View:
        at = self._sit(project, request)
        try:
            if (item := self._item(at, token)) is None:
                return self._next(at)
            trajectory = self.store.trajectory(item.trajectory_id)
            answer = Answer(verdict, rating, reason, plan_rating, plan)
            given = annotations_of(item, trajectory, at.name, answer)
            receipt = submitting.submit(self.store, item.item, at.name, given)
        except ConflictError:
            return self._show(at, item.item, item.segment, "Submitted before; this is what is stored.")
        except NotFoundError:
            return self._next(at, note="That drawing was deleted meanwhile; here is the next.")
        except AnnotationsError as error:
            return stay(str(error))
        return self._next(at, note=receipt.message, receipt=receipt)

    def save(
        self,
        project: str | None,
        token: str | None,
        verdict: str | None,
        rating: int | None,
        reason: str | None,
        plan_rating: int | None,
        plan: str | None,
        request: gr.Request,
    ) -> str:
        """Keep what is written so far; what has to be said of that."""
        at = self._sit(project, request)
        try:
            if (item := self._item(at, token)) is None:
                return ""
            trajectory = self.store.trajectory(item.trajectory_id)
            answer = Answer(verdict, rating, reason, plan_rating, plan)
            given = unfinished(item, trajectory, at.name, answer, f"{uuid4().hex}-")
            return text(submitting.save(self.store, item.item, at.name, given).message)
        except AnnotationsError as error:
            return text(f"Not kept yet: {error}")

    def alive(self, project: str | None, token: str | None, request: gr.Request) -> Any:
        """A sign of life; a line where the item is no longer one's own."""
        at = self._sit(project, request)
        shown = Showing.read(token)
        try:
            if shown is not None:
                queue.heartbeat(self.store, shown.item, at.name)
        except LeaseError as error:
            return text(_sentence(str(error)))
        except NotFoundError:
            return text("This drawing was deleted meanwhile; submit or skip leads to the next.")
        return gr.skip()

    def skip(self, project: str | None, token: str | None, why: str | None, request: gr.Request) -> View:
        """Leave the rest of this item to others, or for later, as the project says."""
        at = self._sit(project, request)
        try:
            if (item := self._item(at, token)) is not None:
                submitting.skip_item(self.store, item.item, at.name, reason=why or "")
        except NotFoundError:  # deleted meanwhile: skipped for everybody
            pass
        except AnnotationsError as error:
            return stay(str(error))
        return self._next(at)

    def undo(self, project: str | None, request: gr.Request) -> View:
        """Take back what this annotator submitted or skipped last, and show it again as it was sent."""
        at = self._sit(project, request)
        last = last_done(self.store.annotations(annotator=at.name, project=at.project.id))
        try:
            for annotation in last:
                place = {"project": at.project.id, "item": annotation.item}
                self.store.undo(annotation.trajectory_id, annotation.segment, at.name, **place)
            asked = min(a.segment for a in last if not a.key.endswith("-t"))
            return self._show(at, last[0].item, asked, "Taken back; change it and submit it again.", sent=last)
        except (NotFoundError, ValueError):
            return stay("There is nothing to undo.")

    def guide(self, project: str | None, token: str | None, verdict: str | None, request: gr.Request) -> dict[str, Any]:
        """What the correction is asked for, once the verdict is called right or wrong."""
        at = self._sit(project, request)
        item = None
        with suppress(AnnotationsError):
            item = self._item(at, token)
        return correction(item.opposite if item is not None and verdict == NO else None)

    def leave(self, request: gr.Request) -> None:
        """The page went away: what only it had open may go to others. It acts for whoever opened the page."""
        name, items = self.open.pop(request.session_hash or "", ("", frozenset()))
        elsewhere = {item for other, theirs in self.open.values() if other == name for item in theirs}
        for item in items - elsewhere:
            queue.leave(self.store, name, item)

    # Who, and at what

    def _projects(self, who: Who) -> list[Project]:
        """Those that this person may answer in, and this page can ask."""
        there = [p for p in self.store.projects() if p.closed_at is None and is_asked_here(p)]
        return [p for p in there if p.is_open_to(who.name, who.role)]

    def _sit(self, project: str | None, request: gr.Request, *, strict: bool = True) -> Sitting:
        """Raises gr.Error for visitors, and where the project is not open to this person."""
        who = require(Role.ANNOTATOR, request, self.settings, self.store)
        projects = self._projects(who)
        found = next((p for p in projects if p.id == (project or REFLECTIONS)), None)
        if found is None and not strict and projects:
            found = projects[0]
        if found is None:
            raise gr.Error("There is no such project that is open to you. Load the page again.", print_exception=False)
        return Sitting(who, request.session_hash or "", found)

    def _item(self, at: Sitting, token: str | None) -> Item | None:
        """What the page shows. Raises NotFoundError, ProjectError and AnswerError."""
        shown = Showing.read(token)
        if shown is None:
            return None
        project, trajectory_id = queue.place_of(self.store, shown.item)
        if project != at.project.id:
            raise ProjectError("what this page shows belongs to another project; load the page again")
        return shown_again(shown, project, self.store.trajectory(trajectory_id))

    # What comes next

    def _next(
        self, at: Sitting, *, first: queue.Turn | None = None, note: str = "", receipt: Receipt | None = None
    ) -> View:
        """`first`, or what the queue says."""
        told = learnt(receipt.feedback) if receipt is not None else ""
        turn = first
        try:
            turn = turn or queue.claim(self.store, at.project.id, at.name)
            if turn is not None:
                view = self._show(at, turn.item, self._first_open(at, turn), note, practice=turn.practice)
                return view._replace(learnt=told + view.learnt)
        except AnnotationsError as error:
            note = str(error)
        return stay(note)._replace(
            token="",
            heading=NOTHING,
            progress=self._progress(at),
            learnt=told,
            desk=gr.update(visible=False),
        )

    def _first_open(self, at: Sitting, turn: queue.Turn) -> int:
        trajectory = self.store.trajectory(turn.trajectory_id)
        asked = [segment for segment in subjects_of(at.project, trajectory) if segment is not None]
        said = self.store.annotations(turn.trajectory_id, annotator=at.name, project=at.project.id, item=turn.item)
        done = {annotation.segment for annotation in said if annotation.status in DONE}
        return next((segment for segment in asked if segment not in done), asked[0])

    def _show(
        self,
        at: Sitting,
        item_id: int,
        segment: int,
        note: str = "",
        *,
        practice: bool = False,
        sent: list[Annotation] | None = None,
    ) -> View:
        trajectory = self.store.trajectory(queue.place_of(self.store, item_id)[1])
        item = open_item(item_id, at.project.id, trajectory, segment)
        self._remember(at, item_id)
        stored = self.store.annotations(trajectory.id, annotator=at.name, project=at.project.id, item=item_id)
        kept = {a.segment: a.answers for a in [*stored, *(sent or [])]}
        said, told = kept.get(segment, {}), kept.get(item.thought, {})
        asked = {question.name for question in at.project.questions}
        reflection = trajectory.segments[segment]
        plan = "" if item.thought is None else trajectory.segments[item.thought].text
        label = correction(item.opposite if said.get(VERDICT_RIGHT) == NO else None)
        rated = REASON_RATING in asked and bool(reflection.reason.strip())
        planned = item.thought is not None and bool({THOUGHT_RATING, THOUGHT_CORRECTION} & asked)
        return View(
            token=item.token(),
            project=gr.skip(),
            guidelines=gr.skip(),
            heading=heading(trajectory.prompt),
            progress=self._progress(at),
            learnt=learnt((), practice=practice),
            stage=stage(trajectory, segment, self._picture),
            claim=claim(reflection),
            verdict=gr.update(value=said.get(VERDICT_RIGHT), visible=VERDICT_RIGHT in asked),
            rating=gr.update(value=said.get(REASON_RATING) if rated else None, visible=rated),
            reason=label
            | {"value": said.get(REASON_CORRECTION, reflection.reason), "visible": REASON_CORRECTION in asked},
            plan_block=gr.update(visible=planned),
            plan_rating=gr.update(value=told.get(THOUGHT_RATING), visible=THOUGHT_RATING in asked),
            plan=told.get(THOUGHT_CORRECTION, plan),
            why="",
            desk=gr.update(visible=True),
            note=text(note),
        )

    def _progress(self, at: Sitting) -> str:
        known = standing.standing(self.store, at.name, at.project.id) if at.project.gold_share else None
        return progress_line(queue.progress(self.store, at.name, at.project.id), known)

    def _remember(self, at: Sitting, item: int) -> None:
        _, before = self.open.get(at.session, (at.name, frozenset()))
        self.open[at.session] = (at.name, before | {item})

    def _picture(self, sha256: str) -> bytes | None:
        with suppress(AnnotationsError):
            return self.store.picture(sha256)
        return None


def is_asked_here(project: Project) -> bool:
    """Whether the form of this page can answer what a project requires."""
    known = [(q.name, q.segment, q.form) for q in QUESTIONS]
    wanted = [q for q in project.questions if q.required]
    return project.subject == Reflection.kind and all((q.name, q.segment, q.form) in known for q in wanted)


def correction(reflection_wrong: str | None) -> dict[str, Any]:
    """The label over the correction; the verdict that should have been, if the model's is called wrong."""
    if reflection_wrong is None:
        return gr.update(label=ASKED[REASON_CORRECTION].title, info="Change it only if you would say it better.")
    word = "Yes" if reflection_wrong == YES else "No"
    return gr.update(label="What should it have said?", info=f"After “{word},” – the whole reason. It is needed here.")


def stay(note: str) -> View:
    """Everything as it is, and a line that says why."""
    return View(*[gr.skip()] * (len(View._fields) - 1), note=text(_sentence(note)))


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]
