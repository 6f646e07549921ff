"""Gradio subclasses: role checks before handlers, bounded sessions, cheap page loads, middleware around it.

Knows Gradio 6 from within: what a session holds (`gradio.state_holder`), how a handler is called
(`Blocks.process_api`), and the application it serves (`gradio.routes.App`). No page.
"""

import copy
from collections import Counter, OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import gradio as gr
from anyio import to_thread
from gradio.blocks import BlocksConfig
from gradio.route_utils import FnIndexInferError
from gradio.routes import App, ORJSONResponse
from gradio.state_holder import SessionState, StateHolder
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from annotations.schema.project import Role
from studio.access import API, changes_nothing, role_for
from studio.http.bodies import refusal
from studio.http.request_errors import CheckedBlocks
from studio.inference.live_events import DRAW_QUEUE

CAPACITY = 1000  # sessions of visitors; the oldest are forgotten first
CAPACITY_KEPT = 2000  # of people who have signed in
AFTER_CLOSING = timedelta(minutes=10)  # a page that lost its connection may come back
UNUSED = timedelta(hours=12)
USUAL = {
    f"{API}/{path}" for path in ("run/{api_name}", "queue/join", "queue/data", "heartbeat/{session_hash}", "upload")
}
SIGNED_IN = "login_check"  # the name of Gradio's function
POLLS = 0.01  # seconds between two looks of Gradio's queue for new events
UNCHANGED = gr.skip()  # what stands for “as it is” among a handler's values


class Site(CheckedBlocks):
    """All pages; no handler is called for somebody who is not in the role that the table wants."""

    def __init__(self, may: Callable[[Any, Role], str | None] | None = None, **options: Any) -> None:
        """`may`: the refusal for somebody who is not in a role; None where they are."""
        super().__init__(**options)
        self._may = may

    def begin_page(self, title: str, path: str) -> None:
        """What follows is another page. As `route`, but within the context of all pages: leaving one makes Gradio's
        application anew, which takes 150 ms each time."""
        self.pages.append((path, title, True))
        self.current_page = path

    async def process_api(self, block_fn: Any, inputs: Any, *args: Any, **options: Any) -> dict[str, Any]:
        """As gr.Blocks, but that what happens when a page is closed gives nothing back. Raises gr.Error only."""
        if {event for _, event in getattr(block_fn, "targets", ())} == {"unload"}:
            await block_fn.fn(options["request"])
            return {"data": []}
        await self._check(block_fn, options)
        if not any(_has_files(block) for block in getattr(block_fn, "outputs", UNKNOWN)):
            options["root_path"] = None  # with one Gradio looks through all values for addresses of files
        return await super().process_api(block_fn, inputs, *args, **options)

    async def postprocess_data(self, block_fn: Any, predictions: Any, state: SessionState | None) -> list[Any]:
        """As gr.Blocks, for less: it makes a component anew for each value that changes nothing, and looks three times
        through all that is given to a gr.HTML for files, which are never there."""
        outputs = block_fn.outputs
        values = [predictions] if len(outputs) == 1 else predictions
        listed = isinstance(values, list | tuple) and len(values) == len(outputs)
        if not listed or block_fn.batch or block_fn.is_validator_function:
            return await super().postprocess_data(block_fn, predictions, state)
        made = {at: value for at, value in enumerate(values) if _is_ready(outputs[at], value)}
        if rest := [at for at in range(len(outputs)) if at not in made]:
            others = copy.copy(block_fn)
            others.outputs = [outputs[at] for at in rest]
            rest_values = values[rest[0]] if len(rest) == 1 else [values[at] for at in rest]
            made |= zip(rest, await super().postprocess_data(others, rest_values, state), strict=True)
        return [made[at] for at in range(len(outputs))]

    async def _check(self, block_fn: Any, options: dict[str, Any]) -> None:
        """Raises gr.Error where whoever asks is not in the role that the table wants."""
        if self._may is None or options.get("iterator") is not None or not hasattr(block_fn, "targets"):
            return
        role = role_for(block_fn)
        if role is Role.VISITOR and changes_nothing(block_fn):
            return
        if (told := await to_thread.run_sync(self._may, options.get("request"), role)) is not None:
            raise gr.Error(told, print_exception=False)


UNKNOWN = (gr.File,)  # outputs of a handler that is known by its number only


def _has_files(block: Any) -> bool:
    """Whether a component's values may name files; those with no model of their data are texts, numbers or JSON."""
    return getattr(block, "data_model", None) is not None


def _is_ready(block: Any, value: Any) -> bool:
    """Whether a value goes to the browser as it is."""
    if isinstance(value, dict) and value.get("__type__") == "update":
        return value == UNCHANGED
    return isinstance(block, gr.HTML) and isinstance(value, str | dict | list | None)


class Page(NamedTuple):
    """An open page, by its session."""

    address: str
    keep: bool


