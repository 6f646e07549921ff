"""Somebody at a running studio, over HTTP only: who calls the handlers of its pages and its endpoints. For tests."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx2

from studio.components.render import data_url

API = "/gradio_api"
SHOWN = re.compile(r"(?:data:image/png;base64,|(?<=[\"'\[]))(iVBORw0KGgo[A-Za-z0-9+/=]+)")


@dataclass
class Answer:
    """What a handler has said: all of its stream, and whether it did what was asked."""

    said: str
    ok: bool

    @property
    def pictures(self) -> set[str]:
        """Those that are part of it, in base64."""
        return set(SHOWN.findall(self.said))

    @property
    def paths(self) -> list[str]:
        """Of files that it names."""
        return re.findall(r'"path": ?"([^"]+)"', self.said)


class Visitor:
    """Somebody at a running studio, who calls its handlers as its pages do."""

    def __init__(self, url: str) -> None:
        self.client = httpx2.Client(base_url=url, timeout=60, headers={"origin": url})
        self.asked: list[Callable[[], Answer]] = []  # all that it asked for, to ask for it again
        config = self.client.get("/config").json()
        self._pages = {name: set(page["dependencies"]) for name, page in config["page"].items()}
        self._handlers = [one for one in config["dependencies"] if one["backend_fn"]]
        self._defaults = {one["id"]: one["props"].get("value") for one in config["components"]}
        self._ids = {one["id"]: one["props"].get("elem_id") for one in config["components"]}
        self._types = {one["id"]: one["type"] for one in config["components"]}

    def ask(
        self,
        page: str,
        name: str,
        given: dict[str, Any] | None = None,
        *,
        event: Any = None,
        shows: str = "",
        session: str = "",
        **query: str,
    ) -> Answer:
        """Call a page's handler of that name; `given`: values by the type of the component, others are as they begin.

        Of several, the first that has an input of each type given, and an output of the id `shows`.
        """
        given, session = given or {}, session or uuid4().hex
        handler, *_ = [
            one
            for one in self._handlers
            if one["id"] in self._pages[page] and re.fullmatch(rf"{name}(_[0-9]+)?", one["api_name"] or "")
            and given.keys() <= {self._types[each] for each in one["inputs"]}
            and (not shows or shows in {self._ids[each] for each in one["outputs"]})
        ]  # fmt: skip
        data = [given.get(self._types[each], self._defaults[each]) for each in handler["inputs"]]
        body = {"data": data, "fn_index": handler["id"], "session_hash": session, "event_data": event}
        self.asked.append(lambda: self.heard(dict(body, session_hash=uuid4().hex), query))
        return self.heard(body, query)

    def heard(self, body: dict[str, Any], query: dict[str, str]) -> Answer:
        """Call a handler, and listen to the end."""
        session = body["session_hash"]
        assert self.client.post(f"{API}/queue/join", params=query, json=body).status_code == 200
        lines, last = [], {}
        with self.client.stream("GET", f"{API}/queue/data", params={"session_hash": session}) as stream:
            for line in stream.iter_lines():
                last = json.loads(line.removeprefix("data:")) if line.startswith("data:") else last
                lines.append(json.dumps(last))
                if last.get("msg") in ("process_completed", "unexpected_error", "close_stream"):
                    break
        return Answer("\n".join(lines), bool(last.get("success")))

    def call(self, endpoint: str, *given: Any) -> Answer:
        """An endpoint for programs."""
        return self.got("POST", f"{API}/run/{endpoint}", json={"data": given})

    def tool(self, name: str, **given: Any) -> Answer:
        """The same as a tool of MCP."""
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name, "arguments": given}}
        accepts = {"accept": "application/json, text/event-stream"}
        return self.got("POST", f"{API}/mcp/", json=body, headers=accepts)

    def got(self, method: str, path: str, **options: Any) -> Answer:
        """Anything else."""

        def get() -> Answer:
            answer = self.client.request(method, path, **options)
            shown = answer.headers.get("content-type") == "image/png"
            return Answer(data_url(answer.content) if shown else answer.text, answer.is_success)

        self.asked.append(get)
        return get()

    def upload(self, content: bytes, name: str) -> dict[str, Any]:
        [path] = self.client.post(f"{API}/upload", files={"files": (name, content)}).json()
        return {"path": path, "orig_name": name, "meta": {"_type": "gradio.FileData"}}

    def status(self, path: str) -> int:
        return self.client.get(f"{API}/file={path}").status_code

    def judge_many(self, *files: dict[str, Any]) -> Answer:
        return self.ask("image", "asked", {"file": list(files)})

    def delete(self, run: str, receipt: str) -> None:
        assert '"gone"' in self.ask("image", "forgotten", event={"run": run, "receipt": receipt}).said
