"""Rollouts on test prompts and edits, scored by the world's verifier.

The verifier reads finished pictures; the network never sees it. Knows no checkpoints and prints nothing.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from model.backends.contract import Backend
from model.backends.request import Request, Task
from model.evaluation.bootstrap import Figure, Mean, Proportion, auroc
from model.evaluation.finished_rollouts import drawn_pictures
from model.trajectory import Image, Reflection, Sampling, Thought, Trajectory
from model.world.edits import Edit, edited, sample_edit, touched, write_edit
from model.world.language import Description, category_of, write
from model.world.plan import read_plan
from model.world.random_scenes import sample_scene
from model.world.reasons import claim_holds, read_reason
from model.world.scene import Scene, render
from model.world.splits import GENEVAL, sample_test
from model.world.sprites import CELL
from model.world.verifier import Reading, accepted, check, read


@dataclass(frozen=True)
class Judged:
    """One trajectory and what the verifier reads in each of its pictures."""

    description: Description
    trajectory: Trajectory
    readings: tuple[Reading, ...]

    @property
    def right(self) -> list[bool]:
        """Whether each image is what was asked for."""
        return [accepted(check(self.description, reading)) for reading in self.readings]

    @property
    def first(self) -> bool:
        return self.right[:1] == [True]

    @property
    def final(self) -> bool:
        return self.right[-1:] == [True]

    @property
    def says(self) -> list[bool]:
        """Whether each image was judged yes."""
        return [reflection.answer == "yes" for reflection in self.trajectory.reflections]


@dataclass(frozen=True)
class Edited:
    """One edit: what was asked of which scene, and the picture that came."""

    edit: Edit
    before: Scene
    picture: np.ndarray

    @property
    def right(self) -> bool:
        return edited(self.edit, self.before, read(self.picture))

    @property
    def untouched_error(self) -> tuple[float, int]:
        """Summed absolute difference, of 255, over the pixels that should have stayed, and how many those are."""
        items = tuple(item for item in read(self.picture).items)
        stay = np.ones(self.picture.shape[:2], dtype=bool)
        for column, row in touched(self.edit, self.before, Scene(items)):
            stay[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL] = False
        off = np.abs(self.picture.astype(float) - render(self.before))[stay].mean(-1)
        return float(off.sum()), int(stay.sum())


def judge_all(
    backend: Backend, descriptions: Sequence[Description], sampling: Sampling, rounds: int, batch: int, seed: int
) -> list[Judged]:
    """Roll out every description once; the i-th has seed `seed + i`."""
    requests = drawing_requests(descriptions, sampling, rounds, seed)
    judged = dict(judge_requests(backend, requests, descriptions, batch))
    return [judged[i] for i in range(len(descriptions))]


def drawing_requests(descriptions: Sequence[Description], sampling: Sampling, rounds: int, seed: int) -> list[Request]:
    """A request for every description; the i-th has seed `seed + i`."""
    return [
        Request(write(description), seed + i, rounds, sampling, preview_every=None)
        for i, description in enumerate(descriptions)
    ]


def judge_requests(
    backend: Backend, requests: Sequence[Request], descriptions: Sequence[Description], batch: int
) -> Iterator[tuple[int, Judged]]:
    """(index, rollout) of every request, as they end; the verifier reads each picture for the index's description."""
    index_of = {request.id: index for index, request in enumerate(requests)}
    for name, trajectory, pictures in drawn_pictures(backend, requests, batch):
        index = index_of[name]
        yield index, Judged(descriptions[index], trajectory, tuple(map(read, pictures)))


def edit_all(
    backend: Backend, edits: Sequence[tuple[Scene, Edit]], sampling: Sampling, batch: int, seed: int
) -> list[Edited]:
    """Carry out every edit once, on the exact picture of its scene."""
    requests = [
        Request(write_edit(edit), seed + i, 1, sampling, None, task=Task.EDIT, source=render(scene), id=str(i))
        for i, (scene, edit) in enumerate(edits)
    ]
    edited = {int(name): pictures[-1] for name, _, pictures in drawn_pictures(backend, requests, batch)}
    return [Edited(edit, scene, edited[i]) for i, (scene, edit) in enumerate(edits)]


def held_out_edits(count: int, seed: int = 0) -> list[tuple[Scene, Edit]]:
    """The same edits of held-out scenes for every checkpoint."""
    rng, edits = random.Random(f"edits {seed}"), []
    while len(edits) < count:
        scene = sample_scene(rng, sample_test(rng, rng.choice(GENEVAL[1:])))
        try:
            edits.append((scene, sample_edit(rng, scene)))
        except ValueError:  # a scene of twins allows none
            continue
    return edits


