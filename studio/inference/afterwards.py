"""What people are shown of a trajectory that has ended, and the model never: where a reason finds fault, and what else
could be said."""

import numpy as np

from model.backends.contract import Box
from model.backends.embedded_world import EMBEDDED_WORLD
from model.images import PictureFileError, read_rgb
from model.trajectory import Image, Reflection, Source, Trajectory
from studio.components import render


def afterwards(trajectory: Trajectory, picture: render.PictureOf) -> render.Row:
    """For the timeline's value: `blamed` has the boxes of each refused drawing, by the index of its reflection;
    `reasons` what a person may say is wrong."""
    return {"blamed": blamed(trajectory, picture), "reasons": EMBEDDED_WORLD.stock_reasons(trajectory.prompt)}


def blamed(trajectory: Trajectory, picture: render.PictureOf) -> dict[str, list[Box]]:
    boxes_of: dict[str, list[Box]] = {}
    shown = None
    for index, segment in enumerate(trajectory.segments):
        if isinstance(segment, Image | Source):
            shown = segment.sha256
        if not isinstance(segment, Reflection) or segment.answer != "no" or shown is None:
            continue
        try:
            boxes = EMBEDDED_WORLD.fault_boxes(segment.reason, np.asarray(read_rgb(picture(shown))))
        except PictureFileError:
            continue
        if boxes:
            boxes_of[str(index)] = boxes
    return boxes_of
