"""Checked input: Gradio's values by type, and 4xx instead of 500 for what cannot be read, one log line each.

Gradio answers 500 to whatever a component or a route of its own cannot read; here that is the client's error.
Knows nothing of what the pages mean.
"""

import inspect
import json
import logging
import math
import traceback
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import gradio as gr
from gradio.blocks import BlockFunction
from gradio.components.api_component import Api
from gradio_client.utils import is_http_url_like
from pydantic import TypeAdapter, ValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from annotations.errors import redact_paths
from studio.http.printable import printable

log = logging.getLogger(__name__)

TEXTS = (gr.Textbox, gr.HTML)
TYPES = dict.fromkeys(TEXTS, (str,)) | {gr.Checkbox: (bool,), gr.Number: (int, float), gr.Slider: (int, float)}
LONGEST_PATH = 2_000  # characters
API = "/gradio_api/"
DIRECT = (f"{API}run/", f"{API}api/")  # handlers called without the queue
FILES = f"{API}file="  # files that Gradio serves
INTERNAL = "Internal error"  # title of what is our fault
PACKAGES = tuple(f"{Path(__file__).parents[2] / name}/" for name in ("annotations", "model", "studio"))
GRADIO = f"{Path(gr.__file__).parent}/"


class CheckedBlocks(gr.Blocks):
    """A gr.Blocks whose handlers raise nothing but gr.Error: input that no component sends is the client's error."""

    async def preprocess_data(self, block_fn: BlockFunction, inputs: list[Any], *args: Any, **kwargs: Any) -> list[Any]:
        """As gr.Blocks, with each value of the type that its component, or the endpoint's parameter, has."""
        _check_files(inputs)
        values = await super().preprocess_data(block_fn, inputs, *args, **kwargs)
        if block_fn.inputs and isinstance(block_fn.inputs[0], Api):
            return [_typed(*each) for each in zip(_parameters(block_fn.fn), values, strict=True)]
        return [_checked(block, value) for block, value in zip(block_fn.inputs, values, strict=True)]

    async def process_api(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """As gr.Blocks; an exception from before our handler says what cannot be read, one from within is logged."""
        try:
            return await super().process_api(*args, **kwargs)
        except gr.Error as error:
            error.print_exception = False  # who asked is told; the log has nothing to learn from it
            raise
        except StopAsyncIteration:
            raise
        except Exception as error:
            if not _passes_through_our_code(error):
                log.warning("a request could not be read: %s", _one_line(error))
                raise gr.Error(f"This request cannot be read: {_one_line(error)}", print_exception=False) from None
            number = uuid4().hex[:8]
            log.exception("a handler failed (%s)", number)
            message = (
                f"This did not work, through a fault of ours. Whoever runs this studio finds it as {number} in the log."
            )
            raise gr.Error(message, title=INTERNAL, print_exception=False) from None


class RequestErrors:
    """ASGI middleware: requests that Gradio's routes cannot read are answered with 4xx instead of 500."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        if len(path) > LONGEST_PATH or "\x00" in path:
            answer = JSONResponse({"detail": f"an address has at most {LONGEST_PATH} characters and no NUL"}, 400)
            await answer(scope, receive, send)
            return
        answering = _Answering(send, direct=any(part in path for part in DIRECT), file=FILES in path)
        try:
            await self._app(scope, receive, answering)
        except (ValueError, TypeError, LookupError, AttributeError, OSError, RuntimeError) as error:
            if _passes_through_our_code(error) or answering.started and not isinstance(error.__cause__, HTTPException):
                raise
            log.warning("%s %s could not be answered: %s", scope["method"], printable(path)[:200], _one_line(error))
            if answering.started:  # a stream of what is not there
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                return
            answer = JSONResponse({"detail": f"This request cannot be read: {_one_line(error)}"}, 400)
            await answer(scope, receive, send)


class _Answering:
    """Changes what is sent: a handler's gr.Error, which Gradio sends as 500, to 422; a missing or forbidden file, which
    Gradio refuses with 403, to 404.
    """

    def __init__(self, send: Send, *, direct: bool, file: bool) -> None:
        self._send, self._direct, self._file = send, direct, file
        self._held: Message | None = None
        self.started = False

    async def __call__(self, message: Message) -> None:
        self.started = True
        if self._file and message["type"] == "http.response.start" and message["status"] == 403:
            message = {**message, "status": 404}
        if self._direct and message["type"] == "http.response.start" and message["status"] == 500:
            self._held = message
            return
        if self._held is not None:
            held, self._held = self._held, None
            await self._send({**held, "status": 422} if _is_client_error(message.get("body", b"")) else held)
        await self._send(message)


def _check_files(values: Any) -> None:
    """Raises gr.Error where a file is an address: Gradio would fetch it, whatever its size."""
    left = [values]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            if isinstance(path := value.get("path"), str) and is_http_url_like(path):
                raise gr.Error("A file was named by an address; upload the file, nothing is fetched.")
            left += value.values()
        elif isinstance(value, list | tuple):
            left += value


def _parameters(function: Callable) -> list[tuple[str, Any]]:
    """Name and annotation of each parameter of an endpoint but those that Gradio fills."""
    hints = typing.get_type_hints(function)
    names = inspect.signature(function).parameters
    return [(name, hints[name]) for name in names if hints[name] is not gr.Request]


def _typed(parameter: tuple[str, Any], value: Any) -> Any:
    """An endpoint's argument. Raises gr.Error where it is of another type than annotated."""
    name, annotation = parameter
    try:
        return TypeAdapter(annotation).validate_python(_text(name, value), strict=True)
    except ValidationError as error:
        message = error.errors()[0]["msg"].removeprefix("Input ")
        raise gr.Error(f"{name}: got {_shown(value)}; it {message}") from None


def _checked(block: Any, value: Any) -> Any:
    """What a component may hand to a handler. Raises gr.Error for what only a forged request holds."""
    name = getattr(block, "label", None) or getattr(block, "elem_id", None) or type(block).__name__
    if value is None and isinstance(block, gr.Radio) and block.value is not None:
        raise gr.Error(f"{name}: got nothing, wanted one of its choices")
    if isinstance(block, gr.Dropdown):
        several = bool(block.multiselect)
        for each in value if several and isinstance(value, list) else [value]:
            if not isinstance(each, str | int | float | None):
                expected = "some of its choices" if several else "one of its choices"
                raise gr.Error(f"{name}: got {_shown(value)}, wanted {expected}")
    for component, types in TYPES.items():
        if isinstance(block, component):
            if value is None and component in TEXTS:
                return ""
            if value is not None and type(value) not in types:
                expected = " or ".join(each.__name__ for each in types)
                raise gr.Error(f"{name}: got {_shown(value)}, wanted {expected}")
    if isinstance(value, float) and not math.isfinite(value):
        raise gr.Error(f"{name}: got {value}, wanted a finite number")
    return _text(name, value)


def _text(name: str, value: Any) -> Any:
    """The value. Raises gr.Error for half a surrogate pair, which neither JSON nor a database can hold."""
    if isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
        raise gr.Error(f"{name}: got a text with half a character (a lone surrogate); send it whole")
    return value


def _shown(value: Any) -> str:
    return repr(value)[:80].encode("ascii", "backslashreplace").decode()


def middleware() -> list[Middleware]:
    """The middleware to pass to FastAPI."""
    return [Middleware(RequestErrors)]


def _is_client_error(body: bytes) -> bool:
    """Whether an answer of Gradio's says that the client's request was wrong."""
    try:
        answer = json.loads(body)
    except ValueError:
        return False
    return isinstance(answer, dict) and bool(answer.get("error")) and answer.get("title") != INTERNAL


def _passes_through_our_code(error: Exception) -> bool:
    """Whether one of our functions was at work, called by Gradio, when it was raised."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename.startswith(PACKAGES) and frame.filename != __file__:
            return True
        if frame.filename.startswith(GRADIO):
            return False
    return False


def _one_line(error: Exception) -> str:
    """Type and message, without what could break a line of the log or an answer in JSON."""
    message = " ".join(redact_paths(error).split()).encode("utf-8", "replace").decode()
    return f"{type(error).__name__}: {printable(message)[:200]}"
