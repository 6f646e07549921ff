"""Codes to pictures, in threads beside the decode loop: finished images, and previews of unfinished ones.

What is under way is one batch of each. Knows runs of the engine, not how tokens come to be.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from PIL import Image as Picture

from model.decoding.grammar import Paint, Painted
from model.decoding.run import Run
from model.events import Event, Preview
from model.janus import Janus
from model.pictures import encode_png

log = logging.getLogger(__name__)

THREADS = 8  # two batches are decoded at once, and the pictures of one are packed by the others


class Painters:
    """The threads; on a GPU they have a stream of their own, that they do not wait for the steps."""

    def __init__(self, janus: Janus):
        self.janus = janus
        self.threads = ThreadPoolExecutor(THREADS, "painters")
        self.stream = torch.cuda.Stream(janus.device) if janus.device.type == "cuda" else None
        self.images, self.sketches = Images(self), Sketches(self)

    def paint(self, images: Sequence[Sequence[int]]) -> np.ndarray:
        """(B, H, W, 3) pictures."""
        with torch.cuda.stream(self.stream):
            return self.janus.decode(torch.tensor(images))

    def close(self) -> None:
        self.threads.shutdown(wait=False, cancel_futures=True)


class Images:
    """Finished images: all that wait, as one batch."""

    def __init__(self, painters: Painters):
        self.painters = painters
        self._under_way: Future[list[Painted]] | None = None
        self._subjects: list[tuple[Run, Paint]] = []

    def ready(self, running: Sequence[Run], *, wait: bool) -> Iterator[tuple[Run, Painted | Exception]]:
        """Who goes on with a picture, or with what went wrong; begins the next. `wait`: there is nothing else to do."""
        if self._under_way is None:
            self._begin(running)
        wait = wait and any(isinstance(run.wants, Paint) for run in running)
        if self._under_way is None or not (wait or self._under_way.done()):
            return
        subjects, painted, self._under_way = self._subjects, self._under_way, None
        error = painted.exception()  # waits
        found = painted.result() if error is None else [error] * len(subjects)
        for (run, paint), each in zip(subjects, found, strict=True):
            if run.wants is paint:
                yield run, each
        self._begin(running)

    def _begin(self, running: Sequence[Run]) -> None:
        self._subjects = [(run, run.wants) for run in running if isinstance(run.wants, Paint)]
        if self._subjects:
            self._under_way = self.painters.threads.submit(self._paint, [paint for _, paint in self._subjects])

    def _paint(self, wanted: Sequence[Paint]) -> list[Painted]:
        pictures = self.painters.paint([paint.codes for paint in wanted])
        packed = self.painters.threads.map(encode_png, map(Picture.fromarray, pictures))
        return [Painted(picture, png) for picture, png in zip(pictures, packed, strict=True)]


class Sketches:
    """Unfinished images, now and then, every cell once and in order.

    What is not ready before the image is finished is cut from the finished one.
    """

    def __init__(self, painters: Painters):
        self.painters = painters
        self._under_way: Future[np.ndarray] | None = None
        self._subjects: list[tuple[Run, int, int]] = []  # with the segment of its image and the codes it has

    def shown(self, running: Sequence[Run]) -> list[Event]:
        """The previews that are ready; begins the next."""
        if self._under_way is not None and not self._under_way.done():
            return []
        events: list[Event] = []
        if self._under_way is not None:
            painted, self._under_way = self._under_way, None
            if (error := painted.exception()) is not None:
                log.error("no preview could be painted: %s", error)
                return []
            for (run, segment, stop), picture in zip(self._subjects, painted.result(), strict=True):
                if run.drawing == segment:
                    events += self._cells(run, picture, stop)
        subjects = [run for run in running if run.sketch is not None]
        if subjects:
            self._subjects = [(run, run.drawing, len(run.sketch.codes)) for run in subjects]
            self._under_way = self.painters.threads.submit(self._paint, [run.sketch.codes for run in subjects])
            for run in subjects:
                run.sketch = None
        return events

    def rest(self, run: Run, picture: np.ndarray) -> list[Event]:
        """What of a finished image has not been shown yet."""
        events = self._cells(run, picture, self.painters.janus.image_codes) if run.drawing is not None else []
        run.drawing = None
        return events

    def _paint(self, drawn: Sequence[tuple[int, ...]]) -> np.ndarray:
        """(B, H, W, 3) pictures; cells not drawn yet are blank."""
        janus = self.painters.janus
        blank, total = janus.blank_code, janus.image_codes
        return self.painters.paint([codes + (blank,) * (total - len(codes)) for codes in drawn])

    def _cells(self, run: Run, picture: np.ndarray, stop: int) -> list[Event]:
        """Previews of the cells not shown yet, up to `stop`, row by row."""
        janus = self.painters.janus
        side, cell = janus.side, janus.image_size // janus.side
        events = []
        while run.shown < stop:
            row, column = divmod(run.shown, side)
            count = min(side - column, stop - run.shown)
            cells = picture[row * cell : (row + 1) * cell, column * cell : (column + count) * cell]
            png = encode_png(Picture.fromarray(cells))
            events.append(run.event(Preview, png=png, start=run.shown, count=count))
            run.shown += count
        return events
