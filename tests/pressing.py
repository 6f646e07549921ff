"""A page as a browser has it, over HTTP only: opened, its buttons pressed, what it shows kept. For tests."""

import json
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx2


@dataclass
class Page:
    """One open page of a running studio; `path` is its address without the slash."""

    client: httpx2.Client
    path: str
    session: str = field(default_factory=lambda: uuid4().hex)

    def __post_init__(self) -> None:
        config = self.client.get("/config").raise_for_status().json()
        mine = config["page"][self.path]
        self._components = {one["id"]: one for one in config["components"] if one["id"] in mine["components"]}
        self._asked = [one for one in config["dependencies"] if one["id"] in mine["dependencies"]]
        self.shown = {id: one["props"].get("value") for id, one in self._components.items()}

    def open(self, query: str = "") -> None:
        """What the browser asks for as soon as the page is there."""
        for asked in self._asked:
            if any(event == "load" for _, event in asked["targets"]):
                self._ask(asked, None, query)

    def press(self, button: str) -> None:
        """Press a button by its elem_id."""
        id = self.named(button)
        [asked] = [one for one in self._asked if [id, "click"] in [list(target) for target in one["targets"]]]
        self._ask(asked, id)

    def value(self, name: str) -> Any:
        return self.shown[self.named(name)]

    def named(self, name: str) -> int:
        [id] = [id for id, one in self._components.items() if one["props"].get("elem_id") == name]
        return id

    def tick(self) -> None:
        """What a timer asks for, without waiting for it."""
        for asked in self._asked:
            if any(event == "tick" for _, event in asked["targets"]):
                self._ask(asked, None)

    def _ask(self, asked: dict, trigger: int | None, query: str = "") -> None:
        data = [None if self._components[id]["type"] == "state" else self.shown[id] for id in asked["inputs"]]
        sent = {"data": data, "fn_index": asked["id"], "session_hash": self.session, "trigger_id": trigger}
        joined = self.client.post(f"/gradio_api/queue/join?__theme=light&{query}", json=sent)
        joined.raise_for_status()
        with self.client.stream("GET", "/gradio_api/queue/data", params={"session_hash": self.session}) as stream:
            for line in stream.iter_lines():
                message = json.loads(line.removeprefix("data:")) if line.startswith("data:") else {}
                if message.get("msg") == "process_completed":
                    break
        assert message.get("success"), f"{asked['id']} of {self.path} said: {message}"
        for id, value in zip(asked["outputs"], message["output"]["data"], strict=True):
            if not (isinstance(value, dict) and value.get("__type__") == "update"):
                self.shown[id] = value
            elif "value" in value:
                self.shown[id] = value["value"]
