"""Requests that no page of ours sends, to every address that takes one: nothing breaks, and nobody else is hurt."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from fuzzing import FAST
from gradio_client import Client
from hypothesis import given, settings
from hypothesis import strategies as st
from running_app import Server

API = "/gradio_api"
PATIENCE = 60  # s in which a request, however strange, is answered
PROMPT, SEED = "two red apples above a blue car", 3

HOSTILE_NUMBERS = [
    0,
    -1,
    1e-320,
    5e-324,
    -0.0,
    1e308,
    float("nan"),
    float("inf"),
    -float("inf"),
    2**63,
    -(2**63),
    10**400,
]
HOSTILE_WORDS = [
    "", " ", "\x00", "a\x00b", "\ud800", "\u202e", "\ufeff", "-", "../../etc/passwd", "%00", "a" * 70_000, "{}", "null",
    "' OR 1=1 --", "<script>", "苹果", "<image_placeholder>", "<begin_of_image>", "data:image/png;base64,AA", "1e-320",
]  # fmt: skip
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=30)
    | st.sampled_from(HOSTILE_NUMBERS)
    | st.sampled_from(HOSTILE_WORDS)
)
anything = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)
files = st.fixed_dictionaries(
    {
        "path": st.sampled_from(["/etc/passwd", "x.png", "../app.py", "", "\x00"]),
        "meta": st.just({"_type": "gradio.FileData"}),
    },
    optional={"url": leaves, "size": leaves, "orig_name": leaves, "mime_type": leaves, "is_stream": leaves},
)
values = anything | files


@dataclass
class Studio:
    """A running studio, its handlers, and somebody who draws in it."""

    server: Server
    client: httpx2.Client
    handlers: list[dict[str, Any]]
    defaults: dict[int, Any]  # of each component, by its id

    def inputs(self, handler: dict[str, Any]) -> list[Any]:
        return [self.defaults.get(component) for component in handler["inputs"]]

    def posted(self, path: str, body: Any) -> httpx2.Response:
        """The answer to a body, which may be JSON or bytes; any answer but a server's error will do."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = self.client.post(path, content=content, headers={"content-type": "application/json"})
        assert answer.status_code < 500 or answer.status_code == 503, (
            f"{path} {answer.status_code}: {answer.text[:500]}"
        )
        return answer

    def queued(self, handler: dict[str, Any], data: list[Any]) -> dict[str, Any]:
        """What a handler that works through the queue says at its end, or what it is refused with."""
        session = uuid4().hex
        asked = {
            "data": data,
            "fn_index": handler["id"],
            "session_hash": session,
            "trigger_id": None,
            "event_data": None,
        }
        if (joined := self.posted(f"{API}/queue/join", asked)).status_code != 200:
            return joined.json()
        with self.client.stream("GET", f"{API}/queue/data", params={"session_hash": session}) as stream:
            for line in stream.iter_lines():
                said = json.loads(line.removeprefix("data:")) if line.startswith("data:") else {}
                if said.get("msg") in ("process_completed", "unexpected_error", "close_stream"):
                    return said
        raise AssertionError("the stream ended before the handler")

    def tracebacks(self) -> str:
        """What the log says from the first traceback on."""
        return self.server.log.read_text(errors="replace").partition("Traceback")[2][:3000]


