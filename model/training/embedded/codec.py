"""Train the embedded codec: `python -m model.training.embedded.codec --out DIR`

The world has 513 distinct patches, so the codebook can be exact: one row per patch, its principal components, of unit
norm, so that patches that look alike lie together. The encoder learns to name each patch (cross-entropy over cosines
to the rows), the decoder to paint an image from rows alone: it never sees an unquantised latent, in training as in use.

What did not work on this network, 2026-11: a straight-through VQ-VAE from k-means read back no scene after 1,000 steps;
random rows instead of principal components needed four times the steps for the same error.
"""

import argparse
import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from transformers import JanusVQVAE

from model.backends.checkpoint.saving import save_checkpoint
from model.backends.janus import Janus
from model.evaluation.codec_fidelity import read_back
from model.training.embedded.network import new_config, new_network, new_processor, new_tokenizer
from model.training.loop import Evaluation, Loop, ObjectiveBatches, Run, StepData
from model.training.runs.command import run_method
from model.training.runs.folder import FROM_THE_START, RunPaths, RunStart
from model.training.runs.settings import loop_settings
from model.trajectory import Sampling
from model.world.scene import random_scene, render
from model.world.sprites import PATCHES, patch_codes

SHARPNESS = 30.0  # factor on cosines before the softmax
NAMING = 0.1  # weight of the encoder's cross-entropy beside the decoder's error
SAVE_EVERY = 250  # steps


@dataclass(frozen=True)
class CodecSettings:
    """One run's choices; written into the checkpoint's provenance."""

    steps: int = 4000
    naming_steps: int = 1000  # the encoder is done before the decoder
    batch: int = 8  # images per step
    learning_rate: float = 5e-4  # peak
    warmup: int = 60  # steps
    seed: int = 0
    threads: int = 2


def scenes_to_learn(rng: random.Random, count: int) -> np.ndarray:
    """(count, H, W, 3) uint8 drawings, few sprites and many: group norms see both."""
    return np.stack([render(random_scene(rng, rng.randint(1, 8))) for _ in range(count)])


def to_pixels(images: np.ndarray) -> torch.Tensor:
    """uint8 (B, H, W, 3) → (B, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


class CodecBatch(NamedTuple):
    """Images and their codes; `naming`: whether the encoder learns, too."""

    pixels: torch.Tensor  # (B, 3, H, W) in [-1, 1]
    codes: torch.Tensor  # (B, N)
    naming: bool


class CodecParts(torch.nn.Module):
    """The codec's two halves, which meet only in the rows of the codebook."""

    def __init__(self, codec: JanusVQVAE):
        super().__init__()
        self.codec = codec
        self.compiled_name, self.compiled_paint = torch.compile(self.name), torch.compile(self.paint)

    def forward(self, batch: CodecBatch) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The decoder's error (B, 3, H, W), and the encoder's cosines (B, N, K) where it learns."""
        with torch.autocast(batch.pixels.device.type, torch.bfloat16):
            error = self.compiled_paint(batch.codes).float() - batch.pixels
            return error, self.compiled_name(batch.pixels).float() if batch.naming else None

    def name(self, pixels: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) → (B, N, K): cosines of every patch's latent to all rows."""
        latents = self.codec.quant_conv(self.codec.encoder(pixels)).float().flatten(2).transpose(1, 2)
        return F.normalize(latents, dim=-1) @ self.codec.quantize.embedding.weight.T

    def paint(self, codes: torch.Tensor) -> torch.Tensor:
        """(B, N) → (B, 3, H, W), from the rows alone."""
        side = self.codec.quantize.quant_state_dims[0]
        quantised = self.codec.quantize.embedding.weight[codes].view(len(codes), side, side, -1).permute(0, 3, 1, 2)
        return self.codec.decoder(self.codec.post_quant_conv(quantised))


class ReconstructionLoss:
    """L1 plus L2 of the decoder, and the encoder's cross-entropy."""

    def totals(self, batch: CodecBatch) -> dict[str, int]:
        return {"images": len(batch.pixels)}

    def __call__(
        self, halves: torch.nn.Module, batch: CodecBatch, totals: Mapping[str, float]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        error, cosines = halves(batch)
        loss = (error.abs() + error.square()).mean()
        if cosines is not None:
            loss = loss + NAMING * F.cross_entropy(SHARPNESS * cosines.flatten(0, 1), batch.codes.flatten())
        share = len(batch.pixels) / totals["images"]
        return share * loss, {"loss": share * loss, "error": share * error.abs().mean()}


def principal_rows(count: int, width: int) -> torch.Tensor:
    """(count, width) unit-norm codebook rows: principal components of every distinct patch, the spare ones random.

    Components are weighted by the square root of their singular value: between PCA, which keeps patches of one
    colour too close, and whitening, which drowns what they share.
    """
    pixels = np.stack([np.frombuffer(patch, np.uint8) for patch in PATCHES]).astype(np.float64)
    scores, sizes, _ = np.linalg.svd(pixels - pixels.mean(0), full_matrices=False)
    used = torch.tensor(scores[:, :width] * sizes[:width] ** 0.5, dtype=torch.float32)
    spare = torch.randn(count - len(used), width, generator=torch.Generator().manual_seed(0))
    return F.normalize(torch.cat([used, spare]), dim=-1)


def new_codec(settings: CodecSettings, name: str) -> Janus:
    """A new network with the codebook of the world's patches; only the codec's halves can be trained."""
    network = new_network(new_config(), settings.seed).requires_grad_(requires_grad=False)
    codec = network.model.vqmodel.train().to(memory_format=torch.channels_last).requires_grad_()
    rows = codec.quantize.embedding.weight.requires_grad_(requires_grad=False)
    rows.copy_(principal_rows(*rows.shape))
    network.model.generation_embeddings.weight.data.copy_(rows)
    return Janus(network, new_tokenizer(), name, Sampling())


def train(out: Path, settings: CodecSettings, start: RunStart = FROM_THE_START) -> None:
    """Start or resume a run. Raises CheckpointError and TrainingError."""
    RunPaths(out).check()
    torch.set_num_threads(settings.threads)
    loop = Loop(replace(loop_settings(settings), weight_decay=1e-4, save_every=SAVE_EVERY))
    janus = new_codec(settings, out.name)
    halves = CodecParts(janus.network.model.vqmodel)

    def data(step: int) -> StepData:
        images = scenes_to_learn(random.Random(f"{settings.seed} {step}"), settings.batch)[loop.rank_slice]
        pixels = to_pixels(images).contiguous(memory_format=torch.channels_last).to(loop.accelerator.device)
        codes = torch.tensor([patch_codes(image) for image in images], device=pixels.device)
        batch = CodecBatch(pixels, codes, naming=step < settings.naming_steps)
        return StepData([ObjectiveBatches(ReconstructionLoss(), [batch])])

    def save(about: dict) -> None:
        save_checkpoint(janus.network, new_processor(janus.tokenizer), out, about)

    run = Run(
        halves,
        janus.network,
        out,
        {"recipe": "codec", "settings": asdict(settings)},
        save,
        start=start,
        evaluation=Evaluation(SAVE_EVERY, lambda step: read_back(janus, 1000 if step == settings.steps else 100)),
        printed_every=25,
    )
    loop.train(run, data)


def main() -> None:
    def run(arguments: argparse.Namespace, settings: CodecSettings, start: RunStart) -> None:
        train(arguments.out, settings, start)

    run_method("embedded.codec", __doc__.split(":")[0], CodecSettings(), run)


if __name__ == "__main__":
    main()
