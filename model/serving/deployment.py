"""The Ray Serve deployment: replicas that each hold a backend, and the weights that all of them serve.

handle = serve.get_app_handle(APP)
handle.options(stream=True).events.remote({"prompt": "two red apples"})     # a generator of events as JSON values
handle.rollout.remote({"prompt": "two red apples", "seed": 1})              # as POST /rollout
handle.broadcast("status")                                                  # of every replica
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any

from ray import serve
from ray.serve.config import AutoscalingConfig, RequestRouterConfig
from ray.serve.handle import DeploymentHandle
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from model.backends.contract import ServingOptions
from model.backends.registry import open_backend
from model.serving.endpoints import respond
from model.serving.replica import Replica
from model.serving.rollout_row import rollout_row
from model.serving.weights import Update, Weights
from model.serving.wire import read_line

APP = "aha-studio"
DRAWING = "Drawing"
HEALTH_SECONDS = 5.0  # between two checks of a replica
UPDATE_SECONDS = 600.0  # that replicas may take for other weights
WAITING = 2  # requests that a replica takes, for each that it has room for: the rest waits in the proxies


@dataclass(frozen=True)
class ServingSettings:
    """One service."""

    checkpoint: str
    replicas: int = 1  # that there are, unless `most` says otherwise
    most: int = 0  # replicas at most: between `replicas` and these there are as many as are needed; 0: no more
    target: float = 4.0  # drawings under way that one replica should have, by which their number follows
    at_once: int = 16  # drawings that a replica makes at the same time, at most
    rounds: int = 4  # of a drawing, at most
    drain: float = 120.0  # seconds that a replica which is to go has for its drawings
    cpus: float = 1.0  # of a replica
    gpus: float = 0.0
    device: str | None = None
    dtype: str | None = None
    token: str = ""  # that every request has to bring; empty: none


class Drawing:
    """A replica as Ray Serve calls it."""

    async def __init__(self, settings: ServingSettings, weights: DeploymentHandle) -> None:
        self._token, self._weights = settings.token, weights
        self._source = settings.checkpoint  # that is open
        self._catching_up: asyncio.Future[int] | None = None
        opener = partial(open_backend, device=settings.device, dtype=settings.dtype)
        options = ServingOptions(settings.at_once, settings.rounds, threads=max(1, int(settings.cpus)))
        name = serve.get_replica_context().replica_id.unique_id
        self.replica = Replica(opener, settings.checkpoint, options, name=name)
        await self.refresh()  # a replica that is started late

    async def __call__(self, request: HttpRequest) -> Response:
        return await respond(self, request, self._token)

    async def events(self, row: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        async with aclosing(self.replica.lines(row)) as lines:
            async for chunk in lines:
                for line in chunk.decode().splitlines():
                    yield json.loads(line)

    async def rollout(self, row: dict[str, Any]) -> dict[str, Any]:
        row = {"preview_every": None, "log_probs": True} | row
        async with aclosing(self.replica.lines(row)) as lines:
            made = b"".join([chunk async for chunk in lines]).decode()
        return rollout_row(map(read_line, made.splitlines()))

    def status(self) -> dict[str, Any]:
        return self.replica.status()

    async def statuses(self) -> list[dict[str, Any]]:
        own = serve.get_deployment_handle(DRAWING, APP)
        statuses = await own.broadcast("status").results_async(return_exceptions=True)
        return [status for status in statuses if isinstance(status, dict)]

    async def publish(self, source: str, weights: bytes) -> dict[str, Any]:
        """Tried on this replica first, so that what does not fit is refused before the others hear of it."""
        tried = Update(self.replica.version + 1, source, weights)
        await self.replica.update(tried)
        self._source = source or self._source
        version = await self._weights.publish.remote(source, weights)
        own = serve.get_deployment_handle(DRAWING, APP)
        served = await own.broadcast("refresh").results_async(timeout_s=UPDATE_SECONDS, return_exceptions=True)
        return {"version": version, "replicas": sum(each == version for each in served)}

    async def refresh(self) -> int:
        """Serve what is to be served; the version that is served then."""
        update = await self._weights.after.remote(self.replica.version, self._source)
        if update is None:
            return self.replica.version
        served = await self.replica.update(update)
        self._source = update.source or self._source
        return served

    async def check_health(self) -> None:
        """Raises StuckError. A replica that missed an update catches up meanwhile."""
        self.replica.check_health()
        if self._catching_up is None or self._catching_up.done():
            self._catching_up = asyncio.ensure_future(self.refresh())


def application(settings: ServingSettings) -> serve.Application:
    """What `serve.run` runs."""
    environment = {"OMP_NUM_THREADS": str(max(1, int(settings.cpus)))}
    resources = {"num_cpus": settings.cpus, "num_gpus": settings.gpus, "runtime_env": {"env_vars": environment}}
    scale: dict[str, Any] = {"num_replicas": settings.replicas}
    if settings.most > settings.replicas:
        bounds = {"min_replicas": settings.replicas, "max_replicas": settings.most}
        scale = {"autoscaling_config": AutoscalingConfig(target_ongoing_requests=settings.target, **bounds)}
    drawing = serve.deployment(
        Drawing,
        name=DRAWING,
        max_ongoing_requests=WAITING * settings.at_once,
        graceful_shutdown_timeout_s=settings.drain,
        graceful_shutdown_wait_loop_s=0.5,
        health_check_period_s=HEALTH_SECONDS,
        ray_actor_options=resources,
        request_router_config=RequestRouterConfig(request_router_class="model.serving.routing.SessionRouter"),
        **scale,
    )
    weights = serve.deployment(Weights, num_replicas=1, ray_actor_options={"num_cpus": 0})
    return drawing.bind(settings, weights.bind())
