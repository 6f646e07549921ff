"""The page where people say whether the model judged its own drawing rightly: one reflection after another.

Knows the queue and how a trajectory is laid out for judging; what an answer becomes is decided in
`studio.reflection_form` and `annotations`. A refused answer comes back as a line under the form. The text of a
trajectory is somebody's input: it enters HTML escaped, as the value of a component, never as its template.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import gradio as gr

from annotations import queue, submitting
from annotations.annotation import REFLECTIONS
from annotations.errors import AnnotationsError, ConflictError, NotFoundError
from annotations.questions import (
    NO,
    QUESTIONS,
    RATINGS,
    REASON_CORRECTION,
    REASON_RATING,
    THOUGHT_CORRECTION,
    THOUGHT_RATING,
    VERDICT_RIGHT,
    YES,
)
from annotations.store import Store
from studio.identity import REFUSAL, annotator_name, is_local, require_local
from studio.reflection_form import DONE, Answer, Item, annotations_of, last_done, open_item, reflections_of
from studio.render import text
from studio.settings import Settings
from studio.stage import NOTHING, claim, heading, keys_dialog, progress_line, stage
from studio.theme import script

PLAIN = {"apply_default_css": False, "js_on_load": None}
ASKED = {question.name: question for question in QUESTIONS}


class View(NamedTuple):
    """What a handler gives back: a value or an update for every part of the page, in the order of `page`."""

    item: Any
    heading: Any
    progress: Any
    stage: Any
    claim: Any
    verdict: Any
    rating: Any
    reason: Any
    plan_block: Any
    plan_rating: Any
    plan: Any
    desk: Any
    note: Any


def correction(reflection_wrong: str | None) -> dict[str, Any]:
    """The label over the correction; the verdict that should have been, if the model's is called wrong."""
    if reflection_wrong is None:
        return gr.update(label=ASKED[REASON_CORRECTION].title, info="Change it only if you would say it better.")
    word = "Yes" if reflection_wrong == YES else "No"
    return gr.update(label="What should it have said?", info=f"After “{word},” – the whole reason. It is needed here.")


# Handlers


@dataclass(frozen=True)
class Desk:
    """The handlers of the page. Each checks who is asking; all but `guide` return a `View`."""

    store: Store
    settings: Settings

    def start(self, request: gr.Request) -> View:
        """The first item: of the trajectory named in the address, or of the one that waits longest."""
        annotator = self._who(request)
        return self._next(annotator, prefer=request.query_params.get("trajectory"))

    def submit(
        self,
        item: Item | None,
        verdict: str | None,
        rating: int | None,
        reason: str | None,
        plan_rating: int | None,
        plan: str | None,
        request: gr.Request,
    ) -> View:
        annotator = self._who(request)
        if item is None:
            return self._next(annotator)
        answer = Answer(verdict, rating, reason, plan_rating, plan)
        try:
            trajectory = self.store.trajectory(item.trajectory_id)
            self.store.annotate_all(annotations_of(item, trajectory, annotator, answer))
        except ConflictError:
            return self._show(annotator, item.trajectory_id, item.segment, "Submitted before; this is what is stored.")
        except NotFoundError:
            return self._next(annotator, note="That drawing was deleted meanwhile; here is the next.")
        except AnnotationsError as error:
            return stay(str(error))
        return self._next(annotator, prefer=item.trajectory_id)

    def skip(self, item: Item | None, request: gr.Request) -> View:
        """Leave the rest of this trajectory to others."""
        annotator = self._who(request)
        if item is not None:
            with suppress(NotFoundError):  # deleted meanwhile: skipped for everybody
                submitting.skip(self.store, item.trajectory_id, annotator)
        return self._next(annotator)

    def undo(self, request: gr.Request) -> View:
        """Take back what this annotator submitted or skipped last, and show it again."""
        annotator = self._who(request)
        last = last_done(self.store.annotations(annotator=annotator, project=REFLECTIONS))
        try:
            for annotation in last:
                self.store.undo(annotation.trajectory_id, annotation.segment, annotator)
            asked = min(a.segment for a in last if not a.key.endswith("-t"))
            return self._show(annotator, last[0].trajectory_id, asked, "Taken back; change it and submit it again.")
        except (NotFoundError, ValueError):
            return stay("There is nothing to undo.")

    def guide(self, item: Item | None, verdict: str | None, request: gr.Request) -> dict[str, Any]:
        """What the correction is asked for, once the verdict is called right or wrong."""
        self._who(request)
        return correction(item.opposite if item is not None and verdict == NO else None)

    def _picture(self, sha256: str) -> bytes | None:
        with suppress(AnnotationsError):
            return self.store.picture(sha256)
        return None

    def _who(self, request: gr.Request) -> str:
        require_local(request, self.settings)
        return annotator_name(request, self.settings)

    def _next(self, annotator: str, *, prefer: str | None = None, note: str = "") -> View:
        """What is open of the trajectory `prefer`, else of the one that waits longest."""
        for trajectory_id in (prefer, queue.next_trajectory(self.store, annotator)):
            with suppress(NotFoundError):
                open_ = self._open(trajectory_id, annotator) if trajectory_id else []
                if open_:
                    return self._show(annotator, trajectory_id, open_[0], note)
        return stay(note)._replace(
            item=None,
            heading=NOTHING,
            progress=progress_line(queue.progress(self.store, annotator)),
            desk=gr.update(visible=False),
        )

    def _open(self, trajectory_id: str, annotator: str) -> list[int]:
        """The reflections of a trajectory that this annotator is not done with."""
        answered = self.store.annotations(trajectory_id, annotator=annotator, project=REFLECTIONS)
        done = {annotation.segment for annotation in answered if annotation.status in DONE}
        return [at for at in reflections_of(self.store.trajectory(trajectory_id)) if at not in done]

    def _show(self, annotator: str, trajectory_id: str, segment: int, note: str = "") -> View:
        trajectory = self.store.trajectory(trajectory_id)
        item = open_item(trajectory, segment)
        said_before = self.store.annotations(trajectory_id, annotator=annotator, project=REFLECTIONS)
        kept = {a.segment: a.answers for a in said_before}
        said, told = kept.get(segment, {}), kept.get(item.thought, {})
        reflection = trajectory.segments[segment]
        plan = "" if item.thought is None else trajectory.segments[item.thought].text
        label = correction(item.opposite if said.get(VERDICT_RIGHT) == NO else None)
        return View(
            item=item,
            heading=heading(trajectory.prompt),
            progress=progress_line(queue.progress(self.store, annotator)),
            stage=stage(trajectory, segment, self._picture),
            claim=claim(reflection),
            verdict=said.get(VERDICT_RIGHT),
            rating=said.get(REASON_RATING),
            reason=label | {"value": said.get(REASON_CORRECTION, reflection.reason)},
            plan_block=gr.update(visible=item.thought is not None),
            plan_rating=told.get(THOUGHT_RATING),
            plan=told.get(THOUGHT_CORRECTION, plan),
            desk=gr.update(visible=True),
            note=text(note),
        )