@pytest.fixture(scope="module")
def studio(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    folder = tmp_path_factory.mktemp("fuzz")
    server = Server(
        folder / "data",
        tiny_checkpoint,
        folder / "log",
        mode="public",
        more={"AHA_STUDIO_ROUNDS": "1", "AHA_STUDIO_LIMITS": "false"},
    )
    server.start()
    try:
        with httpx2.Client(base_url=server.url, timeout=PATIENCE, headers={"origin": server.url}) as client:
            config = client.get("/config").json()
            handlers = [each for each in config["dependencies"] if each["backend_fn"]]
            defaults = {each["id"]: each["props"].get("value") for each in config["components"]}
            yield Studio(server, client, handlers, defaults)
    finally:
        server.stop()


@pytest.fixture(scope="module")
def alone(studio: Studio) -> list[dict[str, Any]]:
    """A drawing while nobody else is there."""
    return _pictures(studio)


def _pictures(studio: Studio) -> list[dict[str, Any]]:
    """The segments of a drawing; p_yes to six places, as float32 sums of a batch have another order."""
    job = Client(studio.server.url, verbose=False).submit(PROMPT, SEED, 1, api_name="/draw")
    last = job.result(timeout=240)
    assert last["event"] == "trajectory finished", last
    run = studio.posted(f"{API}/run/trajectory", {"data": [last["trajectory_id"]]}).json()["data"][0]
    return [each | {"p_yes": round(each["p_yes"], 6)} if "p_yes" in each else each for each in run["segments"]]


class Neighbour:
    """Somebody who draws the same thing again and again while strange requests come in."""

    def __init__(self, studio: Studio) -> None:
        self._studio, self._over = studio, threading.Event()
        self.drawn: list[list[dict[str, Any]]] = []

    def draw(self) -> None:
        while not self._over.is_set() or not self.drawn:
            self.drawn.append(_pictures(self._studio))

    def __enter__(self) -> "Neighbour":
        self._pool = ThreadPoolExecutor(1)
        self._drawing: Future[None] = self._pool.submit(self.draw)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._pool.shutdown()

    def result(self) -> list[list[dict[str, Any]]]:
        self._drawing.result()
        return self.drawn


def test_whatever_a_handler_is_given_it_answers_and_the_log_has_no_traceback(
    studio: Studio, alone: list, thorough: bool
) -> None:
    @settings(FAST, max_examples=10_000 if thorough else 100)
    @given(st.data())
    def whatever(data: st.DataObject) -> None:
        handler = data.draw(st.sampled_from(studio.handlers))
        inputs = studio.inputs(handler)
        for place in data.draw(st.lists(st.integers(0, max(0, len(inputs) - 1)), max_size=3)):
            if inputs:
                inputs[place] = data.draw(values)
        if data.draw(st.integers(0, 9)) == 0:
            inputs = data.draw(st.lists(values, max_size=4))
        body = {"data": inputs, "fn_index": handler["id"], "session_hash": data.draw(st.sampled_from(["a", "b", "c"]))}
        studio.posted(f"{API}/run/predict", body)

    with Neighbour(studio) as neighbour:
        whatever()
    assert studio.tracebacks() == ""
    assert all(drawn == alone for drawn in neighbour.result())


@pytest.mark.parametrize("value", [[], [[]], {"a": 1}, ["no such choice"]])
def test_a_menu_that_gets_something_else_than_a_choice_refuses_it(studio: Studio, value: Any) -> None:
    for name in ("narrowed", "survey", "export"):
        handler = next(each for each in studio.handlers if each["api_name"] == name)
        for place in range(len(handler["inputs"])):
            inputs = studio.inputs(handler)
            inputs[place] = value
            studio.posted(f"{API}/run/predict", {"data": inputs, "fn_index": handler["id"], "session_hash": "a"})
    assert studio.tracebacks() == ""


def test_whatever_a_drawing_is_asked_with_it_ends_and_its_neighbours_draw_on(
    studio: Studio, alone: list, thorough: bool
) -> None:
    queued = [each for each in studio.handlers if each["queue"] and each["api_name"] in ("draw", "judge", "edit")]
    assert queued
    hostile = st.sampled_from(HOSTILE_NUMBERS) | st.sampled_from(HOSTILE_WORDS) | leaves

    @settings(FAST, max_examples=1_000 if thorough else 15)
    @given(st.data())
    def whatever(data: st.DataObject) -> None:
        handler = data.draw(st.sampled_from(queued))
        studio.queued(handler, [data.draw(hostile) for _ in handler["inputs"]])

    with Neighbour(studio) as neighbour:
        whatever()
    assert studio.tracebacks() == ""
    assert all(drawn == alone for drawn in neighbour.result())


OF_A_DRAWING = ("prompt", "seed", "rounds", "guidance", "temperature", "thinks", "checkpoint")


def test_a_drawing_with_a_hostile_number_is_drawn_or_refused_in_words_and_its_neighbours_draw_on(
    studio: Studio, alone: list
) -> None:
    handler = next(each for each in studio.handlers if each["api_name"] == "draw")
    asked = dict.fromkeys(OF_A_DRAWING) | {"prompt": PROMPT, "seed": SEED, "rounds": 1, "checkpoint": ""}

    def draw(name: str, number: float) -> None:
        end = studio.queued(handler, list((asked | {name: number}).values()))
        told = (end.get("output") or end).get("error") or end.get("detail")
        assert end.get("success") or told and "fault of ours" not in told, (name, number, end)

    with Neighbour(studio) as neighbour, ThreadPoolExecutor(8) as many:
        names = ("temperature", "guidance", "seed", "rounds")
        drawings = [many.submit(draw, name, number) for name in names for number in HOSTILE_NUMBERS]
        for drawing in drawings:
            drawing.result()
    assert studio.tracebacks() == ""
    assert all(drawn == alone for drawn in neighbour.result())


ROUTES = ("queue/join", "run/predict", "run/draw", "call/draw", "call/v2/draw", "call/v2/none", "call/trajectory",
          "api/picture", "reset", "cancel", "upload", "component_server", "process_recording", "mcp/", "stream/x",
          "vibe-edit", "launch")  # fmt: skip


def test_whatever_body_comes_it_is_answered_without_a_servers_error(studio: Studio, thorough: bool) -> None:
    bodies = (
        values
        | st.binary(max_size=60)
        | st.dictionaries(
            st.sampled_from(
                ["data", "fn_index", "session_hash", "event_id", "trigger_id", "event_data", "batched", "request"]
            ),
            values,
        )
    )

    @settings(FAST, max_examples=10_000 if thorough else 100)
    @given(st.sampled_from(ROUTES), bodies)
    def whatever(route: str, body: Any) -> None:
        studio.posted(f"{API}/{route}", body)

    whatever()
    assert studio.tracebacks() == ""


def test_whatever_address_is_fetched_it_is_answered_without_a_servers_error(studio: Studio, thorough: bool) -> None:
    pages = ["/", "/image", "/gallery", "/annotate", "/arena", "/sign-in", "/config", "/static/", "/assets/"]
    starts = pages + [f"{API}/{name}" for name in ("file=", "info", "heartbeat/", "call/draw/", "stream/a/b/")]
    parts = st.sampled_from(
        ["%00", "..", "%2e%2e%2f", "etc/passwd", "?from=", "?run=1", "?lang=%F0", "a" * 300]
    ) | st.text(st.characters(codec="ascii", categories=("L", "N", "P")), max_size=12)

    @settings(FAST, max_examples=5_000 if thorough else 75)
    @given(st.sampled_from(starts), st.lists(parts, max_size=3))
    def whatever(start: str, more: list[str]) -> None:
        path = (start + "".join(more)).replace("#", "")
        with studio.client.stream("GET", httpx2.URL(studio.server.url + path)) as answer:
            assert answer.status_code < 500, f"{path} {answer.status_code}"

    whatever()
    assert studio.tracebacks() == ""
