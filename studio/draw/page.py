"""The Draw page. Handlers first, layout below."""

import json
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import astuple, dataclass
from functools import partial
from typing import Any, NamedTuple

import gradio as gr

from annotations.errors import AnnotationsError, redact_paths
from annotations.store.store import Store
from model.backends.contract import Backend, CheckpointError
from model.backends.registry import description
from model.backends.request import Request, RequestError
from model.branches import BranchError
from model.trajectory import Sampling
from model.world.language import category_of, parse
from studio.components import render
from studio.components.page_options import PLAIN, QUICK, QUIET
from studio.components.timeline.component import timeline
from studio.components.word_chips import word_chips
from studio.draw.reflection_counts import counted
from studio.header import intro, what_is_kept
from studio.inference.branch_request import CHANGE, continued
from studio.inference.checkpoints import Checkpoints, PersonalCheckpoints, menu
from studio.inference.draw_request import GUIDANCE, LARGEST_SEED, ROUNDS, TEMPERATURE, WIDGETS, DrawForm, new_seed
from studio.inference.generator import Generator
from studio.inference.live_events import DRAW_QUEUE, IDLE, PageVisit, Sessions, let_follow, let_forget, live, notice
from studio.inference.replays import not_stored, playing, recorded_aha, some_aha
from studio.inference.zerogpu import LOAN, LentBackend
from studio.settings import Settings
from studio.teaching.jobs import TeachingJobs
from studio.teaching.section import TeachHandlers, teach_section

WHAT_HAPPENS = (
    "Say what to draw. The model draws it while you watch, judges its own picture, and when the answer is no, says why "
    "and draws again."
)


@dataclass(frozen=True)
class DrawExample:
    """An example prompt with its seed and whether it is planned first."""

    prompt: str
    seed: int
    thinks: bool = True


class DrawWidgets(NamedTuple):
    """The widgets whose values a `DrawForm` has, in the order of its fields."""

    prompt: gr.Textbox
    rounds: gr.Slider
    guidance: gr.Slider
    temperature: gr.Slider
    seed: gr.Number
    new_seed: gr.Checkbox
    thinks: gr.Radio
    checkpoint: gr.Dropdown
    numbers_of: gr.Textbox


EXAMPLES = (  # aha moments
    DrawExample("two mushrooms below a yellow flower, two fish right of it", 1, thinks=False),
    DrawExample("a yellow car and a flower", 3, thinks=False),
    DrawExample("a yellow star left of a house", 0, thinks=False),
    DrawExample("a purple cat and an orange key", 0, thinks=False),
    DrawExample("two orange cats above three red flowers, a boat below them", 1016),
)


def ask(
    form: DrawForm,
    visit: PageVisit,
    checkpoints: Checkpoints | PersonalCheckpoints,
    sessions: Sessions,
    *,
    insist: bool = False,
) -> Iterator[tuple]:
    """Yields (timeline value, Draw button, Stop button, seed) until the trajectory ends. One value with a notice where
    the request is refused, or, unless `insist`, where the prompt lies outside what the checkpoint was trained on."""
    try:
        generator = checkpoints.named(form.checkpoint)
        generator.backend.check(Request(form.prompt))
        form = form.with_numbers(_own(generator, plan_first=bool(form.thinks)))
        sampling = form.sampling(generator.sampling, can_plan=generator.backend.capabilities.thought)
        how = form.chosen_seed(), form.most_rounds(), sampling
    except (CheckpointError, RequestError) as error:
        yield *notice(redact_paths(error)), gr.skip()
        return
    if not insist and (doubt := generator.backend.warning(form.prompt)) is not None:
        yield (
            render.notice_value(doubt, anyway="Draw it anyway") | halfway(generator.backend, form.prompt),
            *IDLE,
            gr.skip(),
        )
        return
    stop = sessions.begin(visit.session)
    events = generator.stream(form.prompt, *how, **visit.asking, stop=stop.is_set)
    yield from with_seed(live(events, visit, sessions, generator.store), how[0])


def halfway(backend: Backend, prompt: str) -> render.Row:
    """Entries of the timeline's notice: the nearest prompt that the checkpoint was trained on and words to exchange in
    it; empty where there is none."""
    suggestion = backend.domain.suggestion(prompt)
    if suggestion is None:
        return {}
    return {
        "notice": suggestion.notice,
        "anyway": "Draw it anyway, as a guess",
        "nearest": suggestion.prompt,
        "choices": suggestion.choices,
        "replaced": suggestion.replaced,
    }


