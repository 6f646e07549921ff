"""A visitor's change of a trajectory, validated, as a branch request."""

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from model.backends.contract import Backend
from model.branches import Branch, BranchError, afresh, with_codes, with_perturbation, with_reflection, with_thought
from model.images import read_rgb
from model.trajectory import Sampling, Source, Trajectory
from studio.inference.checkpoints import Checkpoints, PersonalCheckpoints
from studio.inference.draw_request import new_seed
from studio.inference.generator import MOST_VISITOR_ROUNDS, Generator

CHANGE = ("run", "segment", "what", "text", "answer", "codes")  # the fields that a page sends


def continued(
    checkpoints: Checkpoints | PersonalCheckpoints, change: Mapping[str, Any]
) -> tuple[Generator, dict[str, Any]]:
    """(generator, keyword arguments of its `stream`) for a change of the trajectory `change["run"]`. Raises
    BranchError, AnnotationsError, CheckpointError."""
    parent = checkpoints.first.store.trajectory(str(change.get("run") or ""))
    generator = checkpoints.named(parent.checkpoint)
    if change.get("what") == "perturb":
        branch = perturbed(generator, parent)
        sampling = perturbed_sampling(generator.sampling, parent.sampling)
    else:
        branch = branch_of(generator.backend, parent, change)
        sampling = parent.sampling
    return generator, {
        "prompt": parent.prompt,
        "seed": new_seed() if change["what"] == "seed" else parent.seed,
        "rounds": min(max(parent.rounds, branch.images + 1), MOST_VISITOR_ROUNDS),
        "sampling": sampling,
        "branch": branch,
    }


def branch_of(backend: Backend, trajectory: Trajectory, change: Mapping[str, Any]) -> Branch:
    """`change` has `segment` and `what`: a thought (`text`), a reflection (`answer`, `text`), codes (`codes`: pairs of
    raster index and code) or a seed. Raises BranchError.
    """
    if any(isinstance(segment, Source) for segment in trajectory.segments):
        raise BranchError("an edited image has no rounds to go on from; draw something instead")
    try:
        segment, what, text = int(change["segment"]), str(change["what"]), str(change.get("text") or "")
        codes = {int(index): int(code) for index, code in change.get("codes") or ()}
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise BranchError("the page sent a change that cannot be read; load it again") from error
    match what:
        case "thought":
            return with_thought(backend, trajectory, segment, _plan(backend, text))
        case "reflection":
            return with_reflection(backend, trajectory, segment, str(change.get("answer")), text)
        case "codes":
            return with_codes(backend, trajectory, segment, codes)
        case "seed":
            return afresh(trajectory, segment)
    raise BranchError(f"got the change {what[:20]!r}; there are thought, reflection, codes and seed")


def perturbed(generator: Generator, trajectory: Trajectory) -> Branch:
    """The branch in which one object of the last image is changed without the model's knowledge. Raises BranchError,
    AnnotationsError."""
    shown = [image.sha256 for image in trajectory.images if image.sha256]
    if not shown:
        raise BranchError("there is no finished image to change")
    picture = np.asarray(read_rgb(generator.store.picture(shown[-1])))
    return with_perturbation(generator.backend, trajectory, picture, random.Random())


def perturbed_sampling(own: Sampling, parent: Sampling) -> Sampling:
    """The checkpoint's own settings, with a plan before every redraw, as it repairs best; before a first draft only
    where the parent was planned first."""
    if not own.thinks:
        return own
    return replace(own, thinks=parent.thinks, thinks_after_no=not parent.thinks)


def _plan(backend: Backend, text: str) -> str:
    """Plan text in the form that the backend was trained to read. Raises BranchError."""
    try:
        return backend.domain.plan(text)
    except ValueError as error:
        raise BranchError(str(error)) from error
