"""An item laid out for one person: where they go on in it, what they have said of it, how far they are.

Knows the store, and the view that `annotate_view` makes of it all; no page and no request.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from annotations import queue, standing
from annotations.annotation import Annotation
from annotations.errors import AnnotationsError
from annotations.items import subjects_of
from annotations.project import Project
from annotations.queue import Turn
from annotations.store import Store
from studio.annotate_view import View, form
from studio.counted import Counts, progress_of
from studio.reflection_form import DONE, Item, open_item
from studio.stage import progress_line


class Laid(NamedTuple):
    """An item, and what this person had said of it by then."""

    item: Item
    said: list[Annotation]
    view: View


@dataclass(frozen=True)
class Place:
    """One person in one project."""

    store: Store
    counts: Counts
    annotator: str
    project: Project

    def lay_turn(self, turn: Turn, *, done: int = 0) -> Laid:
        """Where they go on in an item that they were given; `done` more will be completed when they see it."""
        asked = self.still_asked(turn.item, turn.trajectory_id)
        asked = asked or subjects_of(self.project, self.store.trajectory(turn.trajectory_id))
        return self.lay(turn.item, asked[0], practice=turn.practice, done=done)

    def lay(
        self,
        item_id: int,
        segment: int,
        *,
        sent: Sequence[Annotation] = (),
        practice: bool = False,
        done: int = 0,
    ) -> Laid:
        """One thing of an item; `sent` is filled in instead of what is stored. Raises NotFoundError."""
        trajectory = self.store.trajectory(queue.place_of(self.store, item_id)[1])
        item = open_item(item_id, self.project.id, trajectory, segment)
        said = self.said_of(item)
        progress = self.progress(done=done)
        view = form(self.project, trajectory, item, [*said, *sent], progress, self._picture, practice=practice)
        return Laid(item, said, view)

    def still_asked(self, item_id: int, trajectory_id: str) -> list[int]:
        """The segments of an item that they have not answered."""
        narrowed = {"annotator": self.annotator, "project": self.project.id, "item": item_id}
        said = self.store.annotations(trajectory_id, **narrowed)
        done = {annotation.segment for annotation in said if annotation.status in DONE}
        asked = subjects_of(self.project, self.store.trajectory(trajectory_id))
        return [segment for segment in asked if segment is not None and segment not in done]

    def said_of(self, item: Item) -> list[Annotation]:
        """What they have said of what the form shows."""
        narrowed = {"annotator": self.annotator, "project": item.project, "item": item.item}
        said = self.store.annotations(item.trajectory_id, **narrowed)
        return [annotation for annotation in said if annotation.segment in (item.segment, item.thought)]

    def progress(self, *, done: int = 0) -> str:
        """How far they are, after so many more."""
        known = None
        if self.project.gold_share:
            known = standing.standing(self.store, self.annotator, self.project.id)
        so_far = progress_of(self.counts, self.store, self.annotator, self.project.id)
        return progress_line(so_far.further(done), known)

    def _picture(self, sha256: str) -> bytes | None:
        with suppress(AnnotationsError):
            return self.store.picture(sha256)
        return None
