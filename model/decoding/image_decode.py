"""Image codes to pixels in threads beside the decode loop: finished images and previews.

What is under way is one batch of each; previews are cut and packed by the loop itself. Knows runs of the engine, not
how tokens come to be.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

import numpy as np
import torch
from PIL import Image as Picture

from model.backends.janus import Janus
from model.decoding.grammar import DecodedImage, Paint
from model.decoding.run import Run
from model.events import Event, Preview
from model.images import encode_png

log = logging.getLogger(__name__)

PATIENCE = 0.02  # seconds that the loop waits for a picture when there is nothing else to do, before it looks around

Paints = Callable[[Sequence[Sequence[int]]], np.ndarray]  # codes of images → (B, H, W, 3)


class ImageDecoders:
    """The threads: one paints images, one sketches, some pack pictures. On a GPU they have a stream of their own."""

    def __init__(self, janus: Janus):
        stream = torch.cuda.Stream(janus.device) if janus.device.type == "cuda" else None
        paint = functools.partial(painted_by, janus, stream)
        self.painting = ThreadPoolExecutor(2, "painting")
        self.packing = ThreadPoolExecutor(min(8, os.cpu_count() or 1), "packing")
        self.images = Images(paint, self.painting, self.packing)
        self.sketches = Sketches(janus, paint, self.painting)

    def close(self) -> None:
        for threads in (self.painting, self.packing):
            threads.shutdown(wait=False, cancel_futures=True)


def painted_by(janus: Janus, stream: torch.cuda.Stream | None, images: Sequence[Sequence[int]]) -> np.ndarray:
    """(B, H, W, 3) pictures of all their codes."""
    with torch.cuda.stream(stream):
        return janus.decode(torch.tensor(images))


class Images:
    """Finished images: all that wait, as one batch."""

    def __init__(self, paint: Paints, painting: ThreadPoolExecutor, packing: ThreadPoolExecutor):
        self.paint, self.painting, self.packing = paint, painting, packing
        self._under_way: tuple[Future[list[DecodedImage | Exception]], list[tuple[Run, Paint]]] | None = None

    def ready(self, running: Sequence[Run], *, patient: bool) -> Iterator[tuple[Run, DecodedImage | Exception]]:
        """Who goes on with a picture, or with what went wrong; begins the next. `patient`: waits a little for one."""
        if self._under_way is None:
            self._begin(running)
        if self._under_way is None:
            return
        painted, subjects = self._under_way
        if patient and any(isinstance(run.wants, Paint) for run in running):
            wait([painted], PATIENCE)
        if not painted.done():
            return
        self._under_way = None
        for (run, paint), each in zip(subjects, painted.result(), strict=True):
            if run.wants is paint:
                yield run, each
        self._begin(running)

    def _begin(self, running: Sequence[Run]) -> None:
        subjects = [(run, run.wants) for run in running if isinstance(run.wants, Paint)]
        if subjects:
            wanted = [paint.codes for _, paint in subjects]
            self._under_way = self.painting.submit(self._paint, wanted), subjects

    def _paint(self, wanted: Sequence[Sequence[int]]) -> list[DecodedImage | Exception]:
        """The pictures; after an exception each is painted by itself, and an error stands in the place of its own."""
        try:
            return self._painted(wanted)
        except Exception as error:
            log.exception("%d images could not be painted at once", len(wanted))
            if len(wanted) == 1:
                return [error]
        return [each for codes in wanted for each in self._paint([codes])]

    def _painted(self, wanted: Sequence[Sequence[int]]) -> list[DecodedImage]:
        pictures = self.paint(wanted)
        packed = self.packing.map(encode_png, map(Picture.fromarray, pictures))
        return [DecodedImage(picture, png) for picture, png in zip(pictures, packed, strict=True)]


class Sketches:
    """Unfinished images, now and then, every cell once and in order.

    What is not ready before the image is finished is cut from the finished one.
    """

    def __init__(self, janus: Janus, paint: Paints, painting: ThreadPoolExecutor):
        self.janus, self.paint, self.painting = janus, paint, painting
        # with the segment of each run's image and how many codes it has
        self._under_way: tuple[Future[np.ndarray], list[tuple[Run, int, int]]] | None = None

    def shown(self, running: Sequence[Run]) -> list[Event]:
        """The previews that are ready; begins the next."""
        events: list[Event] = []
        if self._under_way is not None:
            painted, subjects = self._under_way
            if not painted.done():
                return []
            self._under_way = None
            if (error := painted.exception()) is not None:
                log.error("no preview could be painted: %s", error)
                return []
            for (run, segment, stop), picture in zip(subjects, painted.result(), strict=True):
                if run.drawing == segment:
                    events += self._cells(run, picture, stop)
        waiting = [run for run in running if run.sketch is not None]
        if waiting:
            subjects = [(run, run.drawing, len(run.sketch.codes)) for run in waiting]
            painted = self.painting.submit(self._paint, [run.sketch.codes for run in waiting])
            self._under_way = painted, subjects
            for run in waiting:
                run.sketch = None
        return events

    def rest(self, run: Run, picture: np.ndarray) -> list[Event]:
        """What of a finished image has not been shown yet."""
        events = self._cells(run, picture, self.janus.image_codes) if run.drawing is not None else []
        run.drawing = None
        return events

    def _paint(self, drawn: Sequence[tuple[int, ...]]) -> np.ndarray:
        """(B, H, W, 3) pictures; cells not drawn yet are blank."""
        blank, total = self.janus.blank_code, self.janus.image_codes
        return self.paint([codes + (blank,) * (total - len(codes)) for codes in drawn])

    def _cells(self, run: Run, picture: np.ndarray, stop: int) -> list[Event]:
        """Previews of the cells not shown yet, up to `stop`, row by row."""
        side, cell = self.janus.side, self.janus.image_size // self.janus.side
        events = []
        while run.shown < stop:
            row, column = divmod(run.shown, side)
            count = min(side - column, stop - run.shown)
            cells = picture[row * cell : (row + 1) * cell, column * cell : (column + count) * cell]
            png = encode_png(Picture.fromarray(cells))
            events.append(run.event(Preview, png=png, start=run.shown, count=count))
            run.shown += count
        return events
