"""The trajectory folded from the events of a drawing so far."""

from hashlib import sha256
from typing import NamedTuple

from model.events import Event, FrameAdded, Preview, advance
from model.trajectory import Trajectory


class PartialTrajectory(NamedTuple):
    """The trajectory so far, and its finished pictures, by hash."""

    trajectory: Trajectory | None = None
    pictures: dict[str, bytes] = {}

    def after(self, event: Event) -> "PartialTrajectory":
        shown = {}
        if isinstance(event, Preview) and event.whole:
            shown = {sha256(event.png).hexdigest(): event.png}
        elif isinstance(event, FrameAdded) and event.png is not None:
            shown = {event.sha256: event.png}
        return PartialTrajectory(advance(self.trajectory, event), self.pictures | shown)
