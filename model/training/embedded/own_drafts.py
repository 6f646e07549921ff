"""Drafts of a model, right and wrong, as training data for judging and redrawing.

    python -m model.training.embedded.own_drafts --checkpoint DIR --prompts 3000 --out drafts.parquet
    python -m model.training.sft --world --drafts drafts.parquet …

Constructed mistakes come first, when there is no model yet; its own are of other kinds and shares.
"""

import argparse
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from model.backends.checkpoint.loading import EMBEDDED
from model.backends.janus import Janus
from model.backends.request import Request
from model.decoding.janus_backend import JanusBackend
from model.decoding.load_for_inference import open_checkpoint
from model.evaluation.finished_rollouts import drawn_pictures
from model.training.dataset import DataError
from model.training.runs.command import bounded, run_command
from model.training.world_data.drafts import PolicyDraft, RejectedDraft, check_place, write_drafts
from model.trajectory import Image, Reflection, Thought, Trajectory
from model.world.language import CATEGORIES, Description, write
from model.world.splits import sample_training
from model.world.verifier import check, read, score

AT_ONCE = 64  # drawings


def make_drafts(
    janus: Janus, count: int, thinking: float, seed: int, category: str | None = None, rounds: int = 1
) -> Iterator[PolicyDraft]:
    """Drawings of `count` training prompts, of one category or of all, `thinking` of them after a thought: the first of
    each, and its redraws up to `rounds` images.
    """
    rng = random.Random(f"drafts {seed}")
    prompts = [sample_training(rng, category) for _ in range(count)]
    with_thought = round(count * thinking) if janus.sampling.thinks else 0
    rng.shuffle(prompts)
    for thinks, part in ((True, prompts[:with_thought]), (False, prompts[with_thought:])):
        sampling = replace(janus.sampling, thinks=thinks)
        requests = [
            Request(write(description), seed + i, rounds, sampling, preview_every=None, id=str(i))
            for i, description in enumerate(part)
        ]
        for name, trajectory, pictures in drawn_pictures(JanusBackend(janus), requests, AT_ONCE):
            yield from drafts_of(part[int(name)], trajectory, pictures)


def drafts_of(
    description: Description, trajectory: Trajectory, pictures: Sequence[np.ndarray]
) -> Iterator[PolicyDraft]:
    """A draft of every image of a trajectory, with the images, thoughts and reflections before it; `pictures` are its
    decoded images in order."""
    earlier: list[RejectedDraft] = []
    thought, remaining = None, iter(pictures)
    for segment in trajectory.segments:
        match segment:
            case Thought():
                thought = segment.text
            case Image():
                codes, picture = segment.codes, next(remaining)
                facts = check(description, read(picture))
                yield PolicyDraft(description, codes, picture, score(facts), thought, tuple(earlier))
            case Reflection():
                earlier.append(RejectedDraft(codes, picture, segment.text, thought))
                thought = None


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m model.training.embedded.own_drafts", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--checkpoint", default=str(EMBEDDED), help="what draws (default: embedded)")
    parser.add_argument("--prompts", type=int, default=3000, help="of the training split, one trajectory each")
    parser.add_argument("--category", choices=CATEGORIES, help="of the prompts (default: all)")
    parser.add_argument("--thinking", type=float, default=0.5, help="share drawn after a thought")
    parser.add_argument("--rounds", type=bounded(int, 1, 16), default=1, help="images at most: redraws are drafts, too")
    parser.add_argument("--temperature", type=float, default=1.0, help="of image codes and thoughts")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="a .parquet file")
    arguments = parser.parse_args()
    run_command("drafts", lambda: run(arguments), DataError)


def run(arguments: argparse.Namespace) -> None:
    """Raises CheckpointError and DataError."""
    check_place(arguments.out)
    janus = open_checkpoint(arguments.checkpoint)
    if janus.small:
        torch.set_num_threads(1)
    hot = {"temperature": arguments.temperature, "text_temperature": arguments.temperature}
    janus.sampling = replace(janus.sampling, **hot)
    asked = arguments.prompts, arguments.thinking, arguments.seed, arguments.category, arguments.rounds
    drafts = list(make_drafts(janus, *asked))
    write_drafts(drafts, arguments.out)
    print(f"{len(drafts)} drafts, {sum(draft.right for draft in drafts)} of them right: {arguments.out}")


if __name__ == "__main__":
    main()
