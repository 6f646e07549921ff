"""The client of `python -m model.serving` as a backend, `remote:URL`. No torch, no Ray.

What it can do is asked once, when it is opened. Who draws for whom is the service's affair.
"""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx2
import numpy as np

from model.backends.contract import (
    GONE,
    Backend,
    Capabilities,
    CheckpointError,
    Domain,
    ServingOptions,
    UnavailableError,
    check_task,
)
from model.backends.embedded_world import EMBEDDED_WORLD
from model.backends.interleaving import interleaved
from model.backends.request import Request, RequestError, Task, check_values
from model.events import Event, Failed, TrajectoryFinished, TrajectoryStarted
from model.images import PictureFileError, Source, encode_png, read_rgb
from model.serving.wire import SESSION, pixels_of, read_line, request_row, text_of_bytes
from model.trajectory import Origin, Sampling, StopReason, Token

CONNECTING, SILENT = 10.0, 120.0  # seconds for a connection; without a word of a service that draws
ABOUT = 30.0  # seconds that it may take to say what it draws
ATTEMPTS = 3  # at a request of which no event has come yet
PAUSE = 0.5  # seconds between two
UNAUTHORIZED = 401
BUSY = 503  # the status of a service that cannot draw at the moment
DOMAINS = {domain.name: domain for domain in (Domain(), EMBEDDED_WORLD)}


def open_remote(
    source: str, *, device: str | None = None, dtype: str | None = None, published_contexts: bool | None = None
) -> "RemoteBackend":
    """`URL`, or `URL#NAME`, by which trajectories then call it; `http://:TOKEN@HOST:PORT` brings a token. Where and how
    it computes is the service's choice. Raises CheckpointError."""
    address, token, name = read_address(source)
    client = new_client(address, token)
    try:
        return RemoteBackend(client, about_of(client), name)
    except CheckpointError:
        client.close()
        raise


def remote_name(source: str) -> str:
    """What it is called once it is open. Raises CheckpointError where no name is given and none can be asked for."""
    address, token, name = read_address(source)
    if name:
        return name
    with new_client(address, token) as client:
        return str(about_of(client)["name"])


def read_address(source: str) -> tuple[str, str, str]:
    """(URL without them, token, name). Raises CheckpointError for what is no URL."""
    try:
        parts = urlsplit(source)
        known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # half of an IPv6 address, a port that is no number
        known = False
    if not known:
        raise CheckpointError(f"{source!r:.80} is no address of a service; give remote:http://HOST:PORT")
    address = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))
    return address, parts.password or "", parts.fragment


def new_client(address: str, token: str) -> httpx2.Client:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
    return httpx2.Client(
        base_url=address, headers=headers, limits=limits, timeout=httpx2.Timeout(SILENT, connect=CONNECTING)
    )


def about_of(client: httpx2.Client) -> dict[str, Any]:
    """What a service says of itself. Raises CheckpointError."""
    try:
        response = client.get("/about", timeout=httpx2.Timeout(ABOUT, connect=CONNECTING))
        if response.status_code == UNAUTHORIZED:
            raise CheckpointError(f"{client.base_url} wants a token (401); give remote:http://:TOKEN@HOST:PORT")
        if response.is_error:
            raise ValueError(error_of(response))
        about = response.json()
        if not isinstance(about, dict):
            raise TypeError(f"it answers {response.text[:80]!r}")
        return about
    except (httpx2.HTTPError, ValueError, TypeError) as error:
        told = str(error) or f"no answer within {ABOUT:.0f} s"
        raise CheckpointError(
            f"{client.base_url} does not say what it draws ({told}); is model.serving there?"
        ) from error


