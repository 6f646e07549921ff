"""Numbers of fixed scenes that a network judges right and of fixed prompts that it draws right, by the verifier."""

from dataclasses import replace

from model.backends.janus import Janus
from model.backends.request import Request
from model.decoding.janus_backend import JanusBackend
from model.evaluation.finished_rollouts import drawn_pictures
from model.training.adapters.teaching import verdicts_right
from model.training.world_data.world_sequences import world_source
from model.trajectory import Image
from model.world import verifier
from model.world.language import CATEGORIES, parse, write
from model.world.splits import held_out_prompts

JUDGED = 96  # scenes that are judged
DRAWN = 32  # prompts that are drawn
AT_ONCE = 16  # trajectories in one batch


def measured(janus: Janus) -> dict[str, list[int]]:
    """Of fixed scenes of the embedded world, how many are judged right; of fixed prompts, how many are drawn right."""
    judged = verdicts_right(janus, world_source(janus, "judge", 1, JUDGED)(10**6, slice(None)))
    prompts = held_out_prompts(DRAWN, CATEGORIES[:6], seed=1)
    how = replace(janus.sampling, thinks=False)
    requests = [Request(write(prompt), number, 1, how, id=f"{number:02}") for number, prompt in enumerate(prompts)]
    right = 0
    for _, trajectory, pictures in drawn_pictures(JanusBackend(janus), requests, AT_ONCE, progress=False):
        drawn = any(isinstance(segment, Image) for segment in trajectory.segments)
        facts = verifier.check(parse(trajectory.prompt), verifier.read(pictures[0])) if drawn and pictures else ()
        right += bool(facts) and verifier.accepted(facts)
    return {"judged": [sum(judged), len(judged)], "drawn": [right, len(requests)]}
