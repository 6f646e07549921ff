"""Train the understanding embedding on the embedded world's patches.

    python -m model.training.embedded.understanding --checkpoint DIR --out DIR

The understanding embedding of a patch learns to be the generation embedding of its image code, plus the embeddings of
the words for what it shows (“ cat”, “ red”, or “ broken”), plus where it is, in two dimensions. So to the language
model a drawn cat looks like the word and stands at a place, as through the SigLIP of a pretrained network, and looks
like the cat it drew. Only the understanding encoder and its aligner learn.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator

from model.backends.checkpoint import open_checkpoint
from model.backends.janus import Janus
from model.training.embedded.network import sine_positions
from model.training.embedded.world_sequences import noisy
from model.training.metrics_log import Log
from model.training.optimization import check_finite, descend, new_optimizers, new_schedules
from model.training.run_folder import RunPaths, reporting
from model.training.settings import BOUNDS, bounded
from model.training.sft import write_checkpoint
from model.world.defects import smeared
from model.world.patches import PATCHES, cells
from model.world.scene import random_scene, render
from model.world.sprites import CELLS
from model.world.verifier import read

NOISE = 6.0  # most standard deviation of pixel noise, of 255


def pictures(rng: random.Random, count: int) -> list[np.ndarray]:
    """Exact pictures, uint8 (64, 64, 3); every other one has smeared sprites."""
    scenes = [random_scene(rng, rng.randint(3, 9)) for _ in range(count)]
    return [smeared(rng, scene) if row % 2 else render(scene) for row, scene in enumerate(scenes)]


@torch.no_grad()
def wanted_embeddings(janus: Janus, shown: Sequence[np.ndarray]) -> torch.Tensor:
    """(B, N, D): for every patch of exact pictures its generation embedding, if it is one's, its words, its place."""
    codes = torch.tensor([[PATCHES.get(cell, -1) for cell in cells(image)] for image in shown], device=janus.device)
    wanted = janus.embed_codes(codes.clamp(min=0)) * (codes >= 0)[..., None]

    def words(*said: str) -> torch.Tensor:
        ids = torch.tensor([janus.tokenize(f" {word}")[0] for word in said], device=janus.device)
        return janus.embed_text(ids).sum(0)

    for row, image in enumerate(shown):
        reading = read(image)
        for item in reading.items:
            quarters = [(item.row + y) * CELLS + item.column + x for y in (0, 1) for x in (0, 1)]
            wanted[row, quarters] += words(item.noun, item.colour)
        for column, line in reading.broken:
            wanted[row, line * CELLS + column] += words("broken")
    return wanted + sine_positions(CELLS, wanted.shape[-1]).to(wanted)


def error(janus: Janus, rng: random.Random, shown: Sequence[np.ndarray]) -> torch.Tensor:
    """Squared distance of what is seen of noisy pictures from what is wanted, relative to how far that lies apart."""
    wanted = wanted_embeddings(janus, shown)
    images = [noisy(rng, image, NOISE) for image in shown]
    apart = (wanted - wanted.mean((0, 1))).square().mean()
    return (janus.embed_pixels(images) - wanted).square().mean() / apart


def train(janus: Janus, steps: int, batch: int, rates: tuple[float, float], seed: int, out: Path, provenance: dict):
    """`rates`: AdamW's and Muon's."""
    accelerator, model = Accelerator(), janus.network.model
    parameters = [*model.vision_model.parameters(), *model.aligner.parameters()]
    optimizers = new_optimizers(janus, parameters, rates[0], 0.0, rates[1])
    schedules = new_schedules(optimizers, steps, warmup=20)
    place = RunPaths(out)
    place.check(provenance["parent"])
    log = Log(place.log, accelerator, steps=steps, first=0, every=50)
    for step in range(steps):
        rng = random.Random(f"{seed} {step}")
        loss = error(janus, rng, pictures(rng, batch))
        check_finite({"error": loss.item()})
        loss.backward()
        descend(accelerator, parameters, optimizers, clip=1.0)
        for schedule in schedules:
            schedule.step()
        log.write({"step": step, "error": loss.item()})
    write_checkpoint(janus, out, provenance | {"step": steps})


def run(arguments: argparse.Namespace) -> None:
    RunPaths(arguments.out).check(arguments.checkpoint)
    janus = open_checkpoint(arguments.checkpoint, dtype=torch.float32)
    chosen = {name: value for name, value in vars(arguments).items() if name not in ("checkpoint", "out")}
    settings = {"parent": arguments.checkpoint, "recipe": "eye", "settings": chosen}
    rates = (arguments.learning_rate, arguments.muon)
    train(janus, arguments.steps, arguments.batch, rates, arguments.seed, arguments.out, settings)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m model.training.embedded.understanding", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--checkpoint", required=True, help="whose eye it is")
    count, rate = bounded(int, *BOUNDS["steps"]), bounded(float, *BOUNDS["learning_rate"])
    parser.add_argument("--steps", type=count, default=900)
    parser.add_argument("--batch", type=count, default=24, help="pictures per step")
    parser.add_argument("--learning-rate", type=rate, default=1e-3, help="AdamW's")
    parser.add_argument("--muon", type=rate, default=0.01, help="Muon's, for the matrices within the layers")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="folder for the new checkpoint")
    arguments = parser.parse_args()
    reporting("eye", lambda: run(arguments))


if __name__ == "__main__":
    main()
