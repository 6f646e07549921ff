"""An annotator's progress in a project; large counts are cached for a minute, own submits count at once."""

import time
from dataclasses import replace
from typing import NamedTuple

from annotations.queue.assignment import AnnotatorProgress, progress
from annotations.queue.own_items import Pace, pace
from annotations.store.store import Store

FEW = 5_000  # items, up to which every look is a new count
LASTS = 60.0  # seconds that a count of more is good for


class Count(NamedTuple):
    """A person's progress and pace, and when they were counted."""

    progress: AnnotatorProgress
    pace: Pace
    moment: float  # seconds of the monotonic clock

    def further(self, more: int) -> "Count":
        """After so many more are done."""
        return self._replace(
            progress=self.progress.further(more), pace=replace(self.pace, today=self.pace.today + more)
        )


Counts = dict[tuple[str, str], Count]  # by person and project


def progress_of(counts: Counts, store: Store, annotator: str, project: str) -> Count:
    """Items that this person is done with, those still waiting for them, and their pace; what is counted is
    remembered.
    """
    known = counts.get((annotator, project))
    if known is not None and known.progress.items > FEW and time.monotonic() - known.moment < LASTS:
        return known
    fresh = Count(progress(store, annotator, project), pace(store, annotator, project), time.monotonic())
    counts[annotator, project] = fresh
    return fresh


def complete(counts: Counts, annotator: str, project: str) -> None:
    """This person has one more behind them."""
    known = counts.get((annotator, project))
    if known is not None:
        counts[annotator, project] = known.further(1)
