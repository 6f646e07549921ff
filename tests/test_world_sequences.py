"""Sequences of the embedded world: from a seed, in the shares of a mix, along the curriculum."""

import itertools
import random
import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from model.backends.janus import Janus
from model.sequences import Codes, Piece, Pixels, Text
from model.templates import CHECK
from model.training.training_sequences import TrainingSequence
from model.training.trajectory_sequences import trajectory_sequences
from model.training.world_data.curriculum import MIXTURES, CurriculumStage, TaskMixture, at_step
from model.training.world_data.world_sequences import world_sequences
from model.trajectory import Image, Origin, Reflection, Segment, Thought, Token, Trajectory
from model.world.language import parse
from model.world.plan import read_items
from model.world.verifier import Reading, accepted, check, read


def test_sequences_of_the_world_depend_on_the_seed_alone(tiny: Janus):
    def some(seed: int) -> list[tuple]:
        stream = world_sequences(tiny, random.Random(seed), MIXTURES["all"])
        return [
            (task, [getattr(p, "ids", None) for p in sequence.pieces])
            for task, sequence in (next(stream) for _ in range(30))
        ]

    assert some(3) == some(3)
    assert some(3) != some(4)


@pytest.mark.parametrize("name", MIXTURES)
def test_a_mixture_teaches_the_tasks_it_names_in_their_shares(tiny: Janus, name: str, thorough: bool):
    mix, count = MIXTURES[name], 300 if thorough else 100
    stream = world_sequences(tiny, random.Random(0), mix)
    tasks = [task for task, _ in (next(stream) for _ in range(count))]
    for task in ("draw", "follow", "judge", "redraw", "edit"):
        assert tasks.count(task) / count == pytest.approx(getattr(mix, task), abs=0.1 if thorough else 0.15)
        assert getattr(mix, task) > 0 or task not in tasks
        assert getattr(mix, task) < 0.1 or task in tasks


@pytest.mark.parametrize(("thinking", "drafts_without_thought"), [(0, 0), (1, 0), (1, 1)])
def test_a_redraw_sequence_reads_token_by_token_as_a_drawing_does(
    tiny: Janus, thinking: float, drafts_without_thought: float
):
    """What comes before the revision: the earlier thought too, where there is one."""
    mixture = TaskMixture(
        redraw=1, thinking=thinking, condition_dropout=0, drafts=0.5, drafts_without_thought=drafts_without_thought
    )
    stream = world_sequences(tiny, random.Random(5), mixture)
    for _, sequence in (next(stream) for _ in range(20)):
        trajectory, pictures = as_drawn(tiny, sequence)
        thoughts = sum(isinstance(segment, Thought) for segment in trajectory.segments)
        steered = thinking and drafts_without_thought and thoughts == len(trajectory.images)  # a person's other request
        assert steered or thoughts == (1 if drafts_without_thought else thinking * len(trajectory.images))
        drawn, _ = trajectory_sequences(tiny, trajectory, pictures)
        assert tokens_of(sequence.pieces) == tokens_of(drawn.pieces)


def test_a_redraw_planned_anew_is_right_and_keeps_next_to_nothing_in_its_place(tiny: Janus):
    def kept(anew: float) -> float:
        mixture = TaskMixture(redraw=1, thinking=1, condition_dropout=0, drafts=0, other_request=0, anew=anew)
        stream, shares = world_sequences(tiny, random.Random(7), mixture), []
        for _, sequence in (next(stream) for _ in range(30)):
            plans = [tiny.tokenizer.decode(p.ids) for p in sequence.pieces if isinstance(p, Text) and p.cfg_masked]
            before, after = (set(read_items(plan) if plan.strip() else ()) for plan in plans[-2:])
            prompt = re.search(r": (.*)\n", tiny.tokenizer.decode(sequence.pieces[1].ids)).group(1)
            assert accepted(check(parse(prompt), Reading(tuple(after))))
            shares.append(len(before & after) / len(after))
        return float(np.mean(shares))

    assert kept(anew=0) > 0.5 > 0.2 > kept(anew=1)


def tokens_of(pieces: Sequence[Piece]) -> list[tuple]:
    """Every token with whether guidance hides it."""
    return [
        (token, getattr(piece, "cfg_masked", None))
        for piece in pieces
        for token in (piece.codes if isinstance(piece, Codes) else piece.ids)
    ]


def as_drawn(tiny: Janus, sequence: TrainingSequence) -> tuple[Trajectory, dict[str, np.ndarray]]:
    """The trajectory whose drawing stream a redraw sequence is."""
    prompt = re.search(r": (.*)\n", tiny.tokenizer.decode(sequence.pieces[1].ids)).group(1)
    segments: list[Segment] = []
    for before, piece in itertools.pairwise(sequence.pieces[1:]):
        if isinstance(piece, Codes):
            segments.append(Image(piece.codes, f"{len(segments)}", (Origin.SAMPLED,) * len(piece.codes)))
        elif piece.cfg_masked:
            segments.append(Thought(tuple(Token(id, "") for id in piece.ids)))
        elif isinstance(before, Text) and before.ids == tuple(tiny.tokenize(CHECK)):
            segments.append(Reflection("no", 0.1, tuple(Token(id, "") for id in piece.ids)))
    pictures = {str(index): np.zeros((64, 64, 3), np.uint8) for index in range(len(segments))}
    return Trajectory(prompt, 0, 3, replace(tiny.sampling, thinks=True), "tiny", tuple(segments)), pictures


def test_a_judge_stage_sees_pictures_that_are_right_or_wrong_in_that_respect(tiny: Janus):
    """Half and half."""
    mix = replace(MIXTURES["judge"], draw=0, stages=(CurriculumStage("colours", "colours", 10),), noise=0)
    stream, verdicts = world_sequences(tiny, random.Random(0), mix), []
    for _, sequence in (next(stream) for _ in range(100)):
        _, asked, *_, said = (tiny.tokenizer.decode(p.ids) for p in sequence.pieces if isinstance(p, Text))
        [image] = (p.image for p in sequence.pieces if isinstance(p, Pixels))
        prompt = asked.split(":")[1].split("\n")[0]
        wrong = [fact.kind for fact in check(parse(prompt), read(image)) if not fact.holds]
        verdicts.append(said == "Yes")  # and no end after it: other sequences have a reason there
        assert wrong == ([] if verdicts[-1] else ["colour"])
    assert 35 <= sum(verdicts) <= 65


def test_the_curriculum_adds_one_focus_after_another_and_keeps_the_last():
    mix = TaskMixture(
        judge=1.0, stages=(CurriculumStage("nouns", "two objects", 5), CurriculumStage("counts", "counting", 3))
    )
    assert [len(at_step(mix, step).stages) for step in (0, 4, 5, 7, 8, 900)] == [1, 1, 2, 2, 2, 2]
    assert at_step(MIXTURES["all"], 3) == MIXTURES["all"]
