"""Values shown with a finished trajectory that never reach the model: boxes of what a reason blames, other possible
reasons, and whether the prompt was a guess.
"""

import numpy as np

from model.backends.contract import Box
from model.backends.embedded_world import EMBEDDED_WORLD
from model.backends.request import Task
from model.images import PictureFileError, read_rgb
from model.trajectory import Image, Reflection, Source, StopReason, Trajectory
from studio.components import render


def finished_details(trajectory: Trajectory, picture: render.PictureOf) -> render.Row:
    """Entries of the timeline's value: `blamed`, boxes by index of the reflection that refused the drawing; `reasons`,
    sentences to choose from when correcting; `guess`, why the drawing is one, where it is."""
    shown = {"blamed": blamed(trajectory, picture), "reasons": EMBEDDED_WORLD.stock_reasons(trajectory.prompt)}
    return shown | {"guess": why} if (why := why_a_guess(trajectory, picture)) else shown


def why_a_guess(trajectory: Trajectory, picture: render.PictureOf) -> str | None:
    """Why the prompt lies outside what the backend was trained on; None where it does not, for other
    domains than the embedded world, and without a picture."""
    first = next((segment for segment in trajectory.segments if getattr(segment, "sha256", None)), None)
    if first is None:
        return None
    given = isinstance(first, Source)
    task = Task.DRAW if not given else Task.EDIT if trajectory.stop_reason is StopReason.EDITED else Task.JUDGE
    try:
        return EMBEDDED_WORLD.why_a_guess(trajectory.prompt, task, np.asarray(read_rgb(picture(first.sha256))))
    except PictureFileError:
        return None


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