def stay(note: str) -> View:
    """Everything as it is, and a line that says why."""
    return View(*[gr.skip()] * (len(View._fields) - 1), note=text(note[:1].upper() + note[1:]))


# Layout


def page(store: Store, settings: Settings) -> None:
    """Build the page inside the current route."""
    if not is_local(settings):
        gr.Markdown(REFUSAL)
        return
    desk = Desk(store, settings)
    gr.HTML(keys_dialog(), apply_default_css=False, js_on_load=script("annotate.js"))
    item = gr.State(None)
    with gr.Row(elem_id="annotate-top"):
        heading_ = gr.HTML(elem_id="annotate-prompt", **PLAIN)
        progress = gr.HTML(elem_id="annotate-progress", **PLAIN)
        undo = gr.Button("Undo", elem_id="annotate-undo", elem_classes="key-u", size="sm", scale=0)
        keys = gr.Button("Keys", elem_id="annotate-help", elem_classes="key-help", size="sm", scale=0)
    with gr.Row(elem_id="annotate", visible=False) as table:
        with gr.Column(scale=4, min_width=320):
            picture = gr.HTML(elem_id="annotate-stage", **PLAIN)
        with gr.Column(scale=5, min_width=320, elem_id="annotate-form"):
            claim_ = gr.HTML(elem_id="annotate-claim", **PLAIN)
            right = choice(VERDICT_RIGHT, [("Yes", YES), ("No", NO)], "annotate-right")
            rating = choice(REASON_RATING, list(RATINGS), "annotate-rating")
            reason = gr.Textbox(lines=2, max_lines=6, elem_id="annotate-reason", label="", info=" ")
            with gr.Row(elem_id="annotate-plan-block") as plan_block:
                plan = gr.Textbox(
                    lines=1, max_lines=4, elem_id="annotate-plan", label="The plan it drew from", scale=5, min_width=280
                )
                plan_rating = gr.Radio(
                    list(RATINGS),
                    label=ASKED[THOUGHT_RATING].title,
                    elem_id="annotate-plan-rating",
                    elem_classes="choice",
                    scale=4,
                    min_width=240,
                )
            note = gr.HTML(elem_id="annotate-note", **PLAIN)
            with gr.Row(elem_id="annotate-actions"):
                submit = gr.Button("Submit", variant="primary", elem_id="annotate-submit", scale=2)
                skip = gr.Button("Skip", elem_id="annotate-skip", scale=1)
    view = View(
        item, heading_, progress, picture, claim_, right, rating, reason, plan_block, plan_rating, plan, table, note
    )
    quick = {"concurrency_limit": None, "show_progress": "hidden", "api_visibility": "private"}
    outputs = list(view)
    gr.on(fn=desk.start, outputs=outputs, **quick)
    submit.click(desk.submit, [item, right, rating, reason, plan_rating, plan], outputs, **quick)
    skip.click(desk.skip, [item], outputs, **quick)
    undo.click(desk.undo, None, outputs, **quick)
    right.input(desk.guide, [item, right], [reason], **quick)
    keys.click(None, js="() => document.getElementById('annotate-keys').showModal()")


def choice(name: str, choices: list, elem_id: str) -> gr.Radio:
    """A question whose answers stand side by side."""
    question = ASKED[name]
    return gr.Radio(choices, label=question.title, info=question.help, elem_id=elem_id, elem_classes="choice")
