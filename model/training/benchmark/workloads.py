"""Workloads of the training benchmark: sequences and preferences of the embedded world."""

import random
from dataclasses import replace

from model.backends.janus import Janus
from model.training.preferences.reference import ReferencedRow
from model.training.training_sequences import JudgedDraft, TrainingSequence, draw, judge
from model.training.world_data.world_sequences import reflect, world_source
from model.world.defects import spoil
from model.world.language import write
from model.world.random_scenes import sample_scene
from model.world.scene import render
from model.world.splits import sample_training
from model.world.sprites import patch_codes

SECOND_IMAGES = 0.25  # share of the judged drawings, as in fine-tuning


def supervised(janus: Janus, seed: int, step: int, batch: int) -> list[TrainingSequence]:
    """Drawings, revisions, edits and judgements in the shares of fine-tuning, without auxiliary targets."""
    sequences = world_source(janus, "all", seed, batch)(step, slice(None))
    return [replace(each, targets=tuple(t for t in each.targets if not t.auxiliary)) for each in sequences]


def reflections(janus: Janus, seed: int, count: int) -> list[ReferencedRow]:
    """Pairs of reflections on a wrong drawing, SECOND_IMAGES of them the second of a trajectory: the true reason
    is preferred to that of another drawing."""
    rng = random.Random(f"{seed} pairs of reflections")
    rows: list[ReferencedRow] = []
    for _ in range(count):
        description = sample_training(rng)
        prompt, scene = write(description), sample_scene(rng, description)
        _, wrong = spoil(rng, description, scene)
        true = reflect(rng, description, wrong)
        other = reflect(rng, description, spoil(rng, description, scene)[1])
        false = other if other != true else reflect(rng, description, render(scene))
        first = spoil(rng, description, scene)[1]
        earlier = [JudgedDraft(reflect(rng, description, first), image=first)] if rng.random() < SECOND_IMAGES else []
        rows.append(ReferencedRow(tuple(judge(janus, prompt, earlier, wrong, words) for words in (true, false))))
    return rows


def drawings(janus: Janus, seed: int, count: int) -> list[ReferencedRow]:
    """Pairs of drawings of a prompt: one that shows it, and one with a defect."""
    rng = random.Random(f"{seed} pairs of drawings")
    rows: list[ReferencedRow] = []
    while len(rows) < count:
        description = sample_training(rng)
        prompt, scene = write(description), sample_scene(rng, description)
        codes = [patch_codes(picture) for picture in (render(scene), spoil(rng, description, scene)[1])]
        if None not in codes:
            rows.append(ReferencedRow(tuple(draw(janus, prompt, [], None, each or ()) for each in codes)))
    return rows
