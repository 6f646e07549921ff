"""Benchmark of serving (two replicas, one killed, weights swapped): `python -m model.serving.benchmark`

Starts two replicas, with room for half of the visitors each, and lets these draw: at one replica (all of one session,
which stays there) and at both, each held to a core of its own, and at one that may use every core, in turn; while one
replica is killed; while weights of a Janus checkpoint are replaced. Ends with status 1 where a drawing was lost that
need not have been.
"""

import argparse
import json
import os
import signal
import statistics
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass

import httpx2
import psutil
import ray
from ray import serve

from model.backends.checkpoint.parameters import parameters_file
from model.backends.contract import GONE
from model.backends.janus import Janus
from model.backends.registry import DEFAULT, is_janus
from model.decoding.load_for_inference import open_checkpoint
from model.serving.deployment import ServingSettings
from model.serving.remote_backend import RemoteBackend, open_remote
from model.serving.start import start
from model.serving.visitors import Visit, Visitors

PATIENCE = 120.0  # seconds that a killed replica has to come back


@dataclass(frozen=True)
class Throughput:
    """Drawings a minute, of every repetition."""

    one: list[float]  # at one replica, on one core
    two: list[float]  # at both, on a core each
    one_free: list[float]  # at one replica, on every core

    @property
    def ratio(self) -> float:
        return statistics.median(self.two) / statistics.median(self.one)


@dataclass(frozen=True)
class Killed:
    """Visitors while a replica dies."""

    its: int  # visitors that it drew for
    told: int  # of these: heard that the machine is gone, with what was drawn kept
    again: int  # of these: drew again, and got their drawing
    others: int
    whole: int  # of the others: got their drawing
    silence: float  # seconds, the longest that one of the others waited for an event
    back: float  # seconds until there were as many replicas as before


@dataclass(frozen=True)
class Updated:
    """Visitors while weights are replaced."""

    visitors: int
    whole: int  # got their drawing
    seconds: float  # until every replica served the new weights
    replicas: int  # that did


def sessions(count: int, name: str) -> list[str]:
    return [f"{name} {number}" for number in range(count)]


def hold_to(pid: int, cores: Iterable[int]) -> None:
    """Let the threads of a process, and those that they start, run on these cores only."""
    for thread in psutil.Process(pid).threads():
        with suppress(ProcessLookupError):  # it has ended meanwhile
            os.sched_setaffinity(thread.id, cores)


def throughput(
    backend: RemoteBackend, url: str, visitors: int, drawings: int, repeats: int
) -> tuple[Throughput, list[Visit]]:
    """One replica on a core, both on a core each, and one on every core, in turn."""
    rates: dict[str, list[float]] = {"one": [], "two": [], "one_free": []}
    visits: list[Visit] = []
    pids, cores = [status["pid"] for status in replicas(url)], sorted(os.sched_getaffinity(0))
    Visitors(backend, rounds=1).come(["one"]).wait()  # from now on that session has its replica
    for turn in range(repeats):
        for name, made in rates.items():
            for number, pid in enumerate(pids):
                hold_to(pid, cores if name == "one_free" else [cores[number % len(cores)]])
            began = time.monotonic()
            asking = sessions(visitors, f"two {turn}") if name == "two" else ["one"] * visitors
            drawn = Visitors(backend).come(asking, drawings).wait()
            made.append(60 * sum(visit.whole for visit in drawn) / (time.monotonic() - began))
            visits += drawn
    return Throughput(**rates), visits


def kill_one(backend: RemoteBackend, url: str, visitors: int) -> Killed:
    """While all draw, the process of one replica is killed."""
    drawing = Visitors(backend).come(sessions(visitors, "killed"))
    for _ in range(visitors):
        drawing.begun.acquire()
    chosen = max(replicas(url), key=lambda status: status["running"])
    count = len(replicas(url))
    os.kill(chosen["pid"], signal.SIGKILL)
    began = time.monotonic()
    visits = drawing.wait()
    its = [visit for visit in visits if visit.failed]
    others = [visit for visit in visits if not visit.failed]
    informed = [visit for visit in its if visit.trajectory is not None and visit.trajectory.error == GONE]
    again = Visitors(backend).come([visit.session for visit in its]).wait()
    while len(replicas(url)) < count and time.monotonic() - began < PATIENCE:
        time.sleep(0.2)
    return Killed(
        its=len(its),
        told=len(informed),
        again=sum(visit.whole for visit in again),
        others=len(others),
        whole=sum(visit.whole for visit in others),
        silence=max((visit.silence for visit in others), default=0.0),
        back=time.monotonic() - began,
    )


