"""How many of the last drawings the model judged no and repaired, as one line of HTML."""

import time
from typing import NamedTuple
from weakref import WeakKeyDictionary

from annotations.errors import AnnotationsError
from annotations.store.listing import Filter
from annotations.store.store import Store
from model.trajectory import StopReason

LAST = 100  # drawings that are counted
LASTS = 5.0  # seconds for which a count is shown before the store is asked again
DRAWN = Filter(recorded=False, branch=False)  # no verdict in it is a person's
LEFT_OUT = (StopReason.JUDGED, StopReason.CANCELLED, StopReason.FAILED)  # nothing drawn, or not to its end

_counts: "WeakKeyDictionary[Store, tuple[float, ReflectionCounts]]" = WeakKeyDictionary()


class ReflectionCounts(NamedTuple):
    """Of the last drawings: their number, those whose first draft was judged no, those of them with an aha moment."""

    drawn: int
    sent_back: int
    repaired: int


def counts(store: Store) -> ReflectionCounts:
    """Counts of the newest `LAST` drawings that came to their end. Raises AnnotationsError."""
    listed = [
        summary
        for summary in store.trajectories(limit=LAST, keep=DRAWN)
        if summary.answers and summary.stop_reason not in LEFT_OUT
    ]
    sent_back = [summary for summary in listed if summary.answers[0] == "no"]
    return ReflectionCounts(len(listed), len(sent_back), sum(summary.aha for summary in sent_back))


def counted(store: Store, *, anew: bool = False) -> str:
    """One sentence of HTML; empty where nothing was drawn yet or the store is unavailable. Cached for `LASTS` seconds
    unless `anew`."""
    at, made = _counts.get(store, (0.0, None))
    if anew or made is None or not made.drawn or time.monotonic() - at > LASTS:  # the first drawing is counted at once
        try:
            made = counts(store)
        except AnnotationsError:
            return ""
        _counts[store] = time.monotonic(), made
    if not made.drawn:
        return ""
    if made.drawn == 1:
        came = "it came right" if made.repaired else "it did not come right"
        sent = f"sent back itself; {came}" if made.sent_back else "did not send back"
        return f"<p>The one drawing so far the model {sent}.</p>"
    right = f"; <b>{made.repaired}</b> of these came right" if made.sent_back else ""
    return f"<p>Of the last {made.drawn} drawings the model sent back <b>{made.sent_back}</b> itself{right}.</p>"
