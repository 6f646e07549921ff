"""How often prompts end in an aha moment: `python -m model.evaluation.aha --seeds 2 --prompts FILE`

With the settings that the studio ships: a draft at once, a plan after a no. Then those drawings that ended in a yes
with one object changed by `Domain.perturb` (recoloured, moved, removed or doubled): does the model notice, and repair
it, with its own settings? `--plan-first` has it write a plan before the first draft, too.
"""

import argparse
import json
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image as Picture

from model.backends.contract import Backend, CheckpointError
from model.backends.registry import DEFAULT, open_backend
from model.backends.request import Request, RequestError
from model.branches import BranchError, with_perturbation
from model.distributed.prompt_file import read_prompt_file
from model.evaluation.finished_rollouts import drawn_pictures
from model.images import encode_png
from model.trajectory import Sampling, Trajectory

PROMPTS = (
    "a blue dog", "three apples", "two yellow birds", "a moon and a tree", "a red key right of a flower",
    "a cat above a car", "four hearts", "a pink house and a black fish", "a purple star below an orange boat",
    "two keys and a mushroom", "a green umbrella", "a dog left of a cat", "a yellow heart and a blue tree",
    "two boats above a fish", "three pink flowers", "a black bird and an orange apple", "an umbrella below two moons",
    "a red mushroom right of a green house", "two stars and two cars", "a blue key above an orange dog",
)  # fmt: skip


@dataclass(frozen=True)
class TryCount:
    """So many of a number of tries."""

    count: int
    tries: int

    def __str__(self) -> str:
        return f"{self.count} of {self.tries}" + (f" ({self.count / self.tries:.0%})" if self.tries else "")


@dataclass(frozen=True)
class AhaRates:
    """Results of drawing the prompts, and of putting mistakes into the drawings that the model said yes to."""

    aha: TryCount  # drawings with an aha moment of the model's own
    sent_back: TryCount  # first drafts that the model said no to
    noticed: TryCount  # changed drawings that it said no to
    repaired: TryCount  # changed drawings that end in an aha moment


def aha_rates(backend: Backend, prompts: Sequence[str], sampling: Sampling, *, seeds: int, rounds: int) -> AhaRates:
    """Draws every prompt with the seeds 0 to `seeds` − 1, then changes what it said yes to. Raises RequestError."""
    requests = [Request(prompt, seed, rounds, sampling, None) for prompt in prompts for seed in range(seeds)]
    drawn, changed = [], []
    for _, trajectory, pictures in drawn_pictures(backend, requests, batch=32):
        drawn.append(trajectory)
        if trajectory.reflections[-1].answer == "yes" and (request := changed_request(backend, trajectory, pictures)):
            changed.append(request)
    after = [trajectory for _, trajectory, _ in drawn_pictures(backend, changed, batch=32)]
    first = {request.id: len(request.prefix) for request in changed}
    noticed = sum(trajectory.segments[first[trajectory.id]].answer == "no" for trajectory in after)
    return AhaRates(
        aha=TryCount(sum(trajectory.aha for trajectory in drawn), len(drawn)),
        sent_back=TryCount(sum(trajectory.reflections[0].answer == "no" for trajectory in drawn), len(drawn)),
        noticed=TryCount(noticed, len(after)),
        repaired=TryCount(sum(trajectory.aha for trajectory in after), len(after)),
    )


def changed_request(backend: Backend, trajectory: Trajectory, pictures: Sequence[np.ndarray]) -> Request | None:
    """A request that goes on from the last image with one object of it changed; None where none can be."""
    try:
        branch = with_perturbation(backend, trajectory, pictures[-1], random.Random(trajectory.seed))
    except BranchError:
        return None
    shown = {
        image.sha256: encode_png(Picture.fromarray(picture))
        for image, picture in zip(trajectory.images, pictures, strict=True)
    }
    begun = {"prefix": branch.prefix, "parent": branch.parent, "pictures": shown}
    return Request(trajectory.prompt, trajectory.seed, trajectory.rounds, None, None, **begun)


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(prog="python -m model.evaluation.aha", description=__doc__.split("\n")[0])
    result.add_argument("--checkpoint", default=DEFAULT, help="a folder or Hub id (default: embedded)")
    result.add_argument("--prompts", type=Path, help="a text file with one prompt a line (default: twenty of its own)")
    result.add_argument("--seeds", type=int, default=2, help="drawings of each prompt")
    result.add_argument("--rounds", type=int, default=3, help="images at most")
    result.add_argument("--plan-first", action="store_true", help="a plan before the first draft, too")
    result.add_argument("--temperature", type=float, help="of image codes (default: the checkpoint's)")
    result.add_argument("--json", action="store_true", help="print JSON")
    return result


def main() -> None:
    arguments = parser().parse_args()
    try:
        prompts = read_prompt_file(arguments.prompts) if arguments.prompts else PROMPTS
        backend = open_backend(arguments.checkpoint)
        sampling = backend.sampling if arguments.plan_first else backend.domain.first_draft(backend.sampling)
        if arguments.temperature is not None:
            sampling = replace(sampling, temperature=arguments.temperature)
        rates = aha_rates(backend, prompts, sampling, seeds=arguments.seeds, rounds=arguments.rounds)
    except (CheckpointError, RequestError, OSError) as error:
        sys.exit(f"aha: {error}")
    if arguments.json:
        print(json.dumps({name: vars(share) for name, share in vars(rates).items()}))
        return
    print(f"sent back by the model itself   {rates.sent_back}")
    print(f"ends in its own aha moment      {rates.aha}")
    print(f"one object changed: noticed     {rates.noticed}")
    print(f"… and ends in an aha moment     {rates.repaired}")


if __name__ == "__main__":
    main()
