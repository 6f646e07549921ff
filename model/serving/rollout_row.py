"""A finished rollout as one row for a trainer: trajectory, pictures, token ids, masks, log-probabilities. No torch."""

from collections.abc import Iterable
from hashlib import sha256
from typing import Any

from model.events import Event, FrameAdded, LogProbabilities, Preview, advance
from model.serving.wire import text_of_bytes
from model.trajectory import Image, Segment, Source


def rollout_row(events: Iterable[Event]) -> dict[str, Any]:
    """`sequences` has, of every segment, its kind and three lists of equal length: the `ids` of its tokens or image
    codes, the `mask` of those that were sampled, and their `log_probs` in the distributions that they were drawn from
    (0 for others). A thought that ends by itself has the token that begins the image last, a reflection the end of the
    turn. `pictures` are PNGs in base64, by hash.
    """
    trajectory, pictures, known = None, dict[str, str](), dict[int, LogProbabilities]()
    for event in events:
        trajectory = advance(trajectory, event)
        match event:
            case Preview(whole=True, png=png):
                pictures[sha256(png).hexdigest()] = text_of_bytes(png)
            case FrameAdded(png=bytes() as png):
                pictures[event.sha256] = text_of_bytes(png)
            case LogProbabilities():
                known[event.segment] = event
    if trajectory is None:
        raise ValueError("no events")
    sequences = [_sequence(segment, known.get(at)) for at, segment in enumerate(trajectory.segments)]
    return {"trajectory": trajectory.to_dict(), "pictures": pictures, "sequences": sequences}


def _sequence(segment: Segment, sampled: LogProbabilities | None) -> dict[str, Any]:
    if sampled is not None:
        ids, mask, log_probs = sampled.ids, [1] * len(sampled.ids), sampled.log_probs
    else:
        ids = segment.codes if isinstance(segment, Image | Source) else tuple(token.id for token in segment.tokens)
        mask, log_probs = [0] * len(ids), (0.0,) * len(ids)
    return {"kind": segment.kind, "ids": list(ids), "mask": mask, "log_probs": list(log_probs)}
