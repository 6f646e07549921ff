"""Teach the eye words, and what the drawing hand knows: `python -m model.training.eye --checkpoint DIR --out DIR`

The understanding embedding of a patch learns to be the generation embedding of its image code plus the embeddings of
the words for what it shows (“ cat”, “ red”). So to the language model a drawn cat looks like the word, as through the
SigLIP of a pretrained network, and like the cat it drew. Only the understanding encoder and its aligner learn.
"""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

import torch
from accelerate import Accelerator

from model.checkpoint import CheckpointError, open_checkpoint
from model.janus import Janus
from model.training.descent import Log
from model.training.schedule import learning_rate_factor
from model.training.sft import write_checkpoint
from model.training.world_lessons import noisy
from model.world.patches import patch_codes
from model.world.scene import Scene, random_scene, render
from model.world.sprites import CELLS

NOISE = 6.0  # most standard deviation of pixel noise, of 255


def scenes(rng: random.Random, count: int) -> list[Scene]:
    return [random_scene(rng, rng.randint(3, 9)) for _ in range(count)]


@torch.no_grad()
def wanted_embeddings(janus: Janus, shown: list[Scene]) -> torch.Tensor:
    """(B, N, D): for every patch of exact pictures its generation embedding and its words."""
    wanted = janus.embed_codes(torch.tensor([patch_codes(render(scene)) for scene in shown], device=janus.device))
    for row, scene in enumerate(shown):
        for item in scene.items:
            ids = torch.tensor([janus.tokenize(f" {word}")[0] for word in (item.noun, item.colour)])
            cells = [(item.row + y) * CELLS + item.column + x for y in (0, 1) for x in (0, 1)]
            wanted[row, cells] += janus.embed_text(ids.to(janus.device)).sum(0)
    return wanted


def error(janus: Janus, rng: random.Random, shown: list[Scene]) -> torch.Tensor:
    """Squared distance of what is seen of noisy pictures from what is wanted, relative to how far that lies apart."""
    wanted = wanted_embeddings(janus, shown)
    images = [noisy(rng, render(scene), NOISE) for scene in shown]
    apart = (wanted - wanted.mean((0, 1))).square().mean()
    return (janus.embed_pixels(images) - wanted).square().mean() / apart


def train(janus: Janus, steps: int, batch: int, learning_rate: float, seed: int, out: Path, provenance: dict) -> None:
    model = janus.network.model
    parameters = [*model.vision_model.parameters(), *model.aligner.parameters()]
    optimizer = torch.optim.AdamW(parameters, learning_rate, betas=(0.9, 0.95), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate_factor(step, steps, 20))
    log = Log(out.parent / f"{out.name}.jsonl", Accelerator(), append=False, every=50)
    for step in range(steps):
        rng = random.Random(f"{seed} {step}")
        loss = error(janus, rng, scenes(rng, batch))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        log.write({"step": step, "error": loss.item()})
    write_checkpoint(janus, out, provenance | {"step": steps})


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m model.training.eye", description=__doc__.split("\n")[0])
    parser.add_argument("--checkpoint", required=True, help="whose eye it is")
    parser.add_argument("--steps", type=int, default=900)
    parser.add_argument("--batch", type=int, default=24, help="pictures per step")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="folder for the new checkpoint")
    arguments = parser.parse_args()
    try:
        janus = open_checkpoint(arguments.checkpoint, dtype=torch.float32)
        settings = {"parent": arguments.checkpoint, "recipe": "eye", "settings": {"steps": arguments.steps}}
        chosen = (arguments.steps, arguments.batch, arguments.learning_rate, arguments.seed, arguments.out)
        train(janus, *chosen, settings)
    except CheckpointError as error_:
        sys.exit(f"eye: {error_}")


if __name__ == "__main__":
    main()
