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
from model.training.lessons import Draft, Lesson, draw, drop_condition, edit, judge, tell
from model.world.defects import spoil
from model.world.edits import apply_edit, sample_edit, write_edit
from model.world.language import CATEGORIES, Description, sample_scene, write
from model.world.mending import mend
from model.world.patches import patch_codes
from model.world.plan import write_plan
from model.world.reasons import write_reason
from model.world.scene import Scene, random_scene, render
from model.world.splits import sample_training
from model.world.verifier import accepted, check, read


@dataclass(frozen=True)
class Mix:
    """Shares of the tasks; the paper's are draw 0.2, judge 0.3, redraw 0.5 of a pretrained model."""

    draw: float = 0.0
    judge: float = 0.0
    redraw: float = 0.0
    caption: float = 0.0  # say what is seen, as a thought would
    locate: float = 0.0  # say it place by place, which is learnt first
    edit: float = 0.0  # an image and an instruction → the edited image
    thinking: float = 0.75  # share of draw and redraw lessons with a thought
    dropout: float = 0.05  # share of draw and redraw lessons without condition
    obvious: float = 1 / 3  # share of wrong images that show something else altogether, the others have one defect
    drafts: float = 0.3  # share of judge lessons with an earlier image in their context, of redraw lessons with two
    noise: float = 6.0  # most standard deviation of pixel noise, of 255, of images that are looked at


# What a run teaches. A judge that cannot see yet learns nothing: 1,000 steps of all tasks together left it at chance.
# So the first run is to see and to draw. Mostly small defects at first cost the judge 300 steps more.
MIXES = {
    "see": Mix(draw=0.50, caption=0.15, locate=0.35),
    "obvious": Mix(draw=0.35, judge=0.40, redraw=0.10, caption=0.05, locate=0.10, obvious=1.0, drafts=0.0),
    "all": Mix(draw=0.30, judge=0.30, redraw=0.20, edit=0.10, caption=0.02, locate=0.08),
    "draw": Mix(draw=1.0),  # what a base model learns, which neither judges nor redraws
}


def world_lessons(janus: Janus, rng: random.Random, mix: Mix) -> Iterator[tuple[str, Lesson]]:
    """(task, lesson) without end."""
    shares = [getattr(mix, task) for task in _MAKERS]
    while True:
        [task] = rng.choices(list(_MAKERS), shares)
        description = sample_training(rng, rng.choice(CATEGORIES))
        lesson = _MAKERS[task](janus, rng, mix, description, sample_scene(rng, description))
        if task in ("draw", "redraw", "edit"):
            lesson = drop_condition(lesson, janus.ids.pad, rng, mix.dropout)
        yield task, lesson


def _thought(rng: random.Random, mix: Mix, scene: Scene) -> str | None:
    return " " + write_plan(scene) if rng.random() < mix.thinking else None


def _draw(janus, rng, mix, description: Description, scene: Scene) -> Lesson:
    return draw(janus, write(description), [], _thought(rng, mix, scene), patch_codes(render(scene)))


def _redraw(janus, rng, mix, description: Description, scene: Scene) -> Lesson:
    """The revision keeps what was right in the last draft: the thought answers the reason."""
    drafts = []
    for _ in range(1 + (rng.random() < mix.drafts)):
        codes = None
        while codes is None:  # a cell of shuffled pixels has no code of its own
            _, wrong = spoil(rng, description, scene)
            codes = patch_codes(wrong)
        drafts.append(Draft(reflect(rng, description, wrong), codes=codes))
        scene = mend(rng, description, read(wrong))
    return draw(janus, write(description), drafts, _thought(rng, mix, scene), patch_codes(render(scene)))


def _edit(janus, rng, mix, description: Description, scene: Scene) -> Lesson:
    change = None
    while change is None:
        try:
            change = sample_edit(rng, scene)
        except ValueError:  # a full scene of twins has nothing that an instruction could name
            scene = random_scene(rng, rng.randint(1, 5))
    after = apply_edit(rng, scene, change)
    source, codes = (patch_codes(render(each)) for each in (scene, after))
    return edit(janus, write_edit(change), source, _thought(rng, mix, after), codes)


def _judge(janus, rng, mix, description: Description, scene: Scene) -> Lesson:
    drafts = []
    if rng.random() < mix.drafts:
        _, wrong = spoil(rng, description, scene)
        drafts = [Draft(reflect(rng, description, wrong), image=noisy(rng, wrong, mix.noise))]
        scene = sample_scene(rng, description) if rng.random() < 0.5 else scene
    image = render(scene)
    if rng.random() < 0.5:
        image = _wrong(rng, mix, description, scene)
    reflection = reflect(rng, description, image)
    return judge(janus, write(description), drafts, noisy(rng, image, mix.noise), reflection)


def _wrong(rng: random.Random, mix: Mix, description: Description, scene: Scene) -> np.ndarray:
    """A drawing with one defect, or of something else altogether, which is learnt first."""
    while rng.random() < mix.obvious:
        other = render(sample_scene(rng, sample_training(rng, rng.choice(CATEGORIES))))
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


_MAKERS = {
    "draw": _draw,
    "judge": _judge,
    "redraw": _redraw,
    "edit": _edit,
    "caption": _caption,
    "locate": _locate,
}


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
