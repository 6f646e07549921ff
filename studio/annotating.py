"""What happens on the Annotate page: an item is taken, kept as one types, submitted, skipped, taken back, left.

Knows the queue, the store and who is asking; how it looks is known to `stage`, where it stands to `pages.annotate`.
Each handler looks up who is asking and whether the project is open to them. Refused answers come back as a line under
the form. The text of a trajectory is somebody's input: it enters HTML escaped.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple
from uuid import uuid4

import gradio as gr

from annotations import queue, submitting
from annotations.annotation import REFLECTIONS
from annotations.errors import AnnotationsError, ConflictError, LeaseError, NotFoundError, ProjectError
from annotations.project import Project, Role
from annotations.questions import NO
from annotations.store import Store
from annotations.submitting import Receipt
from studio.annotate_view import View, correction, is_asked_here, sentence, stay
from studio.counted import Counts, complete
from studio.identity import Who, asking, require
from studio.laying import Laid, Place
from studio.reflection_form import (
    Answer,
    Item,
    Showing,
    annotations_of,
    last_done,
    shown_again,
    unfinished,
)
from studio.render import text
from studio.settings import Settings
from studio.stage import NOTHING, learnt


class Sitting(NamedTuple):
    """Somebody at an open page, and the project they are at."""

    who: Who
    session: str
    place: Place

    @property
    def name(self) -> str:
        return self.who.name

    @property
    def project(self) -> Project:
        return self.place.project


class Ahead(NamedTuple):
    """What follows, once the showing of this key is submitted."""

    after: str
    laid: Laid


@dataclass(frozen=True)
class Desk:
    """The handlers of the page. Each checks who is asking."""

    store: Store
    settings: Settings
    open: dict[str, tuple[str, frozenset[int]]] = field(default_factory=dict)  # who has which items on which page
    ahead: dict[str, Ahead] = field(default_factory=dict)  # what follows on which page
    counts: Counts = field(default_factory=dict)  # how far who is

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
        return view._replace(place=at.project.id, project=menu, guidelines=guidelines)

    def choose(self, project: str | None, token: str | None, request: gr.Request) -> View:
        """Another project; the item on the table goes back."""
        at = self._sit(project, request)
        shown, ahead = Showing.read(token), self.ahead.pop(at.session, None)
        for item in {one.item for one in (shown, ahead and ahead.laid.item) if one is not None}:
            queue.leave(self.store, at.name, item)
        return self._next(at)._replace(place=at.project.id, guidelines=gr.update(value=at.project.guidelines))

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
            view = self._opened(at, at.place.lay(item.item, item.segment)).view
            return view._replace(note=text("Submitted before; this is what is stored."))
        except NotFoundError:
            return self._next(at, note="That drawing was deleted meanwhile; here is the next.")
        except AnnotationsError as error:
            return stay(str(error))
        if receipt.completed:
            self._complete(at, item.item)
        return self._next(at, after=item, note=receipt.message, receipt=receipt)

    def prepare(self, project: str | None, token: str | None, request: gr.Request) -> None:
        """Fetch what follows once what is shown is submitted: held for this person, laid out, to be there at once."""
        at = self._sit(project, request)
        self.ahead.pop(at.session, None)
        with suppress(AnnotationsError):
            item = self._item(at, token)
            laid = item and self._following(at, item)
            if laid is not None:
                self.ahead[at.session] = Ahead(item.key, laid)

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
        shown, ahead = Showing.read(token), self.ahead.get(at.session)
        if ahead is not None:
            with suppress(AnnotationsError):
                queue.heartbeat(self.store, ahead.laid.item.item, at.name)
        try:
            if shown is not None:
                queue.heartbeat(self.store, shown.item, at.name)
        except LeaseError as error:
            return text(sentence(str(error)))
        except NotFoundError:
            return text("This drawing was deleted meanwhile; submit or skip leads to the next.")
        return gr.skip()

    def skip(self, project: str | None, token: str | None, why: str | None, request: gr.Request) -> View:
        """Leave the rest of this item to others, or for later, as the project says."""
        at = self._sit(project, request)
        try:
            if (item := self._item(at, token)) is not None:
                submitting.skip_item(self.store, item.item, at.name, reason=why or "")
                self._complete(at, item.item)
        except NotFoundError:  # deleted meanwhile: skipped for everybody
            pass
        except AnnotationsError as error:
            return stay(str(error))
        return self._next(at)

    def undo(self, project: str | None, request: gr.Request) -> View:
        """Take back what this annotator submitted or skipped last, and show it again as it was sent."""
        at = self._sit(project, request)
        last = last_done(self.store.annotations(annotator=at.name, project=at.project.id))
        self.counts.pop((at.name, at.project.id), None)
        try:
            for annotation in last:
                place = {"project": at.project.id, "item": annotation.item}
                self.store.undo(annotation.trajectory_id, annotation.segment, at.name, **place)
            asked = min(a.segment for a in last if not a.key.endswith("-t"))
            view = self._opened(at, at.place.lay(last[0].item, asked, sent=last)).view
            return view._replace(note=text("Taken back; change it and submit it again."))
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
        self.ahead.pop(request.session_hash or "", None)
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
        return Sitting(who, request.session_hash or "", Place(self.store, self.counts, who.name, found))

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
        self,
        at: Sitting,
        *,
        first: queue.Turn | None = None,
        after: Item | None = None,
        note: str = "",
        receipt: Receipt | None = None,
    ) -> View:
        """`first`, or what was fetched ahead to follow `after`, or what the queue says."""
        told = learnt(receipt.feedback) if receipt is not None else ""
        turn = first
        try:
            view = self._fetched(at, after) if after is not None else None
            if view is None and (turn := turn or queue.claim(self.store, at.project.id, at.name)) is not None:
                view = self._opened(at, at.place.lay_turn(turn)).view
            if view is not None:
                return view._replace(learnt=told + view.learnt, note=text(note))
        except AnnotationsError as error:
            note = str(error)
        return stay(note)._replace(
            token="",
            heading=NOTHING,
            progress=at.place.progress(),
            learnt=told,
            desk=gr.update(visible=False),
        )

    def _following(self, at: Sitting, item: Item) -> Laid | None:
        """What comes after an item that is still on the table: the rest of the same drawing, or the next."""
        asked = at.place.still_asked(item.item, item.trajectory_id)
        if left := [segment for segment in asked if segment != item.segment]:
            return at.place.lay(item.item, left[0])
        turn = queue.claim(self.store, at.project.id, at.name, without=item.item)
        return turn and self._opened(at, at.place.lay_turn(turn, done=1))

    def _fetched(self, at: Sitting, after: Item) -> View | None:
        """What was fetched to follow this showing, if it is still to be asked and nothing was said of it since."""
        ahead = self.ahead.pop(at.session, None)
        if ahead is None or ahead.after != after.key:
            return None
        laid = ahead.laid
        if not queue.holds(self.store, laid.item.item, at.name) or at.place.said_of(laid.item) != laid.said:
            return None
        return laid.view._replace(token=replace(laid.item, shown_at=time.time()).token())

    def _opened(self, at: Sitting, laid: Laid) -> Laid:
        """Remember that this page has it, to give it back when the page is closed."""
        _, before = self.open.get(at.session, (at.name, frozenset()))
        self.open[at.session] = (at.name, before | {laid.item.item})
        return laid

    def _complete(self, at: Sitting, item: int) -> None:
        """What is done is counted, and need not be given back when the page is closed."""
        complete(self.counts, at.name, at.project.id)
        if at.session in self.open:
            self.open[at.session] = (at.name, self.open[at.session][1] - {item})
