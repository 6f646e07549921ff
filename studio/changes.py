"""What a visitor asks to change in a drawing, as the page sends it, and the branch that comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from model.branches import Branch, BranchError, afresh, with_codes, with_reflection, with_thought
from model.janus import Janus
from model.trajectory import Source, Trajectory


def branch_of(janus: Janus, trajectory: Trajectory, asked: Mapping[str, Any]) -> Branch:
    """`asked` has `segment` and `what`: a thought (`text`), a reflection (`answer`, `text`), codes (`codes`: pairs of
    raster index and code) or a seed. Raises BranchError.
    """
    if trajectory.checkpoint != janus.name:
        raise BranchError(
            f"this was drawn by {trajectory.checkpoint}; here {janus.name} draws, which cannot go on from it"
        )
    if any(isinstance(segment, Source) for segment in trajectory.segments):
        raise BranchError("an edited image has no rounds to go on from; draw something instead")
    try:
        segment, what, text = int(asked["segment"]), str(asked["what"]), str(asked.get("text", ""))
        codes = {int(index): int(code) for index, code in asked.get("codes") or ()}
    except (KeyError, TypeError, ValueError) as error:
        raise BranchError("the page sent a change that cannot be read; load it again") from error
    match what:
        case "thought":
            return with_thought(janus, trajectory, segment, text)
        case "reflection":
            return with_reflection(janus, trajectory, segment, str(asked.get("answer")), text)
        case "codes":
            return with_codes(trajectory, segment, codes, janus.network.config.vq_config.num_embeddings)
        case "seed":
            return afresh(trajectory, segment)
    raise BranchError(f"got the change {what[:20]!r}; there are thought, reflection, codes and seed")
