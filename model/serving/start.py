"""Starts the service, in a Ray of its own or in that of a cluster."""

from pathlib import Path

import ray
from ray import serve

from model.serving.deployment import APP, ServingSettings, application

OBJECT_STORE = 300_000_000  # bytes of shared memory where Ray is started here
ROOT = Path(__file__).parents[2]


def start(settings: ServingSettings, address: str | None, host: str, port: int) -> None:
    """In the Ray of `address`, or one of this process. Raises RuntimeError and ConnectionError."""
    options = {"address": address} if address else {"object_store_memory": OBJECT_STORE, "include_dashboard": False}
    ray.init(**options, log_to_driver=False, runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}})
    serve.start(http_options={"host": host, "port": port})
    serve.run(application(settings), name=APP, route_prefix="/")
