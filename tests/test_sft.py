"""Supervised fine-tuning: what is a target, what is seen, what a step does, and that a run goes on where it stood."""

import contextlib
import json
import random
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from PIL import Image as Picture

from model.backends.checkpoint import open_checkpoint
from model.backends.checkpoint_folder import PROVENANCE
from model.backends.janus import PIXEL, Janus
from model.examples import JudgeExample
from model.images import encode_png
from model.sequences import Codes, Text
from model.templates import CHECK, EOS
from model.training.batch import IGNORE, collate, losses
from model.training.dataset import DataError, lesson_of, read_lessons
from model.training.embedded.mixtures import MIXES
from model.training.embedded.world_sequences import world_lessons
from model.training.optimization import new_optimizers, trainable
from model.training.schedule import learning_rate_factor
from model.training.sft import Settings, train, train_step
from model.training.training_sequences import Draft, TrainingSequence, draw, drop_condition, judge
from model.world.scene import random_scene, render

ROOT = Path(__file__).parent.parent
PICTURE = render(random_scene(random.Random(0), 3))


def targets(janus: Janus, lesson: TrainingSequence) -> tuple[str, list[int]]:
    """What a lesson asks for: its text and its image codes."""
    batch = collate([lesson], janus.image_codes)
    text = batch.text_labels[batch.text_labels != IGNORE].tolist()
    return janus.tokenizer.decode(text), batch.code_labels[batch.code_labels != IGNORE].tolist()


def test_a_judge_lesson_asks_for_verdict_reason_and_end_of_turn_only(tiny: Janus):
    lesson = judge(tiny, "a cat", [Draft("No, there is no cat.", image=PICTURE)], PICTURE, "Yes, I see a cat.")
    assert targets(tiny, lesson) == (f"Yes, I see a cat.{EOS}", [])


def test_a_drawing_lesson_asks_for_the_thought_and_the_image_but_not_for_earlier_ones(tiny: Janus):
    draft = Draft("No, there is no cat.", codes=(9,) * 64)
    text, codes = targets(tiny, draw(tiny, "a cat", [draft], " red cat at 1 1", range(64)))
    assert text == " red cat at 1 1<begin_of_image>"
    assert codes == list(range(64))
    text, codes = targets(tiny, draw(tiny, "a cat", [draft], None, range(64)))
    assert (text, codes) == ("", list(range(64)))
    text, codes = targets(tiny, draw(tiny, "a cat", [], " red dog at 1 1", range(64), given=True))
    assert (text, codes) == ("", list(range(64)))


def test_what_was_said_of_earlier_images_is_asked_for_where_it_is_true(tiny: Janus):
    drafts = [Draft("No, there is no cat.", image=PICTURE, target=True)]
    lesson = judge(tiny, "a cat", drafts, PICTURE, "Yes, I see a cat.")
    assert targets(tiny, lesson) == (f"No, there is no cat.Yes, I see a cat.{EOS}", [])


def test_labels_stand_one_position_before_what_they_name(tiny: Janus):
    batch = collate([draw(tiny, "a cat", [], None, range(64))], tiny.image_codes)
    at = (batch.code_labels[0] != IGNORE).nonzero().flatten()
    assert torch.equal(batch.ids[0, at + 1], batch.code_labels[0, at])


def test_the_loss_of_a_lesson_does_not_depend_on_its_neighbours(tiny: Janus):
    stream = world_lessons(tiny, random.Random(1), MIXES["all"])
    lessons = [lesson for _, lesson in (next(stream) for _ in range(6))]

    def total(chosen: list[TrainingSequence]) -> float:
        batch = collate(chosen, tiny.image_codes)
        with torch.inference_mode():
            found = losses(tiny, batch)
        return (found.codes + found.text + found.verdict + found.notes + found.hand_notes).item()

    assert total(lessons) == pytest.approx(sum(total([lesson]) for lesson in lessons), rel=1e-5)


