"""What happens on the Annotate page: an item is taken, kept as one types, submitted, skipped, taken back, left.

Knows the queue and the store; how it looks is known to `annotate_view`, where it stands to `pages.annotate`. Each
handler looks up who is asking and whether the project is open to them. Refused answers come back as a line under the
form.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import uuid4

import gradio as gr

from annotations import queue, standing, submitting
from annotations.annotation import Annotation
from annotations.errors import AnnotationsError, AnswerError, ConflictError, LeaseError, NotFoundError, ProjectError
from annotations.items import subjects_of
from annotations.project import Role
from annotations.questions import NO
from annotations.store import Store
from annotations.submitting import Receipt
from model.trajectory import Trajectory
from studio import reflection_form, sheet
from studio.annotate_view import View, correction, nothing, reflection_view, sentence, sheet_view, stay
from studio.identity import asking
from studio.open_pages import OpenPages
from studio.reflection_form import Answer, Item, open_item, shown_again
from studio.render import text
from studio.settings import Settings
from studio.sheet import Sheet
from studio.showing import DONE, WHOLE_ITEM, Showing, last_done
from studio.sitting import Sitting, is_about_reflections, open_projects, sit
from studio.stage import learnt, progress_line

Given = Callable[[Sitting, Showing], list[Annotation]]  # a form that was sent, as annotations


@dataclass(frozen=True)
class Desk:
    """The handlers of the page. Each checks who is asking."""

    store: Store
    settings: Settings
    pages: OpenPages = field(default_factory=OpenPages)

    def start(self, request: gr.Request) -> View:
        """The first item: of the trajectory named in the address, or of the one that is next."""
        if not asking(request, self.settings, self.store).may(Role.ANNOTATOR):
            return stay("")
        at = self._sit(request.query_params.get("project"), request, strict=False)
        choices = [(project.name, project.id) for project in open_projects(self.store, at.who)]
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
        """The form of a reflection, handed in."""
        answer = Answer(verdict, rating, reason, plan_rating, plan)
        return self._submitted(self._sit(project, request), token, partial(self._reflection, answer))

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
        """Keep what is written so far of a reflection; what has to be said of that."""
        answer = Answer(verdict, rating, reason, plan_rating, plan)
        return self._kept(self._sit(project, request), token, partial(self._unfinished_reflection, answer))

    def hand_in(self, project: str | None, token: str | None, filled: str | None, request: gr.Request) -> View:
        """A sheet, handed in."""
        return self._submitted(self._sit(project, request), token, partial(self._filled, filled))

    def keep(self, project: str | None, token: str | None, filled: str | None, request: gr.Request) -> str:
        """Keep what is filled in so far of a sheet; what has to be said of that."""
        return self._kept(self._sit(project, request), token, partial(self._unfinished_sheet, filled))

    def alive(self, project: str | None, token: str | None, request: gr.Request) -> Any:
        """A sign of life; a line where the item is no longer one's own."""
        at = self._sit(project, request)
        shown = Showing.read(token)
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
            if (shown := Showing.read(token)) is not None:
                self._trajectory(at, shown.item)
                submitting.skip_item(self.store, shown.item, at.name, reason=why or "")
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
            asked = next(iter(sorted(a.segment or 0 for a in last if not a.key.endswith("-t"))), None)
            if asked is not None:
                return self._show(at, last[0].item, asked, "Taken back; change it and submit it again.", sent=last)
        except NotFoundError:
            pass
        return stay("There is nothing to undo.")

    def guide(self, project: str | None, token: str | None, verdict: str | None, request: gr.Request) -> dict[str, Any]:
        """What the correction is asked for, once the verdict is called right or wrong."""
        at = self._sit(project, request)
        item, shown = None, Showing.read(token)
        with suppress(AnnotationsError):
            item = self._item(at, shown)[0] if shown is not None else None
        return correction(item.opposite if item is not None and verdict == NO else None)

    def leave(self, request: gr.Request) -> None:
        """The page went away: what only it had open may go to others. It acts for whoever opened the page."""
        name, items = self.pages.close(request.session_hash or "")
        for item in items:
            queue.leave(self.store, name, item)

    # What was sent

    def _submitted(self, at: Sitting, token: str | None, given: Given) -> View:
        if (shown := Showing.read(token)) is None:
            return self._next(at)
        try:
            receipt = submitting.submit(self.store, shown.item, at.name, given(at, shown))
        except ConflictError:
            return self._show(at, shown.item, shown.segment, "Submitted before; this is what is stored.")
        except NotFoundError:
            return self._next(at, note="That drawing was deleted meanwhile; here is the next.")
        except AnnotationsError as error:
            return stay(str(error))
        return self._next(at, note=receipt.message, receipt=receipt)

    def _kept(self, at: Sitting, token: str | None, given: Given) -> str:
        if (shown := Showing.read(token)) is None:
            return ""
        try:
            return text(submitting.save(self.store, shown.item, at.name, given(at, shown)).message)
        except AnnotationsError as error:
            return text(f"Not kept yet: {error}")

    def _reflection(self, answer: Answer, at: Sitting, shown: Showing) -> list[Annotation]:
        return reflection_form.annotations_of(*self._item(at, shown), at.name, answer)

    def _unfinished_reflection(self, answer: Answer, at: Sitting, shown: Showing) -> list[Annotation]:
        return reflection_form.unfinished(*self._item(at, shown), at.name, answer, f"{uuid4().hex}-")

    def _filled(self, filled: str | None, at: Sitting, shown: Showing) -> list[Annotation]:
        return sheet.annotations_of(self._sheet(at, shown.item), shown, filled, at.name)

    def _unfinished_sheet(self, filled: str | None, at: Sitting, shown: Showing) -> list[Annotation]:
        """What of it is new, under keys of its own."""
        kept = {a.segment: a.answers for a in self._said(at, shown.item)}
        again = shown._replace(key=uuid4().hex)
        return sheet.unfinished(self._sheet(at, shown.item), again, filled, at.name, kept)

    # What is on the table

    def _sit(self, project: str | None, request: gr.Request, *, strict: bool = True) -> Sitting:
        return sit(project, request, self.store, self.settings, strict=strict)

    def _trajectory(self, at: Sitting, item_id: int) -> Trajectory:
        """What an item shows. Raises NotFoundError, and ProjectError where it is of another project."""
        project, trajectory_id = queue.place_of(self.store, item_id)
        if project != at.project.id:
            raise ProjectError("what this page shows belongs to another project; load the page again")
        return self.store.trajectory(trajectory_id)

    def _item(self, at: Sitting, shown: Showing) -> tuple[Item, Trajectory]:
        """A reflection that the page shows. Raises NotFoundError, ProjectError and AnswerError."""
        trajectory = self._trajectory(at, shown.item)
        return shown_again(shown, at.project.id, trajectory), trajectory

    def _sheet(self, at: Sitting, item_id: int) -> Sheet:
        """Raises NotFoundError, ProjectError and AnswerError."""
        trajectory = self._trajectory(at, item_id)
        if is_about_reflections(at.project):
            raise AnswerError(sheet.UNREADABLE)
        if (sides := queue.sides_of(self.store, item_id, at.name)) is None:
            return Sheet(at.project, trajectory)
        other, left = sides
        return Sheet(at.project, trajectory, self.store.trajectory(other), left)

    def _said(self, at: Sitting, item_id: int) -> list[Annotation]:
        _, trajectory_id = queue.place_of(self.store, item_id)
        return self.store.annotations(trajectory_id, annotator=at.name, project=at.project.id, item=item_id)

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
        return nothing(note)._replace(progress=self._progress(at), learnt=told)

    def _first_open(self, at: Sitting, turn: queue.Turn) -> int:
        """The segment that is asked about next; a sheet asks about all of an item."""
        if not is_about_reflections(at.project):
            return WHOLE_ITEM
        asked = subjects_of(at.project, self.store.trajectory(turn.trajectory_id))
        done = {annotation.segment for annotation in self._said(at, turn.item) if annotation.status in DONE}
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
        trajectory = self._trajectory(at, item_id)
        self.pages.shows(at.session, at.name, item_id)
        kept = {a.segment: a.answers for a in [*self._said(at, item_id), *(sent or [])]}
        if is_about_reflections(at.project):
            item = open_item(item_id, at.project.id, trajectory, segment)
            view = reflection_view(at.project, trajectory, item, kept, self._picture)
        else:
            showing = Showing.begin(item_id, WHOLE_ITEM)
            view = sheet_view(self._sheet(at, item_id), showing, kept, self._picture)
        return view._replace(progress=self._progress(at), learnt=learnt((), practice=practice), note=text(note))

    def _progress(self, at: Sitting) -> str:
        known = standing.standing(self.store, at.name, at.project.id) if at.project.gold_share else None
        return progress_line(queue.progress(self.store, at.name, at.project.id), known)

    def _picture(self, sha256: str) -> bytes | None:
        with suppress(AnnotationsError):
            return self.store.picture(sha256)
        return None