def update(backend: RemoteBackend, url: str, visitors: int, weights: bytes) -> Updated:
    """While all draw, every replica gets weights."""
    drawing = Visitors(backend).come(sessions(visitors, "updated"), drawings=2)
    for _ in range(visitors):
        drawing.begun.acquire()
    before = {status["version"] for status in replicas(url)}
    began = time.monotonic()
    backend.load_weights(weights)
    seconds = time.monotonic() - began
    newest = [status for status in replicas(url) if status["version"] > max(before)]
    visits = drawing.wait()
    return Updated(len(visits), sum(visit.whole for visit in visits), seconds, len(newest))


def replicas(url: str) -> list[dict]:
    """Their status."""
    return httpx2.get(f"{url}/replicas", timeout=60).json()


def weights_of(source: str) -> bytes:
    """Those of a checkpoint, as a trainer would send them."""
    janus: Janus = open_checkpoint(source)
    janus.network.requires_grad_(requires_grad=True)
    return parameters_file(janus)


def table(rates: Throughput, visits: Sequence[Visit], killed: Killed, updated: Updated | None) -> str:
    """What was measured, for people."""
    one, two, free = (statistics.median(made) for made in (rates.one, rates.two, rates.one_free))
    rows = [
        ("drawings asked for", f"{len(visits)}"),
        ("  drawn to their end, events in order", f"{sum(visit.whole for visit in visits)}"),
        ("one replica, on one core", f"{one:.1f} drawings/min"),
        ("two replicas, on a core each", f"{two:.1f} drawings/min, {rates.ratio:.2f}×"),
        ("one replica, on every core", f"{free:.1f} drawings/min, {free / one:.2f}×"),
        ("a replica is killed: its visitors", f"{killed.its}"),
        ("  told so, with what was drawn kept", f"{killed.told}"),
        ("  drew again", f"{killed.again}"),
        ("  the others", f"{killed.others}"),
        ("  of these drawn to their end", f"{killed.whole}, longest silence {killed.silence:.1f} s"),
        ("  until it was replaced", f"{killed.back:.0f} s"),
    ]
    if updated is not None:
        rows += [
            ("weights are replaced: drawings", f"{updated.visitors}"),
            ("  drawn to their end", f"{updated.whole}"),
            ("  until all replicas had them", f"{updated.seconds:.1f} s, {updated.replicas} replicas"),
        ]
    return "\n".join(f"    {name:<42}{value}" for name, value in rows)


def is_fine(visits: Sequence[Visit], killed: Killed, updated: Updated | None) -> bool:
    """Whether nothing was lost that need not have been."""
    served = all(visit.whole for visit in visits) and (updated is None or updated.whole == updated.visitors)
    return served and killed.its == killed.told == killed.again and killed.whole == killed.others


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m model.serving.benchmark", description=__doc__.split(":")[0])
    parser.add_argument("--checkpoint", default=DEFAULT, help="what draws (default: embedded)")
    parser.add_argument("--visitors", type=int, default=16)
    parser.add_argument("--drawings", type=int, default=4, help="of each visitor")
    parser.add_argument("--repeats", type=int, default=3, help="of the throughput")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--json", action="store_true", help="print figures as JSON")
    arguments = parser.parse_args()
    settings = ServingSettings(arguments.checkpoint, replicas=2, at_once=max(1, arguments.visitors // 2))
    url = f"http://127.0.0.1:{arguments.port}"
    start(settings, None, "127.0.0.1", arguments.port)
    try:
        backend = open_remote(url)
        load = os.getloadavg()[0]
        rates, visits = throughput(backend, url, arguments.visitors, arguments.drawings, arguments.repeats)
        killed = kill_one(backend, url, arguments.visitors)
        weights = weights_of(arguments.checkpoint) if is_janus(arguments.checkpoint) else None
        updated = update(backend, url, arguments.visitors, weights) if weights else None
    finally:
        serve.shutdown()
        ray.shutdown()
    if arguments.json:
        figures = {
            "throughput": asdict(rates),
            "killed": asdict(killed),
            "updated": updated and asdict(updated),
            "load": load,
        }
        print(json.dumps(figures))
    else:
        print(f"{arguments.visitors} visitors, {os.cpu_count()} cores, load {load:.1f} before it began")
        print(table(rates, visits, killed, updated))
    sys.exit(0 if is_fine(visits, killed, updated) else 1)


if __name__ == "__main__":
    main()
