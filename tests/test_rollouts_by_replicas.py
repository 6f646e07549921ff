"""`python -m model.training.grpo --rollouts URL` as a whole run: the one of its own, whichever machines go away."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import commands
import httpx2
import pytest
from replica_server import serving
from running_app import ROOT, free_port

from model.backends.registry import open_backend

SPEED = ("seconds", "eta_seconds", "tokens_per_second")
SMALL = ("--steps", "3", "--prompts", "2", "--group", "2", "--rounds", "2", "--warmup", "1", "--save-every", "1")
UNGUARDED = ("--evaluate-prompts", "0")
PATIENCE = 120.0  # seconds


def run(checkpoint: Path | str, out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return commands.run("model.training.grpo", "--checkpoint", checkpoint, "--out", out, *SMALL, *UNGUARDED, *more)


def metrics(out: Path) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in out.with_suffix(".jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in SPEED} for row in rows]


def same(rows: list[dict[str, float]], others: list[dict[str, float]]) -> bool:
    """Up to the rounding of what is in a batch together."""
    return len(rows) == len(others) and all(a == pytest.approx(b, abs=1e-4) for a, b in zip(rows, others, strict=True))


def after_a_step(out: Path, act: Callable[[], None]) -> threading.Thread:
    """Do something once a run has logged its first step."""
    log, until = out.with_suffix(".jsonl"), time.monotonic() + PATIENCE

    def watch() -> None:
        while not (log.exists() and log.read_text()) and time.monotonic() < until:
            time.sleep(0.01)
        act()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def test_a_run_whose_machines_go_away_says_what_to_do_and_resumes_to_what_it_had_been_alone(tiny_checkpoint, tmp_path):
    assert run(tiny_checkpoint, tmp_path / "own").returncode == 0

    def open_tiny(source: str):
        return open_backend(source, dtype="float32")

    with serving(open_tiny, str(tiny_checkpoint)) as server:
        watching = after_a_step(tmp_path / "out", server.die)
        ended = run(tiny_checkpoint, tmp_path / "out", "--rollouts", server.url)
    watching.join()
    assert ended.returncode == 1 and "Traceback" not in ended.stderr
    told = ended.stderr.splitlines()[-1]
    assert told.startswith(f"grpo: {server.url} does not answer") and told.endswith(
        "go on from what was saved last with --resume"
    )
    with serving(open_tiny, str(tiny_checkpoint), port=server.port) as server:
        resumed = run(tiny_checkpoint, tmp_path / "out", "--rollouts", server.url, "--resume")
        assert resumed.returncode == 0, resumed.stderr

    assert same(metrics(tmp_path / "out"), metrics(tmp_path / "own"))


@pytest.mark.thorough
def test_one_of_two_replicas_on_ray_dies_and_the_run_goes_on_as_if_it_had_not(tmp_path: Path):
    assert run("sft", tmp_path / "own").returncode == 0
    url, log = f"http://127.0.0.1:{(port := free_port())}", tmp_path / "serving.log"
    command = ["-m", "model.serving", "--checkpoint", "sft", "--replicas", "2", "--port", str(port)]
    with log.open("w") as output:
        service = subprocess.Popen([sys.executable, *command], cwd=ROOT, stdout=output, stderr=output)
    try:
        while "Serving sft" not in log.read_text():
            assert service.poll() is None, log.read_text()
            time.sleep(0.2)
        killing = after_a_step(tmp_path / "out", lambda: kill_who_draws(url))
        ended = run("sft", tmp_path / "out", "--rollouts", url)
        killing.join()
        assert ended.returncode == 0, ended.stderr
        assert same(metrics(tmp_path / "out"), metrics(tmp_path / "own"))
    finally:
        service.send_signal(signal.SIGTERM)
    assert service.wait(PATIENCE) == 0, log.read_text()
    assert "Ending, after the drawings under way" in log.read_text()


def kill_who_draws(url: str) -> None:
    while True:
        busiest = max(httpx2.get(f"{url}/replicas", timeout=60).json(), key=lambda status: status["running"])
        if busiest["running"]:
            os.kill(busiest["pid"], signal.SIGKILL)
            return