def test_dropping_the_condition_hides_the_user_s_words_and_the_thought_and_keeps_lengths(tiny: Janus):
    lesson = draw(tiny, "a cat", [], " red cat at 1 1", range(64))
    dropped = drop_condition(lesson, tiny.ids.pad, random.Random(0), 1.0)
    hidden = [p for p in dropped.pieces if isinstance(p, Text) and p.hideable]
    assert all(set(p.ids) == {tiny.ids.pad} and not p.target for p in hidden)
    assert [len(getattr(p, "ids", ())) for p in dropped.pieces] == [len(getattr(p, "ids", ())) for p in lesson.pieces]
    assert dropped.pieces[-1] == Codes(tuple(range(64)), target=True)


def world_batch(janus: Janus, count: int) -> list[TrainingSequence]:
    stream = world_lessons(janus, random.Random(0), MIXES["all"])
    return [lesson for _, lesson in (next(stream) for _ in range(count))]


def test_micro_batches_add_up_to_the_gradient_of_the_whole(tiny_checkpoint: Path):
    def steps(parts: int) -> list[torch.Tensor]:
        """How every parameter moves in one plain step of length 1."""
        janus = open_checkpoint(tiny_checkpoint, dtype=torch.float32)
        parameters = trainable(janus)
        before = [p.detach().clone() for p in parameters]
        settings, optimizer = Settings(micro_batches=parts, clip=1e9), torch.optim.SGD(parameters, lr=1.0)
        train_step(janus, world_batch(janus, 9), settings, Accelerator(), [optimizer], parameters)
        return [p.detach() - old for p, old in zip(parameters, before, strict=True)]

    whole, parts = steps(1), steps(3)
    assert sum(step.abs().sum() for step in whole) > 0
    for one, other in zip(whole, parts, strict=True):
        assert torch.allclose(one, other, atol=2e-5)


def test_codec_and_eye_are_left_as_they_are(tiny_checkpoint: Path, tmp_path: Path):
    fresh = open_checkpoint(tiny_checkpoint, dtype=torch.float32)
    frozen = ("model.vqmodel.", "model.vision_model.", "model.aligner.")
    before = {n: p.clone() for n, p in fresh.network.state_dict().items()}
    settings, provenance = Settings(steps=2, batch=4, learning_rate=1e-2, warmup=1), {"parent": str(tiny_checkpoint)}
    train(fresh, lambda step, which: world_batch(fresh, 4), settings, tmp_path / "out", provenance, resume=False)
    for name, value in fresh.network.state_dict().items():
        assert torch.equal(value, before[name]) == name.startswith(frozen), name


def test_muon_takes_the_matrices_within_the_layers_and_adamw_everything_else(tiny_checkpoint: Path):
    janus = open_checkpoint(tiny_checkpoint, dtype=torch.float32)
    everything = trainable(janus)
    muon, adamw = new_optimizers(janus, everything, 1e-3, 0.0, muon=0.02)
    matrices, others = muon.param_groups[0]["params"], adamw.param_groups[0]["params"]
    assert all(p.ndim == 2 for p in matrices)
    assert janus.network.lm_head.weight in set(others)
    assert sorted(map(id, [*matrices, *others])) == sorted(map(id, everything))