def figures(judged: Sequence[Judged]) -> dict[str, Figure]:
    """All figures of drawing and judging, by the names under which they are printed."""

    def share(pairs) -> Proportion:
        return Proportion.from_pairs([pairs(rollout) for rollout in judged])

    def verdicts(rollout: Judged, *, right: bool, says: bool) -> tuple[int, int]:
        answers = [answer for true, answer in zip(rollout.right, rollout.says, strict=False) if true is right]
        return answers.count(says), len(answers)

    flagged = share(lambda rollout: verdicts(rollout, right=False, says=False))
    passed = share(lambda rollout: verdicts(rollout, right=True, says=True))
    rows: dict[str, Figure] = {"first draft": share(lambda rollout: (rollout.first, 1))}
    for category in dict.fromkeys(category_of(rollout.description) for rollout in judged):
        own = [category_of(rollout.description) == category for rollout in judged]
        pairs = [(rollout.first and mine, mine) for rollout, mine in zip(judged, own, strict=True)]
        rows[f"  {category}"] = Proportion.from_pairs(pairs)
    return rows | {
        "final image": share(lambda rollout: (rollout.final, 1)),
        "drawing follows thought": share(lambda rollout: _count(objects_kept(rollout))),
        "verdict, balanced": Mean((flagged, passed)),
        "  wrong images flagged": flagged,
        "  right images passed": passed,
        "reasons for no, true": share(lambda rollout: _count(reasons_true(rollout))),
        "flagged wrong images, a real defect named": share(
            lambda rollout: _count(reasons_true(rollout, of_wrong=True))
        ),
        "flagged drafts repaired": share(_repaired),
        "right drafts damaged": share(lambda rollout: (rollout.first and not rollout.final, rollout.first)),
        "images per prompt": share(lambda rollout: (len(rollout.readings), 1)),
    }


def edit_figures(edits: Sequence[Edited]) -> dict[str, Figure]:
    """The figures of editing; the error is a mean absolute difference of 255."""
    rows: dict[str, Figure] = {"edits right": Proportion.from_pairs([(case.right, 1) for case in edits])}
    for kind in sorted({case.edit.kind for case in edits}):
        rows[f"  {kind}"] = Proportion.from_pairs(
            [(case.right and case.edit.kind == kind, case.edit.kind == kind) for case in edits]
        )
    return rows | {"error where untouched": Proportion.from_pairs([case.untouched_error for case in edits])}


def verdict_auroc(judged: Sequence[Judged]) -> float | None:
    """How well p_yes tells right images from wrong ones, over all thresholds."""
    pairs = [
        (reflection.p_yes, right)
        for rollout in judged
        for right, reflection in zip(rollout.right, rollout.trajectory.reflections, strict=False)
    ]
    return auroc([p for p, _ in pairs], [right for _, right in pairs])


def _count(values: Sequence[bool]) -> tuple[int, int]:
    return sum(values), len(values)


def _repaired(rollout: Judged) -> tuple[int, int]:
    """Of wrong first drafts that were judged no: whether the last image is right."""
    flagged = not rollout.first and rollout.says[:1] == [False] and len(rollout.readings) > 1
    return flagged and rollout.final, flagged


def _planned(rollout: Judged) -> Iterator[tuple[Thought, Reading]]:
    """Every thought with the drawing after it; a drawing may have none."""
    thought, readings = None, iter(rollout.readings)
    for segment in rollout.trajectory.segments:
        if isinstance(segment, Thought):
            thought = segment
        elif isinstance(segment, Image) and (reading := next(readings, None)) is not None:
            if thought is not None:
                yield thought, reading
            thought = None


def objects_kept(rollout: Judged) -> list[bool]:
    """For every object of every thought: whether the drawing after it shows it where the thought says."""
    kept: list[bool] = []
    for thought, reading in _planned(rollout):
        try:
            planned = read_plan(thought.text).items
        except ValueError:
            kept.append(False)
            continue
        kept += [item in reading.items for item in planned]
    return kept


def reasons_true(rollout: Judged, *, of_wrong: bool = False) -> list[bool]:
    """For every reason for “no” (`of_wrong`: of a wrong image): whether the verifier finds the defect it names."""
    seen = zip(rollout.readings, rollout.trajectory.reflections, rollout.right, strict=False)
    return [
        reason_is_true(rollout.description, reading, reflection)
        for reading, reflection, right in seen
        if reflection.answer == "no" and not (right and of_wrong)
    ]


def reason_is_true(description: Description, reading: Reading, reflection: Reflection) -> bool:
    reason = "".join(token.text for token in reflection.tokens[1:])
    claim = read_reason(reason)
    return claim is not None and claim_holds(claim, description, reading)
