"""Drawings in a store, a project for each source of answers, answers through the queue, exports.

Everything is done by the studio's own store, assignment, submission and exports. What is there already is not done
again: drawings are found by their ids, answers by the project's completed items, exports by their manifests.
"""

import io
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path

import numpy as np
from PIL import Image as Picture

from annotations.errors import NotFoundError, NothingToExportError
from annotations.export.exporter import export
from annotations.export.manifest import MANIFEST
from annotations.export.query import Query
from annotations.ops.queue_checks import completed_items
from annotations.queue.assignment import claim
from annotations.queue.submission import submit
from annotations.schema.annotation import Annotation
from annotations.schema.forms.rating import Rating
from annotations.schema.project import Project
from annotations.schema.questions import (
    NO,
    QUESTIONS,
    REASON_CORRECTION,
    REASON_RATING,
    VERDICT_RIGHT,
    YES,
    Question,
    questions_about,
)
from annotations.store.items import NewItem
from annotations.store.store import Store
from model.backends.contract import Backend
from model.backends.request import Request
from model.evaluation.finished_rollouts import drawn_pictures
from model.evaluation.simulated_annotators import SimulatedAnnotator, SimulatedAnswer
from model.images import encode_png
from model.trajectory import Image, Reflection, Trajectory
from model.world.language import write
from model.world.splits import sample_training

ANNOTATORS = tuple(f"simulated-{number}" for number in range(1, 6))
DRAWINGS_OF_A_PROMPT = 2  # so that the better of two can be preferred
ALIGNMENT = Question("alignment", Image.kind, Rating(), "Does it show what was asked for?")
GUIDELINES = "Answered by simulated annotators: no person has seen these items."

Drawing = tuple[Trajectory, list[np.ndarray]]


@dataclass(frozen=True)
class DrawingSettings:
    """What is drawn to be annotated: prompts of the training split, without a plan."""

    count: int
    hard: float = 0.5  # share of hard prompts
    rounds: int = 2
    batch: int = 32
    seed: int = 0


def drawing_requests(settings: DrawingSettings, backend: Backend) -> list[Request]:
    """Two drawings of every prompt, ids in order."""
    rng, prompts = random.Random(f"study {settings.seed}"), []
    sampling = replace(backend.sampling, thinks=False, thinks_after_no=False)
    while len(prompts) * DRAWINGS_OF_A_PROMPT < settings.count:
        prompts.append(write(sample_training(rng, "hard" if rng.random() < settings.hard else None)))
    first = 10_000_000 * (settings.seed + 1)
    return [
        Request(
            prompts[number // DRAWINGS_OF_A_PROMPT], first + number, settings.rounds, sampling, None, id=f"{number:06d}"
        )
        for number in range(settings.count)
    ]


def draw(store: Store, backend: Backend, settings: DrawingSettings) -> list[str]:
    """Draws what the store does not have yet; the ids of all in order."""
    requests = [replace(request, id=f"study-{request.id}") for request in drawing_requests(settings, backend)]
    known = store.visible([request.id for request in requests])
    missing = [request for request in requests if request.id not in known]
    for _, trajectory, pictures in drawn_pictures(backend, missing, settings.batch) if missing else ():
        shown = zip(trajectory.images, pictures, strict=True)
        pngs = {image.sha256: encode_png(Picture.fromarray(picture)) for image, picture in shown}
        store.save(trajectory, pngs, owner="study")
    return [request.id for request in requests]


def drawing(store: Store, trajectory_id: str) -> Drawing:
    """A stored drawing and its pictures (H, W, 3) uint8."""
    trajectory = store.trajectory(trajectory_id)
    pngs = [store.picture(image.sha256) for image in trajectory.images]
    return trajectory, [np.asarray(Picture.open(io.BytesIO(png)).convert("RGB")) for png in pngs]


def open_project(store: Store, name: str, drawings: Sequence[str]) -> None:
    """A project of this id, whose items are the drawings in their order."""
    try:
        store.project(name)
    except NotFoundError:
        questions = (*questions_about(Reflection.kind, QUESTIONS), ALIGNMENT)
        store.create_project(Project(name, f"Study: {name}", questions, Reflection.kind, GUIDELINES))
    store.add_items(name, [NewItem(trajectory_id) for trajectory_id in drawings])


def answer(store: Store, project: str, simulated: SimulatedAnnotator, count: int) -> int:
    """Annotators in turn claim and submit until `count` items are completed; returns how many are."""
    done = completed_items(store, project)
    for annotator in cycle(ANNOTATORS):
        if done >= count:
            break
        assignment = claim(store, project, annotator)
        if assignment is None:
            break
        trajectory, pictures = drawing(store, assignment.trajectory_id)
        submit(store, assignment.item, annotator, list(answers(trajectory, pictures, simulated, annotator)))
        done += 1
    return done


def answers(
    trajectory: Trajectory, pictures: Sequence[np.ndarray], simulated: SimulatedAnnotator, annotator: str
) -> Iterator[Annotation]:
    """What an annotator submits about a drawing: of every reflection, and of every image that is scored."""
    places = {
        kind: [at for at, segment in enumerate(trajectory.segments) if isinstance(segment, kind)]
        for kind in (Reflection, Image)
    }
    for number, (reflection, image) in enumerate(zip(places[Reflection], places[Image], strict=True)):
        simulated_answer = simulated.answer(trajectory, number, pictures[number])
        yield Annotation(trajectory.id, reflection, annotator, _of_reflection(trajectory, number, simulated_answer))
        if simulated_answer.score is not None:
            yield Annotation(
                trajectory.id,
                image,
                annotator,
                {ALIGNMENT.name: _rating(simulated_answer.right, simulated_answer.score)},
            )


def _rating(right: bool, score: float) -> int:
    """5 of what is right, 1 to 3 of what is not, however much of it is."""
    return 5 if right else 1 + round(2 * score)


def _of_reflection(trajectory: Trajectory, number: int, simulated_answer: SimulatedAnswer) -> dict[str, str | int]:
    agrees = simulated_answer.right == (trajectory.reflections[number].answer == "yes")
    verdict: dict[str, str | int] = {VERDICT_RIGHT: YES if agrees else NO}
    if simulated_answer.reason is None:
        return verdict | {REASON_RATING: 5}
    return verdict | {REASON_RATING: 1, REASON_CORRECTION: simulated_answer.reason}


def export_kinds(store: Store, project: str, kinds: Sequence[str], folder: Path) -> dict[str, Path]:
    """The exports of a project that have rows, by kind."""
    made = {}
    for kind in kinds:
        out = folder / kind
        if not (out / MANIFEST).exists():
            try:
                export(store, kind, out, query=Query(projects=(project,)))
            except NothingToExportError:
                continue
        made[kind] = out
    return made
