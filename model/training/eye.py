"""Teach the eye what the drawing hand knows: `python -m model.training.eye --checkpoint DIR --out DIR`

The understanding embedding of a patch learns to be the generation embedding of its image code. Then what the language
model learns of images as codes (drawing, mending, editing) it knows of images as pixels too (judging), which stands
where a pretrained network has its SigLIP. Only the understanding encoder and its aligner learn.
"""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator

from model.checkpoint import CheckpointError, open_checkpoint
from model.janus import Janus
from model.training.descent import Log
from model.training.schedule import learning_rate_factor
from model.training.sft import write_checkpoint
from model.training.world_lessons import noisy
from model.world.patches import patch_codes
from model.world.scene import random_scene, render

NOISE = 6.0  # most standard deviation of pixel noise, of 255


def pictures(rng: random.Random, count: int) -> tuple[list[np.ndarray], torch.Tensor]:
    """Noisy pictures of random scenes, and the image codes of the exact ones, (count, N)."""
    exact = [render(random_scene(rng, rng.randint(3, 9))) for _ in range(count)]
    return [noisy(rng, image, NOISE) for image in exact], torch.tensor([patch_codes(image) for image in exact])


def error(janus: Janus, images: list[np.ndarray], codes: torch.Tensor) -> torch.Tensor:
    """Squared distance of understanding from generation embeddings, relative to how far those lie apart."""
    with torch.no_grad():
        wanted = janus.embed_codes(codes)
    apart = (wanted - wanted.mean((0, 1))).square().mean()
    return (janus.embed_pixels(images) - wanted).square().mean() / apart


def train(janus: Janus, steps: int, batch: int, learning_rate: float, seed: int, out: Path, provenance: dict) -> None:
    model = janus.network.model
    parameters = [*model.vision_model.parameters(), *model.aligner.parameters()]
    optimizer = torch.optim.AdamW(parameters, learning_rate, betas=(0.9, 0.95), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate_factor(step, steps, 20))
    log = Log(out.parent / f"{out.name}.jsonl", Accelerator(), append=False, every=50)
    for step in range(steps):
        loss = error(janus, *pictures(random.Random(f"{seed} {step}"), batch))
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
