"""Image codes to pixels in threads beside the decode loop: finished images and previews.

At most one batch of each is decoded at a time; previews are cropped and encoded as PNG in the loop's thread.
"""

import functools
import hashlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

import numpy as np
import torch
from PIL import Image as Picture

from model.backends.janus import Janus
from model.decoding.grammar import DecodedImage, DecodeImage, TrajectoryRun
from model.events import Event, FrameAdded, Preview
from model.images import encode_png

log = logging.getLogger(__name__)

PATIENCE = 0.02  # seconds that the loop blocks on a picture when no run waits for a token

Decode = Callable[[Sequence[Sequence[int]]], np.ndarray]  # codes of images → (B, H, W, 3)


class ImageDecoders:
    """Two decoding threads, one for finished images and one for previews; further threads encode PNGs. On a GPU the
    decoding runs on a CUDA stream of its own."""

    def __init__(self, janus: Janus):
        stream = torch.cuda.Stream(janus.device) if janus.device.type == "cuda" else None
        decode = functools.partial(decode_images, janus, stream)
        self.threads = ThreadPoolExecutor(2, "image decoding")
        self.encoders = ThreadPoolExecutor(min(8, os.cpu_count() or 1), "PNG encoding")
        self.finished = FinishedImages(decode, self.threads, self.encoders)
        self.previews = Previews(janus, decode, self.threads)

    def close(self) -> None:
        for threads in (self.threads, self.encoders):
            threads.shutdown(wait=False, cancel_futures=True)


def decode_images(janus: Janus, stream: torch.cuda.Stream | None, images: Sequence[Sequence[int]]) -> np.ndarray:
    """(B, H, W, 3) uint8 pictures of complete lists of codes."""
    with torch.cuda.stream(stream):
        return janus.decode(torch.tensor(images))


Batch = tuple[Future[list[DecodedImage | Exception]], list[tuple[TrajectoryRun, DecodeImage]]]


class FinishedImages:
    """Decodes finished images: all runs that wait for one, as one batch."""

    def __init__(self, decode: Decode, threads: ThreadPoolExecutor, encoders: ThreadPoolExecutor):
        self.decode, self.threads, self.encoders = decode, threads, encoders
        self._batch: Batch | None = None

    def poll(
        self, running: Sequence[TrajectoryRun], *, patient: bool
    ) -> Iterator[tuple[TrajectoryRun, DecodedImage | Exception]]:
        """Runs whose image is decoded, each with the picture or the exception; then submits the next batch.

        `patient`: block up to PATIENCE seconds for a batch under way.
        """
        if self._batch is None:
            self._begin(running)
        if self._batch is None:
            return
        decoded, subjects = self._batch
        if patient and any(isinstance(run.pending, DecodeImage) for run in running):
            wait([decoded], PATIENCE)
        if not decoded.done():
            return
        self._batch = None
        for (run, image), outcome in zip(subjects, decoded.result(), strict=True):
            if run.pending is image:
                yield run, outcome
        self._begin(running)

    def _begin(self, running: Sequence[TrajectoryRun]) -> None:
        subjects = [(run, run.pending) for run in running if isinstance(run.pending, DecodeImage)]
        if subjects:
            codes = [image.codes for _, image in subjects]
            self._batch = self.threads.submit(self._decode, codes), subjects

    def _decode(self, images: Sequence[Sequence[int]]) -> list[DecodedImage | Exception]:
        """Pictures of a batch; after an exception every image is decoded separately, and an image that fails yields its
        exception."""
        try:
            return self._decode_all(images)
        except Exception as error:
            log.exception("%d images could not be decoded at once", len(images))
            if len(images) == 1:
                return [error]
        return [outcome for codes in images for outcome in self._decode([codes])]

    def _decode_all(self, images: Sequence[Sequence[int]]) -> list[DecodedImage]:
        pictures = self.decode(images)
        pngs = self.encoders.map(encode_png, map(Picture.fromarray, pictures))
        return [DecodedImage(picture, png) for picture, png in zip(pictures, pngs, strict=True)]


class Previews:
    """Decodes previews of unfinished images; every cell is shown once, in raster order.

    Cells without a preview when the image is finished are cropped from the finished picture.
    """

    def __init__(self, janus: Janus, decode: Decode, threads: ThreadPoolExecutor):
        self.janus, self.decode, self.threads = janus, decode, threads
        # future, and per picture its run, segment and number of codes
        self._batch: tuple[Future[np.ndarray], list[tuple[TrajectoryRun, int, int]]] | None = None

    def poll(self, running: Sequence[TrajectoryRun]) -> list[Event]:
        """`Preview` events of a decoded batch; then submits the next one. Decoding errors are logged."""
        events: list[Event] = []
        if self._batch is not None:
            decoded, subjects = self._batch
            if not decoded.done():
                return []
            self._batch = None
            if (error := decoded.exception()) is not None:
                log.error("no preview could be decoded: %s", error)
                return []
            for (run, segment, stop), picture in zip(subjects, decoded.result(), strict=True):
                if run.preview_segment == segment:
                    events += self._cells(run, picture, stop)
        waiting = [run for run in running if run.preview is not None]
        if waiting:
            subjects = [(run, run.preview_segment, len(run.preview.codes)) for run in waiting]
            decoded = self.threads.submit(self._decode, [run.preview.codes for run in waiting])
            self._batch = decoded, subjects
            for run in waiting:
                run.preview = None
        return events

    def remaining(self, run: TrajectoryRun, picture: np.ndarray) -> list[Event]:
        """`Preview` events of the cells of a finished picture that had none."""
        events = self._cells(run, picture, self.janus.image_codes) if run.preview_segment is not None else []
        run.preview_segment = None
        return events

    def unfinished(self, run: TrajectoryRun) -> list[Event]:
        """`FrameAdded` of what there is of an image that is not drawn further, white where nothing is; nothing where no
        previews are wanted. Decoding errors are logged."""
        if not run.drawn or run.request.preview_every is None:
            return []
        try:
            picture = self._decode([tuple(run.drawn)])[0].copy()
        except Exception:
            log.exception("an unfinished image could not be decoded")
            return []
        cell, count = self.janus.image_size // self.janus.side, len(run.drawn)
        row, column = divmod(count, self.janus.side)
        picture[row * cell : (row + 1) * cell, column * cell :] = 255
        picture[(row + 1) * cell :] = 255
        png = encode_png(Picture.fromarray(picture))
        sha256 = hashlib.sha256(png).hexdigest()
        return [run.event(FrameAdded, sha256=sha256, png=png, share=count / self.janus.image_codes)]

    def _decode(self, drawn: Sequence[tuple[int, ...]]) -> np.ndarray:
        """(B, H, W, 3) uint8 pictures; missing codes are filled up with the blank code."""
        blank, total = self.janus.blank_code, self.janus.image_codes
        return self.decode([codes + (blank,) * (total - len(codes)) for codes in drawn])

    def _cells(self, run: TrajectoryRun, picture: np.ndarray, stop: int) -> list[Event]:
        """`Preview` events of the cells from `run.previewed` to `stop`, one per row of cells."""
        side, cell = self.janus.side, self.janus.image_size // self.janus.side
        events = []
        while run.previewed < stop:
            row, column = divmod(run.previewed, side)
            count = min(side - column, stop - run.previewed)
            cells = picture[row * cell : (row + 1) * cell, column * cell : (column + count) * cell]
            png = encode_png(Picture.fromarray(cells))
            events.append(run.event(Preview, png=png, start=run.previewed, count=count))
            run.previewed += count
        return events
