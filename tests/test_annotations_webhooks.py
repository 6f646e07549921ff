"""Webhooks against a real HTTP server: signed, in order, tried again, remembered, and never in a submit's way; and of a
studio that runs as its users run it.
"""

import base64
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import pytest
from pressing import Page
from running_app import Server
from test_annotations_samples import aha, judged

from annotations.ops.webhooks import FILE, Webhook, signature, start_deliveries
from annotations.queue.review import decide
from annotations.schema.annotation import Annotation, Status
from annotations.schema.default_projects import ARENA, REFLECTIONS_PROJECT
from annotations.store.items import NewItem
from annotations.store.store import Store, open_store

SECRET = "whsec_" + base64.b64encode(b"a secret of 24 bytes, ok").decode()


@dataclass
class Receiver:
    """What a server got, and what it answers: the statuses in turn, then 204."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    wait: threading.Event | None = None

    @property
    def told(self) -> list[dict]:
        return [json.loads(body) for _, body in self.got]


@contextmanager
def listening(receiver: Receiver, port: int = 0) -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if receiver.wait is not None:
                receiver.wait.wait(30)
            receiver.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
            status = receiver.answers.pop(0) if receiver.answers else 204
            self.send_response(status)
            if status == 302:
                self.send_header("Location", f"{receiver.url}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def store(tmp_path: Path):
    with open_store(tmp_path / "data") as store:
        for number in range(3):
            trajectory, pictures = aha(number, id=f"run{number}")
            store.save(trajectory, pictures, owner="ada")
        yield store


@contextmanager
def telling(store: Store, url: str, secret: str = SECRET) -> Iterator[None]:
    end = start_deliveries(store, Webhook(url, secret), every=0.05, first_wait=0.05)
    try:
        yield
    finally:
        end()


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.02)


def test_a_submit_is_told_signed_and_under_a_pseudonym(store: Store):
    with listening(Receiver()) as receiver, telling(store, receiver.url):
        stored = store.annotate(judged("run0", annotator="ann@example.org", verdict_right="no", reason_rating=2))
        until(lambda: len(receiver.got) == 1)
    [(headers, body)] = receiver.got
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    wanted = base64.b64encode(hmac.digest(b"a secret of 24 bytes, ok", signed, "sha256")).decode()
    assert headers["webhook-signature"] == f"v1,{wanted}"
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60
    told = json.loads(body)
    assert (told["type"], told["data"]["id"]) == ("annotation.submitted", stored.id)
    assert told["data"]["answers"] == {"verdict_right": "no", "reason_rating": 2}
    assert told["data"]["annotator"] == store.pseudonyms(["ann@example.org"])["ann@example.org"]
    assert b"ann@example.org" not in body


def test_the_signature_is_that_of_the_published_example():
    """The example that Standard Webhooks' own libraries are tested with."""
    made = signature(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
    )
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_only_submits_and_their_undoing_are_told(store: Store):
    with listening(Receiver()) as receiver, telling(store, receiver.url):
        store.annotate(Annotation("run0", 2, "ann", {"reason_rating": 2}, status=Status.UNFINISHED))
        store.annotate(judged("run0", verdict_right="yes"))
        store.annotate(Annotation("run1", 2, "ann", status=Status.DISCARDED))
        store.undo("run0", 2, "ann")
        until(lambda: len(receiver.got) == 2)
    assert [told["type"] for told in receiver.told] == ["annotation.submitted", "annotation.undone"]


def test_what_failed_is_tried_again_and_the_order_is_kept(store: Store):
    with listening(Receiver(answers=[500, 503, 429, 302])) as receiver, telling(store, receiver.url):
        for run in ("run0", "run1", "run2"):
            store.annotate(judged(run, verdict_right="yes"))
        until(lambda: len(receiver.got) == 7)
        time.sleep(0.3)
    runs = [told["data"]["trajectory_id"] for told in receiver.told]
    assert runs == ["run0"] * 5 + ["run1", "run2"]
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 3  # a second try is known by its id


def test_what_is_refused_for_good_does_not_hold_up_the_rest(store: Store):
    with listening(Receiver(answers=[400, 204])) as receiver, telling(store, receiver.url):
        store.annotate(judged("run0", verdict_right="yes"))
        store.annotate(judged("run1", verdict_right="yes"))
        until(lambda: len(receiver.got) == 2)
        time.sleep(0.3)
    assert [told["data"]["trajectory_id"] for told in receiver.told] == ["run0", "run1"]


def test_what_was_submitted_while_nobody_listened_is_told_later_once(store: Store):
    store.annotate(judged("run0", annotator="before", verdict_right="yes"))
    receiver = Receiver()
    with listening(receiver):
        port = int(receiver.url.rsplit(":", 1)[1])
        with telling(store, receiver.url):
            store.annotate(judged("run0", verdict_right="yes"))
            until(lambda: len(receiver.got) == 1)
    with telling(store, receiver.url):  # the other side is down
        store.annotate(judged("run1", verdict_right="yes"))
        time.sleep(0.3)
    store.annotate(judged("run2", verdict_right="yes"))  # nobody tells
    with listening(receiver, port), telling(store, receiver.url):
        until(lambda: len(receiver.got) == 3)
        time.sleep(0.3)
    assert [told["data"]["trajectory_id"] for told in receiver.told] == ["run0", "run1", "run2"]


