"""Requests and events as JSON, between a client and a replica. No torch, no Ray.

A request is an object whose fields are those of `Request`, all but `prompt` optional; pictures are PNGs in base64. A
response is a line of JSON an event (NDJSON).
"""

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np
from PIL import Image as Picture

from model.backends.request import NumberBounds, Request, RequestError, Task, check_number
from model.events import Event, from_dict
from model.images import PictureFileError, encode_png, read_rgb
from model.trajectory import Parent, Sampling, sampling_settings, segment_from_dict, segment_to_dict

EVENTS = "application/x-ndjson"  # the media type of a response
SESSION = "x-session-id"  # the header by which Ray Serve hears whose a request is
PLAIN = ("prompt", "seed", "rounds", "preview_every", "log_probs", "session")  # fields that are JSON values
PREVIEWS = NumberBounds(1, 10**6, whole=True)  # image codes between two
MOST_SESSION = 200  # characters
SAMPLING = tuple(field.name for field in fields(Sampling))


def request_row(request: Request) -> dict[str, Any]:
    """A request as JSON values; `stop` and `id` stay with whoever asks."""
    row: dict[str, Any] = {name: getattr(request, name) for name in PLAIN} | {"task": request.task.value}
    if request.sampling is not None:
        row["sampling"] = request.sampling.to_dict()
    if request.source is not None:
        row["source"] = png_row(request.source)
    if request.prefix:
        row["prefix"] = [segment_to_dict(segment) for segment in request.prefix]
    if request.pictures:
        row["pictures"] = {sha256: text_of_bytes(png) for sha256, png in request.pictures.items()}
    if request.parent is not None:
        row["parent"] = dict(vars(request.parent))
    return row


def read_request(row: Any, default: Sampling) -> Request:
    """The inverse of `request_row`; sampling settings that it does not name are `default`'s. Raises RequestError."""
    if not isinstance(row, Mapping) or "prompt" not in row:
        raise RequestError("A request is a JSON object with a prompt, such as {“prompt”: “two red apples”}.")
    known = {name: row[name] for name in PLAIN if name in row}
    _check_plain(known)
    for name, value in row.items():
        if name in PLAIN:
            continue
        if name not in READERS:
            raise RequestError(f"A request has no field “{str(name)[:40]}”; there are {', '.join((*PLAIN, *READERS))}.")
        try:
            known[name] = READERS[name](value, default)
        except (ValueError, TypeError, KeyError, AttributeError, OSError) as error:
            raise RequestError(f"The field “{name}” of the request cannot be read: {error}.") from error
    return Request(**known)


def _check_plain(known: Mapping[str, Any]) -> None:
    """The fields that no backend checks. Raises RequestError."""
    if (every := known.get("preview_every")) is not None:
        check_number("preview_every", every, PREVIEWS)
    if not isinstance(known.get("log_probs", False), bool):
        raise RequestError("The field “log_probs” is true or false.")
    if not isinstance(session := known.get("session", ""), str) or len(session) > MOST_SESSION:
        raise RequestError(f"The session is a text of at most {MOST_SESSION} characters.")


def png_row(pixels: np.ndarray) -> str:
    """(H, W, 3) uint8 as a PNG in base64."""
    return text_of_bytes(encode_png(Picture.fromarray(pixels)))


def pixels_of(text: str) -> np.ndarray:
    """The inverse of `png_row`. Raises ValueError for what is no picture."""
    try:
        return np.asarray(read_rgb(bytes_of(text)))
    except PictureFileError as error:
        raise ValueError(str(error)) from error


def lines(events: Iterable[Event]) -> bytes:
    """A line of JSON for each event."""
    return "".join(json.dumps(event.to_dict(), ensure_ascii=False) + "\n" for event in events).encode()


def read_line(line: str) -> Event:
    """Raises ValueError for what is no event."""
    try:
        return from_dict(json.loads(line))
    except (TypeError, AttributeError) as error:
        raise ValueError(f"{line[:80]!r} is no event: {error}") from error


def text_of_bytes(content: bytes) -> str:
    """In base64."""
    return base64.b64encode(content).decode("ascii")


def bytes_of(text: str) -> bytes:
    """The inverse of `text_of_bytes`. Raises ValueError."""
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"it is no base64 ({error})") from error


def _sampling(row: Mapping[str, Any], default: Sampling) -> Sampling:
    settings = sampling_settings(row)
    if unknown := [name for name in settings if name not in SAMPLING]:
        raise ValueError(f"there is no setting {unknown[0]!r:.40}; there are {', '.join(SAMPLING)}")
    return replace(default, **settings)


READERS: dict[str, Callable[[Any, Sampling], Any]] = {
    "task": lambda value, default: Task(value),
    "sampling": _sampling,
    "source": lambda value, default: pixels_of(value),
    "prefix": lambda rows, default: tuple(segment_from_dict(row) for row in rows),
    "pictures": lambda rows, default: {sha256: bytes_of(text) for sha256, text in rows.items()},
    "parent": lambda row, default: Parent(**row),
}