def go_on(
    change: Mapping[str, Any],
    visit: PageVisit,
    checkpoints: Checkpoints | PersonalCheckpoints,
    sessions: Sessions,
    on_start: Callable[[str], None] = lambda trajectory_id: None,
) -> Iterator[tuple]:
    """Yields as `ask`, for a branch: `change` is a visitor's edit of an earlier trajectory. `on_start` is called with
    the new trajectory's id."""
    try:
        generator, branch = continued(checkpoints, change)
    except (AnnotationsError, BranchError, CheckpointError) as error:
        yield *notice(f"That cannot be changed: {redact_paths(error)}."), gr.skip()
        return
    stop = sessions.begin(visit.session).is_set
    events = generator.stream(**branch, **visit.asking, stop=stop, on_start=on_start)
    yield from with_seed(live(events, visit, sessions, generator.store), branch["seed"])


def instead(
    run: str, visit: PageVisit, checkpoints: Checkpoints | PersonalCheckpoints, sessions: Sessions
) -> Iterator[tuple]:
    """Yields as `ask`: for every redraw of the trajectory `run` one image by another seed, shown beside it."""
    try:
        parent = checkpoints.first.store.trajectory(run)
        generator = checkpoints.named(parent.checkpoint)
    except (AnnotationsError, CheckpointError) as error:
        yield *notice(f"That cannot be drawn: {redact_paths(error)}."), gr.skip()
        return
    drawn = []
    for _ in parent.images[1:]:
        stop = sessions.begin(visit.session).is_set
        events = generator.stream(parent.prompt, new_seed(), 1, parent.sampling, **visit.asking, stop=stop)
        value: render.Row = {}
        for update in live(events, visit, sessions, generator.store):
            value, *buttons = update
            yield gr.skip(), *buttons, gr.skip()
        if "trajectory" not in value:
            yield value, *IDLE, gr.skip()  # why not
            return
        shown = {row["is"]: row for row in value["whole"]}
        if {"picture", "verdict"} <= shown.keys():
            made = {"png": shown["picture"]["png"], "answer": shown["verdict"]["answer"]}
            drawn.append(made | {"id": value["trajectory"]["id"]})
    yield {"instead": {"of": run, "drawn": drawn}}, *IDLE, gr.skip()


def with_seed(values: Iterator[tuple], seed: int) -> Iterator[tuple]:
    """The values, the seed appended to the first one alone, since the visitor may edit the field meanwhile."""
    yield *next(values), seed
    for value in values:
        yield *value, gr.skip()


def opened(checkpoints: Checkpoints, settings: Settings, run: str | None) -> tuple:
    """(timeline value, the form's values): a linked trajectory with its settings; without one the recorded aha moment,
    and the form as it is."""
    store = checkpoints.first.store
    as_they_are = *[gr.skip()] * (WIDGETS - 2), menu(checkpoints), gr.skip()
    if not run:
        return recorded_aha(store, settings), *as_they_are
    try:
        trajectory = store.trajectory(run)
    except AnnotationsError as error:
        return not_stored(store, run, error), *as_they_are
    form = DrawForm.of(trajectory)
    here = form.checkpoint if form.checkpoint in checkpoints.names else checkpoints.names[0]
    *values, _, _ = astuple(form)
    return playing(store, trajectory, settings), *values, menu(checkpoints, value=here), here


def own_numbers(checkpoints: Checkpoints, checkpoint: str, plans: bool) -> tuple[float, float, str]:
    """(guidance, temperature) of a checkpoint's defaults, with a plan before the first draft or without, and the
    checkpoint. Raises gr.Error."""
    try:
        own = _own(checkpoints.named(checkpoint), plan_first=plans)
    except CheckpointError as error:
        raise gr.Error(redact_paths(error)) from error
    return own.guidance, own.temperature, checkpoint


