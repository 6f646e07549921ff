"""Supervised fine-tuning: what is a target, what is seen, what a step does, and that a run goes on where it stood."""

import contextlib
import json
import random
import resource
from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import preloaded
import pytest
import torch
from PIL import Image as Picture
from tests_support import UNGUARDED
from thoroughness import few

from model.backends.checkpoint.saving import PROVENANCE
from model.backends.janus import PIXEL, Janus
from model.decoding.load_for_inference import open_checkpoint
from model.examples import JudgeExample
from model.images import encode_png
from model.sequences import Codes, Text
from model.templates import CHECK, EOS
from model.training.batch import Batch, collate, micro_batches
from model.training.dataset import JUDGE_ROWS, DataError, read_rows, sequence_of
from model.training.optimization import learning_rate_factor, new_optimizers
from model.training.policy import Policy, layer_matrices
from model.training.runs.folder import RunStart
from model.training.sft import CrossEntropy, SftSettings, train
from model.training.training_sequences import JudgedDraft, TokenKind, TrainingSequence, draw, drop_condition, judge
from model.training.world_data.curriculum import MIXTURES
from model.training.world_data.world_sequences import world_sequences
from model.world.scene import random_scene, render

SPEED = ("seconds", "eta_seconds", "tokens_per_second", "padding")
PICTURE = render(random_scene(random.Random(0), 3))


@pytest.fixture
def own(tiny_checkpoint: Path) -> Janus:
    """The tiny checkpoint in float64, for one test alone."""
    return open_checkpoint(tiny_checkpoint, dtype=torch.float64)


def targets(janus: Janus, sequence: TrainingSequence) -> tuple[str, list[int]]:
    """What a sequence asks for: its text and its image codes."""
    batch = collate(janus, [sequence])
    code = batch.of_kind(TokenKind.CODE)
    text = ~code & ~batch.of_kind(TokenKind.JUDGING_AUXILIARY) & ~batch.of_kind(TokenKind.DRAWING_AUXILIARY)
    return janus.tokenizer.decode(in_order(batch, text)), in_order(batch, code)


def in_order(batch: Batch, chosen: torch.Tensor) -> list[int]:
    """The chosen tokens, by their positions."""
    return batch.tokens[chosen][batch.positions[chosen].argsort()].tolist()


def test_a_judge_sequence_asks_for_verdict_reason_and_end_of_turn_only(tiny: Janus):
    sequence = judge(tiny, "a cat", [JudgedDraft("No, there is no cat.", image=PICTURE)], PICTURE, "Yes, I see a cat.")
    assert targets(tiny, sequence) == (f"Yes, I see a cat.{EOS}", [])


def test_a_drawing_sequence_asks_for_the_thought_and_the_image_but_not_for_earlier_ones(tiny: Janus):
    draft = JudgedDraft("No, there is no cat.", codes=(9,) * 64)
    text, codes = targets(tiny, draw(tiny, "a cat", [draft], " red cat at 1 1", range(64)))
    assert text == " red cat at 1 1<begin_of_image>"
    assert codes == list(range(64))
    text, codes = targets(tiny, draw(tiny, "a cat", [draft], None, range(64)))
    assert (text, codes) == ("", list(range(64)))
    text, codes = targets(tiny, draw(tiny, "a cat", [], " red dog at 1 1", range(64), given=True))
    assert (text, codes) == ("", list(range(64)))


def test_what_was_said_of_earlier_images_is_asked_for_where_it_is_true(tiny: Janus):
    drafts = [JudgedDraft("No, there is no cat.", image=PICTURE, target=True)]
    sequence = judge(tiny, "a cat", drafts, PICTURE, "Yes, I see a cat.")
    assert targets(tiny, sequence) == (f"No, there is no cat.Yes, I see a cat.{EOS}", [])


def test_labels_stand_one_position_before_what_they_name(tiny: Janus):
    batch = collate(tiny, [draw(tiny, "a cat", [], None, range(64))])
    assert torch.equal(batch.ids[0, batch.positions + 1], batch.tokens)


def test_the_loss_of_a_sequence_does_not_depend_on_its_neighbours(own: Janus):
    stream = world_sequences(own, random.Random(1), MIXTURES["all"])
    sequences = [sequence for _, sequence in (next(stream) for _ in range(6))]

    def total(chosen: list[TrainingSequence]) -> float:
        with torch.inference_mode():
            return Policy(own)(collate(own, chosen)).log_probs.sum().item()

    assert total(sequences) == pytest.approx(sum(total([sequence]) for sequence in sequences), rel=1e-5)


