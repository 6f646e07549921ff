"""Handlers of the Annotate page: claim, keep unfinished answers, submit, skip, undo, release.

Knows the queue and the store; how it looks is known to `view`, where it stands to `page`. Each
handler looks up who is asking and whether the project is open to them. Refused answers come back as a line under the
form.
"""

import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import gradio as gr

from annotations.errors import AnnotationsError, ConflictError, LeaseError, NotFoundError, ProjectError, redact_paths
from annotations.queue import assignment, practice, submission
from annotations.queue.progress import project_counts
from annotations.queue.submission import Receipt
from annotations.schema.project import Role
from model.backends.contract import Domain
from studio.annotate.held_items import Held, HeldItems
from studio.annotate.item_token import ItemToken, last_done
from studio.annotate.item_view import ItemView
from studio.annotate.page_session import PageSession, open_projects, resolve_session
from studio.annotate.practice_view import lesson, marks
from studio.annotate.progress_cache import Counts, complete
from studio.annotate.view import AnnotateView, nothing, stay
from studio.auth.identity import PageHandlers
from studio.components.forms.sheet import value_of
from studio.components.notices import practice_missing, success_notice
from studio.components.page_options import unchanged
from studio.components.render import escaped, sentence
from studio.http.whole_numbers import whole_number

RECENT = 500  # annotations among which the last submit is looked for; one submit writes a few


class Prefetched(NamedTuple):
    """What follows, once the showing of this key is submitted."""

    after: str
    loaded: ItemView


