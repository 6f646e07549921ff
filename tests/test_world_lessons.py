"""Lessons of the embedded world: from a seed, in the shares of a mix, along the curriculum."""

import random
from dataclasses import replace

import pytest

from model.janus import Janus
from model.streams import Pixels, Text
from model.templates import EOS
from model.training.world_lessons import MIXES, Focus, Mix, at_step, world_lessons
from model.world.language import parse
from model.world.verifier import check, read


def test_lessons_of_the_world_depend_on_the_seed_alone(tiny: Janus):
    def some(seed: int) -> list[tuple]:
        stream = world_lessons(tiny, random.Random(seed), MIXES["all"])
        return [
            (task, [getattr(p, "ids", None) for p in lesson.pieces])
            for task, lesson in (next(stream) for _ in range(30))
        ]

    assert some(3) == some(3)
    assert some(3) != some(4)


@pytest.mark.parametrize("name", MIXES)
def test_a_mix_teaches_the_tasks_it_names_in_their_shares(tiny: Janus, name: str):
    mix = MIXES[name]
    stream = world_lessons(tiny, random.Random(0), mix)
    tasks = [task for task, _ in (next(stream) for _ in range(300))]
    for task in ("draw", "follow", "judge", "redraw", "edit"):
        assert tasks.count(task) / 300 == pytest.approx(getattr(mix, task), abs=0.1)
        assert (task in tasks) == (getattr(mix, task) > 0)


def test_a_judge_in_focus_sees_pictures_that_are_right_or_wrong_in_that_respect(tiny: Janus):
    """Half and half."""
    mix = replace(MIXES["judge"], draw=0, focus=(Focus("colours", "colours", 10),), noise=0)
    stream, verdicts = world_lessons(tiny, random.Random(0), mix), []
    for _, lesson in (next(stream) for _ in range(100)):
        _, asked, *_, said = (tiny.tokenizer.decode(p.ids) for p in lesson.pieces if isinstance(p, Text))
        [image] = (p.image for p in lesson.pieces if isinstance(p, Pixels))
        prompt = asked.split(":")[1].split("\n")[0]
        wrong = [fact.kind for fact in check(parse(prompt), read(image)) if not fact.holds]
        verdicts.append(said == f"Yes{EOS}")
        assert wrong == ([] if verdicts[-1] else ["colour"])
    assert 35 <= sum(verdicts) <= 65


def test_the_curriculum_adds_one_focus_after_another_and_keeps_the_last():
    mix = Mix(judge=1.0, focus=(Focus("nouns", "two objects", 5), Focus("counts", "counting", 3)))
    assert [len(at_step(mix, step).focus) for step in (0, 4, 5, 7, 8, 900)] == [1, 1, 2, 2, 2, 2]
    assert at_step(MIXES["all"], 3) == MIXES["all"]
