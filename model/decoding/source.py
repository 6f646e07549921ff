"""Preprocessing of the source image of an edit or judge request."""

from __future__ import annotations

import numpy as np

from model.backends.janus import Janus
from model.decoding.request import Task
from model.images import Source, read_picture, read_rgb


def read_source(janus: Janus, file: Source, task: Task) -> np.ndarray:
    """(H, W, 3) uint8: to be judged made a square as the checkpoint's processor does; to be edited its middle, as the
    published code does. Raises OSError for what is no picture."""
    if task is Task.JUDGE:
        return janus.preprocessing.square(read_rgb(file), janus.image_size)
    return read_picture(file, janus.image_size)