@pytest.mark.parametrize("left", ["", "{", "[1]", '{"a": null}'])
def test_where_it_was_cannot_be_read_everything_is_told_rather_than_something_never(store: Store, left: str):
    with listening(Receiver()) as receiver:
        with telling(store, receiver.url):
            store.annotate(judged("run0", verdict_right="yes"))
            until(lambda: len(receiver.got) == 1)
        store.annotate(judged("run1", verdict_right="yes"))  # nobody tells
        (store.database.directory / FILE).write_text(left)
        with telling(store, receiver.url):
            until(lambda: len(receiver.got) == 3)
    assert [told["data"]["trajectory_id"] for told in receiver.told] == ["run0", "run0", "run1"]
    names = [headers["webhook-id"] for headers, _ in receiver.got]
    assert names[0] == names[1]  # so that who has had it can tell
    assert set(json.loads((store.database.directory / FILE).read_text()).values()) == {2}


def test_a_receiver_that_hangs_holds_up_no_submit(store: Store):
    with listening(Receiver(wait=threading.Event())) as receiver, telling(store, receiver.url):
        began = time.monotonic()
        for number in range(20):
            store.annotate(judged("run0", annotator=f"person {number}", verdict_right="yes"))
        took = time.monotonic() - began
        assert receiver.got == []  # it still holds the first
        receiver.wait.set()
        until(lambda: len(receiver.got) == 20)
    assert took < 20  # the receiver would have taken thirty seconds for each


def test_addresses_and_secrets_that_are_none_are_refused():
    for url, secret, told in (
        ("ftp://example.org", "s", "wanted an address"),
        ("file:///etc/passwd", "s", "wanted an address"),
        ("https://example.org", "", "no secret"),
        ("https://example.org", "whsec_%%%", "no base64"),
    ):
        with pytest.raises(ValueError, match=told):
            Webhook(url, secret)
    assert "topsecret" not in repr(Webhook("https://example.org", "topsecret"))


def test_what_a_reviewer_decides_is_told_as_a_decision(store: Store):
    store.create_project(replace(REFLECTIONS_PROJECT, id="team", name="Team", overlap=1, collects=False))
    [item] = store.add_items("team", [NewItem("run0")])
    with listening(Receiver()) as receiver, telling(store, receiver.url):
        store.annotate(Annotation("run0", 2, "ann", {"verdict_right": "yes"}, project="team"))
        decide(store, item, "rae", [Annotation("run0", 2, "rae", {"verdict_right": "no"}, project="team")])
        until(lambda: len(receiver.got) == 2)
    assert [told["type"] for told in receiver.told] == ["annotation.submitted", "annotation.decided"]
    assert receiver.told[1]["data"]["answers"] == {"verdict_right": "no"}


def test_a_running_studio_tells_of_a_vote_also_when_the_receiver_was_down(tiny_checkpoint: Path, tmp_path: Path):
    with open_store(tmp_path / "data") as store:
        for number in range(2):
            trajectory, pictures = aha(number, id=f"run{number}")
            store.save(trajectory, pictures, owner="ada")
        store.create_project(replace(ARENA, id="pairs", name="Pairs"))
        store.add_items("pairs", [NewItem("run0", "run1")])
    receiver = Receiver(answers=[503])
    with listening(receiver):
        hook = {"AHA_STUDIO_WEBHOOK": f"{receiver.url}/told", "AHA_STUDIO_WEBHOOK_SECRET": SECRET}
        server = Server(tmp_path / "data", tiny_checkpoint, tmp_path / "log", more=hook)
        try:
            server.start()
            with httpx2.Client(base_url=server.url, timeout=60) as client:
                page = Page(client, "arena")
                page.open()
                assert "run" not in str(page.shown.values())  # it is blind
                while "Nothing waits" not in page.value("arena-prompt"):
                    for name, value in (("arena-sheet", "left"), ("arena-words", None)):
                        page.shown[page.named(name)] = value  # as the page's script does
                    page.press("arena-answer")
            until(lambda: len(receiver.got) == 2)
        finally:
            server.stop()
    assert [headers["webhook-id"] for headers, _ in receiver.got] == [receiver.got[0][0]["webhook-id"]] * 2
    headers, body = receiver.got[-1]
    at = int(headers["webhook-timestamp"])
    assert headers["webhook-signature"] == signature(SECRET, headers["webhook-id"], at, body)
    told = json.loads(body)
    assert (told["type"], told["data"]["project"]) == ("annotation.submitted", "pairs")
    assert told["data"]["annotator"] != "me"
