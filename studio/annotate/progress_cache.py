"""An annotator's progress in a project; large counts are cached for a minute, own submits count at once."""

import time
from typing import NamedTuple

from annotations.queue.assignment import Progress, progress
from annotations.store.store import Store

FEW = 5_000  # items, up to which every look is a new count
LASTS = 60.0  # seconds that a count of more is good for


class Count(NamedTuple):
    """A person's progress, and when it was counted."""

    progress: Progress
    moment: float  # seconds of the monotonic clock


Counts = dict[tuple[str, str], Count]  # by person and project


def progress_of(counts: Counts, store: Store, annotator: str, project: str) -> Progress:
    """Items that this person is done with, and those still waiting for them; what is counted is remembered."""
    known = counts.get((annotator, project))
    if known is not None and known.progress.items > FEW and time.monotonic() - known.moment < LASTS:
        return known.progress
    fresh = progress(store, annotator, project)
    counts[annotator, project] = Count(fresh, time.monotonic())
    return fresh


def complete(counts: Counts, annotator: str, project: str) -> None:
    """This person has one more behind them."""
    known = counts.get((annotator, project))
    if known is not None:
        counts[annotator, project] = known._replace(progress=known.progress.further(1))