class SessionStates(StateHolder):
    """The state of each session, of so many at most. Those of people who have signed in make no room for visitors'."""

    def __init__(self) -> None:
        super().__init__()
        self._pages: OrderedDict[str, Page] = OrderedDict()
        self._addresses: Counter[str] = Counter()

    def has(self, session: str) -> bool:
        return session in self._pages

    def is_drawing(self, path: str, asked: dict[str, Any]) -> bool:
        """Whether a call is for what is drawn or judged by the network."""
        index, name = asked.get("fn_index"), path.rstrip("/").rpartition("/")[2]
        if isinstance(index, int):
            called = self.blocks.fns.get(index)
        else:
            called = next((fn for fn in self.blocks.fns.values() if fn.api_name == name), None)
        return called is not None and called.concurrency_id == DRAW_QUEUE["concurrency_id"]

    def any_of(self, address: str) -> bool:
        """Whether a page is open at an address, or was lately."""
        return self._addresses[address] > 0

    def opened(self, session: str, address: str, *, keep: bool) -> None:
        """Remember a page; `keep`: of somebody who has signed in. The oldest make room."""
        with self.lock:
            self._drop_page(session)
            self._pages[session] = Page(address, keep)
            self._addresses[address] += 1
            most = CAPACITY_KEPT if keep else CAPACITY
            alike = (
                [other for other, page in self._pages.items() if page.keep is keep] if len(self._pages) > most else []
            )
            over = alike[: max(0, len(alike) - most)]
        for other in over:
            self.forget(other)

    def __getitem__(self, session_id: str) -> SessionState:
        if session_id not in self.session_data:
            self.session_data[session_id] = SessionState(self.blocks)
        self.time_last_used[session_id] = datetime.now()
        return self.session_data[session_id]

    def update(self, session_id: str) -> None:
        """Nothing: `opened` makes room."""

    def forget(self, session: str) -> None:
        """A session is over."""
        with self.lock:
            self._drop_page(session)
            self.session_data.pop(session, None)
            self.time_last_used.pop(session, None)
            queue = self.blocks._queue
            if not queue.pending_event_ids_session.get(session):
                queue.pending_event_ids_session.pop(session, None)

    def delete_all_expired_state(self) -> None:
        """Called by Gradio every second."""
        now = datetime.now()
        for session, state in list(self.session_data.items()):
            age = now - self.time_last_used.get(session, now)
            if age > (AFTER_CLOSING if state.is_closed else UNUSED):
                self.forget(session)

    def _drop_page(self, session: str) -> None:
        if (page := self._pages.pop(session, None)) is not None:
            self._addresses[page.address] -= 1
            if self._addresses[page.address] <= 0:
                del self._addresses[page.address]


class Overlay(dict):
    """What a session has changed; what it has not is read from what all share."""

    def __init__(self, shared: dict[int, Any]) -> None:
        super().__init__()
        self._shared = shared

    def __missing__(self, key: int) -> Any:
        return self._shared[key]

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or key in self._shared

    def get(self, key: int, default: Any = None) -> Any:
        try:
            return self[key]
        except KeyError:
            return default


class SharedConfig(BlocksConfig):
    """The site's components and handlers, of which a session copies next to nothing."""

    def __init__(self, config: BlocksConfig) -> None:
        super().__init__(config.root_block)
        self.__dict__.update(config.__dict__)

    def __copy__(self) -> BlocksConfig:
        own = SessionConfig(self.root_block)
        own.blocks, own.fns = Overlay(self.blocks), dict(self.fns)
        own.fn_id, own.renderables = self.fn_id, list(self.renderables)
        return own


class SessionConfig(BlocksConfig):
    """Of one session. Gradio would keep each component's properties too, for links to a page as it stands."""

    @staticmethod
    def config_for_block(_id: int, rendered_ids: list[int], block: Any, renderable: Any = None) -> dict[str, Any]:
        """The configuration of a component that is rendered for one session; empty for others."""
        if renderable is None:
            return {}
        return BlocksConfig.config_for_block(_id, rendered_ids, block, renderable)


class StudioApp(App):
    """Gradio's application, with `around` outside all its middleware and bounded sessions."""

    def __init__(self, around: Callable[[ASGIApp, SessionStates], ASGIApp], **options: Any) -> None:
        super().__init__(default_response_class=ORJSONResponse, exception_handlers={Exception: _failed}, **options)
        self.state_holder = SessionStates()
        self._around = around

    def build_middleware_stack(self) -> ASGIApp:
        """Called once, before the first request."""
        for included in self.router.routes:
            if (router := getattr(included, "original_router", None)) is not None:
                self._quicken(router.routes)
        self.router.routes.sort(key=lambda route: not hasattr(route, "original_router"))
        return self._around(super().build_middleware_stack(), self.state_holder)

    def _quicken(self, routes: list[Any]) -> None:
        """Gradio's own: they are compared one after another, so the usual ones come first; and each asks in a thread
        whether somebody has signed in to Gradio, where nobody can."""
        routes.sort(key=lambda route: getattr(route, "path", "") not in USUAL)
        for route in routes if self.auth is None and self.auth_dependency is None else ():
            if hasattr(route, "dependencies"):
                asked = [
                    dependency
                    for dependency in route.dependencies
                    if getattr(dependency.dependency, "__name__", "") != SIGNED_IN
                ]
                route.dependencies = asked


async def _failed(_: Request, error: Exception) -> Response:
    """The response to a request whose handling failed; `ExceptionLog` logs it."""
    if isinstance(error, LookupError | ValueError | FnIndexInferError):
        return refusal(
            404, "There is no such endpoint, or what was sent to it does not fit. /gradio_api/info lists them."
        )
    return refusal(500, "Something went wrong in the studio; whoever runs it finds it in the log.")


def share_config(demo: gr.Blocks) -> None:
    """Let sessions share a finished site's configuration, and Gradio count nothing of what is asked, nor look for new
    events a thousand times a second."""
    demo.default_config = SharedConfig(demo.default_config)
    queue = demo._queue
    queue.sleep_when_free, queue.progress_update_sleep_when_free = POLLS, 10 * POLLS
    queue.ANALYTICS_MAX_EVENTS, queue.ANAYLTICS_CACHE_FREQUENCY = 1, 10**12