def test_dropping_the_condition_hides_the_user_s_words_and_the_thought_and_keeps_lengths(tiny: Janus):
    sequence = draw(tiny, "a cat", [], " red cat at 1 1", range(64))
    dropped = drop_condition(sequence, tiny, random.Random(0), 1.0)
    hidden = [p for p in dropped.pieces if isinstance(p, Text) and p.cfg_masked]
    assert all(set(p.ids) == {tiny.ids.pad} for p in hidden)
    assert [len(getattr(p, "ids", ())) for p in dropped.pieces] == [len(getattr(p, "ids", ())) for p in sequence.pieces]
    assert dropped.pieces[-1] == Codes(tuple(range(64)))
    assert targets(tiny, dropped) == ("<begin_of_image>", list(range(64)))


def world_batch(janus: Janus, count: int) -> list[TrainingSequence]:
    stream = world_sequences(janus, random.Random(0), MIXTURES["all"])
    return [sequence for _, sequence in (next(stream) for _ in range(count))]


def test_micro_batches_add_up_to_the_step_of_the_whole(tiny_checkpoint: Path, tmp_path: Path):
    def metrics(parts: int) -> dict[str, float]:
        janus, out = open_checkpoint(tiny_checkpoint, dtype=torch.float32), tmp_path / f"{parts}"
        sequences = world_batch(janus, 9)
        settings = SftSettings(steps=1, batch=9, micro_batches=parts)
        train(janus, lambda step, which: sequences, settings, out, {"parent": str(tiny_checkpoint)})
        row = json.loads(Path(f"{out}.jsonl").read_text())
        return {name: value for name, value in row.items() if name not in SPEED}

    assert metrics(3) == pytest.approx(metrics(1), rel=1e-4)


def test_losses_of_micro_batches_divided_by_their_totals_have_the_gradient_of_the_whole(own: Janus):
    policy, sequences, objective = Policy(own), world_batch(own, 9), CrossEntropy()
    totals = objective.totals(collate(own, sequences))

    def gradients(batches: list[Batch]) -> list[torch.Tensor]:
        policy.zero_grad()
        for batch in batches:
            objective(policy, batch, totals)[0].backward()
        return [p.grad.clone() for p in policy.parameters() if p.grad is not None]

    whole, parts = (gradients(micro_batches(own, sequences, most)) for most in (9, 3))
    assert sum(gradient.abs().sum() for gradient in whole) > 0
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one, other)


def test_a_verdict_that_is_learnt_adds_no_loss_and_the_words_behind_it_do(own: Janus):
    sequences = [
        judge(own, "a red cat", [], PICTURE, said) for said in ("Yes, I see a red cat.", "No, there is no cat.")
    ]
    batch, policy = collate(own, sequences), Policy(own)
    probable = float(policy(batch).log_probs.detach()[batch.of_kind(TokenKind.VERDICT)].exp().max())

    def metrics(learnt: float) -> dict[str, float]:
        objective = CrossEntropy(verdict_threshold=learnt)
        return {name: float(value) for name, value in objective(policy, batch, objective.totals(batch))[1].items()}

    all_learnt, one_learnt, none_learnt = (metrics(each) for each in (0.0, probable - 1e-6, 1.0))
    assert all_learnt[TokenKind.VERDICT] == 0 < one_learnt[TokenKind.VERDICT] < none_learnt[TokenKind.VERDICT]
    assert all_learnt[TokenKind.TEXT] == none_learnt[TokenKind.TEXT] > 0
    assert TokenKind.CODE not in all_learnt  # no image codes are learnt, so that no loss of theirs is logged


def test_codec_and_eye_are_left_as_they_are(tiny_checkpoint: Path, tmp_path: Path):
    fresh = open_checkpoint(tiny_checkpoint, dtype=torch.float32)
    frozen = ("model.vqmodel.", "model.vision_model.", "model.aligner.")
    before = {n: p.clone() for n, p in fresh.network.state_dict().items()}
    settings, provenance = SftSettings(steps=2, batch=4, learning_rate=1e-2, warmup=1), {"parent": str(tiny_checkpoint)}
    train(fresh, lambda step, which: world_batch(fresh, 4), settings, tmp_path / "out", provenance)
    for name, value in fresh.network.state_dict().items():
        assert torch.equal(value, before[name]) == name.startswith(frozen), name


def test_muon_takes_the_matrices_within_the_layers_and_adamw_everything_else(tiny_checkpoint: Path):
    janus = open_checkpoint(tiny_checkpoint, dtype=torch.float32)
    everything = [p for p in Policy(janus).parameters() if p.requires_grad]
    muon, adamw = new_optimizers(everything, 1e-3, 0.0, 0.02, layer_matrices(janus))
    matrices, others = muon.param_groups[0]["params"], adamw.param_groups[0]["params"]
    assert all(p.ndim == 2 for p in matrices)
    assert janus.network.lm_head.weight in set(others)
    assert sorted(map(id, [*matrices, *others])) == sorted(map(id, everything))


