"""Starts the service, in a Ray of its own or in that of a cluster."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
from ray import serve

from model.serving.deployment import APP, ServingSettings, application

OBJECT_STORE = 300_000_000  # bytes of shared memory where Ray is started here
ATTEMPTS = 3  # to start Ray
OWN = {"worker_niceness": 0}  # replicas compute at the priority of their neighbours; Ray's default is the lowest
ROOT = Path(__file__).parents[2]


def start(settings: ServingSettings, address: str | None, host: str, port: int) -> None:
    """In the Ray of `address`, or one of this process. Raises RuntimeError and ConnectionError."""
    environment = {"log_to_driver": False, "runtime_env": {"env_vars": {"PYTHONPATH": str(ROOT)}}}
    if address:
        ray.init(address=address, **environment)
    else:
        start_ray(environment)
    serve.start(http_options={"host": host, "port": port})
    serve.run(application(settings), name=APP, route_prefix="/")


def start_ray(environment: Mapping[str, Any]) -> None:
    """On this machine. Ray gives itself half a minute, which a busy machine may pass: then once more. Raises
    RuntimeError."""
    told: object = None
    for _ in range(ATTEMPTS):
        try:
            options = {"object_store_memory": OBJECT_STORE, "include_dashboard": False, "_system_config": OWN}
            ray.init(**options, **environment)
            return
        except Exception as error:  # Ray raises no class of its own here
            ray.shutdown()
            told = error
    raise RuntimeError(f"Ray does not start: {told}")
