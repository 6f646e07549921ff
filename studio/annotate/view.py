"""Component updates of the Annotate page.

Pure functions from values to what Gradio is given; no store. The text of a trajectory is somebody's input: it enters
HTML escaped.
"""

from typing import Any, NamedTuple

import gradio as gr

from studio.annotate.item_token import ItemToken
from studio.annotate.reflection_form import LAYOUT
from studio.annotate.reflection_view import NOTHING, claim, heading, stage
from studio.components.forms.sheet import Kept, PictureOf, Sheet, value_of
from studio.components.page_options import unchanged
from studio.components.render import escaped, sentence


class AnnotateView(NamedTuple):
    """What a handler gives back: a value or an update for every part of the page, in the order of `page`."""

    token: Any
    place: Any  # the project that the page is at
    project: Any  # the menu of them
    guidelines: Any
    heading: Any
    progress: Any
    learnt: Any
    stage: Any
    claim: Any
    sheet: Any
    why: Any
    workspace: Any
    note: Any


def stay(note: str) -> AnnotateView:
    """Everything as it is, and a line that says why."""
    return unchanged(AnnotateView, note=escaped(sentence(note)))


def nothing(note: str) -> AnnotateView:
    """Nothing waits."""
    return stay(note)._replace(token="", heading=NOTHING, sheet=None, workspace=gr.update(visible=False))


def item_view(sheet: Sheet, showing: ItemToken, kept: Kept, picture: PictureOf) -> AnnotateView:
    """An item: a reflection with its picture and what the model says of it, or a sheet that has its own pictures."""
    trajectory, is_reflection = sheet.trajectory, sheet.layout == LAYOUT
    return unchanged(
        AnnotateView,
        token=showing.token(),
        heading=heading(trajectory.prompt),
        stage=stage(trajectory, showing.segment, picture) if is_reflection else "",
        claim=claim(trajectory.segments[showing.segment], hides=sheet.project.hides_verdict) if is_reflection else "",
        sheet=value_of(sheet, showing.key, kept, picture),
        why="",
        workspace=gr.update(visible=True),
    )
