"""The sweep tries what it is told to, on prompts outside the test, and makes the best setting the checkpoint's own."""

import shutil
from dataclasses import replace
from pathlib import Path

from commands import run

from model.decoding.load_for_inference import open_checkpoint
from model.evaluation.sweep import development_prompts, write_settings
from model.world.splits import GENEVAL, HARD, held_out, held_out_prompts


def test_nothing_is_chosen_on_test_prompts():
    chosen_on = development_prompts(98)
    assert not any(held_out(one) for one in chosen_on)
    pairs = {one for one in held_out_prompts(600, GENEVAL + HARD) if len(one.groups) > 1}
    assert pairs.isdisjoint(chosen_on)


def test_settings_written_into_a_checkpoint_are_what_it_draws_with(tiny_checkpoint: Path, tmp_path: Path):
    folder = tmp_path / "copy"
    shutil.copytree(tiny_checkpoint, folder)
    before = open_checkpoint(folder).sampling
    for changed in (
        {"guidance": 2.5, "temperature": 0.3, "text_temperature": 0.6},
        {"temperature": 0.0},
        {"temperature": 0.0, "text_temperature": 0.0},
    ):
        write_settings(folder, replace(before, **changed))
        assert open_checkpoint(folder).sampling == replace(before, **changed)


def test_the_command_tries_every_setting_and_writes_the_best(tiny_checkpoint: Path, tmp_path: Path):
    folder = tmp_path / "copy"
    shutil.copytree(tiny_checkpoint, folder)
    tried = ("--guidance", "1", "2", "--temperature", "0.5", "--text-temperature", "0.5")
    few = ("--prompts", "2", "--rounds", "1")
    done = run("model.evaluation.sweep", "--checkpoint", folder, *few, *tried, "--write")
    assert done.returncode == 0, done.stderr
    header, *tried, best = done.stdout.splitlines()
    assert [line.split()[:3] for line in tried] == [["1.00", "0.50", "0.50"], ["2.00", "0.50", "0.50"]]
    assert best == "best: guidance 1.0, codes 0.5, text 0.5"  # nothing is right: the calmer one
    assert open_checkpoint(folder).sampling.temperature == 0.5