class RemoteBackend(Backend):
    """What a service draws. A connection that breaks before the first event is made again, to another replica; one that
    breaks afterwards has taken its replica with it: the drawing fails, and what had come stands."""

    def __init__(self, client: httpx2.Client, about: dict[str, Any], name: str = "") -> None:
        """`about` as the service says it. Raises CheckpointError for what another version of it might say."""
        self._client, self._named = client, name
        try:
            self.name, self.image_size = name or str(about["name"]), int(about["image_size"])
            self.capabilities = Capabilities(**about["capabilities"])
            self.sampling = Sampling.from_dict(about["sampling"])
            self.domain = DOMAINS.get(about["domain"], Domain())
            self._room = int(about["at_once"])
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{client.base_url} is a service of another version ({error})") from error

    def check(self, request: Request) -> None:
        """What can be known here; the service checks the rest before it begins."""
        check_values(request, self.sampling, self.image_size)
        check_task(self, request)

    def serve(self, options: ServingOptions) -> int:
        return max(1, min(self._room, options.at_once))

    def events(self, request: Request) -> Iterator[Event]:
        self.check(request)
        told = "it ended without an event"
        for attempt in range(ATTEMPTS):
            latest = None
            try:
                for event in self._lines(request):
                    latest = event
                    yield event
                    if isinstance(event, TrajectoryFinished | Failed):
                        return
                if request.stop():
                    if latest is not None:
                        yield _after(latest, TrajectoryFinished, stop_reason=StopReason.CANCELLED)
                    return
            except (httpx2.TransportError, ValueError) as error:
                if isinstance(error, RequestError):
                    raise
                told = str(error) or type(error).__name__
            if latest is not None:
                yield _after(latest, Failed, error=GONE)
                return
            time.sleep(PAUSE * (attempt + 1))
        raise UnavailableError(f"{self._client.base_url} does not answer: {told}")

    def rollout(self, requests: Sequence[Request], *, at_once: int = 16) -> Iterator[Event]:
        return interleaved(self, requests, at_once)

    def load_weights(self, weights: bytes) -> None:
        """On every replica; drawings under way end with the ones they began with."""
        headers = {"Content-Type": "application/octet-stream"}
        try:
            response = self._client.post("/weights", content=weights, headers=headers)
        except httpx2.TransportError as error:
            raise UnavailableError(f"{self._client.base_url} does not answer: {error}") from error
        if response.is_error:
            raise CheckpointError(error_of(response))

    def tokens(self, text: str) -> tuple[Token, ...]:
        return tuple(Token(id, part, Origin(by)) for id, part, by in self._asked("/tokens", {"text": text}))

    def read_source(self, file: Source, task: Task) -> np.ndarray:
        picture = text_of_bytes(encode_png(read_rgb(file)))
        try:
            return pixels_of(self._asked("/source", {"picture": picture, "task": task.value})["picture"])
        except (RequestError, ValueError) as error:
            raise PictureFileError("the picture", f"one that the service cannot take ({error})") from error

    def _lines(self, request: Request) -> Iterator[Event]:
        """The events as they come, under the request's own id, until they end or it wants to stop. Raises RequestError,
        UnavailableError, and what breaks on the way."""
        session = sha256(request.session.encode(errors="replace")).hexdigest()[:16] if request.session else ""
        row = request_row(replace(request, session=session))
        with self._client.stream("POST", "/events", json=row, headers={SESSION: session}) as response:
            if response.is_error:
                response.read()
                _refuse(response.status_code, error_of(response))
            for line in response.iter_lines():
                if request.stop():
                    return
                if not line:
                    continue
                if line.startswith('{"error"'):
                    refusal = json.loads(line)
                    _refuse(refusal["status"], refusal["error"])
                event = replace(read_line(line), trajectory_id=request.id)
                if self._named and isinstance(event, TrajectoryStarted):
                    event = replace(event, checkpoint=self._named)
                yield event

    def _asked(self, path: str, row: dict[str, Any]) -> Any:
        """Raises RequestError, also where there is no answer."""
        try:
            response = self._client.post(path, json=row)
        except httpx2.TransportError as error:
            raise RequestError(f"{self._client.base_url} does not answer; try again in a moment.") from error
        if response.is_error:
            raise RequestError(error_of(response))
        return response.json()


def error_of(response: httpx2.Response) -> str:
    """What a service says that is wrong."""
    try:
        return str(response.json()["error"])
    except (ValueError, KeyError, TypeError):
        return f"the service answers {response.status_code} {response.text[:200]}"


def _refuse(status: int, told: str) -> None:
    if 400 <= status < 500:
        raise RequestError(told)
    if status == BUSY:
        raise UnavailableError(told)
    raise httpx2.RemoteProtocolError(told)  # a replica that broke: another one may take it


def _after(latest: Event, kind: type[Event], **values: object) -> Event:
    return kind(trajectory_id=latest.trajectory_id, segment=latest.segment, t_ms=latest.t_ms, **values)
