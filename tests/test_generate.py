"""The command: files and events agree, prompts come from a file, mistakes are said in one line."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from commands import run

from model.backends.janus import Janus
from model.distributed.prompt_file import read_prompt_file
from model.events import fold, from_dict
from model.generate import parser, request
from model.training.world_data.world_prompts import read_prompts
from model.trajectory import Sampling, StopReason, Trajectory

ROOT = Path(__file__).parent.parent


def generate(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return run("model.generate", *arguments)


@pytest.fixture(scope="module")
def drawn(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory):
    """One run with --json: the lines it printed and the folder it wrote."""
    out = tmp_path_factory.mktemp("drawn")
    done = generate(
        "two red apples", "--seed", "0", "--rounds", "2", "--checkpoint", tiny_checkpoint, "--out", out, "--json"
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()], out


def test_the_printed_events_fold_to_the_written_trajectory(drawn):
    lines, out = drawn
    written = Trajectory.from_dict(json.loads((out / "trajectory.json").read_text("utf-8")))
    assert fold(map(from_dict, lines)) == written
    assert len(list(out.glob("image-*.png"))) == len(written.images)


def test_the_same_seed_twice_is_identical_but_for_id_times_and_previews(drawn, tiny_checkpoint: Path, tmp_path: Path):
    lines, out = drawn
    shutil.copytree(out, tmp_path, dirs_exist_ok=True)
    (tmp_path / "image-7.png").write_bytes(b"an earlier trajectory's")
    (tmp_path / "image-mine.png").write_bytes(b"a person's")
    again = generate(
        "two red apples", "--seed", "0", "--rounds", "2", "--checkpoint", tiny_checkpoint, "--out", tmp_path, "--json"
    )
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in out.iterdir()} | {"image-mine.png"}

    def lasting(rows: list[dict]) -> list[dict]:
        kept = [row for row in rows if row["event"] != "preview" or row["whole"]]
        changing = ("trajectory_id", "t_ms", "created_at")
        return [{key: value for key, value in row.items() if key not in changing} for row in kept]

    assert lasting([json.loads(line) for line in again.stdout.splitlines()]) == lasting(lines)


@pytest.mark.thorough
def test_it_draws_and_judges_the_same_without_the_world_s_referee(drawn, tiny_checkpoint: Path, tmp_path: Path):
    lines, _ = drawn
    code = (
        "import sys, runpy\n"
        "for name in ('verifier', 'reasons', 'defects'): sys.modules[f'model.world.{name}'] = None\n"
        "sys.argv = ['generate', 'two red apples', '--seed', '0', '--rounds', '2', "
        f"'--checkpoint', {str(tiny_checkpoint)!r}, '--out', {str(tmp_path)!r}]\n"
        "runpy.run_module('model.generate', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    written = Trajectory.from_dict(json.loads((tmp_path / "trajectory.json").read_text("utf-8")))
    assert written == fold(map(from_dict, lines))


def test_a_file_of_prompts_is_drawn_in_one_batch_into_a_folder_each(tiny_checkpoint: Path, tmp_path: Path):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a cat\n\na dog\nthree stars\n", "utf-8")
    done = generate(
        "--prompts", prompts, "--seed", "5", "--rounds", "1", "--checkpoint", tiny_checkpoint, "--out", tmp_path / "out"
    )
    assert done.returncode == 0, done.stderr
    assert "3 of 3" in done.stderr
    written = sorted((tmp_path / "out").glob("*/trajectory.json"))
    trajectories = [Trajectory.from_dict(json.loads(p.read_text("utf-8"))) for p in written]
    assert [(t.prompt, t.seed) for t in trajectories] == [("a cat", 5), ("a dog", 6), ("three stars", 7)]
    assert all(t.stop_reason in (StopReason.CONTENT, StopReason.ROUNDS) for t in trajectories)


def test_a_word_outside_the_world_is_said_and_drawn_all_the_same(tiny_checkpoint: Path, tmp_path: Path):
    done = generate("a photo of a politician", "--rounds", "1", "--checkpoint", tiny_checkpoint, "--out", tmp_path)
    assert done.returncode == 0
    assert "“politician” is not in the embedded world" in done.stderr
    assert (tmp_path / "trajectory.json").is_file()


def test_the_temperature_of_text_is_its_own_setting(tiny: Janus, monkeypatch: pytest.MonkeyPatch):
    def sampling(*arguments: str) -> Sampling:
        return request(tiny, "a cat", parser().parse_args(["a cat", *arguments])).sampling

    assert sampling() == tiny.sampling
    assert sampling("--text-temperature", "0") == replace(tiny.sampling, text_temperature=0.0)
    assert sampling("--temperature", "0.5") == replace(tiny.sampling, temperature=0.5)
    assert sampling("--published-contexts").published_contexts and not sampling("--no-official").published_contexts


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_prompts_are_the_lines_of_a_text_file_as_editors_write_it(tmp_path: Path, encoding: str, end: str):
    prompts = ["a red cat", "two\u2028blue\x0c dogs", "a tree"]
    (tmp_path / "prompts.txt").write_bytes(end.join([*prompts, "", "\u200b", ""]).encode(encoding))
    assert read_prompt_file(tmp_path / "prompts.txt") == prompts


@pytest.mark.parametrize(("content", "message"), [(b"caf\xe9", "no text in UTF-8"), (b"\n \n", "holds no prompt")])
def test_every_command_tells_of_a_file_without_prompts_in_a_line(tmp_path: Path, content: bytes, message: str):
    (tmp_path / "prompts.txt").write_bytes(content)
    for read in (read_prompt_file, read_prompts):
        with pytest.raises(ValueError, match=message):
            read(tmp_path / "prompts.txt")
    for command in ("model.generate", "model.evaluation.aha"):
        done = run(command, "--prompts", tmp_path / "prompts.txt")
        assert (done.returncode, "Traceback" in done.stderr) == (1, False) and message in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([""], "The prompt is empty"),
        (["a cat", "--text-temperature", "-1"], "The text temperature is -1.0; give a number from 0 to 1000"),
        (["cat " * 2500], "10,000 characters"),
        ([], "give either a prompt or --prompts FILE"),
        (["a cat", "--checkpoint", "nowhere/at/all"], "there is no checkpoint at nowhere/at/all"),
    ],
)
def test_a_mistake_is_one_line_and_a_failing_exit(tiny_checkpoint: Path, arguments: list[str], message: str):
    if "--checkpoint" not in arguments:
        arguments = [*arguments, "--checkpoint", str(tiny_checkpoint)]
    done = generate(*arguments)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
