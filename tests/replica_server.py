"""One replica behind its HTTP endpoints, without Ray: what a service does, in a thread of the test's own process."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any

import uvicorn
from running_app import free_port
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from model.backends.contract import Backend, ServingOptions
from model.serving.endpoints import respond
from model.serving.replica import Replica
from model.serving.weights import Update


class SingleReplica:
    """A service of one replica."""

    def __init__(self, opener: Callable[[str], Backend], source: str) -> None:
        self.replica = Replica(opener, source, ServingOptions(8), name="only")

    async def statuses(self) -> list[dict[str, Any]]:
        return [self.replica.status()]

    async def publish(self, source: str, weights: bytes) -> dict[str, Any]:
        version = await self.replica.update(Update(self.replica.version + 1, source, weights))
        return {"version": version, "replicas": 1}


class ReplicaServer:
    """Where it listens, and how it dies."""

    def __init__(self, service: SingleReplica, token: str, port: int | None = None) -> None:
        async def endpoint(request: HttpRequest) -> Response:
            return await respond(service, request, token)

        self.service, self.port = service, port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        app = Starlette(routes=[Route("/{path:path}", endpoint, methods=["GET", "POST"])])
        config = uvicorn.Config(app, port=self.port, log_level="critical", lifespan="off")
        self._server = uvicorn.Server(config)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def _serve(self) -> None:
        self._loop.run_until_complete(self._server.serve())

    def start(self) -> None:
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)

    def die(self) -> None:
        """As a machine that is switched off: connections break where they are."""
        self._server.force_exit = self._server.should_exit = True

        def cut() -> None:
            for connection in list(self._server.server_state.connections):
                connection.transport.abort()

        self._loop.call_soon_threadsafe(cut)
        self._thread.join(10)
        for connection in list(self._server.server_state.connections):  # that came meanwhile, and nobody serves
            with suppress(OSError):  # it is closed
                connection.transport.get_extra_info("socket").shutdown(socket.SHUT_RDWR)

    def begin(self, coroutine: Any) -> Future[Any]:
        """Run something in the replica's event loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)


@contextmanager
def serving(
    opener: Callable[[str], Backend], source: str, token: str = "", port: int | None = None
) -> Iterator[ReplicaServer]:
    server = ReplicaServer(SingleReplica(opener, source), token, port)
    server.start()
    try:
        yield server
    finally:
        server.die()
