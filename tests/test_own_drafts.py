"""A model's own drafts: made, kept, read back, and taught."""

import random
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import preloaded
import pyarrow.parquet as parquet
import pytest
import torch
from tests_support import UNGUARDED

from model.backends.janus import Janus
from model.decoding.load_for_inference import open_checkpoint
from model.sequences import Codes, Text
from model.training.dataset import DataError
from model.training.embedded.own_drafts import make_drafts
from model.training.training_sequences import TokenKind
from model.training.world_data.curriculum import TaskMixture
from model.training.world_data.drafts import PolicyDraft, RejectedDraft, read_drafts, write_drafts
from model.training.world_data.world_sequences import world_sequences
from model.world.language import parse
from model.world.random_scenes import sample_scene
from model.world.scene import Scene, render
from model.world.splits import held_out
from model.world.sprites import patch_codes
from model.world.verifier import read


@pytest.fixture
def two(tiny: Janus) -> list[PolicyDraft]:
    """A right drawing of a red cat, and one of a blue cat that was to be red."""
    found = []
    for prompt, score in (("a red cat", 1.0), ("a blue cat", 0.5)):
        image = render(sample_scene(random.Random(0), parse(prompt)))
        found.append(PolicyDraft(parse("a red cat"), tuple(tiny.encode([image])[0].tolist()), image, score))
    return found


@pytest.fixture
def redrawn(two: list[PolicyDraft]) -> list[PolicyDraft]:
    """The same, each drawn after another blue cat, of which the model said something false."""
    image = render(sample_scene(random.Random(1), parse("a blue cat")))
    first = RejectedDraft(tuple(patch_codes(image)), image, "No, there is no cat.", " blue cat at 1 1")
    return [replace(draft, earlier=(first,)) for draft in two]


def test_drafts_are_read_back_as_they_were_written(two: list[PolicyDraft], redrawn: list[PolicyDraft], tmp_path: Path):
    written = [*two, *redrawn]
    write_drafts(written, tmp_path / "drafts.parquet")
    for before, after in zip(written, read_drafts(tmp_path / "drafts.parquet"), strict=True):
        assert (before.description, before.codes, before.score) == (after.description, after.codes, after.score)
        assert np.array_equal(before.image, after.image)
        for was, now in zip(before.earlier, after.earlier, strict=True):
            assert (was.codes, was.reflection, was.thought) == (now.codes, now.reflection, now.thought)
            assert np.array_equal(was.image, now.image)


def test_a_draft_is_of_a_training_prompt_and_shows_what_its_codes_decode_to(tiny_checkpoint: Path):
    janus = open_checkpoint(tiny_checkpoint)
    drafts = list(make_drafts(janus, 6, 0.5, seed=1))
    assert len(drafts) == 6
    for draft in drafts:
        assert not held_out(draft.description)
        assert np.array_equal(janus.decode(torch.tensor([draft.codes]))[0], draft.image)
    assert sum(draft.thought is not None for draft in drafts) == 3


def test_every_redraw_of_a_trajectory_is_a_draft_with_those_before_it(tiny_checkpoint: Path, tmp_path: Path):
    janus, out = open_checkpoint(tiny_checkpoint), tmp_path / "drafts.parquet"
    asked = ("--checkpoint", tiny_checkpoint, "--prompts", "6", "--rounds", "3", "--seed", "1", "--out", out)
    done = preloaded.run("-m", "model.training.embedded.own_drafts", *asked)
    assert done.returncode == 0, done.stderr
    drafts = read_drafts(out)
    firsts = [draft for draft in drafts if not draft.earlier]
    assert len(firsts) == 6 and [len(draft.earlier) for draft in drafts if draft.earlier]
    for draft in drafts:
        assert np.array_equal(janus.decode(torch.tensor([draft.codes]))[0], draft.image)
    for before, after in pairwise(drafts):
        if after.earlier:
            assert after.description == before.description and len(after.earlier) == len(before.earlier) + 1
            assert after.earlier[-1].codes == before.codes and after.earlier[-1].thought == before.thought
            assert after.earlier[-1].reflection.startswith("No")


@pytest.mark.parametrize("drafts_without_thought", [0.0, 1.0])
def test_a_redraw_is_judged_and_redrawn_in_the_context_it_was_drawn_in(
    tiny: Janus, redrawn: list[PolicyDraft], drafts_without_thought: float
):
    shares = {"judge": 0.5, "redraw": 0.5, "on_policy": 1.0, "thinking": 0.5, "condition_dropout": 0.0}
    mixture = TaskMixture(**shares, drafts_without_thought=drafts_without_thought)
    stream = world_sequences(tiny, random.Random(0), mixture, redrawn)
    made, planned = [next(stream) for _ in range(20)], set()
    assert {task for task, _ in made} == {"judge", "redraw"}
    for task, sequence in made:
        said = tiny.tokenizer.decode([i for piece in sequence.pieces if isinstance(piece, Text) for i in piece.ids])
        assert "No, there is no cat." in said
        kinds = {TokenKind.TEXT, TokenKind.VERDICT}
        scored = [id for targets in sequence.targets if targets.kind in kinds for id in targets.tokens]
        assert "no cat" not in tiny.tokenizer.decode(scored)  # in the context alone
        verdicts = [targets for targets in sequence.targets if targets.kind is TokenKind.VERDICT]
        assert len(verdicts) == (task == "judge")
        if task == "redraw":
            codes = [piece.codes for piece in sequence.pieces if isinstance(piece, Codes)]
            assert codes[:2] == [redrawn[1].earlier[0].codes, redrawn[1].codes] and len(codes) == 3
            thinks = "red cat at" in said
            assert ("blue cat at 1 1" in said) is (thinks and not drafts_without_thought)
            planned.add(thinks)
    assert planned == {True, False}


