"""The item that a page shows, as a token that it sends back.

Knows annotations; no store and no page. By the token an answer belongs to what it was given to, also after the server
has restarted or the same answer was sent twice.
"""

import json
import math
import time
from itertools import takewhile
from typing import NamedTuple
from uuid import uuid4

from annotations.schema.annotation import DONE, Annotation, Status

LONGEST_KEY = 48  # characters
LONGEST_TIME = 4 * 3600.0  # seconds on one item; a page that stood open overnight says nothing
WHOLE_ITEM = -1  # instead of a segment, where all of an item is asked about at once


class ItemToken(NamedTuple):
    """The item that is shown, the segment it is asked about, and the key of this showing."""

    item: int  # of the queue
    segment: int
    key: str
    shown_at: float  # seconds since the epoch

    @staticmethod
    def begin(item: int, segment: int) -> "ItemToken":
        return ItemToken(item, segment, uuid4().hex, time.time())

    @staticmethod
    def read(token: str | None) -> "ItemToken | None":
        """A token is somebody's input: None for what is none."""
        try:
            item, segment, key, shown_at = json.loads(token or "")
            made = ItemToken(int(item), int(segment), str(key), float(shown_at))
        except (TypeError, ValueError, OverflowError, RecursionError):
            return None
        sound = 0 <= made.item < 2**53 and 0 < len(made.key) <= LONGEST_KEY and math.isfinite(made.shown_at)
        return made if sound else None

    def token(self) -> str:
        return json.dumps([self.item, self.segment, self.key, round(self.shown_at, 1)])

    def seconds(self) -> float:
        """How long it has been shown."""
        return min(max(0.0, time.time() - self.shown_at), LONGEST_TIME)


def last_done(current: list[Annotation]) -> list[Annotation]:
    """What one submit or one skip stored last, newest first: of one showing, or one trajectory's discarded rest."""
    newest = [a for a in reversed(current) if a.status in DONE]

    def together(a: Annotation) -> bool:
        skipped = a.status is Status.DISCARDED and newest[0].status is Status.DISCARDED
        same = skipped or a.key.rpartition("-")[0] == newest[0].key.rpartition("-")[0] != ""
        return (a.trajectory_id, a.item) == (newest[0].trajectory_id, newest[0].item) and same

    return list(takewhile(lambda a: a is newest[0] or together(a), newest))
