"""For programs: the endpoints, called as another program calls them."""

import asyncio
import base64
import io
import random
from dataclasses import replace

import httpx2
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from PIL import Image as Picture

from annotations.store.store import open_store
from model.backends.janus import Janus
from model.decoding.janus_backend import JanusBackend
from model.events import Failed, fold, from_dict
from model.trajectory import Trajectory
from model.world.scene import random_scene, render
from studio.inference.checkpoints import Checkpoints
from studio.inference.generator import Generator
from studio.pages import build
from studio.settings import Mode, Settings


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory):
    with open_store(tmp_path_factory.mktemp("data")) as store:
        yield store


@pytest.fixture(scope="module")
def client(tiny: Janus, store):
    demo = build(Settings(mode=Mode.PUBLIC), store, Checkpoints(Generator(JanusBackend(tiny), store)))
    _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True, ssr_mode=False, mcp_server=True)
    yield Client(url, verbose=False)
    demo.close()


def encoded() -> str:
    buffer = io.BytesIO()
    Picture.fromarray(render(random_scene(random.Random(0), 2))).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def test_the_endpoints_are_described_and_typed(client: Client):
    named = client.view_api(return_format="dict")["named_endpoints"]
    assert set(named) == {"/draw", "/judge", "/edit", "/trajectory", "/picture", "/import_records"}
    types = {p["parameter_name"]: p["type"] for p in named["/draw"]["parameters"]}
    parameters = {name: [one["type"] for one in given.get("oneOf", [given])] for name, given in types.items()}
    assert parameters == {
        "prompt": ["string"],
        "seed": ["integer"],
        "rounds": ["integer"],
        "guidance": ["null", "number"],
        "temperature": ["null", "number"],
        "thinks": ["null", "boolean"],
        "checkpoint": ["string"],
    }


def test_a_drawing_comes_as_events_that_fold_to_what_is_stored(client: Client):
    job = client.submit("two cats", 3, 2, api_name="/draw")
    job.result()
    events = [from_dict(row) for row in job.outputs()]
    drawn = fold(events)
    stored = Trajectory.from_dict(client.predict(drawn.id, api_name="/trajectory"))
    assert stored == drawn
    assert (drawn.prompt, drawn.seed, drawn.rounds) == ("two cats", 3, 2)
    png = base64.b64decode(client.predict(drawn.images[0].sha256, api_name="/picture"))
    assert Picture.open(io.BytesIO(png)).format == "PNG"


def test_what_is_not_said_is_as_the_chosen_checkpoint_has_it(tiny: Janus, tmp_path):
    own = replace(tiny.sampling, guidance=2.5, temperature=0.3, text_top_k=7, thinks=not tiny.sampling.thinks)
    other = Janus(tiny.network, tiny.tokenizer, "other", own)
    with open_store(tmp_path / "data") as store:
        checkpoints = Checkpoints(Generator(JanusBackend(tiny), store), ["other"])
        checkpoints._loaded["other"] = Generator(JanusBackend(other), store)
        demo = build(Settings(mode=Mode.PUBLIC), store, checkpoints)
        _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True, ssr_mode=False)
        first, *_ = Client(url, verbose=False).submit("two cats", 0, 1, None, None, None, "other", api_name="/draw")
        demo.close()
    assert from_dict(first).sampling == own


def test_an_image_is_judged_and_edited(client: Client):
    judged = Trajectory.from_dict(client.predict(encoded(), "a red cat", api_name="/judge"))
    assert judged.reflections[0].answer in ("yes", "no")
    edited = Trajectory.from_dict(client.predict(encoded(), "make the cat blue", 5, api_name="/edit"))
    assert [segment.kind for segment in edited.segments][0] == "source"
    assert edited.images


def test_the_same_are_tools_for_a_model(client: Client):
    async def tools() -> dict[str, str]:
        address = f"{client.src}gradio_api/mcp/"
        async with streamable_http_client(address) as (read, write, _), ClientSession(read, write) as session:
            await session.initialize()
            return {tool.name: tool.description for tool in (await session.list_tools()).tools}

    found = asyncio.run(tools())
    assert set(found) == {"draw", "judge", "edit", "trajectory", "picture", "import_records"}
    assert "draw again after a no" in found["draw"]


@pytest.mark.parametrize(
    ("endpoint", "given", "said"),
    [
        ("/draw", [" "], "prompt is empty"),
        ("/judge", ["nonsense", "a cat"], "no picture"),
        ("/judge", ["a_cat.png", "a cat"], "image: got 'a_cat.png', wanted a file's content in base64"),
        ("/edit", ["https://studio.example.org/a_cat.png", "make it blue", 0], "neither an address nor a path is read"),
        ("/trajectory", ["nobody"], "there is no trajectory"),
        ("/picture", ["../store.db"], "there is no picture"),
    ],
)
def test_what_cannot_be_done_is_said(client: Client, endpoint: str, given: list, said: str):
    with pytest.raises(AppError, match=said):
        client.predict(*given, api_name=endpoint)


@pytest.mark.parametrize(
    ("given", "said"),
    [([" "], "prompt is empty"), (["two cats", 0, 1, None, None, None, "nowhere"], "nowhere")],
)
def test_a_refused_drawing_is_an_event_to_who_iterates_and_an_exception_to_who_asks(client: Client, given, said):
    job = client.submit(*given, api_name="/draw")
    events = [from_dict(row) for row in job]
    assert [type(event) for event in events] == [Failed] and said in events[0].error
    with pytest.raises(AppError, match=said):
        job.result()


def test_a_drawing_asked_for_past_the_queue_is_refused_and_nothing_is_drawn(client: Client, store):
    before = len(store.trajectories())
    for path in ("run/draw", "api/draw", "run/judge"):
        answer = httpx2.post(f"{client.src}gradio_api/{path}", json={"data": ["two cats", 0, 1, None, None, None, ""]})
        assert answer.status_code == 404 and "queue" in answer.json()["detail"]
    client.predict("a cat", 0, 1, api_name="/draw")  # what ran beside it would have been stored
    assert len(store.trajectories()) == before + 1