@pytest.mark.parametrize("place", [0, 1])
def test_drafts_are_judged_as_often_right_as_wrong_at_every_place(
    tiny: Janus, two: list[PolicyDraft], redrawn: list[PolicyDraft], place: int
):
    [right, wrong] = (redrawn if place else two)[:2]
    others = [two, redrawn][1 - place]
    mixture = TaskMixture(judge=1.0, on_policy=1.0)
    stream = world_sequences(tiny, random.Random(0), mixture, [right, *others, *[wrong] * 8])
    counts = {"Yes": 0, "No": 0}
    for _, sequence in (next(stream) for _ in range(200)):
        said = tiny.tokenizer.decode([i for piece in sequence.pieces if isinstance(piece, Text) for i in piece.ids])
        if ("No, there is no cat." in said) is bool(place):
            [verdict] = [targets.tokens for targets in sequence.targets if targets.kind is TokenKind.VERDICT]
            counts[tiny.tokenizer.decode(list(verdict)).strip()] += 1
    assert 60 < counts["Yes"] < 140 and 60 < counts["No"] < 140


def test_own_drafts_are_judged_as_they_are_and_wrong_ones_redrawn(tiny: Janus, two: list[PolicyDraft]):
    def text(sequence) -> str:
        return tiny.tokenizer.decode([i for piece in sequence.pieces if isinstance(piece, Text) for i in piece.ids])

    mixture = TaskMixture(judge=0.5, redraw=0.5, on_policy=1.0, condition_dropout=0.0)
    stream = world_sequences(tiny, random.Random(0), mixture, two)
    for task, sequence in (next(stream) for _ in range(40)):
        assert "a red cat" in text(sequence)
        if task == "redraw":
            draft, redraw = (piece for piece in sequence.pieces if isinstance(piece, Codes))
            assert draft.codes == two[1].codes
            [old] = read(two[1].image).items
            assert redraw.codes == patch_codes(render(Scene((replace(old, colour="red"),))))
        else:
            assert ("the prompt...Yes" in text(sequence)) != ("blue" in text(sequence))


def test_a_draft_is_redrawn_after_the_thought_it_was_drawn_after(tiny: Janus, two: list[PolicyDraft]):
    thought = " blue cat at 0 0; blue cat at 0 0"  # the second of which nobody can see
    planned = [two[0], replace(two[1], thought=thought)]
    stream = world_sequences(
        tiny, random.Random(0), TaskMixture(redraw=1.0, on_policy=1.0, thinking=1.0, condition_dropout=0.0), planned
    )
    _, sequence = next(stream)
    said = tiny.tokenizer.decode([i for piece in sequence.pieces if isinstance(piece, Text) for i in piece.ids])
    assert thought in said
    assert said.count("red cat at") == 1


def test_a_file_without_earlier_drafts_is_read_and_replaced(two: list[PolicyDraft], tmp_path: Path):
    path = tmp_path / "drafts.parquet"
    write_drafts(two, path)
    parquet.write_table(parquet.read_table(path).drop_columns(["earlier"]), path)
    assert [draft.earlier for draft in read_drafts(path)] == [(), ()]
    write_drafts(two[:1], path)
    assert len(read_drafts(path)) == 1


def test_an_earlier_draft_that_was_not_rejected_is_named_with_its_row(redrawn: list[PolicyDraft], tmp_path: Path):
    accepted = replace(redrawn[1], earlier=(replace(redrawn[1].earlier[0], reflection="Yes, a red cat."),))
    write_drafts([redrawn[0], accepted], tmp_path / "drafts.parquet")
    with pytest.raises(DataError, match=r"row 2: the reflection on an earlier draft is 'Yes, a red cat\.'"):
        read_drafts(tmp_path / "drafts.parquet")


def test_a_file_of_another_kind_is_named(tmp_path: Path):
    path = tmp_path / "drafts.parquet"
    path.write_bytes(b"no parquet")
    with pytest.raises(DataError, match=r"drafts\.parquet"):
        read_drafts(path)


def test_the_command_makes_drafts_that_the_trainer_takes(tiny_checkpoint: Path, tmp_path: Path):
    path, out = tmp_path / "drafts.parquet", tmp_path / "out"
    drafts = ["model.training.embedded.own_drafts", "--prompts", "4", "--out", path]
    train = [
        "model.training.sft",
        "--world",
        "--drafts",
        path,
        "--steps",
        "1",
        "--batch",
        "4",
        "--out",
        out,
        *UNGUARDED,
    ]
    for command in (drafts, train):
        done = preloaded.run("-m", *command, "--checkpoint", tiny_checkpoint)
        assert done.returncode == 0, done.stderr
    assert '"drafts": 4' in (out / "provenance.json").read_text()