@dataclass(frozen=True)
class DrawHandlers:
    """Handlers of the page's events; their names are those of the access table."""

    checkpoints: Checkpoints
    store: Store
    settings: Settings
    teaching: TeachHandlers
    sessions: Sessions

    def asked(self, request: gr.Request, *form: Any, insist: bool = False) -> Iterator[tuple]:
        visit, own = PageVisit.of(request, self.settings), self.teaching.checkpoints_of(request)
        yield from ask(DrawForm(*form), visit, own, self.sessions, insist=insist)

    def insisted(self, request: gr.Request, *form: Any) -> Iterator[tuple]:
        yield from self.asked(request, *form, insist=True)

    def changed(self, event: gr.EventData, request: gr.Request) -> Iterator[tuple]:
        change = {name: getattr(event, name, None) for name in CHANGE}
        visit, own = PageVisit.of(request, self.settings), self.teaching.checkpoints_of(request)
        if change["what"] == "instead":
            yield from instead(str(change["run"]), visit, own, self.sessions)
        elif change["what"] == "reflection":
            yield from go_on(change, visit, own, self.sessions, partial(self.teaching.branched, request))
        else:
            yield from go_on(change, visit, own, self.sessions)

    def linked(self, request: gr.Request) -> tuple:
        run = dict(request.query_params).get("run")
        return *opened(self.checkpoints, self.settings, run), *self.teaching.opened(request)

    def so_far_counted(self) -> str:
        return counted(self.store)

    def so_far_recounted(self) -> str:
        return counted(self.store, anew=True)

    def aha_moment(self) -> render.Row:
        return some_aha(self.store, self.settings, random.Random())

    def chosen(self, checkpoint: str, thinks: bool) -> tuple:
        return own_numbers(self.checkpoints, checkpoint, thinks)

    def plan_offered(self, checkpoint: str) -> dict[str, Any]:
        """Whether there is a choice of a plan; as it was while the checkpoint is not loaded."""
        loaded = self.checkpoints.loaded(checkpoint)
        return gr.skip() if loaded is None else gr.update(visible=loaded.backend.capabilities.thought)


def page(checkpoints: Checkpoints, store: Store, settings: Settings, lessons: TeachingJobs) -> None:
    """Build the page inside the current route."""
    domain = checkpoints.first.backend.domain
    intro("It draws, looks, and draws again.", WHAT_HAPPENS + what_is_kept(settings), brief=True)
    thinks = _plan_choice(checkpoints)
    prompt, draw_button, stop_button = prompt_row("Draw", autofocus=True)
    chips, aha = _example_row()
    with gr.Row(elem_classes="more"):
        if domain.closed:
            word_chips()
        form = DrawWidgets(prompt, thinks=thinks, **_settings_row(checkpoints, settings))
    view = timeline(elem_id="timeline", playable=True, perturbations=domain.closed)
    so_far = gr.HTML("", elem_id="so-far", **PLAIN)
    teaching = TeachHandlers(lessons, checkpoints, store, settings)
    section = teach_section(teaching)
    handlers = DrawHandlers(checkpoints, store, settings, teaching, Sessions())

    shown = [view, draw_button, stop_button, form.seed]
    drawing = {"inputs": [*form], "outputs": shown} | QUIET
    drawn = gr.on([draw_button.click, prompt.submit], handlers.asked, **drawing, **DRAW_QUEUE)
    drawn.then(handlers.so_far_recounted, None, so_far, **QUICK)
    let_forget(view, store, settings)
    let_follow(view, store, settings)
    view.anyway(handlers.insisted, **drawing, **DRAW_QUEUE).then(handlers.so_far_recounted, None, so_far, **QUICK)
    changing = view.change_mind(handlers.changed, **drawing | {"inputs": None}, **DRAW_QUEUE)
    changing.then(teaching.start, None, [*section], **QUICK)
    stop_button.click(handlers.sessions.stop, **QUICK)
    prompt.input(None, None, form.new_seed, js="() => true", **QUICK)  # another prompt: an example's seed is done with
    inputs, outputs = [form.checkpoint, thinks], [form.guidance, form.temperature, form.numbers_of]
    chosen = gr.on([form.checkpoint.input, thinks.input], handlers.chosen, inputs, outputs, **QUICK)
    by_hand = form.guidance.input, form.temperature.input
    gr.on(by_hand, None, form.checkpoint, form.numbers_of, js="checkpoint => checkpoint", **QUICK)
    for listen in (form.checkpoint.change, chosen.then):
        listen(handlers.plan_offered, form.checkpoint, thinks, **QUICK)
    gr.on(None, handlers.linked, [], [view, *form, *section], **QUICK)
    gr.on(None, handlers.so_far_counted, [], so_far, **QUICK)
    aha.click(handlers.aha_moment, None, view, **QUICK)
    for chip, example in zip(chips, EXAMPLES, strict=True):
        filled = json.dumps(_filled_in(example, checkpoints, settings))
        chip.click(None, None, [*form], js=f"() => {filled}", **QUICK)  # at once: *Draw* may be pressed the next moment


