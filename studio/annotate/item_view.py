"""One person's item ready to show: its reflection or sheet, earlier answers, progress; ownership is checked.

Knows the store, and the view that `view` makes of it all; no page and no request.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple
from uuid import uuid4

from annotations.errors import AnswerError
from annotations.queue import assignment, own_gold_accuracy
from annotations.queue.assignment import Assignment
from annotations.queue.review import returned
from annotations.schema.annotation import Annotation
from annotations.schema.project import Project
from annotations.store.items import subjects_of
from annotations.store.store import Store
from model.backends.contract import Domain
from model.trajectory import Trajectory
from studio.annotate.item_token import DONE, WHOLE_ITEM, ItemToken
from studio.annotate.practice_view import PRACTICE
from studio.annotate.progress_cache import Counts, progress_of
from studio.annotate.reflection_form import (
    ReflectionItem,
    asks_only_about_reflections,
    check_correction,
    reflection_item,
    reflection_sheet,
    reflections_of,
)
from studio.annotate.reflection_view import progress_line, sent_back
from studio.annotate.stock_reasons import reasons_for
from studio.annotate.view import AnnotateView, item_view
from studio.components.forms.prompt_facts import for_drawing
from studio.components.forms.sheet import UNREADABLE, Kept, Sheet, annotations_of, unfinished


class ItemView(NamedTuple):
    """An item, and what this person had said of it by then."""

    showing: ItemToken
    said: list[Annotation]
    view: AnnotateView


@dataclass(frozen=True)
class AnnotatorInProject:
    """One person in one project."""

    store: Store
    counts: Counts
    annotator: str
    project: Project
    domain: Domain = Domain()  # which knows the facts of prompts

    @property
    def is_about_reflections(self) -> bool:
        """Whether reflections are asked about one by one; all else is asked at once."""
        return asks_only_about_reflections(self.project)

    def load_assignment(self, assigned: Assignment, *, done: int = 0) -> ItemView:
        """Where they go on in an item that they were given; `done` more will be completed when they see it."""
        return self.load(assigned.item, self._first_asked(assigned.item), practice=assigned.practice, done=done)

    def load_item(self, item_id: int) -> ItemView:
        """An item that they had, from its beginning. Raises as `trajectory`."""
        return self.load(item_id, self._first_asked(item_id))

    def _first_asked(self, item_id: int) -> int:
        if not self.is_about_reflections:
            return WHOLE_ITEM
        return (self.still_asked(item_id) or subjects_of(self.project, self.trajectory(item_id)))[0]

    def load_sent(self, sent: Sequence[Annotation]) -> ItemView:
        """What was sent about one item, as it was sent. Raises NotFoundError."""
        trajectory = self.trajectory(sent[0].item)
        segments = sorted(annotation.segment or 0 for annotation in sent)
        if self.is_about_reflections:
            segments = [segment for segment in segments if segment in reflections_of(trajectory)]
        return self.load(sent[0].item, segments[0], sent=sent)

    def load(
        self, item_id: int, segment: int, *, sent: Sequence[Annotation] = (), practice: bool = False, done: int = 0
    ) -> ItemView:
        """One thing of an item, or all of it; `sent` is filled in instead of what is stored. Raises NotFoundError."""
        trajectory = self.trajectory(item_id)
        annotations = self._said(item_id, trajectory)
        showing = ItemToken.begin(item_id, segment if self.is_about_reflections else WHOLE_ITEM)
        if self.is_about_reflections:
            annotations = _about(reflection_item(showing, trajectory), annotations)
        view = item_view(self.sheet(showing, trajectory), showing, _kept(annotations, sent), self.store.picture_or_none)
        notice = sent_back(returned(self.store, item_id, self.annotator)) + (PRACTICE if practice else "")
        shown = view._replace(
            progress=self.progress(done=done, part=self._part(trajectory, showing)), learnt=notice, note=""
        )
        return ItemView(showing, annotations, shown)

    def trajectory(self, item_id: int) -> Trajectory:
        """What an item shows, of a pair the first. Raises what `assignment.assigned_trajectory` raises."""
        return self.store.trajectory(
            assignment.assigned_trajectory(self.store, item_id, self.annotator, self.project.id)
        )

    def sheet(self, showing: ItemToken, trajectory: Trajectory | None = None) -> Sheet:
        """The questions that a page shows. Raises NotFoundError, ProjectError and AnswerError."""
        trajectory = trajectory or self.trajectory(showing.item)
        if self.is_about_reflections:
            item = reflection_item(showing, trajectory)
            reasons = reasons_for(self.store, self.project, trajectory.prompt, item.opposite)
            return reflection_sheet(self.project, trajectory, item, reasons)
        if showing.segment != WHOLE_ITEM:
            raise AnswerError(UNREADABLE)
        asked = for_drawing(self.project, self.store, self.domain, trajectory)
        if (sides := assignment.sides_of(self.store, showing.item, self.annotator)) is None:
            return Sheet(asked, trajectory)
        other, left = sides
        return Sheet(asked, trajectory, self.store.trajectory(other), left)

    def annotations(self, showing: ItemToken, filled: str | None) -> list[Annotation]:
        """What is handed in with this showing. Raises as `sheet`."""
        trajectory = self.trajectory(showing.item)
        sheet = self.sheet(showing, trajectory)
        made = annotations_of(sheet, showing.key, filled, self.annotator, showing.seconds())
        if self.is_about_reflections:
            opposite = reflection_item(showing, trajectory).opposite
            check_correction(made, trajectory.prompt, opposite)
        return made

    def unfinished(self, showing: ItemToken, filled: str | None) -> list[Annotation]:
        """What of it is new, under keys of its own. Raises as `sheet`."""
        kept = {annotation.segment: annotation.answers for annotation in self.said_of(showing)}
        return unfinished(self.sheet(showing), uuid4().hex, filled, self.annotator, kept, showing.seconds())

    def still_asked(self, item_id: int) -> list[int]:
        """The segments of an item that they have not answered."""
        trajectory = self.trajectory(item_id)
        done = {annotation.segment for annotation in self._said(item_id, trajectory) if annotation.status in DONE}
        asked = subjects_of(self.project, trajectory)
        return [segment for segment in asked if segment is not None and segment not in done]

    def said_of(self, showing: ItemToken) -> list[Annotation]:
        """What they have said of what is shown: of a reflection and its thought, or of all of an item. Raises as
        `sheet`."""
        trajectory = self.trajectory(showing.item)
        annotations = self._said(showing.item, trajectory)
        if not self.is_about_reflections:
            return annotations
        return _about(reflection_item(showing, trajectory), annotations)

    def _said(self, item_id: int, trajectory: Trajectory) -> list[Annotation]:
        narrowed = {"annotator": self.annotator, "project": self.project.id, "item": item_id}
        return self.store.annotations(trajectory.id, **narrowed)

    def _part(self, trajectory: Trajectory, showing: ItemToken) -> str:
        """“image 2 of 3”, where the images of a drawing are asked about one by one: it is done with the last."""
        asked = subjects_of(self.project, trajectory) if self.is_about_reflections else []
        if len(asked) < 2 or showing.segment not in asked:
            return ""
        return f"image {asked.index(showing.segment) + 1} of {len(asked)}"

    def progress(self, *, done: int = 0, part: str = "") -> str:
        """How far they are, after so many more; `part` of the one that is shown."""
        known = None
        if self.project.gold_share:
            known = own_gold_accuracy.gold_accuracy_of(self.store, self.annotator, self.project.id)
        so_far = progress_of(self.counts, self.store, self.annotator, self.project.id).further(done)
        return progress_line(so_far.progress, known, so_far.pace, part)


def _about(item: ReflectionItem, annotations: Sequence[Annotation]) -> list[Annotation]:
    """What was said of what the form of a reflection shows."""
    return [annotation for annotation in annotations if annotation.segment in (item.showing.segment, item.thought)]


def _kept(annotations: Sequence[Annotation], sent: Sequence[Annotation]) -> Kept:
    """Of one thing said twice, the later."""
    return {annotation.segment: annotation.answers for annotation in (*annotations, *sent)}