@pytest.mark.parametrize("muon", few([0.0, 0.02], 1))
def test_a_resumed_run_ends_with_the_same_weights_as_an_uninterrupted_one(
    tiny_checkpoint: Path, tmp_path: Path, muon: float
):
    settings = SftSettings(steps=4, batch=4, learning_rate=1e-3, muon=muon, warmup=2, save_every=2)

    def run(steps: int, out: Path, *, resume: bool) -> Janus:
        janus = open_checkpoint(tiny_checkpoint, dtype=torch.float32)

        def sequences(step: int, which: slice) -> list[TrainingSequence]:
            if step == steps:
                raise KeyboardInterrupt
            stream = world_sequences(janus, random.Random(step), MIXTURES["all"])
            return [sequence for _, sequence in (next(stream) for _ in range(4))]

        provenance = {"parent": str(tiny_checkpoint)}
        with contextlib.suppress(KeyboardInterrupt):
            train(janus, sequences, settings, out, provenance, RunStart(resume=resume))
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


def test_an_example_becomes_the_sequence_of_its_words_and_weight(tiny: Janus):
    sequence = sequence_of(tiny, example(weight=0.5))
    assert targets(tiny, sequence) == (f"No, there is no dog.{EOS}", [])
    assert sequence.weight == 0.5
    batch = collate(tiny, [sequence])
    assert (batch.images[0] == PICTURE).all()
    assert int((batch.kinds == PIXEL).sum()) == 64
    assert CHECK in tiny.tokenizer.decode(batch.ids[0].tolist())


def png_of(picture: np.ndarray) -> bytes:
    return encode_png(Picture.fromarray(picture))


def test_a_folder_without_examples_is_said_so(tiny: Janus, tmp_path: Path):
    with pytest.raises(DataError, match="holds no .parquet file"):
        read_rows(tiny, tmp_path, JUDGE_ROWS)


def test_the_command_says_in_one_line_what_is_wrong(tiny_checkpoint: Path, tmp_path: Path):
    command = ["-m", "model.training.sft", "--data", tmp_path, "--out", tmp_path / "out"]
    done = preloaded.run(*command, "--checkpoint", tiny_checkpoint)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("sft: ")
    assert "Traceback" not in done.stderr


def test_the_command_trains_on_the_world_and_saves_what_opens(tiny_checkpoint: Path, tmp_path: Path):
    out = tmp_path / "better"
    command = ["-m", "model.training.sft", "--world", "--checkpoint", tiny_checkpoint]
    guarded = ["--distill-rollouts", "2", "--distill-batch", "2", "--evaluate-prompts", "2", "--evaluate-every", "2"]
    done = preloaded.run(*command, "--steps", "3", "--batch", "6", "--out", out, *guarded)
    assert done.returncode == 0, done.stderr
    assert "codes" in done.stdout
    assert json.loads((out / PROVENANCE).read_text())["settings"]["steps"] == 3
    table = json.loads((tmp_path / "better.evaluation" / "table.json").read_text())
    assert table["steps"] == [0, 2, 3] and table["best"] == json.loads((out / PROVENANCE).read_text())["step"]
    assert "| first draft |" in done.stderr and (tmp_path / "better.evaluation" / "samples" / "000003").is_dir()
    assert open_checkpoint(out).sampling.thinks


def test_a_full_disk_is_named_and_leaves_the_last_save_whole(tiny_checkpoint: Path, tmp_path: Path, thorough: bool):
    out = tmp_path / "run"
    command = [
        "--world",
        "--checkpoint",
        tiny_checkpoint,
        "--batch",
        "2",
        "--save-every",
        "1",
        "--out",
        out,
        *UNGUARDED,
    ]

    def run(*arguments: str, largest_file: int) -> CompletedProcess[str]:
        """No file can grow beyond so many bytes, which writers meet like a full disk."""
        code = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({largest_file}, {largest_file}))\n"
        code += "from model.training import sft; sft.main()"
        return preloaded.run("-c", code, *command, *arguments)

    assert run("--steps", "1", largest_file=resource.RLIM_INFINITY).returncode == 0
    saved = {path: path.read_bytes() for path in [tmp_path / "run.state", *out.iterdir()]}
    sizes = sorted(len(saved[path]) for path in (tmp_path / "run.state", *out.glob("*.safetensors")))
    for largest in (sizes[0] // 2, sizes[-1] // 2) if thorough else (sizes[-1] // 2,):
        failed = run("--steps", "2", "--resume", largest_file=largest)
        assert failed.returncode == 1
        last = failed.stderr.strip().splitlines()[-1]
        assert last.startswith("sft: ") and "could not be saved" in last and "intact" in last
        assert {path: path.read_bytes() for path in saved} == saved
        assert {path.name for path in tmp_path.iterdir()} == {"run", "run.state", "run.jsonl"}
    assert open_checkpoint(out).name == "run"
