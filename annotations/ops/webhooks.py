"""Webhooks of submits, decisions and undos: signed POSTs, retried until accepted or refused for good.

A submit does not wait for them: a background thread reads the revisions that follow the last delivered one, whose id is
stored in the data folder, or with PostgreSQL in the database, where one of all studios delivers. Revisions made while
the receiver or the studio was down are delivered later, in order; at least once, and a second time after a kill, with
the same `webhook-id`. Signed by https://www.standardwebhooks.com, so receivers can verify with any of its libraries.
People appear under pseudonyms. Knows the store and HTTP.
"""

import base64
import binascii
import hashlib
import hmac
import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

import httpx2
from sqlalchemy import select

from annotations.db.engine import Database
from annotations.db.locks import in_one_process
from annotations.db.tables import PropertyRow
from annotations.processes.periodic import run_periodically
from annotations.schema.annotation import Annotation, Status
from annotations.store.revisions import after, newest
from annotations.store.store import Store
from model.atomic_files import write_whole

log = logging.getLogger(__name__)

FILE = "webhooks.json"  # the id of the last delivered revision, by address
TIMEOUT = 10.0  # seconds to connect, to send, and to wait for a response
MAX_WAIT = 300.0  # seconds between two attempts
PAGE_SIZE = 100  # revisions read at once
RETRIED = (408, 425, 429)  # client errors that pass; all others of 400 to 499 are final


class Type(StrEnum):
    """Event types."""

    SUBMITTED = "annotation.submitted"
    DECIDED = "annotation.decided"  # by a reviewer, where others disagree; beside their answers
    UNDONE = "annotation.undone"  # the data are the revision that counts now


@dataclass(frozen=True)
class Webhook:
    """A receiver. The secret is text, or base64 after `whsec_`. Raises ValueError for an invalid address or secret."""

    url: str
    secret: str = field(repr=False)

    def __post_init__(self) -> None:
        if not self.host:
            raise ValueError(f"got the webhook {self.url!r}, wanted an address that begins with https:// or http://")
        if not self.secret:
            raise ValueError(f"the webhook {self.url} has no secret to sign with; give it one")
        _key(self.secret)

    @property
    def host(self) -> str:
        """The host of a http or https address, else empty."""
        try:
            url = httpx2.URL(self.url)
        except httpx2.InvalidURL:
            return ""
        return url.host if url.scheme in ("http", "https") else ""


def signature(secret: str, identity: str, timestamp: int, body: bytes) -> str:
    """The header `webhook-signature`."""
    signed = f"{identity}.{timestamp}.".encode() + body
    return f"v1,{base64.b64encode(hmac.digest(_key(secret), signed, 'sha256')).decode()}"


def _key(secret: str) -> bytes:
    if not secret.startswith("whsec_"):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error as error:
        raise ValueError("the secret of a webhook begins with whsec_, but is no base64 after it") from error


def start_deliveries(
    store: Store, webhook: Webhook, *, every: float = 2.0, first_wait: float = 1.0
) -> Callable[[], None]:
    """Deliver new revisions, and those that an earlier run left undelivered, in a thread; returns what ends it.

    New revisions are looked for `every` seconds. A failed delivery is retried after `first_wait` seconds, and after
    twice the last wait from then on, up to `MAX_WAIT`.
    """
    stop = threading.Event()
    delivery = _Delivery(store, webhook, stop, first_wait)
    deliver = in_one_process(store.database.url, f"webhook {webhook.url}", delivery.deliver_new)
    thread = run_periodically(deliver, timedelta(seconds=every), f"webhook {webhook.host}", stop=stop)

    def end() -> None:
        stop.set()
        thread.join(TIMEOUT + 1)

    return end


class _FilePosition:
    """The last revision delivered to one address, stored on disk."""

    def __init__(self, file: Path, name: str) -> None:
        self._file, self._name = file, name
        self._revision: int | None = self._stored().get(name)

    def revision(self) -> int | None:
        return self._revision

    def _stored(self) -> dict[str, int]:
        """Revisions by address. Where the file is unreadable, 0: all is delivered again rather than anything never."""
        try:
            revisions = json.loads(self._file.read_text("utf-8"))
            if all(type(revision) is int for revision in revisions.values()):
                return revisions
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, AttributeError):
            pass
        log.error("webhook: %s is unreadable; every revision is delivered again, with the same ids", self._file)
        return {self._name: 0}

    def advance(self, revision: int) -> None:
        self._revision = revision  # first: on a full disk no revision is delivered over and over
        write_whole(self._file, json.dumps(self._stored() | {self._name: revision}))


