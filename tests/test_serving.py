"""A backend on another machine, without Ray: what goes over the wire, a replica, the backend that asks it."""

import json
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace

import httpx2
import numpy as np
import pytest
import torch
from accelerate import Accelerator
from PIL import Image as Picture
from replica_server import ReplicaServer, serving
from safetensors.torch import save
from scene_backend import SceneBackend, open_scenes
from test_events import random_trajectory

from annotations.store.store import Store
from model.backends.contract import GONE, Backend, CheckpointError
from model.backends.embedded_world import EMBEDDED_WORLD
from model.backends.janus import Janus
from model.backends.registry import backend_name, open_backend
from model.backends.request import Request, RequestError, Task
from model.decoding.janus_backend import JanusBackend
from model.decoding.load_for_inference import open_checkpoint
from model.evaluation.finished_rollouts import drawn_pictures
from model.events import (
    Event,
    FrameAdded,
    LogProbabilities,
    TrajectoryFinished,
    TrajectoryStarted,
    fold,
    replay,
)
from model.images import encode_png
from model.serving.policy_replicas import open_replicas, send_weights
from model.serving.replica import Replica, StuckError
from model.serving.rollout_row import rollout_row
from model.serving.weights import Update, Weights
from model.serving.wire import lines, pixels_of, read_line, read_request, request_row
from model.training.batch import collate
from model.training.policy import Policy, make_trainable
from model.training.rewards.registry import read_choice, weighted_reward
from model.training.rollouts import GroupStart, roll_out
from model.training.rollouts import Prompt as GroupPrompt
from model.training.trajectory_sequences import trajectory_sequences
from model.trajectory import Image, Origin, Parent, Sampling, Segment, StopReason, Trajectory
from studio.components import render
from studio.inference.request_queue import QueueFull
from studio.main import drawing
from studio.settings import Settings

PROMPT = "two red apples above a blue car"


@pytest.fixture(scope="module")
def scenes() -> Iterator[ReplicaServer]:
    with serving(open_scenes, "blocks", token="secret") as server:
        yield server


@pytest.fixture(scope="module")
def janus(tiny_checkpoint) -> Janus:
    return open_checkpoint(tiny_checkpoint, dtype=torch.float32)


@pytest.fixture(scope="module")
def tiny_replica(tiny_checkpoint) -> Iterator[ReplicaServer]:
    with serving(lambda source: open_backend(source, dtype="float32"), str(tiny_checkpoint)) as server:
        yield server


def remote(server: ReplicaServer, name: str = ""):
    return open_backend(f"remote:http://:secret@127.0.0.1:{server.port}{name}")


def test_a_request_crosses_the_wire_whole():
    source = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    trajectory = random_trajectory(random.Random(3))
    request = Request(
        "zwei Äpfel",
        7,
        2,
        Sampling(guidance=3.0, top_k=5),
        None,
        task=Task.EDIT,
        source=source,
        prefix=trajectory.segments,
        pictures={"a": b"\x89PNG"},
        parent=Parent("p", 1, 2),
        session="me",
        log_probs=True,
    )
    read = read_request(json.loads(json.dumps(request_row(request))), Sampling())
    assert read == request and read.session == "me" and (read.source == source).all()


def test_events_cross_the_wire_line_by_line():
    events = list(replay(random_trajectory(random.Random(1))))
    events.append(LogProbabilities(trajectory_id="t", segment=0, ids=(1, 2), log_probs=(-0.5, 0.0)))
    assert [read_line(line) for line in lines(events).decode().splitlines()] == events


def test_settings_that_a_request_leaves_out_are_the_backends_own():
    own = Sampling(guidance=4.0, temperature=0.5)
    assert read_request({"prompt": "a cat", "sampling": {"temperature": 1}}, own).sampling == replace(
        own, temperature=1
    )
    assert read_request({"prompt": "a cat"}, own).sampling is None


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ([], "JSON object with a prompt"),
        ({"prompt": "a cat", "colour": 1}, "no field “colour”"),
        ({"prompt": "a cat", "source": "%"}, "“source”"),
        ({"prompt": "a cat", "sampling": {"heat": 1}}, "“sampling”"),
        ({"prompt": "a cat", "task": "sing"}, "“task”"),
        ({"prompt": "a cat", "prefix": [{"kind": "poem"}]}, "“prefix”"),
        ({"prompt": "a cat", "preview_every": 0}, "preview_every"),
        ({"prompt": "a cat", "log_probs": "yes"}, "log_probs"),
        ({"prompt": "a cat", "session": 3}, "session"),
    ],
)
def test_what_is_no_request_is_refused_by_the_name_of_its_field(row, told: str):
    with pytest.raises(RequestError, match=told):
        read_request(row, Sampling())


