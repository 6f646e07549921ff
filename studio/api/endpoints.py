"""Typed endpoints for programs: draw, judge, edit, trajectory, picture; also MCP tools.

They speak of prompts, events and trajectories, as the command line does; nothing here is shown in a page.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from annotations.errors import AnnotationsError, without_places
from annotations.store.store import Store
from model.backends.contract import CheckpointError
from model.backends.request import RequestError, Task
from model.events import Event, Failed, TrajectoryFinished
from studio.api import import_endpoint
from studio.auth.identity import owner_name
from studio.http.limits import Caller, LimitError
from studio.inference.checkpoints import Checkpoints
from studio.inference.draw_request import DrawForm, chosen_seed
from studio.inference.live_events import LINE
from studio.inference.waiting_line import QueueFull, QueuePosition
from studio.settings import Settings


def build(checkpoints: Checkpoints, store: Store, settings: Settings) -> None:
    """Make the endpoints, within a gr.Blocks."""

    def draw(
        request: gr.Request,
        prompt: str,
        seed: int = 0,
        rounds: int = settings.rounds,
        guidance: float | None = None,
        temperature: float | None = None,
        thinks: bool | None = None,
        checkpoint: str = "",
    ) -> Iterator[dict]:
        """Draw a prompt: plan it, draw it, judge the drawing, and draw again after a no.

        Yields the events of the trajectory as they happen (JSON; images as base64 PNG in the events "preview").
        The last is "trajectory finished" or "failed", also where nothing can be drawn;
        `trajectory` gives the whole under the events' `trajectory_id`.

        Args:
            prompt: what to draw, for example "two red apples above a blue car"
            seed: the same seed draws the same
            rounds: drawings at most
            guidance: weight of classifier-free guidance; 1 is off, none is the checkpoint's own
            temperature: of the image codes; 0 repeats itself, none is the checkpoint's own
            thinks: whether it writes a plan first; none is as the checkpoint does by itself
            checkpoint: which of those that draw here; none is the first
        """
        given = {"guidance": guidance, "temperature": temperature, "thinks": thinks}
        yield from _with_failure(drawing(request, prompt, seed, rounds, given, checkpoint))

    def drawing(
        request: gr.Request, prompt: str, seed: int, rounds: int, given: dict[str, Any], checkpoint: str
    ) -> Iterator[Event]:
        generator = _found(lambda: checkpoints.named(checkpoint))
        own = generator.sampling
        chosen = {name: getattr(own, name) if value is None else value for name, value in given.items()}
        wish = DrawForm(prompt, rounds, seed=seed, new_seed=False, **chosen)
        how = _found(lambda: (wish.chosen_seed(), wish.most_rounds(), wish.sampling(own)))
        events = generator.stream(prompt, *how, owner=owner_name(request, settings))
        for event in _said(Caller.of(request).drawing(events)):
            if not isinstance(event, QueuePosition):
                yield event

    def judge(request: gr.Request, image: str, prompt: str) -> dict:
        """Judge an image: does it show what the prompt says? Returns the trajectory, with verdict, p_yes and reason.

        Args:
            image: a PNG, JPEG, WebP, GIF or BMP file in base64 (a data URL will do); made a square as the checkpoint's
                processor does: scaled whole and padded, or, where it does not pad, cropped to the middle
            prompt: what it should show
        """
        return looked_at(request, image, prompt, 0, Task.JUDGE)

    def edit(request: gr.Request, image: str, instruction: str, seed: int = 0) -> dict:
        """Edit an image by an instruction. Returns the trajectory; `picture` gives its images by their sha256.

        Args:
            image: a PNG, JPEG, WebP, GIF or BMP file in base64 (a data URL will do); its middle is cropped to a square
            instruction: for example "make the cat blue"
            seed: the same seed draws the same
        """
        return looked_at(request, image, instruction, seed, Task.EDIT)

    def looked_at(request: gr.Request, image: str, words: str, seed: int, task: Task) -> dict:
        generator = checkpoints.first
        try:
            content = io.BytesIO(base64.b64decode(image.rpartition(",")[2]))
            source = generator.backend.read_source(content, task)
            seed = chosen_seed(seed, False)
        except (OSError, ValueError) as error:
            raise gr.Error(without_places(error), print_exception=False) from error
        events = generator.stream(words, seed, 1, owner=owner_name(request, settings), task=task, source=source)
        run = ""
        for event in _said(Caller.of(request).drawing(events)):
            run = run if isinstance(event, QueuePosition) else event.trajectory_id
        return trajectory(run)

    def trajectory(run: str) -> dict:
        """A stored trajectory by its id: prompt, settings, and all thoughts, images (as codes) and reflections.

        Args:
            run: the id, as in the address of its page
        """
        return _found(lambda: store.trajectory(run).to_dict())

    def picture(sha256: str) -> str:
        """An image of a stored trajectory as base64 PNG, by its sha256.

        Args:
            sha256: as in the trajectory's image
        """
        return _found(lambda: base64.b64encode(store.picture(sha256)).decode())

    for endpoint in (draw, judge, edit):
        gr.api(endpoint, **LINE)
    for endpoint in (trajectory, picture):
        gr.api(endpoint, queue=False)
    import_endpoint.build(store, settings)


def _with_failure(events: Iterator[Event]) -> Iterator[dict]:
    """The events as JSON; an error before the last of them is an event too, since who iterates over a job of
    `gradio_client` sees no exception. Raises gr.Error after it.
    """
    last: Event | None = None
    try:
        for event in events:
            last = event
            yield event.to_dict()
    except gr.Error as error:
        if not isinstance(last, TrajectoryFinished | Failed):
            run, segment = (last.trajectory_id, last.segment) if last else ("", 0)
            yield Failed(trajectory_id=run, segment=segment, error=error.message).to_dict()
        raise


def _said(events: Iterator[Any]) -> Iterator[Any]:
    """The events, with what cannot be done as Gradio's error."""
    try:
        yield from events
    except (RequestError, QueueFull, LimitError, AnnotationsError) as error:
        raise gr.Error(without_places(error), print_exception=False) from error


def _found(get: Callable[[], Any]) -> Any:
    try:
        return get()
    except (AnnotationsError, CheckpointError, RequestError) as error:
        raise gr.Error(without_places(error), print_exception=False) from error
