"""Starts the service, in a Ray of its own or in that of a cluster."""

import socket
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
    if not address:
        check_port(host, port)
    environment = {"log_to_driver": False, "runtime_env": {"env_vars": {"PYTHONPATH": str(ROOT)}}}
    if address:
        ray.init(address=address, **environment)
    else:
        start_ray(environment)
        check_room(settings, ray.cluster_resources())
    serve.start(http_options={"host": host, "port": port})
    try:
        serve.run(application(settings), name=APP, route_prefix="/")
    except RuntimeError as error:
        raise RuntimeError(f"{settings.checkpoint} is not served: {why_not_served() or error}") from error


def check_port(host: str, port: int) -> None:
    """Raises RuntimeError for an address at which this process cannot listen."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise RuntimeError(
                f"{host}:{port} cannot be listened at ({error.strerror}); give another --port"
            ) from error


def check_room(settings: ServingSettings, there: Mapping[str, float]) -> None:
    """Raises RuntimeError where this machine has not what its replicas ask for; Ray would wait for it for ever."""
    for name, each in (("CPU", settings.cpus), ("GPU", settings.gpus)):
        wanted, has = settings.replicas * each, there.get(name, 0.0)
        if wanted > has:
            raise RuntimeError(
                f"this machine has {has:g} {name}s; {settings.replicas} replicas of {each:g} need {wanted:g}: give "
                f"fewer --replicas, or less --{name.lower()}s to each"
            )


def why_not_served() -> str:
    """What a replica that did not start raised; empty where none did."""
    deployments = [each for app in serve.status().applications.values() for each in app.deployments.values()]
    told = [line.strip() for each in deployments for line in each.message.splitlines()]
    raised = [line for line in told if "Error: " in line]
    return raised[-1].partition("Error: ")[2] if raised else ""


def start_ray(environment: Mapping[str, Any]) -> None:
    """On this machine. Ray gives itself half a minute, which a busy machine may pass: then once more. Raises
    RuntimeError."""
    failure: object = None
    for _ in range(ATTEMPTS):
        try:
            options = {"object_store_memory": OBJECT_STORE, "include_dashboard": False, "_system_config": OWN}
            ray.init(**options, **environment)
            return
        except Exception as error:  # Ray raises no class of its own here
            ray.shutdown()
            failure = error
    raise RuntimeError(f"Ray does not start: {failure}")
