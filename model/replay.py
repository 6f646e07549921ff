"""The events of a stored trajectory once more: `fold(replay(trajectory))` is the trajectory.

With its pictures they are all that a player needs; no network, no torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from model.events import (
    Event,
    Failed,
    ImageCodesAdded,
    Preview,
    SegmentFinished,
    SegmentStarted,
    TextAdded,
    TrajectoryFinished,
    TrajectoryStarted,
    Verdict,
)
from model.pictures import crop_cells
from model.trajectory import Image, Origin, Reflection, Segment, Source, Thought, Trajectory


def replay(trajectory: Trajectory, pictures: Callable[[str], bytes] | None = None, group: int = 4) -> Iterator[Event]:
    """The events of a stored trajectory, image codes `group` at a time.

    `pictures` gives the PNG of a hash; with it, every group comes with a preview of its cells, cut from the final
    picture, so that nothing but the store is needed to watch a trajectory again.
    """
    tid = trajectory.id
    size = max((len(image.codes) for image in trajectory.images if image.finished), default=0)
    yield TrajectoryStarted(
        trajectory_id=tid,
        prompt=trajectory.prompt,
        seed=trajectory.seed,
        rounds=trajectory.rounds,
        sampling=trajectory.sampling,
        checkpoint=trajectory.checkpoint,
        parent=trajectory.parent,
        created_at=trajectory.created_at,
        image_codes=size,
    )
    for index, segment in enumerate(trajectory.segments):
        t_ms = trajectory.times_ms[index] if index < len(trajectory.times_ms) else 0
        yield SegmentStarted(trajectory_id=tid, segment=index, t_ms=t_ms, kind=segment.kind)
        for event in replay_segment(tid, index, segment, pictures, group):
            yield replace(event, t_ms=t_ms)
    last = max(len(trajectory.segments) - 1, 0)
    end = trajectory.times_ms[-1] if trajectory.times_ms else 0
    if trajectory.error is not None:
        yield Failed(trajectory_id=tid, segment=last, t_ms=end, error=trajectory.error)
    elif trajectory.stop_reason is not None:
        yield TrajectoryFinished(trajectory_id=tid, segment=last, t_ms=end, stop_reason=trajectory.stop_reason)


def replay_segment(
    tid: str, index: int, segment: Segment, pictures: Callable[[str], bytes] | None, group: int = 4
) -> Iterator[Event]:
    """The events of one stored segment, without the one that starts it."""
    here = {"trajectory_id": tid, "segment": index}
    match segment:
        case Image():
            yield from _replay_image(here, segment, pictures, group)
        case Thought():
            for token in segment.tokens:
                yield TextAdded(**here, tokens=(token,))
        case Reflection():
            yield Verdict(**here, answer=segment.answer, p_yes=segment.p_yes)
            for token in segment.tokens:
                yield TextAdded(**here, tokens=(token,))
        case Source() if pictures is not None:
            yield Preview(**here, png=pictures(segment.sha256), whole=True, count=len(segment.codes))
    if segment.finished:
        yield SegmentFinished(
            **here,
            sha256=getattr(segment, "sha256", None),
            codes=segment.codes if isinstance(segment, Source) else None,
            text=getattr(segment, "text", None),
        )


def _replay_image(
    here: dict[str, Any], image: Image, pictures: Callable[[str], bytes] | None, group: int
) -> Iterator[Event]:
    png = pictures(image.sha256) if pictures is not None and image.sha256 is not None else None
    for start, codes, origin in _groups(image, group):
        yield ImageCodesAdded(**here, start=start, codes=codes, origin=origin)
        if png is not None:
            cells = crop_cells(png, len(image.codes), start, len(codes))
            yield Preview(**here, png=cells, start=start, count=len(codes))
    if png is not None:
        yield Preview(**here, png=png, start=0, count=len(image.codes), whole=True)


def _groups(image: Image, group: int) -> Iterator[tuple[int, tuple[int, ...], Origin]]:
    """Runs of at most `group` codes of one origin, within one row of the grid."""
    side = math.isqrt(len(image.codes)) if image.finished else len(image.codes)
    start = 0
    while start < len(image.codes):
        origin, stop = image.origins[start], start + 1
        limit = min(start + group, (start // side + 1) * side)
        while stop < limit and image.origins[stop] == origin:
            stop += 1
        yield start, image.codes[start:stop], origin
        start = stop
