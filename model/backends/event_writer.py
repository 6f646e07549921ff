"""Writes the events of one rollout with its id, the segment's index and the time. No torch."""

import hashlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from model.backends.request import Request
from model.events import Event, FrameAdded, Preview, SegmentFinished, SegmentStarted, TrajectoryStarted, replay_segment
from model.trajectory import Sampling, Segment, picture_hashes


class EventWriter:
    """`writer(EventType, **values)` makes an event of the segment that was begun last."""

    def __init__(self, request: Request):
        self.request = request
        self.segment = -1
        self.began = time.monotonic()

    def __call__(self, event: type[Event], **values: object) -> Event:
        return event(trajectory_id=self.request.id, segment=max(self.segment, 0), t_ms=self._now(), **values)

    def start(self, checkpoint: str, sampling: Sampling, image_codes: int) -> Event:
        """The first event. `sampling`: the settings that hold; `image_codes`: of a whole image, 0 for none."""
        request = self.request
        return self(
            TrajectoryStarted,
            prompt=request.prompt,
            seed=request.seed,
            rounds=request.rounds,
            sampling=sampling,
            checkpoint=checkpoint,
            parent=request.parent,
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            image_codes=image_codes,
        )

    def begin(self, kind: str) -> Event:
        self.segment += 1
        return self(SegmentStarted, kind=kind)

    def frame(self, png: bytes, share: float) -> Event:
        """A stage of an image without codes; `share` (0 to 1) of its steps are done."""
        return self(FrameAdded, sha256=hashlib.sha256(png).hexdigest(), png=png, share=share)

    def finish_image(self, png: bytes, codes: int = 0) -> Iterator[Event]:
        """The finished picture of an image of so many codes."""
        yield self(Preview, png=png, count=codes, whole=True)
        yield self(SegmentFinished, sha256=hashlib.sha256(png).hexdigest())

    def source(self, png: bytes, codes: tuple[int, ...] = ()) -> Iterator[Event]:
        """The segment of an image that was given by the user."""
        yield self.begin("source")
        yield self(Preview, png=png, count=len(codes), whole=True)
        yield self(SegmentFinished, sha256=hashlib.sha256(png).hexdigest(), codes=codes)

    def prefix(self, segment: Segment, pictures: Mapping[str, bytes]) -> Iterator[Event]:
        """The events of a segment of the prefix, with its pictures (PNG by hash) where they are known."""
        known = pictures.keys() >= set(picture_hashes(segment))
        yield self.begin(segment.kind)
        for event in replay_segment(self.request.id, self.segment, segment, pictures.__getitem__ if known else None):
            yield replace(event, t_ms=self._now())

    def _now(self) -> int:
        return int((time.monotonic() - self.began) * 1000)