class _ServerPosition:
    """The same for all studios of a PostgreSQL database."""

    def __init__(self, database: Database, name: str) -> None:
        self._database, self._name = database, f"webhook {name}"

    def revision(self) -> int | None:
        with self._database.reading() as session:
            value = session.scalar(select(PropertyRow.value).where(PropertyRow.name == self._name))
            return None if value is None else int(value)

    def advance(self, revision: int) -> None:
        with self._database.writing() as session:
            session.merge(PropertyRow(name=self._name, value=str(revision)))


class _Delivery:
    """Deliveries to one receiver, in the order of the revisions."""

    def __init__(self, store: Store, webhook: Webhook, stop: threading.Event, first_wait: float) -> None:
        self._store, self._webhook, self._stop, self._first_wait = store, webhook, stop, first_wait
        database = store.database
        name = hashlib.sha256(webhook.url.encode()).hexdigest()[:16]  # an address may contain a secret
        local = _FilePosition(database.directory / FILE, name)
        self._position = local if database.url is None else _ServerPosition(database, name)
        with database.reading() as session:
            last = newest(session)
        position = self._position.revision()
        if position is None:
            position = local.revision()  # of a version that kept it in a file only
        if position is None or position > last:  # a new receiver, or a restored backup
            position = last
        if position != self._position.revision():
            self._position.advance(position)

    def deliver_new(self) -> None:
        """Everything after the last delivered revision. Raises OSError and AnnotationsError."""
        while True:
            position = self._position.revision() or 0
            with self._store.database.reading() as session:
                revisions = after(session, position, PAGE_SIZE)
            if not revisions:
                return
            names = self._store.pseudonyms({revision.annotator for revision in revisions})
            for revision in revisions:
                event = _type(revision)
                if event is not None:
                    body = _body(revision, event, names[revision.annotator])
                    if not self._deliver(f"revision-{revision.id}", body):
                        return
                self._position.advance(revision.id)

    def _deliver(self, identity: str, body: bytes) -> bool:
        """Attempts until one is accepted or refused for good; False when stopped before."""
        wait = self._first_wait
        while not self._stop.is_set():
            problem, final = self._post(identity, body)
            if problem is None:
                return True
            log.warning("webhook %s, %s: %s", self._webhook.host, identity, problem)
            if final:
                return True
            self._stop.wait(wait)
            wait = min(2 * wait, MAX_WAIT)
        return False

    def _post(self, identity: str, body: bytes) -> tuple[str | None, bool]:
        """One attempt: (problem, whether further attempts are pointless).

        A redirect is a problem: what is signed for one address is not sent to another. The response's body is not read.
        """
        now = int(time.time())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "aha-studio",
            "webhook-id": identity,
            "webhook-timestamp": str(now),
            "webhook-signature": signature(self._webhook.secret, identity, now, body),
        }
        try:
            with httpx2.stream("POST", self._webhook.url, content=body, headers=headers, timeout=TIMEOUT) as response:
                status = response.status_code
        except (httpx2.HTTPError, OSError, ValueError) as error:  # ValueError: of a proxy that the environment names
            return f"cannot be reached ({error})", False
        if status < 300:
            return None, True
        return f"answered {status}", 400 <= status < 500 and status not in RETRIED


def _type(revision: Annotation) -> Type | None:
    if revision.undoes is not None:
        return Type.UNDONE
    if revision.decision is not None:
        return Type.DECIDED
    return Type.SUBMITTED if revision.status is Status.SUBMITTED else None


def _body(revision: Annotation, event: Type, annotator: str) -> bytes:
    data = revision.to_dict() | {"annotator": annotator}
    del data["key"]
    payload: dict[str, Any] = {"type": event, "timestamp": data["created_at"], "data": data}
    return json.dumps(payload, ensure_ascii=False).encode()