def _filled_in(example: DrawExample, checkpoints: Checkpoints, settings: Settings) -> tuple:
    """The values of a `DrawForm`."""
    how = _own(checkpoints.first, plan_first=example.thinks)
    rounds, name = settings.rounds, checkpoints.names[0]
    return astuple(
        DrawForm(example.prompt, rounds, how.guidance, how.temperature, example.seed, False, how.thinks, name, name)
    )


def _own(generator: Generator, *, plan_first: bool) -> Sampling:
    """The checkpoint's default sampling with a plan before the first draft, or without."""
    return generator.sampling if plan_first else generator.backend.domain.first_draft(generator.sampling)


def prompt_row(action: str, **options: Any) -> tuple[gr.Textbox, gr.Button, gr.Button]:
    """(prompt textbox, button that starts, button that stops)"""
    with gr.Row(elem_classes="ask", equal_height=True):
        prompt = gr.Textbox(
            show_label=False,
            label="What to draw",
            placeholder="For example: three hearts",  # in one line on a telephone, too
            lines=1,
            max_lines=4,
            container=False,
            scale=1,
            elem_id="prompt",
            **options,
        )
        draw_button = gr.Button(action, variant="primary", scale=0, min_width=128, elem_id="draw")
        stop_button = gr.Button("Stop", variant="stop", scale=0, min_width=128, visible=False, elem_id="stop")
    return prompt, draw_button, stop_button


def _example_row() -> tuple[list[gr.Button], gr.Button]:
    with gr.Row(elem_classes="chips"):
        aha = gr.Button("Show me an aha moment", elem_classes="chip show", size="sm", elem_id="aha")
        return to_try({example.prompt: _mark(example.prompt) for example in EXAMPLES}), aha


def to_try(labels: Mapping[str, list[str]]) -> list[gr.Button]:
    """The label “Try” and a button per example, with its CSS classes."""
    gr.HTML("<span>Try</span>", elem_classes="chips-label", **PLAIN)
    return [gr.Button(label, elem_classes=["chip", *classes], size="sm") for label, classes in labels.items()]


def _mark(prompt: str) -> list[str]:
    """CSS classes of an example's button: `harder` for hard prompts."""
    return ["harder"] if category_of(parse(prompt)) == "hard" else []


def _plan_choice(checkpoints: Checkpoints) -> gr.Radio:
    """Radio button: a plan before the first draft, or only before revisions; for checkpoints that plan."""
    return gr.Radio(
        [("Draw at once", False), ("Plan first", True)],
        value=False,
        label="How to begin",
        show_label=False,
        container=False,
        visible=checkpoints.first.backend.capabilities.thought,
        elem_id="plan-first",
    )


def _settings_row(checkpoints: Checkpoints, settings: Settings) -> dict[str, Any]:
    """The settings' widgets by the names of `DrawWidgets`, in an accordion."""
    names, sampling = checkpoints.names, _own(checkpoints.first, plan_first=False)
    with gr.Accordion("Settings", open=False, elem_id="settings") as folded, gr.Row():
        at_most = "drawings at most" + (f"; {LOAN}" if isinstance(checkpoints.first.serving, LentBackend) else "")
        later = {"visible": False}  # the browser fetches what they are made of where somebody unfolds them
        rounds = gr.Slider(*ROUNDS, settings.rounds, step=1, label="Rounds", info=at_most, **later)
        guidance = gr.Slider(*GUIDANCE, sampling.guidance, step=0.1, label="Guidance", info="1 is off", **later)
        temperature = gr.Slider(
            *TEMPERATURE, sampling.temperature, step=0.05, label="Temperature", info="0 repeats itself", **later
        )
        with gr.Column(min_width=160):
            seed = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=LARGEST_SEED, **later)
            new_seed = gr.Checkbox(True, label="New seed each time", container=False, **later)
        known = "; ".join(f"{name}: {words}" for name in names if (words := description(name)) is not None)
        drawn_by = gr.Dropdown(names, value=names[0], label="Drawn by", info=known, elem_id="checkpoint", **later)
        numbers_of = gr.Textbox(names[0], label="Whose numbers these are", visible=False)
    widgets = {"rounds": rounds, "guidance": guidance, "temperature": temperature, "seed": seed, "new_seed": new_seed}
    unfolded = [*widgets.values(), *([drawn_by] if len(names) > 1 else [])]
    shown = [{"visible": True, "__type__": "update"}] * len(unfolded)
    folded.expand(None, None, unfolded, js=f"() => {json.dumps(shown)}", **QUICK)
    return widgets | {"checkpoint": drawn_by, "numbers_of": numbers_of}
