"""Train the understanding embedding on the embedded world's patches.

    python -m model.training.embedded.understanding --checkpoint DIR --out DIR

The understanding embedding of a patch learns to be the generation embedding of its image code, plus the embeddings of
the words for what it shows (“ cat”, “ red”, or “ broken”), plus where it is, in two dimensions. So to the language
model a drawn cat looks like the word and stands at a place, as through the SigLIP of a pretrained network, and looks
like the cat it drew. Only the understanding encoder and its aligner learn.
"""

import argparse
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from model.backends.janus import Janus
from model.decoding.load_for_inference import open_checkpoint
from model.training.embedded.network import sine_positions
from model.training.loop import Loop, ObjectiveBatches, StepData
from model.training.policy import network_run
from model.training.runs.command import run_method
from model.training.runs.folder import FROM_THE_START, RunPaths, RunStart
from model.training.runs.settings import loop_settings
from model.training.world_data.world_sequences import noisy
from model.world.defects import smeared
from model.world.scene import random_scene, render
from model.world.sprites import CELLS, PATCHES, cells
from model.world.verifier import read

NOISE = 6.0  # most standard deviation of pixel noise, of 255


@dataclass(frozen=True)
class UnderstandingSettings:
    """One run's choices; written into the checkpoint's provenance."""

    steps: int = 900
    batch: int = 24  # pictures per step
    learning_rate: float = 1e-3  # AdamW's peak
    muon: float = 0.01  # Muon's peak, for the matrices within the layers
    save_every: int = 300  # steps; 0 only at the end
    seed: int = 0


class PatchBatch(NamedTuple):
    """Noisy pictures, and the embeddings (B, N, D) they are to have."""

    images: list[np.ndarray]
    targets: torch.Tensor


class UnderstandingEncoder(torch.nn.Module):
    """Vision tower and aligner."""

    def __init__(self, janus: Janus):
        super().__init__()
        self.janus, model = janus, janus.network.requires_grad_(requires_grad=False).model
        self.vision_model = model.vision_model.requires_grad_()
        self.aligner = model.aligner.requires_grad_()

    def forward(self, images: Sequence[np.ndarray]) -> torch.Tensor:
        """B uint8 (H, W, 3) → (B, N, D)."""
        return self.janus.embed_pixels(images)


class RelativeError:
    """Squared distance of understanding embeddings to their targets, divided by the variance of these."""

    def totals(self, batch: PatchBatch) -> dict[str, int]:
        return {"pictures": len(batch.images)}

    def __call__(
        self, encoder: torch.nn.Module, batch: PatchBatch, totals: Mapping[str, float]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        variance = (batch.targets - batch.targets.mean((0, 1))).square().mean()
        error = (encoder(batch.images) - batch.targets).square().mean() / variance
        share = len(batch.images) / totals["pictures"] * error
        return share, {"error": share}


def pictures(rng: random.Random, count: int) -> list[np.ndarray]:
    """Exact pictures, uint8 (64, 64, 3); every other one has smeared sprites."""
    scenes = [random_scene(rng, rng.randint(3, 9)) for _ in range(count)]
    return [smeared(rng, scene) if row % 2 else render(scene) for row, scene in enumerate(scenes)]


@torch.no_grad()
def target_embeddings(janus: Janus, images: Sequence[np.ndarray]) -> torch.Tensor:
    """(B, N, D): of every patch the sum of those of its code (if it has one), its words and its place."""
    codes = torch.tensor([[PATCHES.get(cell, -1) for cell in cells(image)] for image in images], device=janus.device)
    targets = janus.embed_codes(codes.clamp(min=0)) * (codes >= 0)[..., None]

    def words(*names: str) -> torch.Tensor:
        ids = torch.tensor([janus.tokenize(f" {name}")[0] for name in names], device=janus.device)
        return janus.embed_text(ids).sum(0)

    for row, image in enumerate(images):
        reading = read(image)
        for item in reading.items:
            quarters = [(item.row + y) * CELLS + item.column + x for y in (0, 1) for x in (0, 1)]
            targets[row, quarters] += words(item.noun, item.colour)
        for column, line in reading.broken:
            targets[row, line * CELLS + column] += words("broken")
    return targets + sine_positions(CELLS, targets.shape[-1]).to(targets)


def patch_batch(janus: Janus, rng: random.Random, images: Sequence[np.ndarray]) -> PatchBatch:
    """Exact pictures with noise, and their targets."""
    return PatchBatch([noisy(rng, image, NOISE) for image in images], target_embeddings(janus, images))


def train(
    janus: Janus, settings: UnderstandingSettings, out: Path, provenance: dict, start: RunStart = FROM_THE_START
) -> None:
    """Start or resume a run. Raises CheckpointError and TrainingError."""
    loop = Loop(loop_settings(settings))

    def data(step: int) -> StepData:
        rng = random.Random(f"{settings.seed} {step}")
        batch = patch_batch(janus, rng, pictures(rng, settings.batch)[loop.rank_slice])
        return StepData([ObjectiveBatches(RelativeError(), [batch])])

    loop.train(network_run(janus, UnderstandingEncoder(janus), out, provenance, start, printed_every=50), data)


def run(arguments: argparse.Namespace, settings: UnderstandingSettings, start: RunStart) -> None:
    RunPaths(arguments.out).check(arguments.checkpoint)
    janus = open_checkpoint(arguments.checkpoint, dtype=torch.float32, device="cpu")  # each process has its own device
    provenance = {"parent": arguments.checkpoint, "recipe": "eye", "settings": asdict(settings)}
    train(janus, settings, arguments.out, provenance, start)


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--checkpoint", required=True, help="whose understanding encoder learns")


def main() -> None:
    run_method("embedded.understanding", __doc__.split("\n")[0], UnderstandingSettings(), run, options)


if __name__ == "__main__":
    main()