def test_a_remote_backend_is_what_its_service_holds(scenes: ReplicaServer):
    backend, own = remote(scenes), SceneBackend("blocks")
    assert (backend.name, backend.image_size, backend.capabilities) == (own.name, own.image_size, own.capabilities)
    assert backend.sampling == own.sampling and backend.domain is EMBEDDED_WORLD
    assert backend_name(f"remote:http://:secret@127.0.0.1:{scenes.port}") == "blocks"
    assert backend_name(f"remote:{scenes.url}#gpu") == "gpu"
    request = Request(PROMPT, 3, session="me")
    events = list(backend.events(request))
    assert fold(events) == fold(own.events(request)) and {event.trajectory_id for event in events} == {request.id}
    named = next(remote(scenes, "#gpu").events(request))
    assert isinstance(named, TrajectoryStarted) and named.checkpoint == "gpu"


def test_many_requests_are_asked_for_at_the_same_time(scenes: ReplicaServer):
    requests = [Request(PROMPT, seed) for seed in range(6)]
    events = list(remote(scenes).rollout(requests, at_once=3))
    for request in requests:
        own = [event for event in events if event.trajectory_id == request.id]
        assert fold(own) == fold(SceneBackend("blocks").events(request))


def test_a_service_refuses_in_words(scenes: ReplicaServer):
    backend = remote(scenes)
    with pytest.raises(RequestError, match="paints the embedded world only"):
        next(backend.events(Request("a dream of the sea")))
    with pytest.raises(RequestError, match="cannot edit"):
        next(backend.events(Request(PROMPT, task=Task.EDIT, source=np.zeros((64, 64, 3), np.uint8))))
    with pytest.raises(CheckpointError, match="401"):
        open_backend(f"remote:{scenes.url}")
    for address in ("nowhere", "http://[::1", "http://there:port"):
        with pytest.raises(CheckpointError, match="no address"):
            open_backend(f"remote:{address}")
    with pytest.raises(CheckpointError, match="does not say what it draws"):
        open_backend("remote:http://127.0.0.1:1")
    assert httpx2.get(f"{scenes.url}/nothing", headers={"Authorization": "Bearer secret"}).status_code == 404


def test_a_drawing_that_is_stopped_stops_on_the_machine_too(scenes: ReplicaServer):
    stop = threading.Event()
    events = []
    for event in remote(scenes).events(Request(PROMPT, stop=stop.is_set)):
        events.append(event)
        stop.set()
    assert isinstance(events[-1], TrajectoryFinished) and events[-1].stop_reason is StopReason.CANCELLED
    deadline = time.monotonic() + 5
    while scenes.service.replica.running and time.monotonic() < deadline:
        time.sleep(0.02)
    assert scenes.service.replica.running == 0


def test_what_a_person_gives_is_read_by_the_service(tiny_replica: ReplicaServer, janus: Janus, tmp_path):
    there, here = open_backend(f"remote:{tiny_replica.url}"), JanusBackend(janus)
    assert there.tokens("No, the car is red.") == here.tokens("No, the car is red.")
    picture = np.random.default_rng(1).integers(0, 256, (40, 90, 3)).astype(np.uint8)
    png = encode_png(Picture.fromarray(picture))
    assert (there.read_source(png, Task.JUDGE) == here.read_source(png, Task.JUDGE)).all()
    (tmp_path / "odd.png").write_bytes(b"nothing")
    with pytest.raises(OSError):
        there.read_source(tmp_path / "odd.png", Task.JUDGE)


@torch.no_grad()
def test_what_a_rollout_says_of_its_tokens_is_what_the_policy_says(tiny_replica: ReplicaServer, janus: Janus):
    body = {"prompt": PROMPT, "seed": 4, "rounds": 2, "sampling": {"thinks": True}}
    row = httpx2.post(f"{tiny_replica.url}/rollout", json=body, timeout=60).json()
    trajectory = Trajectory.from_dict(row["trajectory"])
    pictures = {sha256: pixels_of(text) for sha256, text in row["pictures"].items()}
    drawn, judged = (
        [each for each in row["sequences"] if (each["kind"] == "reflection") is reflections]
        for reflections in (False, True)
    )
    for own, sequence in zip((drawn, judged), trajectory_sequences(janus, trajectory, pictures), strict=True):
        batch = collate(janus, [sequence])
        order = batch.positions.argsort()
        assert [token for each in own for token in each["ids"]] == batch.tokens[order].tolist()
        assert {mask for each in own for mask in each["mask"]} == {1}
        log_probs = torch.tensor([value for each in own for value in each["log_probs"]])
        assert torch.allclose(log_probs, Policy(janus)(batch).log_probs[order], atol=1e-4)


