"""The Image page: judge or edit an uploaded image; judge many.

Handlers first, layout below.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import gradio as gr
import pandas as pd
from gradio.data_classes import ImageData

from annotations.errors import AnnotationsError, NotFoundError, redact_paths
from annotations.importing import csv_files
from annotations.ops import example_trajectories
from annotations.store.store import Store
from model.backends.contract import CheckpointError
from model.backends.request import Request, RequestError, Task
from studio.components import render
from studio.components.page_options import PRIVATE, QUICK, QUIET
from studio.components.timeline.component import timeline
from studio.draw.page import to_try
from studio.header import intro, what_is_kept
from studio.http.limits import LimitError
from studio.image.judge_many import BatchError, BatchJudgement, batch, judge_all
from studio.inference.checkpoints import Checkpoints
from studio.inference.draw_request import new_seed
from studio.inference.generator import Generator
from studio.inference.live_events import DRAW_QUEUE, PageVisit, Sessions, let_forget, live, notice
from studio.inference.served_copies import note, note_stored, served_file, served_path
from studio.settings import Settings

WHAT_HAPPENS = (
    "Give an image, or take one from the gallery. The model sees all of it and says whether it shows what you "
    "describe, and why; or it changes its middle square as you tell it."
)
TASKS = {"Judge it": Task.JUDGE, "Edit it": Task.EDIT}
HINTS = {"Judge it": "What should it show? For example: two red apples", "Edit it": "For example: make the cat blue"}
NO_IMAGE = "There is no image yet: give one, or choose “Use this image” below a drawing in the gallery."
UNFAMILIAR = (
    "This image is unlike anything that the model has seen: it knows small drawings of its own kind, such as those in "
    "the gallery. Whatever it said of this one would be made up."
)
OWN_IMAGE = "This example has an image of its own{instead}. Press “{choice}”."
PROGRESS = gr.Progress()  # as a default, by which Gradio knows that it is wanted
COLUMNS = list(BatchJudgement.__dataclass_fields__)


@dataclass(frozen=True)
class ImageExample:
    """A drawing among the recorded ones, and what to ask of it."""

    prompt: str
    seed: int
    drawing: int  # counted from 0
    words: str
    choice: str  # of TASKS

    @property
    def label(self) -> str:
        return f"{self.words}?" if TASKS[self.choice] is Task.JUDGE else self.words


EXAMPLES = (
    ImageExample("four houses", 632, 0, "four houses", "Judge it"),
    ImageExample("a yellow car and a flower", 678, 1, "a red car and a flower", "Judge it"),
    ImageExample("a yellow umbrella", 325, 0, "make the umbrella blue", "Edit it"),
    ImageExample("a yellow car and a flower", 678, 1, "remove the flower", "Edit it"),
)


@dataclass(frozen=True)
class ImageForm:
    """What a visitor gives, as the widgets say it, in their order."""

    path: str | None
    words: str
    choice: str  # of TASKS
    checkpoint: str | None = None  # None: the first that draws here


def ask(
    form: ImageForm, visit: PageVisit, checkpoints: Checkpoints, sessions: Sessions, *, insist: bool = False
) -> Iterator[tuple]:
    """Yields (timeline value, start button, stop button) until the image is judged or edited."""
    task = TASKS.get(form.choice, Task.JUDGE)
    try:
        generator = checkpoints.named(form.checkpoint)
        if not form.path:
            raise RequestError(NO_IMAGE)
        generator.backend.check(Request(form.words))
        source = generator.backend.read_source(Path(form.path), task)
    except (CheckpointError, RequestError, OSError) as error:
        yield notice(redact_paths(error))
        return
    if not insist and (doubt := generator.backend.warning(form.words, task)) is not None:
        yield notice(doubt, anyway=f"{form.choice} anyway")
        return
    if not insist and not generator.backend.domain.is_familiar(source):
        yield notice(UNFAMILIAR, anyway=f"{form.choice} anyway, as a guess")
        return
    how = {**visit.asking, "stop": sessions.begin(visit.session).is_set, "task": task, "source": source}
    on_start = partial(note, generator.store, file=Path(form.path))
    events = generator.stream(form.words, new_seed(), 1, **how, on_start=on_start)
    yield from live(events, visit, sessions, generator.store)


def ask_for_many(
    files: Sequence[str] | None, visit: PageVisit, generator: Generator, progress: gr.Progress
) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """(the table, its rows with a verdict for the plot, the table as a CSV file). Raises gr.Error."""
    judged: dict[int, BatchJudgement] = {}
    try:
        with batch([Path(file) for file in files or ()]) as pairs:
            for row, judgement in visit.caller.drawing(judge_all(generator, pairs, owner=visit.owner), visit.session):
                judged[row] = judgement
                progress((len(judged), len(pairs)), desc="Judging", unit="images")
        table = pd.DataFrame([asdict(judged[row]) for row in sorted(judged)], columns=COLUMNS)
        file = served_path("judgements.csv")
        csv_files.write(file, COLUMNS, table.itertuples(index=False))
        note_stored(generator.store, list(table.run[table.run != ""]), file)
    except (AnnotationsError, BatchError, LimitError) as error:
        raise gr.Error(redact_paths(error)) from error
    return table, table[table.verdict != ""], str(file)


def last_image(store: Store, run: str) -> tuple[str, str]:
    """(a file, the prompt) of a trajectory's last picture. Raises NotFoundError."""
    trajectory = store.trajectory(run)
    drawn = [image.sha256 for image in trajectory.images if image.sha256]
    if not drawn:
        raise NotFoundError(f"the drawing “{trajectory.prompt[:80]}” was stopped before it had a picture")
    file = served_file(store.picture(drawn[-1]), "image.png")
    note_stored(store, [run], file)
    return str(file), trajectory.prompt


