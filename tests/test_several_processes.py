"""Work over a list of prompts in several processes: each its share, the same result, and nothing twice after a kill."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import preloaded
import pytest
from commands import run
from running_app import free_port

from model.backends.janus import Janus
from model.decoding.janus_backend import JanusBackend
from model.distributed.append_log import AppendLog, RecordError
from model.distributed.processes import ALONE, Processes
from model.evaluation.figures import drawing_requests
from model.evaluation.recorded import RecordedRollouts, judge_recorded
from model.trajectory import Trajectory
from model.world.language import parse

ENVIRONMENT = dict(os.environ) | {"ACCELERATE_USE_CPU": "true", "PYTHONPATH": str(Path(__file__).parent.parent)}
PROMPTS = ("a cat", "two dogs", "three stars", "a red key", "a moon")
KILLED = """
import os, signal, runpy, sys
import model.generate
from model.generate import save
made = []
def save_or_die(trajectory, pictures, folder):
    if os.environ["RANK"] == "1" and len(made) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    made.append(folder)
    save(trajectory, pictures, folder)
model.generate.save = save_or_die
sys.argv[0] = "generate"
model.generate.main()
"""

Launcher = Callable[..., CompletedProcess[str]]


def by_two_forks(*command: str | Path) -> CompletedProcess[str]:
    return preloaded.run_as_torchrun(2, free_port(), *command, environment=ENVIRONMENT)


def by_accelerate(*command: str | Path) -> CompletedProcess[str]:
    launcher = ("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1")
    port = ("--main_process_port", str(free_port()), "--mixed_precision", "no", "--dynamo_backend", "no")
    module = [*command[1:]] if command[0] == "-m" else command
    return preloaded.run(*launcher, *port, "-m", *module, environment=ENVIRONMENT)


def trajectories(folder: Path) -> dict[str, Trajectory]:
    """By folder."""
    files = sorted(folder.glob("*/trajectory.json"))
    return {file.parent.name: Trajectory.from_dict(json.loads(file.read_text("utf-8"))) for file in files}


def shown(made: dict[str, Trajectory]) -> list[tuple]:
    """What a person sees of each: probabilities differ in the last place by what is drawn beside it."""
    return [
        (name, each.prompt, each.seed, [getattr(s, "sha256", None) or s.text for s in each.segments])
        for name, each in made.items()
    ]


def test_two_processes_draw_what_one_draws_and_make_up_for_one_that_was_killed(
    tiny_checkpoint: Path, tmp_path: Path, thorough: bool
):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("\n".join(PROMPTS), "utf-8")
    options = ("--prompts", prompts, "--rounds", "1", "--checkpoint", tiny_checkpoint, "--batch", "1", "--out")
    alone = run("model.generate", *options, tmp_path / "one")
    assert alone.returncode == 0, alone.stderr
    killed = by_two_forks("-c", KILLED, *options, tmp_path / "two")
    before = trajectories(tmp_path / "two")
    assert killed.returncode != 0 and len(before) == 4  # three of the first process, one of the other
    again = (by_accelerate if thorough else by_two_forks)(
        "-m", "model.generate", *options, tmp_path / "two", "--resume"
    )
    assert again.returncode == 0, again.stderr
    after = trajectories(tmp_path / "two")
    assert shown(after) == shown(trajectories(tmp_path / "one")) and len(after) == len(PROMPTS)
    assert {name: after[name].id for name in before} == {name: each.id for name, each in before.items()}


def test_shares_are_all_of_it_and_nothing_twice():
    items = list(range(11))
    shares = [Processes(index, 3).share(items) for index in range(3)]
    assert sorted(sum(shares, [])) == items and ALONE.share(items) == items and ALONE.is_first


def test_an_evaluation_is_shared_by_its_record(tiny: Janus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Processes, "wait", lambda processes: None)
    backend, descriptions = JanusBackend(tiny), [parse(prompt) for prompt in PROMPTS[:3]]
    requests = drawing_requests(descriptions, backend.sampling, 1, 0)

    def judged(process: Processes) -> list:
        recorded = RecordedRollouts(tmp_path / f"{process.count}" / "tiny.jsonl", "tiny", process)
        return judge_recorded(backend, requests, descriptions, 1, recorded)

    with pytest.raises(RecordError, match="2 of 3 rollouts were not recorded by another process"):
        judged(Processes(1, 2))
    together, alone = judged(Processes(0, 2)), judged(ALONE)
    assert [each.readings for each in together] == [each.readings for each in alone]
    assert [len(file.read_text().splitlines()) for file in sorted((tmp_path / "2").iterdir())] == [1, 2]


def test_a_log_of_several_processes_has_every_key_once(tmp_path: Path):
    file = tmp_path / "a log.jsonl"
    with AppendLog(file) as first, AppendLog(file, 1) as second:
        first.add("a", {"value": 1})
        second.add("a", {"value": 2})
        second.add("b", {"value": "ü"})
        first.reread()
        assert (len(first), first.find("a"), first.find("b")["value"]) == (2, {"key": "a", "value": 1}, "ü")
        first.sync()
    (tmp_path / "a log.1.jsonl").write_bytes((tmp_path / "a log.1.jsonl").read_bytes()[:-3])
    with AppendLog(file, 1) as second:
        assert list(second) == ["a"]
        second.add("b", {"value": 3})
    assert AppendLog(file).find("b") == {"key": "b", "value": 3}