def test_what_a_rollout_began_with_is_masked():
    given = Image((1, 2), "a", (Origin.SAMPLED,) * 2)
    events = list(replay(Trajectory("a cat", 0, 1, Sampling(), "x", (given,), StopReason.ROUNDS)))
    assert rollout_row(events)["sequences"] == [{"kind": "image", "ids": [1, 2], "mask": [0, 0], "log_probs": [0, 0]}]


def test_replicas_roll_out_with_the_policys_weights(tiny_replica: ReplicaServer, tiny_checkpoint):
    policy = open_checkpoint(tiny_checkpoint, dtype=torch.float32)
    make_trainable(policy)
    with torch.no_grad():
        for weight in policy.network.lm_head.parameters():
            weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)), alpha=0.2)
    replicas, reward = open_replicas(policy, tiny_replica.url), weighted_reward(read_choice("both").weights)
    start = [GroupStart(GroupPrompt(PROMPT), replace(policy.sampling, thinks=True), seed=5)]

    def rollouts(backend: Backend | None) -> list[list[tuple[int, ...]]]:
        """Their tokens; what is in a batch together is rounded together."""
        [group] = roll_out(policy, reward, start, 3, 2, random.Random(0), backend)
        return [[ids_of(segment) for segment in rollout.trajectory.segments] for rollout in group]

    before, version = rollouts(replicas), tiny_replica.service.replica.version
    send_weights(policy, replicas, Accelerator(cpu=True))
    assert tiny_replica.service.replica.version == version + 1
    assert rollouts(replicas) == rollouts(None) != before


def test_weights_that_do_not_fit_are_refused_and_the_old_ones_stay(tiny_replica: ReplicaServer, janus: Janus):
    backend, version = open_backend(f"remote:{tiny_replica.url}"), tiny_replica.service.replica.version
    head = janus.network.lm_head.weight.detach()
    for weights, told in (
        (b"nothing", "no safetensors file"),
        (save({"lm_head.weight": head[:3].contiguous()}), "lm_head.weight is"),
        (save({"lm_head.weight": head * torch.nan}), "not finite"),
        (save({"foot.weight": head}), "not there"),
    ):
        with pytest.raises(CheckpointError, match=told):
            backend.load_weights(weights)
    answer = httpx2.post(f"{tiny_replica.url}/weights", json={"source": "/nowhere"}, timeout=60)
    assert answer.status_code == 422 and tiny_replica.service.replica.version == version


class Paced(SceneBackend):
    """Paints while it is let, and remembers its weights."""

    gate = threading.Event()

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.loaded: list[tuple[bytes, int]] = []  # and how many drawings were under way
        self.under_way = 0

    def events(self, request: Request) -> Iterator[Event]:
        self.under_way += 1
        for event in super().events(request):
            yield event
            if isinstance(event, FrameAdded):
                self.gate.wait(10)
        self.under_way -= 1

    def load_weights(self, weights: bytes) -> None:
        self.loaded.append((weights, self.under_way))


@pytest.fixture
def paced() -> Iterator[ReplicaServer]:
    Paced.gate = threading.Event()
    with serving(Paced, "first") as server:
        yield server


def drawing_of(server: ReplicaServer, request: Request) -> Future[Trajectory]:
    """A drawing that has begun on the replica."""
    backend, begun = open_backend(f"remote:{server.url}"), threading.Event()

    def drawn() -> Trajectory:
        return fold(map(noted, backend.events(request)))

    def noted(event: Event) -> Event:
        begun.set()
        return event

    future: Future[Trajectory] = Future()
    threading.Thread(target=lambda: future.set_result(drawn()), daemon=True).start()
    assert begun.wait(10)
    return future


def test_new_weights_wait_for_the_drawings_under_way_and_new_drawings_for_them(paced: ReplicaServer):
    replica = paced.service.replica
    first = drawing_of(paced, Request(PROMPT, 1))
    updating = paced.begin(replica.update(Update(1, weights=b"new")))
    while not replica.status()["paused"]:
        time.sleep(0.01)
    later = paced.begin(collected(replica, Request(PROMPT, 2)))
    time.sleep(0.1)
    assert not updating.done() and replica.running == 1
    Paced.gate.set()
    assert updating.result(10) == 1 and replica.backend.loaded == [(b"new", 0)]
    assert first.result(10) == fold(SceneBackend("first").events(Request(PROMPT, 1)))
    assert later.result(10) == fold(SceneBackend("first").events(Request(PROMPT, 2)))


