"""Component updates of the Annotate page.

Pure functions from values to what Gradio is given; no store. The text of a trajectory is somebody's input: it enters
HTML escaped.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import gradio as gr

from annotations.schema.project import Project
from annotations.schema.questions import (
    NO,
    QUESTIONS,
    REASON_CORRECTION,
    REASON_RATING,
    THOUGHT_CORRECTION,
    THOUGHT_RATING,
    VERDICT_RIGHT,
    YES,
)
from model.trajectory import Trajectory
from studio.annotate.item_token import ItemToken
from studio.annotate.reflection_form import Item
from studio.annotate.reflection_view import NOTHING, claim, heading, stage
from studio.annotate.sheet import Kept, PictureOf, Sheet, value_of
from studio.components.render import text

ASKED = {question.name: question for question in QUESTIONS}


class View(NamedTuple):
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
    verdict: Any
    rating: Any
    reason: Any
    plan_block: Any
    plan_rating: Any
    plan: Any
    sheet: Any
    why: Any
    desk: Any
    note: Any


def _all(**parts: Any) -> View:
    """These parts; the rest as it is."""
    return View(*[gr.skip()] * len(View._fields))._replace(**parts)


def stay(note: str) -> View:
    """Everything as it is, and a line that says why."""
    return _all(note=text(sentence(note)))


def nothing(note: str) -> View:
    """Nothing waits."""
    return stay(note)._replace(token="", heading=NOTHING, sheet=None, desk=gr.update(visible=False))


def sheet_view(sheet: Sheet, showing: ItemToken, kept: Kept, picture: PictureOf) -> View:
    return _all(
        token=showing.token(),
        heading=heading(sheet.trajectory.prompt),
        stage="",
        claim="",
        sheet=value_of(sheet, showing, kept, picture),
        why="",
        desk=gr.update(visible=True),
    )


def reflection_view(project: Project, trajectory: Trajectory, item: Item, kept: Kept, picture: PictureOf) -> View:
    said, told = kept.get(item.segment, {}), kept.get(item.thought, {})
    asked = {question.name for question in project.questions}
    reflection = trajectory.segments[item.segment]
    plan = "" if item.thought is None else trajectory.segments[item.thought].text
    label = correction(item.opposite if said.get(VERDICT_RIGHT) == NO else None)
    rated = REASON_RATING in asked and bool(reflection.reason.strip())
    planned = item.thought is not None and bool({THOUGHT_RATING, THOUGHT_CORRECTION} & asked)
    return _all(
        token=item.token(),
        heading=heading(trajectory.prompt),
        stage=stage(trajectory, item.segment, picture),
        claim=claim(reflection),
        verdict=gr.update(value=said.get(VERDICT_RIGHT), visible=VERDICT_RIGHT in asked),
        rating=gr.update(value=said.get(REASON_RATING) if rated else None, visible=rated),
        reason=label | {"value": said.get(REASON_CORRECTION, reflection.reason), "visible": REASON_CORRECTION in asked},
        plan_block=gr.update(visible=planned),
        plan_rating=gr.update(value=told.get(THOUGHT_RATING), visible=THOUGHT_RATING in asked),
        plan=told.get(THOUGHT_CORRECTION, plan),
        sheet=None,
        why="",
        desk=gr.update(visible=True),
    )


def correction(reflection_wrong: str | None) -> dict[str, Any]:
    """The label over the correction; the verdict that should have been, if the model's is called wrong."""
    if reflection_wrong is None:
        return gr.update(label=ASKED[REASON_CORRECTION].title, info="Change it only if you would say it better.")
    word = "Yes" if reflection_wrong == YES else "No"
    return gr.update(label="What should it have said?", info=f"After “{word},” – the whole reason. It is needed here.")


def sentence(words: str) -> str:
    return words[:1].upper() + words[1:]
