"""A visitor's change of a trajectory, validated, as a branch request."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from model.backends.janus import Janus
from model.branches import Branch, BranchError, afresh, with_codes, with_reflection, with_thought
from model.trajectory import Source, Trajectory
from model.world.plan import read_items, write_items
from model.world.scene import Item, Scene
from studio.inference.checkpoints import Checkpoints
from studio.inference.draw_request import new_seed
from studio.inference.generator import MOST_ROUNDS, Generator

LONGEST_LINE = 80  # characters; what is longer is no line of a plan
CHANGE = ("run", "segment", "what", "text", "answer", "codes")  # the fields that a page sends


def continued(checkpoints: Checkpoints, change: Mapping[str, Any]) -> tuple[Generator, dict[str, Any]]:
    """Who goes on from the trajectory `run` with a change, and what to ask of its `stream`. Raises BranchError,
    AnnotationsError, CheckpointError.
    """
    parent = checkpoints.first.store.trajectory(str(change.get("run") or ""))
    generator = checkpoints.named(parent.checkpoint)
    branch = branch_of(generator.janus, parent, change)
    return generator, {
        "prompt": parent.prompt,
        "seed": new_seed() if change["what"] == "seed" else parent.seed,
        "rounds": min(max(parent.rounds, branch.images + 1), MOST_ROUNDS),
        "sampling": parent.sampling,
        "branch": branch,
    }


def branch_of(janus: Janus, trajectory: Trajectory, change: Mapping[str, Any]) -> Branch:
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
            return with_thought(janus, trajectory, segment, readable(text) if janus.embedded_world else text)
        case "reflection":
            return with_reflection(janus, trajectory, segment, str(change.get("answer")), text)
        case "codes":
            return with_codes(janus, trajectory, segment, codes)
        case "seed":
            return afresh(trajectory, segment)
    raise BranchError(f"got the change {what[:20]!r}; there are thought, reflection, codes and seed")


def readable(plan: str) -> str:
    """A plan of the embedded world as the network was taught to read it. Raises BranchError for a line that cannot be
    read; where the objects stand is the person's own affair.
    """
    lines = [" ".join(line.split()) for line in re.split(r"[;\n]", plan)]
    return write_items([_item(number, line) for number, line in enumerate(filter(None, lines), start=1)])


def _item(number: int, line: str) -> Item:
    shown = f"line {number} of the plan is “{line[:LONGEST_LINE]}”"
    try:
        [item] = read_items(line[:LONGEST_LINE])
    except ValueError as error:
        raise BranchError(f"{shown}; it should read like “red apple at 2 3”: colour, thing, column and row") from error
    try:
        Scene((item,))
    except ValueError as error:
        raise BranchError(f"{shown}: {error}") from error
    return item
