"""Serve a checkpoint on Ray Serve: `python -m model.serving --checkpoint embedded --replicas 2`

Starts Ray on this machine, or uses the cluster of `--address`, on whose machines this repository can be imported. Ends
with Ctrl-C, after the drawings under way. AHA_SERVING_TOKEN is a token that every request then has to bring.
"""

import argparse
import os
import signal
import sys
import time

import ray
from ray import serve

from model.backends.checkpoint.loading import DTYPES
from model.backends.registry import DEFAULT
from model.distributed.command_line import ending_in_a_line
from model.serving.deployment import APP, ServingSettings
from model.serving.start import start

LEAST = {"replicas": 1, "at_once": 1, "rounds": 1, "target": 0.1, "drain": 0, "cpus": 0, "gpus": 0}  # of a setting


def main() -> None:
    arguments = parser().parse_args()
    settings = settings_of(arguments, os.environ.get("AHA_SERVING_TOKEN", ""))
    if problem := problem_of(settings):
        sys.exit(f"serving: {problem}")
    with ending_in_a_line("serving", RuntimeError, ConnectionError, ray.exceptions.RayError):
        start(settings, arguments.address, arguments.host, arguments.port)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C; Ray has set its own meanwhile
    print(f"Serving {settings.checkpoint} at http://{arguments.host}:{arguments.port}", flush=True)
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        print("Ending, after the drawings under way …", flush=True)
        serve.delete(APP)
    finally:
        ray.shutdown()


def settings_of(arguments: argparse.Namespace, token: str) -> ServingSettings:
    names = ("checkpoint", "replicas", "target", "at_once", "rounds", "drain", "cpus", "gpus", "device", "dtype")
    return ServingSettings(
        **{name: getattr(arguments, name) for name in names}, most=arguments.max_replicas, token=token
    )


def problem_of(settings: ServingSettings) -> str:
    """What of the settings cannot be served, and what can; empty where all can."""
    for name, least in LEAST.items():
        if not getattr(settings, name) >= least:
            return f"got --{name.replace('_', '-')} {getattr(settings, name):g}, wanted {least:g} or more"
    if 0 < settings.most < settings.replicas:
        return f"got --max-replicas {settings.most}, wanted {settings.replicas} or more, as --replicas says, or 0"
    return ""


def parser() -> argparse.ArgumentParser:
    default = ServingSettings(DEFAULT)
    result = argparse.ArgumentParser(prog="python -m model.serving", description="Serve a checkpoint on Ray Serve.")
    result.add_argument("--checkpoint", default=DEFAULT, help="a folder, Hub id, shipped name or KIND:SOURCE")
    result.add_argument("--replicas", type=int, default=1, help="how many there are, at the least")
    result.add_argument("--max-replicas", type=int, default=0, help="how many at most (default: no more)")
    result.add_argument(
        "--target", type=float, default=default.target, help="drawings under way per replica that autoscaling aims at"
    )
    result.add_argument("--at-once", type=int, default=default.at_once, help="drawings that a replica makes at once")
    result.add_argument("--rounds", type=int, default=default.rounds, help="of a drawing at most")
    result.add_argument(
        "--drain", type=float, default=default.drain, help="seconds that a replica which goes has for its drawings"
    )
    result.add_argument("--cpus", type=float, default=default.cpus, help="of a replica")
    result.add_argument("--gpus", type=float, default=default.gpus, help="of a replica; 0.5: two share one")
    result.add_argument("--device", help="where it draws, as the studio's setting (default: the first GPU there is)")
    result.add_argument("--dtype", choices=DTYPES, help="(default: float32 on a CPU, bfloat16 elsewhere)")
    result.add_argument("--address", help="of a Ray cluster, such as auto (default: Ray is started here)")
    result.add_argument("--host", default="127.0.0.1", help="address that it listens on")
    result.add_argument("--port", type=int, default=8000)
    return result


if __name__ == "__main__":
    main()
