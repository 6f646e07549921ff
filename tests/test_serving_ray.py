"""Two replicas on Ray Serve, in processes of their own: many visitors, new weights, a death."""

import re
import socket
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import commands
import pytest
import ray
from ray import serve
from running_app import free_port

from model.events import fold, from_dict
from model.serving.benchmark import kill_one, replicas, update, weights_of
from model.serving.deployment import APP, ServingSettings
from model.serving.remote_backend import open_remote
from model.serving.routing import StickySessions, ranks
from model.serving.start import check_room, start
from model.serving.visitors import Visitors
from model.trajectory import StopReason


@pytest.fixture(scope="module")
def url(thorough: bool) -> Iterator[str]:
    """Of one replica; the tests of `--all` need two."""
    port = free_port()
    start(ServingSettings("embedded", replicas=2 if thorough else 1), None, "127.0.0.1", port)
    yield f"http://127.0.0.1:{port}"
    serve.shutdown()
    ray.shutdown()


def test_a_session_goes_to_its_replica_first_and_others_to_the_one_with_fewest_requests():
    sessions, requests = StickySessions(most=2), {"a": 3, "b": 5, "c": 1}.__getitem__
    sessions.sent("me", "b")
    assert ranks(["a", "b", "c"], sessions.replica("me"), requests) == [["b"], ["c"], ["a"]]
    assert ranks(["a", "c"], sessions.replica("me"), requests) == [["c"], ["a"]]
    assert ranks(["a", "c"], sessions.replica("you"), requests) == [["c"], ["a"]]
    sessions.sent("you", "a")
    sessions.sent("me", "b")
    sessions.sent("they", "c")
    assert [sessions.replica(name) for name in ("me", "you", "they")] == ["b", None, "c"]


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("--replicas 0", "got --replicas 0, wanted 1 or more"),
        ("--at-once -1", "got --at-once -1, wanted 1 or more"),
        ("--target nan", "got --target nan, wanted 0.1 or more"),
        ("--replicas 3 --max-replicas 2", "got --max-replicas 2, wanted 3 or more, as --replicas says, or 0"),
    ],
)
def test_what_cannot_be_served_is_refused_before_ray_is_started(asked: str, told: str):
    ended = commands.run("model.serving", *asked.split())
    assert (ended.returncode, ended.stderr) == (1, f"serving: {told}\n") and not ray.is_initialized()


def test_a_port_in_use_and_machines_without_what_is_asked_for_are_told_before_anything_is_served():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ended = commands.run("model.serving", "--port", f"{taken.getsockname()[1]}")
    assert (ended.returncode, ray.is_initialized()) == (1, False)
    assert ended.stderr.endswith("cannot be listened at (Address already in use); give another --port\n")
    check_room(ServingSettings("embedded", replicas=2, gpus=0.5), {"CPU": 2.0, "GPU": 1.0})
    with pytest.raises(RuntimeError, match="has 0 GPUs; 1 replicas of 1 need 1: give fewer --replicas, or less --gpus"):
        check_room(ServingSettings("embedded", gpus=1), {"CPU": 2.0})


@pytest.mark.thorough
def test_a_checkpoint_that_no_replica_can_open_is_told_with_why(tmp_path: Path):
    try:
        ended = commands.run("model.serving", "--checkpoint", tmp_path, "--port", f"{free_port()}")
    finally:
        serve.shutdown()
        ray.shutdown()
    assert ended.returncode == 1 and "Traceback" not in ended.stderr
    assert re.search(rf"serving: {tmp_path} is not served: {tmp_path} .*", ended.stderr.splitlines()[-1])


@pytest.mark.thorough
def test_sixteen_visitors_are_served_and_each_stays_at_one_of_two_replicas(url: str):
    visitors = Visitors(open_remote(url), rounds=1).come([f"visitor {number}" for number in range(16)], drawings=2)
    seen: dict[str, set[str]] = defaultdict(set)
    while visitors.drawing:
        for status in replicas(url):
            for session in status["sessions"]:
                seen[session].add(status["replica"])
        time.sleep(0.1)
    visits = visitors.wait()
    assert len(visits) == 32 and all(visit.whole for visit in visits)
    assert all(len(each) == 1 for each in seen.values())
    assert len(set.union(*seen.values())) == 2


def test_a_handle_streams_the_same_events(url: str):
    handle = serve.get_app_handle(APP)
    rows = handle.options(stream=True).events.remote({"prompt": "a red apple", "rounds": 1})
    assert fold(map(from_dict, rows)).stop_reason in (StopReason.CONTENT, StopReason.ROUNDS)
    row = handle.rollout.remote({"prompt": "a red apple", "rounds": 1}).result()
    assert [set(each["mask"]) for each in row["sequences"]] == [{1}] * len(row["sequences"])


@pytest.mark.thorough
def test_no_drawing_is_lost_while_weights_are_replaced(url: str):
    updated = update(open_remote(url), url, 4, weights_of("sft"))
    assert (updated.whole, updated.visitors, updated.replicas) == (8, 8, 2)


@pytest.mark.thorough
def test_who_draws_at_a_replica_that_dies_is_told_and_goes_on_and_others_notice_nothing(url: str):
    version = max(status["version"] for status in replicas(url))
    killed = kill_one(open_remote(url), url, 6)
    assert killed.its >= 1 and killed.others >= 1
    assert (killed.told, killed.again, killed.whole) == (killed.its, killed.its, killed.others)
    assert [status["version"] for status in replicas(url)] == [version, version]  # the new one, too