def picture_of(example: ImageExample) -> str:
    """A file of the drawing."""
    return str(served_file(recorded_png(example), "image.png"))


@lru_cache(len(EXAMPLES))
def recorded_png(example: ImageExample) -> bytes:
    for trajectory, pictures in example_trajectories.read():
        if (trajectory.prompt, trajectory.seed) == (example.prompt, example.seed):
            return pictures[trajectory.images[example.drawing].sha256]
    raise LookupError(f"“{example.prompt}”, seed {example.seed}, is not among the recorded examples")


def try_example(example: ImageExample, before: str | None) -> tuple[str, render.Row]:
    """A file of its drawing, and a notice in place of an earlier result, which also tells of a visitor's own image
    (`before`) that it has replaced."""
    own = before is not None and Path(before).read_bytes() not in map(recorded_png, EXAMPLES)
    said = OWN_IMAGE.format(instead=", which has taken the place of yours" * own, choice=example.choice)
    return picture_of(example), render.empty_value(said)


def upload(**options: Any) -> gr.Image:
    """An image as the file that was uploaded: Gradio itself would decode it whole, and keep another copy of it.

    Whoever reads it finds out whether it is a picture. It is no subclass, since Gradio would write a file beside this.
    """
    made = gr.Image(**options)
    made.preprocess = path_of
    return made


def path_of(payload: ImageData | None) -> str | None:
    return payload.path if payload is not None else None


def page(checkpoints: Checkpoints, store: Store, settings: Settings) -> None:
    """Build the page inside the current route."""
    intro("Your image", WHAT_HAPPENS + what_is_kept(settings))
    sessions = Sessions()
    image, task, words, checkpoint, start, stop = _form(checkpoints)
    with gr.Row(elem_classes="chips", visible=checkpoints.first.backend.domain.closed):
        chips = to_try({example.label: [] for example in EXAMPLES})
    view = timeline(elem_id="timeline")
    many(checkpoint, checkpoints, settings)

    def asked(request: gr.Request, *form: Any, insist: bool = False) -> Iterator[tuple]:
        visit = PageVisit.of(request, settings)
        yield from ask(ImageForm(*form), visit, checkpoints, sessions, insist=insist)

    def insisted(request: gr.Request, *form: Any) -> Iterator[tuple]:
        yield from asked(request, *form, insist=True)

    def linked(request: gr.Request) -> tuple:
        run = dict(request.query_params).get("from")
        try:
            return *(last_image(store, run) if run else (gr.skip(), gr.skip())), gr.skip(), offered(checkpoints)
        except AnnotationsError as error:
            notice = render.notice_value(f"No image can be taken over: {redact_paths(error)}.")
            return gr.skip(), gr.skip(), notice, offered(checkpoints)

    def tried(example: ImageExample, before: str | None) -> tuple:
        return *try_example(example, before), example.words, example.choice

    def chosen(choice: str, drawn_by: str | None) -> tuple:
        menu = offered(checkpoints, TASKS[choice], drawn_by)
        return gr.update(placeholder=HINTS[choice]), gr.update(value=choice), menu

    wiring = {"inputs": [image, words, task, checkpoint], "outputs": [view, start, stop]} | QUIET
    gr.on([start.click, words.submit], asked, **wiring, **DRAW_QUEUE)
    let_forget(view, store, settings)
    view.anyway(insisted, **wiring, **DRAW_QUEUE)
    stop.click(sessions.stop, **QUICK)
    task.change(chosen, [task, checkpoint], [words, start, checkpoint], **QUICK)
    gr.on(None, linked, [], [image, words, view, checkpoint], **QUICK)
    for chip, example in zip(chips, EXAMPLES, strict=True):
        chip.click(partial(tried, example), image, [image, view, words, task], **QUICK)