@pytest.mark.parametrize("muon", [0.0, 0.02])
def test_a_resumed_run_ends_with_the_same_weights_as_an_uninterrupted_one(
    tiny_checkpoint: Path, tmp_path: Path, muon: float
):
    settings = Settings(steps=4, batch=4, learning_rate=1e-3, muon=muon, warmup=2, save_every=2)

    def run(steps: int, out: Path, *, resume: bool) -> Janus:
        janus = open_checkpoint(tiny_checkpoint, dtype=torch.float32)

        def lessons(step: int, which: slice) -> list[TrainingSequence]:
            if step == steps:
                raise KeyboardInterrupt
            stream = world_lessons(janus, random.Random(step), MIXES["all"])
            return [lesson for _, lesson in (next(stream) for _ in range(4))]

        provenance = {"parent": str(tiny_checkpoint)}
        with contextlib.suppress(KeyboardInterrupt):
            train(janus, lessons, settings, out, provenance, resume=resume)
        return janus

    whole = run(4, tmp_path / "whole", resume=False)
    run(3, tmp_path / "cut", resume=False)
    resumed = run(4, tmp_path / "cut", resume=True)
    for one, other in zip(whole.network.parameters(), resumed.network.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_learning_rate_warms_up_stays_and_descends():
    factors = [learning_rate_factor(step, 100, warmup=10) for step in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[10:75] == [1.0] * 65
    assert factors[-1] == pytest.approx(0.04)


def example(completion: str = "No, there is no dog.", **changes: object) -> JudgeExample:
    return replace(JudgeExample("a dog", (png_of(PICTURE),), (), completion), **changes)


def test_an_example_becomes_the_lesson_of_its_words_and_weight(tiny: Janus):
    lesson = lesson_of(tiny, example(weight=0.5))
    assert targets(tiny, lesson) == (f"No, there is no dog.{EOS}", [])
    assert lesson.weight == 0.5
    batch = collate([lesson], tiny.image_codes)
    assert (batch.images[0] == PICTURE).all()
    assert int((batch.kinds == PIXEL).sum()) == 64
    assert CHECK in tiny.tokenizer.decode(batch.ids[0].tolist())


def png_of(picture: np.ndarray) -> bytes:
    return encode_png(Picture.fromarray(picture))


def test_a_folder_without_examples_is_said_so(tiny: Janus, tmp_path: Path):
    with pytest.raises(DataError, match="holds no .parquet file"):
        read_lessons(tiny, tmp_path)


def test_the_command_says_in_one_line_what_is_wrong(tiny_checkpoint: Path, tmp_path: Path):
    command = [sys.executable, "-m", "model.training.sft", "--data", str(tmp_path), "--out", str(tmp_path / "out")]
    done = subprocess.run([*command, "--checkpoint", str(tiny_checkpoint)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("sft: ")
    assert "Traceback" not in done.stderr


def test_the_command_trains_on_the_world_and_saves_what_opens(tiny_checkpoint: Path, tmp_path: Path):
    out = tmp_path / "better"
    command = [sys.executable, "-m", "model.training.sft", "--world", "--checkpoint", str(tiny_checkpoint)]
    command += ["--steps", "3", "--batch", "6", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "codes" in done.stdout
    assert json.loads((out / PROVENANCE).read_text())["settings"]["steps"] == 3
    assert open_checkpoint(out).sampling.thinks


def test_a_full_disk_is_named_and_leaves_the_last_save_whole(tiny_checkpoint: Path, tmp_path: Path):
    out = tmp_path / "run"
    command = [sys.executable, "-m", "model.training.sft", "--world", "--checkpoint", str(tiny_checkpoint)]
    command += ["--batch", "2", "--save-every", "1", "--out", str(out)]

    def run(*arguments: str, largest_file: int) -> subprocess.CompletedProcess:
        """No file can grow beyond so many bytes, which writers meet like a full disk."""

        def limit() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

        return subprocess.run([*command, *arguments], cwd=ROOT, capture_output=True, text=True, preexec_fn=limit)

    assert run("--steps", "1", largest_file=resource.RLIM_INFINITY).returncode == 0
    saved = {path: path.read_bytes() for path in [tmp_path / "run.state", *out.iterdir()]}
    sizes = sorted(len(saved[path]) for path in (tmp_path / "run.state", *out.glob("*.safetensors")))
    for largest in (sizes[0] // 2, sizes[-1] // 2):
        failed = run("--steps", "2", "--resume", largest_file=largest)
        assert failed.returncode == 1
        last = failed.stderr.strip().splitlines()[-1]
        assert last.startswith("sft: ") and "could not be saved" in last and "intact" in last
        assert {path: path.read_bytes() for path in saved} == saved
        assert {path.name for path in tmp_path.iterdir()} == {"run", "run.state", "run.jsonl"}
    assert open_checkpoint(out).name == "run"
