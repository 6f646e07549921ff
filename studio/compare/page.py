"""The Compare page: one prompt and seed drawn twice, by two checkpoints or with and without a thought.

Or two that are stored, such as a branch and what it goes on from: `/compare?left=ID&right=ID`. Handlers first, layout
below.
"""

from collections.abc import Iterator
from typing import Any

import gradio as gr

from annotations.errors import redact_paths
from annotations.store.store import Store
from model.backends.contract import CheckpointError
from model.backends.request import RequestError
from studio.components import render
from studio.components.page_options import PLAIN, QUICK, QUIET
from studio.components.timeline.component import timeline
from studio.draw.page import EXAMPLES, ask, prompt_row
from studio.header import intro, what_is_kept
from studio.inference.checkpoints import Checkpoints, menu
from studio.inference.draw_request import LARGEST_SEED, DrawForm, chosen_seed
from studio.inference.live_events import DRAW_QUEUE, IDLE, RUNNING, SAME, PageVisit, Sessions, let_forget
from studio.inference.replays import replay
from studio.settings import Settings

WHAT_HAPPENS = (
    "One prompt and one seed, drawn twice at the same time: thinking first and without, or by two checkpoints, where "
    "the studio has several. What differs is what you chose."
)
SIDES = ("left", "right")


def side_of(visit: PageVisit, side: str) -> PageVisit:
    """A page draws two things at a time, each of which ends by itself."""
    return PageVisit(visit.owner, f"{visit.session} {side}", visit.caller)


def drawn(
    form: DrawForm, side: str, visit: PageVisit, checkpoints: Checkpoints, sessions: Sessions, *, insist: bool = False
) -> Iterator[render.Row]:
    """Yields the values of one side's timeline."""
    for value, *_ in ask(form, side_of(visit, side), checkpoints, sessions, insist=insist):
        yield value


def page(checkpoints: Checkpoints, store: Store, settings: Settings) -> None:
    """Build the page inside the current route."""
    intro("Side by side", WHAT_HAPPENS + what_is_kept(settings))
    sessions = Sessions()
    prompt, start, stop = prompt_row("Draw both", value=EXAMPLES[0].prompt)
    with gr.Row(elem_classes="seeds"):
        seed = gr.Number(0, label="Seed of both", precision=0, minimum=0, maximum=LARGEST_SEED, min_width=160, scale=0)
        new_seed = gr.Checkbox(True, label="New seed each time", container=False, min_width=200, scale=0)
    with gr.Row(elem_classes="sides"):
        views, choices = zip(*(_side(side, checkpoints) for side in SIDES), strict=True)

    def begun(seed, new_seed) -> tuple:
        try:
            return chosen_seed(seed, new_seed), *RUNNING
        except RequestError as error:
            raise gr.Error(str(error)) from error

    def asked(side, prompt, seed, checkpoint, thinks, request: gr.Request, *, insist: bool = False):
        try:
            how = checkpoints.named(checkpoint).sampling
        except CheckpointError as error:
            yield render.notice_value(redact_paths(error))
            return
        form = DrawForm(prompt, settings.rounds, how.guidance, how.temperature, seed, False, thinks, checkpoint)
        yield from drawn(form, side, PageVisit.of(request, settings), checkpoints, sessions, insist=insist)

    def insisted(request: gr.Request, *form: Any) -> Iterator[render.Row]:
        yield from asked(*form, request, insist=True)

    def ended(request: gr.Request) -> tuple:
        visit = PageVisit.of(request, settings)
        return SAME if any(sessions.under_way(side_of(visit, side).session) for side in SIDES) else IDLE

    def stopped(request: gr.Request) -> None:
        for side in SIDES:
            sessions.ask(side_of(PageVisit.of(request, settings), side).session)

    def linked(request: gr.Request) -> tuple:
        runs = [dict(request.query_params).get(side) for side in SIDES]
        shown = (replay(store, run, settings) if run else gr.skip() for run in runs)
        return *shown, *[menu(checkpoints)] * len(SIDES)

    first = gr.on([start.click, prompt.submit], begun, [seed, new_seed], [seed, start, stop], **QUICK)
    for side, view, choice in zip(SIDES, views, choices, strict=True):
        which = gr.State(side)
        wiring = {"inputs": [which, prompt, seed, *choice], "outputs": view} | QUIET
        drawing = first.then(asked, **wiring, **DRAW_QUEUE)
        view.anyway(insisted, **wiring, **DRAW_QUEUE)
        drawing.then(ended, None, [start, stop], **QUICK)
        let_forget(view, store, settings)
    stop.click(stopped, **QUICK)
    gr.on(None, linked, [], [*views, *(choice[0] for choice in choices)], **QUICK)


def _side(side: str, checkpoints: Checkpoints) -> tuple[gr.HTML, tuple[gr.Dropdown, gr.Checkbox]]:
    """A timeline, and who draws there, with a plan or without."""
    names = checkpoints.names
    own = names[0] if side == "left" else names[-1]
    with gr.Column(min_width=320), gr.Column(elem_classes="side"):
        gr.HTML(f"<h2>{side.capitalize()}</h2>", **PLAIN)
        with gr.Row(elem_classes="choice"):
            drawn_by = gr.Dropdown(names, value=own, label="Drawn by", visible=len(names) > 1, min_width=190)
            plans = checkpoints.first.sampling.thinks and (side == "left" or len(names) > 1)
            thinks = gr.Checkbox(plans, label="Think first", container=False, min_width=140)
        return timeline(elem_id=side, label=f"The {side} drawing as it happens"), (drawn_by, thinks)
