"""What the Annotate page is given to show: a value or an update for every part of it. Pure functions.

Knows projects, trajectories and what was said of them; no store, no queue.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import gradio as gr

from annotations.annotation import Annotation
from annotations.project import Project
from annotations.questions import (
    NO,
    QUESTIONS,
    REASON_CORRECTION,
    REASON_RATING,
    THOUGHT_CORRECTION,
    THOUGHT_RATING,
    VERDICT_RIGHT,
    YES,
)
from model.trajectory import Reflection, Trajectory
from studio.reflection_form import Item
from studio.render import text
from studio.stage import claim, heading, learnt, stage

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
    why: Any
    desk: Any
    note: Any


def form(
    project: Project,
    trajectory: Trajectory,
    item: Item,
    said: Sequence[Annotation],
    progress: str,
    picture: Callable[[str], bytes | None],
    note: str = "",
    *,
    practice: bool = False,
) -> View:
    """An item with its form, filled in with what this person has said of it; of one thing said twice, the later."""
    kept = {annotation.segment: annotation.answers for annotation in said}
    judged, told = kept.get(item.segment, {}), kept.get(item.thought, {})
    asked = {question.name for question in project.questions}
    reflection = trajectory.segments[item.segment]
    plan = "" if item.thought is None else trajectory.segments[item.thought].text
    label = correction(item.opposite if judged.get(VERDICT_RIGHT) == NO else None)
    rated = REASON_RATING in asked and bool(reflection.reason.strip())
    planned = item.thought is not None and bool({THOUGHT_RATING, THOUGHT_CORRECTION} & asked)
    return View(
        token=item.token(),
        place=gr.skip(),
        project=gr.skip(),
        guidelines=gr.skip(),
        heading=heading(trajectory.prompt),
        progress=progress,
        learnt=learnt((), practice=practice),
        stage=stage(trajectory, item.segment, picture),
        claim=claim(reflection),
        verdict=gr.update(value=judged.get(VERDICT_RIGHT), visible=VERDICT_RIGHT in asked),
        rating=gr.update(value=judged.get(REASON_RATING) if rated else None, visible=rated),
        reason=label
        | {"value": judged.get(REASON_CORRECTION, reflection.reason), "visible": REASON_CORRECTION in asked},
        plan_block=gr.update(visible=planned),
        plan_rating=gr.update(value=told.get(THOUGHT_RATING), visible=THOUGHT_RATING in asked),
        plan=told.get(THOUGHT_CORRECTION, plan),
        why="",
        desk=gr.update(visible=True),
        note=text(note),
    )


def is_asked_here(project: Project) -> bool:
    """Whether the form of this page can answer what a project requires."""
    known = [(q.name, q.segment, q.form) for q in QUESTIONS]
    wanted = [q for q in project.questions if q.required]
    return project.subject == Reflection.kind and all((q.name, q.segment, q.form) in known for q in wanted)


def correction(reflection_wrong: str | None) -> dict[str, Any]:
    """The label over the correction; the verdict that should have been, if the model's is called wrong."""
    if reflection_wrong is None:
        return gr.update(label=ASKED[REASON_CORRECTION].title, info="Change it only if you would say it better.")
    word = "Yes" if reflection_wrong == YES else "No"
    return gr.update(label="What should it have said?", info=f"After “{word},” – the whole reason. It is needed here.")


def stay(note: str) -> View:
    """Everything as it is, and a line that says why."""
    return View(*[gr.skip()] * (len(View._fields) - 1), note=text(sentence(note)))


def sentence(words: str) -> str:
    return words[:1].upper() + words[1:]