def offered(checkpoints: Checkpoints, task: Task = Task.JUDGE, chosen: str | None = None) -> Any:
    """Update of the menu of checkpoints: those that can carry out the task, and `chosen`, or the first where it
    cannot."""
    names = checkpoints.names_for(task)
    value = chosen if chosen in names else next(iter(names), None)
    return gr.update(choices=names, value=value, visible=len(names) > 1)


def _form(checkpoints: Checkpoints) -> tuple[gr.Image, gr.Radio, gr.Textbox, gr.Dropdown, gr.Button, gr.Button]:
    """The image, what to do with it, the words, by which checkpoint, the buttons that start and stop."""
    names = checkpoints.names_for(Task.JUDGE)
    with gr.Row(elem_classes="your-image"):
        image = upload(
            type="filepath",
            label="The image",
            show_label=False,
            placeholder="Drop an image file here\nto upload",  # Gradio's own name of the button
            sources=["upload", "clipboard"],
            elem_classes="image",
            height=280,
            scale=0,
            min_width=280,
        )
        with gr.Column(scale=1, min_width=280):
            task = gr.Radio(list(TASKS), value="Judge it", label="What to do", show_label=False, container=False)
            words = gr.Textbox(show_label=False, label="Words", placeholder=HINTS["Judge it"], container=False, lines=2)
            first = next(iter(names), None)
            checkpoint = gr.Dropdown(names, value=first, label="Checkpoint", visible=len(names) > 1)
            with gr.Row():
                start = gr.Button("Judge it", variant="primary", scale=0, min_width=140, elem_id="start")
                stop = gr.Button("Stop", variant="stop", scale=0, min_width=140, visible=False)
    return image, task, words, checkpoint, start, stop


def many(checkpoint: gr.Dropdown, checkpoints: Checkpoints, settings: Settings) -> None:
    """Below it: many images judged at once, by the checkpoint that is chosen above."""
    with gr.Accordion("Judge many", open=False, elem_id="many"):
        gr.Markdown(
            "Images and a CSV with the columns `image` and `prompt`; or images alone, named after what they "
            "should show: `two_red_apples.png`."
        )
        files = gr.File(
            file_count="multiple", file_types=["image", ".csv", ".tsv", ".zip"], label="Images and CSV, or a zip"
        )
        with gr.Row():
            judge_many = gr.Button("Judge them", scale=0, min_width=140)
        table = gr.Dataframe(headers=COLUMNS, label="Judgements", interactive=False, wrap=True, visible=False)
        plot = gr.BarPlot(
            x="p_yes",
            y="images",
            x_bin=0.1,
            x_lim=[0, 1],
            y_aggregate="sum",
            color="verdict",
            color_map={"yes": "#1f6f43", "no": "#a93722"},
            title="How many, at which p(yes)",
            visible=False,
        )
        kept = gr.File(label="The table as CSV", interactive=False, visible=False)

    def asked(files, checkpoint, request: gr.Request, progress=PROGRESS):
        try:
            generator = checkpoints.named(checkpoint)
        except CheckpointError as error:
            raise gr.Error(redact_paths(error)) from error
        table, judged, file = ask_for_many(files, PageVisit.of(request, settings), generator, progress)
        return tuple(gr.update(value=value, visible=True) for value in (table, judged.assign(images=1), file))

    judge_many.click(asked, [files, checkpoint], [table, plot, kept], concurrency_limit=1, **PRIVATE)
