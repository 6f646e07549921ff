"""Typed endpoints for programs: draw, judge, edit, trajectory, picture; also MCP tools.

They speak of prompts, events and trajectories, as the command line does; nothing here is shown in a page.
"""

import base64
import io
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from annotations.errors import AnnotationsError, redact_paths
from annotations.store.store import Store
from model.backends.contract import CheckpointError
from model.backends.request import RequestError, Task
from model.events import Event, Failed, TrajectoryFinished
from studio.api import import_endpoint
from studio.auth.identity import owner_name
from studio.http.limits import Caller, LimitError
from studio.inference.checkpoints import Checkpoints
from studio.inference.draw_request import DrawForm, chosen_seed
from studio.inference.live_events import DRAW_QUEUE
from studio.inference.request_queue import QueueFull, QueuePosition
from studio.settings import Settings


class _Endpoints:
    """The endpoints; their signatures and docstrings are what programs and MCP clients see."""

    def __init__(self, checkpoints: Checkpoints, store: Store, settings: Settings) -> None:
        self._checkpoints, self._store, self._settings = checkpoints, store, settings

    def events(
        self, request: gr.Request, prompt: str, seed: int, rounds: int, overrides: dict[str, Any], checkpoint: str
    ) -> Iterator[Event]:
        """The events of a drawing. `overrides`: sampling by name; None is the checkpoint's own. Raises gr.Error."""
        generator = _or_error(lambda: self._checkpoints.named(checkpoint))
        own = generator.sampling
        chosen = {name: getattr(own, name) if value is None else value for name, value in overrides.items()}
        form = DrawForm(prompt, rounds, seed=seed, new_seed=False, **chosen)
        parameters = _or_error(lambda: (form.chosen_seed(), form.most_rounds(), form.sampling(own)))
        events = generator.stream(prompt, *parameters, owner=owner_name(self._settings))
        for event in _errors_as_gradio(Caller.of(request).drawing(events)):
            if not isinstance(event, QueuePosition):
                yield event

    def judge(self, request: gr.Request, image: str, prompt: str) -> dict:
        """Judge an image: does it show what the prompt says? Returns the trajectory, with verdict, p_yes and reason.

        Args:
            image: a PNG, JPEG, WebP, GIF or BMP file in base64 (a data URL will do); made a square as the checkpoint's
                processor does: scaled whole and padded, or, where it does not pad, cropped to the middle
            prompt: what it should show
        """
        return self._run_on_image(request, image, prompt, 0, Task.JUDGE)

    def edit(self, request: gr.Request, image: str, instruction: str, seed: int = 0) -> dict:
        """Edit an image by an instruction. Returns the trajectory; `picture` gives its images by their sha256.

        Args:
            image: a PNG, JPEG, WebP, GIF or BMP file in base64 (a data URL will do); its middle is cropped to a square
            instruction: for example "make the cat blue"
            seed: the same seed draws the same
        """
        return self._run_on_image(request, image, instruction, seed, Task.EDIT)

    def trajectory(self, run: str) -> dict:
        """A stored trajectory by its id: prompt, settings, and all thoughts, images (as codes) and reflections.

        Args:
            run: the id, as in the address of its page
        """
        return _or_error(lambda: self._store.trajectory(run).to_dict())

    def picture(self, sha256: str) -> str:
        """An image of a stored trajectory as base64 PNG, by its sha256.

        Args:
            sha256: as in the trajectory's image
        """
        return _or_error(lambda: base64.b64encode(self._store.picture(sha256)).decode())

    def _run_on_image(self, request: gr.Request, image: str, words: str, seed: int, task: Task) -> dict:
        generator = self._checkpoints.first
        try:
            source = generator.backend.read_source(io.BytesIO(_decoded(image)), task)
            seed = chosen_seed(seed, False)
        except (OSError, ValueError) as error:
            raise gr.Error(redact_paths(error)) from error
        owner = owner_name(self._settings)
        events = generator.stream(words, seed, 1, owner=owner, task=task, source=source)
        run = ""
        for event in _errors_as_gradio(Caller.of(request).drawing(events)):
            run = run if isinstance(event, QueuePosition) else event.trajectory_id
        return self.trajectory(run)


def build(checkpoints: Checkpoints, store: Store, settings: Settings) -> None:
    """Register the endpoints, within a gr.Blocks."""
    endpoints = _Endpoints(checkpoints, store, settings)
    for endpoint in (_draw_endpoint(endpoints, settings.rounds), endpoints.judge, endpoints.edit):
        gr.api(endpoint, **DRAW_QUEUE)
    for endpoint in (endpoints.trajectory, endpoints.picture):
        gr.api(endpoint, queue=False)
    import_endpoint.build(store, settings)


def _draw_endpoint(endpoints: _Endpoints, default_rounds: int) -> Callable[..., Iterator[dict]]:
    """The endpoint `draw`, a function of its own since a default of its signature is a setting."""

    def draw(
        request: gr.Request,
        prompt: str,
        seed: int = 0,
        rounds: int = default_rounds,
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
        overrides = {"guidance": guidance, "temperature": temperature, "thinks": thinks}
        yield from _with_failure(endpoints.events(request, prompt, seed, rounds, overrides, checkpoint))

    return draw


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


def _errors_as_gradio(events: Iterator[Any]) -> Iterator[Any]:
    """The events; errors that the caller can act on become gr.Error."""
    try:
        yield from events
    except (RequestError, QueueFull, LimitError, AnnotationsError) as error:
        raise gr.Error(redact_paths(error)) from error


def _decoded(image: str) -> bytes:
    """A file that was given in base64, also as a data URL, in lines, without its padding, or in the alphabet of URLs.

    Raises ValueError.
    """
    data = image.rpartition(",")[2] if image.startswith("data:") else image
    plain = "".join(data.split()).rstrip("=").translate({ord("-"): "+", ord("_"): "/"})
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except ValueError as error:
        shown = repr(image if len(image) <= 60 else f"{image[:60]}…")
        raise ValueError(
            f"image: got {shown}, wanted a file's content in base64; neither an address nor a path is read"
        ) from error


def _or_error(get: Callable[[], Any]) -> Any:
    """The value of a call; errors that the caller can act on become gr.Error."""
    try:
        return get()
    except (AnnotationsError, CheckpointError, RequestError) as error:
        raise gr.Error(redact_paths(error)) from error