@dataclass(frozen=True)
class AnnotateHandlers(PageHandlers):
    """The handlers of the page."""

    domain: Domain = Domain()  # which knows the facts of prompts
    open: dict[str, Held] = field(default_factory=dict)  # who has which items on which page
    ahead: dict[str, Prefetched] = field(default_factory=dict)  # what follows on which page
    counts: Counts = field(default_factory=dict)  # how far who is

    @property
    def holding(self) -> HeldItems:
        return HeldItems(self.store, self.open)

    def start(self, request: gr.Request) -> AnnotateView:
        """The first item: of the trajectory named in the address, or of the one that is next."""
        at = self._resolve_session(request.query_params.get("project"), request, strict=False)
        choices = [(project.name, project.id) for project in open_projects(self.store, at.who)]
        menu = gr.update(choices=choices, value=at.project.id, visible=len(choices) > 1)
        asked_for, assigned = request.query_params.get("trajectory"), None
        if asked_for:
            with suppress(AnnotationsError):
                assigned = assignment.claim_specific(self.store, at.project.id, asked_for, at.name)
        view = self._next(at, first=assigned)
        guidelines = gr.update(value=at.project.guidelines)
        return view._replace(
            place=at.project.id, project=menu, guidelines=guidelines, learnt=self._missing(at) + (view.learnt or "")
        )

    def _missing(self, at: PageSession) -> str:
        """A notice that there are too few practice items, for those who can appoint them."""
        if not at.project.practice or not at.who.may(Role.ADMIN):
            return ""
        return practice_missing(at.project, project_counts(self.store)[at.project.id])

    def choose(self, project: str | None, token: str | None, request: gr.Request) -> AnnotateView:
        """Another project; the shown item is released."""
        at = self._resolve_session(project, request)
        shown, ahead = ItemToken.read(token), self.ahead.pop(at.session, None)
        for item in {each.item for each in (shown, ahead and ahead.loaded.showing) if each is not None}:
            assignment.leave(self.store, at.name, item)
        return self._next(at)._replace(place=at.project.id, guidelines=gr.update(value=at.project.guidelines))

    def submit(self, project: str | None, token: str | None, filled: str | None, request: gr.Request) -> AnnotateView:
        """What was filled in, handed in."""
        return self._submitted(self._resolve_session(project, request), token, filled)

    def save(self, project: str | None, token: str | None, filled: str | None, request: gr.Request) -> str:
        """Keep what is filled in so far; returns a notice where one is needed."""
        at = self._resolve_session(project, request)
        if (shown := ItemToken.read(token)) is None:
            return ""
        try:
            receipt = submission.save(self.store, shown.item, at.name, at.place.unfinished(shown, filled))
            self.holding.renew(at.session, shown.item)
            return escaped(receipt.message)
        except AnnotationsError as error:
            return escaped(f"Not kept yet: {redact_paths(error)}")

    def prepare(self, project: str | None, token: str | None, request: gr.Request) -> None:
        """Fetch what follows the shown item: held for this person and rendered, so that it is shown at once."""
        at = self._resolve_session(project, request)
        self.ahead.pop(at.session, None)
        with suppress(AnnotationsError):
            shown = ItemToken.read(token)
            loaded = shown and self._following(at, shown)
            if loaded is not None:
                self.ahead[at.session] = Prefetched(shown.key, loaded)

    def alive(self, project: str | None, token: str | None, request: gr.Request) -> Any:
        """A sign of life; a line where the item is no longer one's own."""
        at = self._resolve_session(project, request)
        shown, ahead = ItemToken.read(token), self.ahead.get(at.session)
        if ahead is not None:
            with suppress(AnnotationsError):
                self._renew(at, ahead.loaded.showing.item)
        try:
            if shown is not None:
                assignment.assigned_trajectory(self.store, shown.item, at.name, at.project.id)
                self._renew(at, shown.item)
        except (LeaseError, ProjectError) as error:
            return escaped(sentence(redact_paths(error)))
        except NotFoundError:
            return escaped("This drawing was deleted meanwhile; submit or skip leads to the next.")
        return gr.skip()

    def skip(self, project: str | None, token: str | None, why: str | None, request: gr.Request) -> AnnotateView:
        """Leave the rest of this item to others, or for later, as the project says."""
        at = self._resolve_session(project, request)
        try:
            if (shown := ItemToken.read(token)) is not None:
                at.place.trajectory(shown.item)
                submission.skip_item(self.store, shown.item, at.name, reason=why or "")
                self.counts.pop((at.name, at.project.id), None)  # it may be done, skipped or to come back
                self.holding.forget(at.session, shown.item)
        except NotFoundError:  # deleted meanwhile: skipped for everybody
            pass
        except AnnotationsError as error:
            return stay(redact_paths(error))
        return self._next(at)

    def undo(self, project: str | None, request: gr.Request) -> AnnotateView:
        """Take back what this annotator submitted or skipped last, and show it again as it was sent."""
        at = self._resolve_session(project, request)
        last = last_done(self.store.annotations(annotator=at.name, project=at.project.id, newest=RECENT))
        self.counts.pop((at.name, at.project.id), None)
        try:
            for annotation in last:
                place = {"project": at.project.id, "item": annotation.item}
                self.store.undo(annotation.trajectory_id, annotation.segment, at.name, **place)
            if last:
                view = self._opened(at, at.place.load_sent(last)).view
                return view._replace(note=success_notice("Taken back; change it and submit it again."))
        except NotFoundError:
            pass
        return stay("There is nothing to undo.")

    def leave(self, request: gr.Request) -> None:
        """The page went away: what only it had open may go to others. It acts for whoever opened the page."""
        self.ahead.pop(request.session_hash or "", None)
        self.holding.leave(request.session_hash or "")

    def jump(self, project: str | None, item: str | None, request: gr.Request) -> AnnotateView:
        """One of the items that this person had, as they left it; the item that is shown stays held."""
        at = self._resolve_session(project, request)
        if (number := whole_number(item)) is not None:
            with suppress(AnnotationsError):
                return self._opened(at, at.place.load_item(number)).view
        return stay("This is none of your drawings, or it was deleted.")

    def again(self, project: str | None, request: gr.Request) -> AnnotateView:
        """Practice from its beginning."""
        at = self._resolve_session(project, request)
        self.ahead.pop(at.session, None)
        practice.again(self.store, at.name, at.project.id)
        self.counts.pop((at.name, at.project.id), None)
        return self._next(at)

    # What was sent

    def _submitted(self, at: PageSession, token: str | None, filled: str | None) -> AnnotateView:
        if (shown := ItemToken.read(token)) is None:
            return self._next(at)
        try:
            receipt = submission.submit(self.store, shown.item, at.name, at.place.annotations(shown, filled))
        except ConflictError:
            view = self._opened(at, at.place.load(shown.item, shown.segment)).view
            return view._replace(note=escaped("Submitted before; this is what is stored."))
        except NotFoundError:
            return self._next(at, note="That drawing was deleted meanwhile; here is the next.")
        except AnnotationsError as error:
            return stay(redact_paths(error))
        if receipt.completed:
            self._complete(at, shown.item)
        if receipt.is_practice and (view := self._taught(at, shown, receipt)) is not None:
            return view
        return self._next(at, after=shown, note=receipt.message)

    def _taught(self, at: PageSession, shown: ItemToken, receipt: Receipt) -> AnnotateView | None:
        """An item of practice with the right answers, until the person goes on; None where nothing of it is known."""
        segments = {annotation.segment for annotation in receipt.annotations}
        feedback = practice.feedback(self.store, shown.item, at.name, segments)
        if not feedback:
            return None
        sheet, said = at.place.sheet(shown), {each.segment: each.answers for each in receipt.annotations}
        value = value_of(sheet, shown.key, said, self.store.picture_or_none) | {"right": marks(sheet, feedback)}
        result = practice.result(self.store, at.name, at.project.id)
        if not receipt.completed:
            result = replace(result, over=False)
        return unchanged(
            AnnotateView, token="", sheet=value, learnt=lesson(sheet, feedback, result), note=escaped(receipt.message)
        )

    # What comes next

    def _resolve_session(self, project: str | None, request: gr.Request, *, strict: bool = True) -> PageSession:
        at = resolve_session(project, request, self.store, self.settings, self.counts, strict=strict)
        return at._replace(place=replace(at.place, domain=self.domain))

    def _next(
        self,
        at: PageSession,
        *,
        first: assignment.Assignment | None = None,
        after: ItemToken | None = None,
        note: str = "",
    ) -> AnnotateView:
        """`first`, or what was fetched ahead to follow `after`, or what the queue says."""
        assigned = first
        try:
            view = self._fetched(at, after) if after is not None else None
            if view is None:
                assigned = assigned or assignment.claim(self.store, at.project.id, at.name)
                view = self._opened(at, at.place.load_assignment(assigned)).view if assigned is not None else None
            if view is not None:
                return view._replace(note=escaped(note))
        except AnnotationsError as error:
            note = redact_paths(error)
        return nothing(note)._replace(progress=at.place.progress(), learnt="")

    def _following(self, at: PageSession, shown: ItemToken) -> ItemView | None:
        """What comes after an item that is still shown: the rest of the same drawing, or the next."""
        at.place.trajectory(shown.item)  # or it is of another project
        asked = at.place.still_asked(shown.item) if at.place.is_about_reflections else []
        if left := [segment for segment in asked if segment != shown.segment]:
            return at.place.load(shown.item, left[0])
        assigned = assignment.claim(self.store, at.project.id, at.name, exclude_item=shown.item)
        return assigned and self._opened(at, at.place.load_assignment(assigned, done=1))

    def _fetched(self, at: PageSession, after: ItemToken) -> AnnotateView | None:
        """What was fetched to follow this showing, if it is still to be asked and nothing was said of it since."""
        ahead = self.ahead.pop(at.session, None)
        if ahead is None or ahead.after != after.key:
            return None
        loaded = ahead.loaded
        is_held = assignment.holds(self.store, loaded.showing.item, at.name)
        if not is_held or at.place.said_of(loaded.showing) != loaded.said:
            return None
        return loaded.view._replace(token=loaded.showing._replace(shown_at=time.time()).token())

    def _opened(self, at: PageSession, loaded: ItemView) -> ItemView:
        """Remember that this page has it, to give it back when the page is closed."""
        self.holding.remember(at.session, at.name, loaded.showing.item)
        return loaded

    def _renew(self, at: PageSession, item: int) -> None:
        assignment.heartbeat(self.store, item, at.name)
        self.holding.renew(at.session, item)

    def _complete(self, at: PageSession, item: int) -> None:
        """What is done is counted, and need not be given back when the page is closed."""
        complete(self.counts, at.name, at.project.id)
        self.holding.forget(at.session, item)