def test_another_checkpoint_is_opened_beside_the_one_that_draws(paced: ReplicaServer):
    first = drawing_of(paced, Request(PROMPT, 1))
    answer = httpx2.post(f"{paced.url}/weights", json={"source": "second"}).json()
    assert answer == {"version": 1, "replicas": 1}
    second = drawing_of(paced, Request(PROMPT, 1))
    assert httpx2.get(f"{paced.url}/replicas").json()[0]["running"] == 2
    Paced.gate.set()
    assert (first.result(10).checkpoint, second.result(10).checkpoint) == ("first", "second")


def test_a_studio_draws_by_a_service_and_keeps_what_a_dead_machine_had_drawn(paced: ReplicaServer, store: Store):
    Paced.gate.set()
    checkpoints = drawing(Settings(checkpoint=f"remote:{paced.url}"), store, on_loan=False)
    generator = checkpoints.named("first")
    whole = fold(generator.stream(PROMPT, 3, 3, owner="ada", session="page 1"))
    assert store.trajectory(whole.id) == whole and whole.aha
    Paced.gate.clear()
    events = []
    for event in generator.stream(PROMPT, 4, 3, owner="ada"):
        events.append(event)
        if isinstance(event, FrameAdded):
            paced.die()
    told = render.row(events[-1])
    assert told["is"] == "end" and told["text"] == GONE
    kept = store.trajectory(events[0].trajectory_id)
    assert kept.stop_reason is StopReason.FAILED and store.picture(kept.images[0].frames[0])
    with pytest.raises(QueueFull, match="Nothing can be drawn at the moment"):
        next(generator.stream(PROMPT, 5, 3, owner="ada"))


def test_a_rollout_whose_machine_dies_is_drawn_again_by_the_next_one_at_its_address(paced: ReplicaServer):
    requests = [Request(PROMPT, seed, 3) for seed in (1, 2, 3)]
    replicas, made = open_backend(f"remote:{paced.url}"), []
    drawing = threading.Thread(target=lambda: made.extend(drawn_pictures(replicas, requests, 3, progress=False)))
    drawing.start()
    while paced.service.replica.running < len(requests):
        time.sleep(0.01)
    paced.die()
    Paced.gate.set()
    with serving(Paced, "first", port=paced.port):
        drawing.join(30)
    here = {request.id: fold(SceneBackend("first").events(request)) for request in requests}
    assert {id: (trajectory, len(images)) for id, trajectory, images in made} == {
        id: (trajectory, len(trajectory.images)) for id, trajectory in here.items()
    }


def test_a_replica_none_of_whose_drawings_goes_on_is_not_healthy(paced: ReplicaServer, monkeypatch):
    replica = paced.service.replica
    drawing_of(paced, Request(PROMPT, 1))
    replica.check_health()
    monkeypatch.setattr("model.serving.replica.STUCK_SECONDS", 0.0)
    with pytest.raises(StuckError, match="1 drawings are under way"):
        replica.check_health()
    Paced.gate.set()


def test_a_silent_drawing_is_told_from_a_dead_machine(paced: ReplicaServer, monkeypatch):
    monkeypatch.setattr("model.serving.endpoints.HEARTBEAT", 0.02)
    body = {"prompt": PROMPT}
    with httpx2.stream("POST", f"{paced.url}/events", json=body, timeout=10) as response:
        coming = response.iter_lines()
        read = [next(coming) for _ in range(12)]
        assert "" in read
        Paced.gate.set()
        assert "trajectory finished" in list(coming)[-1]


def test_a_late_replica_is_told_what_it_missed():
    weights = Weights()
    assert weights.after(0, "a") is None
    assert weights.publish("", b"1") == 1
    assert weights.after(0, "a") == Update(1, "", b"1") and weights.after(1, "a") is None
    assert weights.publish("b", b"") == 2 and weights.after(1, "a") == Update(2, "b", b"")
    assert weights.publish("", b"3") == 3
    assert weights.after(0, "a") == Update(3, "b", b"3") and weights.after(2, "b") == Update(3, "", b"3")
    assert weights.publish("b", b"") == 4 and weights.after(3, "b") == Update(4, "b", b"")  # without the weights


def ids_of(segment: Segment) -> tuple[int, ...]:
    return segment.codes if isinstance(segment, Image) else tuple(token.id for token in segment.tokens)


async def collected(replica: Replica, request: Request) -> Trajectory:
    return fold([event async for events in replica.events(request) for event in events])
