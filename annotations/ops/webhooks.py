"""Webhooks of submits, decisions and undos: signed POSTs, retried until taken or refused for good.

Nothing waits for it: it reads the revisions that were added since the last one it delivered, and remembers that one in
the data folder. So a submit is never held up, and what was submitted while the other side, or the studio, was down is
told later, in order; at least once, and twice after a kill, under one id. Signed as https://www.standardwebhooks.com
says, so receivers can check it with any of its libraries. People appear under pseudonyms. Knows the store and HTTP.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import logging
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit

from annotations.errors import AnnotationsError
from annotations.schema.annotation import Annotation, Status
from annotations.store.revisions import after, newest
from annotations.store.store import Store
from model.atomic_files import write_whole

log = logging.getLogger(__name__)

FILE = "webhooks.json"  # the last revision that each address was told of
TIMEOUT = 10.0  # seconds that an answer may take
LONGEST_WAIT = 300.0  # seconds between two tries
AT_ONCE = 100  # revisions read in one go
TRY_AGAIN = (408, 425, 429)  # refusals that pass; other answers of 400 to 499 are final


class Type(StrEnum):
    """What a receiver is told."""

    SUBMITTED = "annotation.submitted"
    DECIDED = "annotation.decided"  # by a reviewer, where others disagree; stands beside their answers
    UNDONE = "annotation.undone"  # the data are what counts now


@dataclass(frozen=True)
class Webhook:
    """Whom to tell. The secret is text, or base64 behind `whsec_`. Raises ValueError for what is no address."""

    url: str
    secret: str = field(repr=False)

    def __post_init__(self) -> None:
        if urlsplit(self.url).scheme not in ("http", "https") or not urlsplit(self.url).hostname:
            raise ValueError(f"got the webhook {self.url!r}, wanted an address that begins with https:// or http://")
        if not self.secret:
            raise ValueError(f"the webhook {self.url} has no secret to sign with; give it one")
        _key(self.secret)


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


def keep_telling(store: Store, hook: Webhook, *, every: float = 2.0, first_wait: float = 1.0) -> Callable[[], None]:
    """Tell of what is submitted from now on, and of what an earlier run did not get to; returns what ends it.

    It looks every so many seconds. After a failure it waits `first_wait` seconds, then twice as long, and so on.
    """
    stop = threading.Event()
    told = _Told(store.database.directory / FILE, hook)
    with store.database.reading() as session:
        last = newest(session)
    if told.revision is None or told.revision > last:  # never told, or an older backup was restored
        told.remember(last)

    def work() -> None:
        while not stop.is_set():
            try:
                _tell_new(store, hook, told, stop, first_wait)
            except (AnnotationsError, OSError) as error:
                log.error("webhook %s: %s", hook.url, error)
            stop.wait(every)

    thread = threading.Thread(target=work, name="webhook", daemon=True)
    thread.start()

    def end() -> None:
        stop.set()
        thread.join(TIMEOUT + 1)

    return end


class _Told:
    """The last revision that one address was told of, on the disk."""

    def __init__(self, file: Path, hook: Webhook) -> None:
        self._file = file
        self._name = hashlib.sha256(hook.url.encode()).hexdigest()[:16]  # an address may hold a secret
        self.revision: int | None = self._all().get(self._name)

    def _all(self) -> dict[str, int]:
        """The revisions by address. Where the file cannot be read, all is told once more rather than anything never."""
        try:
            found = json.loads(self._file.read_text("utf-8"))
            if all(type(revision) is int for revision in found.values()):
                return found
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, AttributeError):
            pass
        log.error("webhook: %s cannot be read; everything is told once more, under the ids of before", self._file)
        return {self._name: 0}

    def remember(self, revision: int) -> None:
        self.revision = revision  # first: on a full disk nothing is told over and over
        write_whole(self._file, json.dumps(self._all() | {self._name: revision}))


def _tell_new(store: Store, hook: Webhook, told: _Told, stop: threading.Event, first_wait: float) -> None:
    while True:
        with store.database.reading() as session:
            revisions = after(session, told.revision or 0, AT_ONCE)
        if not revisions:
            return
        names = store.pseudonyms({revision.annotator for revision in revisions})
        for revision in revisions:
            kind = _type(revision)
            if kind is not None:
                body = _body(revision, kind, names[revision.annotator])
                if not _tell(hook, f"revision-{revision.id}", body, stop, first_wait):
                    return
            told.remember(revision.id)


def _type(revision: Annotation) -> Type | None:
    if revision.undoes is not None:
        return Type.UNDONE
    if revision.decision is not None:
        return Type.DECIDED
    return Type.SUBMITTED if revision.status is Status.SUBMITTED else None


def _body(revision: Annotation, kind: Type, annotator: str) -> bytes:
    data = revision.to_dict() | {"annotator": annotator}
    del data["key"]
    told: dict[str, Any] = {"type": kind, "timestamp": data["created_at"], "data": data}
    return json.dumps(told, ensure_ascii=False).encode()


def _tell(hook: Webhook, identity: str, body: bytes, stop: threading.Event, wait: float) -> bool:
    """Until it is taken, or refused for good; False when it was ended before."""
    while not stop.is_set():
        problem, final = _post(hook, identity, body)
        if problem is None:
            return True
        log.warning("webhook %s, %s: %s", urlsplit(hook.url).hostname, identity, problem)
        if final:
            return True
        stop.wait(wait)
        wait = min(2 * wait, LONGEST_WAIT)
    return False


def _post(hook: Webhook, identity: str, body: bytes) -> tuple[str | None, bool]:
    """(what went wrong, whether trying again is pointless)."""
    now = int(time.time())
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "aha-studio",
        "webhook-id": identity,
        "webhook-timestamp": str(now),
        "webhook-signature": signature(hook.secret, identity, now, body),
    }
    request = urllib.request.Request(hook.url, body, headers, method="POST")
    try:
        with _OPENER.open(request, timeout=TIMEOUT):
            return None, True
    except HTTPError as error:
        error.close()
        return f"answered {error.code}", 400 <= error.code < 500 and error.code not in TRY_AGAIN
    except (OSError, HTTPException) as error:
        return f"cannot be reached ({error})", False


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """What is signed for one address is not handed to another."""

    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirects)
