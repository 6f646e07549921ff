"""Stored trajectories as timeline updates.

Knows the store and the timeline's values; needs no checkpoint.
"""

import random
import threading
import time
from collections import OrderedDict
from contextlib import suppress
from typing import NamedTuple
from uuid import uuid4
from weakref import WeakKeyDictionary

from annotations.errors import AnnotationsError, redact_paths
from annotations.store.listing import Filter
from annotations.store.store import Store
from model.images import PictureFileError
from model.trajectory import Trajectory
from studio.components import render
from studio.inference.finished_details import finished_details
from studio.inference.live_drawings import LiveDrawings
from studio.settings import Settings

UNSHOWABLE = (AnnotationsError, PictureFileError)
RECENT = 48  # of so many aha moments, recorded ones first, one is shown
MOST_KEPT = 16  # values of the timeline, each some 100 kB
FRONT_LASTS = 2.0
UNDER_WAY = "This is being drawn at this moment: watch."
NO_AHA = "There is no aha moment here yet: draw something harder, such as “two red apples above a blue car”."

_kept: WeakKeyDictionary[Store, OrderedDict[tuple, render.Row]] = WeakKeyDictionary()
_front: "WeakKeyDictionary[Store, FrontPageReplays]" = WeakKeyDictionary()
_lock = threading.Lock()


def replay(store: Store, run: str, settings: Settings) -> render.Row:
    """Timeline value of one stored trajectory, or a message why it cannot be shown."""
    try:
        return playing(store, store.trajectory(run), settings)
    except UNSHOWABLE as error:
        return no_replay(error)


def not_stored(store: Store, run: str, error: Exception) -> render.Row:
    """Timeline value that follows a drawing under way, else a message why it cannot be shown."""
    with suppress(AnnotationsError):
        if LiveDrawings.of(store).is_live(run):
            return render.notice_value(UNDER_WAY) | {"watch": run}
    return no_replay(error)


def no_replay(error: Exception) -> render.Row:
    return render.notice_value(f"This drawing cannot be shown: {redact_paths(error)}.")


def playing(store: Store, trajectory: Trajectory, settings: Settings, label: str = "") -> render.Row:
    """Timeline value of a stored trajectory; those played often are cached."""
    kept = _kept.setdefault(store, OrderedDict())
    key = (trajectory.id, settings.pace, label)
    if (value := kept.get(key)) is None:
        value = render.replay_value(trajectory, store.picture, run="", pace=settings.pace, label=label)
        value |= finished_details(trajectory, store.picture)
        with _lock:
            kept[key] = value
            while len(kept) > MOST_KEPT:
                kept.popitem(last=False)
    return value | {"run": uuid4().hex}


def some_aha(store: Store, settings: Settings, rng: random.Random) -> render.Row:
    """Timeline value of a random one of the newest aha moments, or a message that there is none."""
    try:
        recorded = store.trajectories(limit=RECENT, keep=Filter(aha=True, recorded=True))  # these are real ones
        listed = recorded or store.trajectories(limit=RECENT, keep=Filter(aha=True))
        if not listed:
            return render.notice_value(NO_AHA)
        return playing(store, store.trajectory(rng.choice(listed).id), settings, "An aha moment") | {"follow": True}
    except UNSHOWABLE as error:
        return render.notice_value(f"No aha moment can be shown: {redact_paths(error)}.")


def recorded_aha(store: Store, settings: Settings) -> render.Row:
    """Timeline value of the newest recorded aha moment, played on the front page before anybody has drawn; cached for
    `FRONT_LASTS` seconds and until the next deletion."""
    kept = _front.get(store)
    if kept is not None and kept.hidden == store.hidden and time.monotonic() < kept.until:
        return kept.value | {"run": uuid4().hex}
    hidden, value = store.hidden, {}
    with suppress(*UNSHOWABLE):
        if listed := store.trajectories(limit=1, keep=Filter(recorded=True, aha=True)):
            value = playing(store, store.trajectory(listed[0].id), settings, "Recorded example") | {"unasked": True}
    if value:
        _front[store] = FrontPageReplays(value, hidden, time.monotonic() + FRONT_LASTS)
    return value


class FrontPageReplays(NamedTuple):
    """A cached replay of the front page."""

    value: render.Row
    hidden: int  # deletions when it was looked for
    until: float  # seconds of the monotonic clock
