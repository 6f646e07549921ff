"""Lessons made from the embedded world: the teacher that stands where the paper has FLUX and InternVL.

Draw, judge, redraw, and say what is seen, endlessly and from a seed. Exact drawings have known image codes (`patches`).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from model.janus import Janus
from model.templates import describe, places
from model.training.lessons import Draft, Lesson, draw, drop_condition, judge, tell
from model.world.defects import spoil
from model.world.language import CATEGORIES, Description, sample_description, sample_scene, write
from model.world.patches import patch_codes
from model.world.plan import write_plan
from model.world.reasons import write_reason
from model.world.scene import Scene, random_scene, render
from model.world.verifier import accepted, check, read


@dataclass(frozen=True)
class Mix:
    """Shares of the tasks; the paper's are draw 0.2, judge 0.3, redraw 0.5 of a pretrained model."""

    draw: float
    judge: float
    redraw: float
    caption: float  # say what is seen, as a thought would
    locate: float  # say it place by place, which is learnt first
    thinking: float = 0.75  # share of draw and redraw lessons with a thought
    dropout: float = 0.05  # share of draw and redraw lessons without condition
    noise: float = 6.0  # most standard deviation of pixel noise, of 255, of images that are looked at


# A judge that cannot see yet learns nothing: 1,000 steps of all tasks together left it at chance.
SEE_AND_DRAW = Mix(draw=0.5, judge=0.0, redraw=0.0, caption=0.15, locate=0.35)
ALL_TASKS = Mix(draw=0.30, judge=0.40, redraw=0.15, caption=0.05, locate=0.10)
SEEING = 0.25  # share of a run's steps before the judge begins


def mix_at(step: int, steps: int) -> Mix:
    """What is taught at one step of a run from the codec on."""
    return SEE_AND_DRAW if step < SEEING * steps else ALL_TASKS


def world_lessons(janus: Janus, rng: random.Random, mix: Mix) -> Iterator[tuple[str, Lesson]]:
    """(task, lesson) without end."""
    tasks = {"draw": mix.draw, "judge": mix.judge, "redraw": mix.redraw, "caption": mix.caption, "locate": mix.locate}
    makers = {"draw": _draw, "judge": _judge, "redraw": _redraw, "caption": _caption, "locate": _locate}
    while True:
        task = rng.choices(list(tasks), list(tasks.values()))[0]
        description = sample_description(rng, rng.choice(CATEGORIES))
        lesson = makers[task](janus, rng, mix, description, sample_scene(rng, description))
        if task in ("draw", "redraw"):
            lesson = drop_condition(lesson, janus.ids.pad, rng, mix.dropout)
        yield task, lesson


def _thought(rng: random.Random, mix: Mix, scene: Scene) -> str | None:
    return " " + write_plan(scene) if rng.random() < mix.thinking else None


def _draw(janus, rng, mix, description: Description, scene: Scene) -> Lesson:
    return draw(janus, write(description), [], _thought(rng, mix, scene), patch_codes(render(scene)))


def _redraw(janus, rng, mix, description: Description, scene: Scene) -> Lesson:
    codes = None
    while codes is None:  # a cell of shuffled pixels has no code of its own
        _, wrong = spoil(rng, description, scene)
        codes = patch_codes(wrong)
    draft = Draft(reflect(rng, description, wrong), codes=codes)
    return draw(janus, write(description), [draft], _thought(rng, mix, scene), patch_codes(render(scene)))


def _judge(janus, rng, mix, description: Description, scene: Scene) -> Lesson:
    drafts = []
    if rng.random() < 0.3:
        _, wrong = spoil(rng, description, scene)
        drafts = [Draft(reflect(rng, description, wrong), image=noisy(rng, wrong, mix.noise))]
        scene = sample_scene(rng, description) if rng.random() < 0.5 else scene
    image = render(scene)
    if rng.random() < 0.5:
        image = _wrong(rng, description, scene)
    reflection = reflect(rng, description, image)
    return judge(janus, write(description), drafts, noisy(rng, image, mix.noise), reflection)


def _wrong(rng: random.Random, description: Description, scene: Scene) -> np.ndarray:
    """A drawing with one defect, or (one in three) of something else altogether, which is learnt first."""
    if rng.random() < 1 / 3:
        other = render(sample_scene(rng, sample_description(rng, rng.choice(CATEGORIES))))
        if not accepted(check(description, read(other))):
            return other
    return spoil(rng, description, scene)[1]


def _caption(janus, rng, mix, description: Description, scene: Scene) -> Lesson:
    if rng.random() < 0.5:
        scene = random_scene(rng, rng.randint(1, 6))
    return tell(janus, describe(), noisy(rng, render(scene), mix.noise), " " + write_plan(scene))


def _locate(janus, rng, mix, description: Description, scene: Scene) -> Lesson:
    scene = random_scene(rng, rng.randint(1, 7))
    text = ";".join(f" {item.column} {item.row} {item.colour} {item.noun}" for item in scene.items)
    return tell(janus, places(), noisy(rng, render(scene), mix.noise), text)


def reflect(rng: random.Random, description: Description, image: np.ndarray) -> str:
    """Verdict and reason, as the verifier sees it: “No, the car is red, not blue.”"""
    facts = check(description, read(image))
    verdict = "Yes" if accepted(facts) else "No"
    return verdict + write_reason(description, facts, rng)


def noisy(rng: random.Random, image: np.ndarray, most: float) -> np.ndarray:
    """Pixel noise of a random strength, so that the judge is used to a codec's small errors."""
    sigma = rng.random() * most
    noise = np.random.default_rng(rng.getrandbits(32)).normal(0, sigma, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)
