"""Train the embedded codec: `python -m model.training.embedded.codec --out DIR`

The world has 513 distinct patches, so the codebook can be exact: one row per patch, its principal components, of unit
norm, so that patches that look alike lie together. The encoder learns to name each patch (cross-entropy over cosines
to the rows), the decoder to paint an image from rows alone: it never sees an unquantised latent, in training as in use.

What did not work on this network, 2026-11: a straight-through VQ-VAE from k-means read back no scene after 1,000 steps;
random rows instead of principal components needed four times the steps for the same error.
"""

from __future__ import annotations

import argparse
import random
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from transformers import JanusVQVAE

from model.backends.checkpoint_folder import save_checkpoint
from model.backends.janus import Janus
from model.evaluation.figures import read_back
from model.training.embedded.network import new_config, new_network, new_processor, new_tokenizer
from model.training.optimization import check_finite
from model.training.run_folder import RunPaths, RunStart, add_beginning, beginning_of, reporting
from model.training.run_state import RunState, defining
from model.training.schedule import learning_rate_factor
from model.training.settings import add_settings, settings_of
from model.trajectory import Sampling
from model.world.patches import PATCHES, patch_codes
from model.world.scene import random_scene, render

SHARPNESS = 30.0  # factor on cosines before the softmax
NAMING = 0.1  # weight of the encoder's cross-entropy beside the decoder's error


@dataclass(frozen=True)
class Settings:
    """One run's choices; written into the checkpoint's provenance."""

    steps: int = 4000
    naming_steps: int = 1000  # the encoder is done before the decoder
    batch: int = 8  # images per step
    learning_rate: float = 5e-4  # peak; see `schedule`
    warmup: int = 60  # steps
    seed: int = 0
    threads: int = 2


def scenes_to_learn(rng: random.Random, count: int) -> np.ndarray:
    """(count, H, W, 3) uint8 drawings, few sprites and many: group norms see both."""
    return np.stack([render(random_scene(rng, rng.randint(1, 8))) for _ in range(count)])


def to_pixels(images: np.ndarray) -> torch.Tensor:
    """uint8 (B, H, W, 3) → (B, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


class CodecParts(torch.nn.Module):
    """The codec's two halves, which meet only in the rows of the codebook."""

    def __init__(self, codec: JanusVQVAE):
        super().__init__()
        self.codec = codec

    def name(self, pixels: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) → (B, N, K): cosines of every patch's latent to all rows."""
        latents = self.codec.quant_conv(self.codec.encoder(pixels)).float().flatten(2).transpose(1, 2)
        return F.normalize(latents, dim=-1) @ self.codec.quantize.embedding.weight.T

    def paint(self, codes: torch.Tensor) -> torch.Tensor:
        """(B, N) → (B, 3, H, W), from the rows alone."""
        side = self.codec.quantize.quant_state_dims[0]
        quantised = self.codec.quantize.embedding.weight[codes].view(len(codes), side, side, -1).permute(0, 3, 1, 2)
        return self.codec.decoder(self.codec.post_quant_conv(quantised))


def principal_rows(count: int, width: int) -> torch.Tensor:
    """(count, width) unit-norm codebook rows: principal components of every distinct patch, the spare ones random.

    Components are weighted by the square root of their singular value: between PCA, which keeps patches of one
    colour too close, and whitening, which drowns what they share.
    """
    pixels = np.stack([np.frombuffer(patch, np.uint8) for patch in PATCHES]).astype(np.float64)
    scores, sizes, _ = np.linalg.svd(pixels - pixels.mean(0), full_matrices=False)
    known = torch.tensor(scores[:, :width] * sizes[:width] ** 0.5, dtype=torch.float32)
    spare = torch.randn(count - len(known), width, generator=torch.Generator().manual_seed(0))
    return F.normalize(torch.cat([known, spare]), dim=-1)


def train(out: Path, settings: Settings, *, resume: bool = False, beginning: RunStart | None = None) -> None:
    """Run, or go on with a run. Raises CheckpointError and TrainingError."""
    place, beginning = RunPaths(out), beginning or RunStart(resume=resume)
    place.check()
    torch.manual_seed(settings.seed)
    torch.set_num_threads(settings.threads)
    network = new_network(new_config(), settings.seed)
    janus = Janus(network, new_tokenizer(), out.name, Sampling())
    codec = network.model.vqmodel.train().to(memory_format=torch.channels_last)
    rows = codec.quantize.embedding.weight.requires_grad_(requires_grad=False)
    rows.copy_(principal_rows(*rows.shape))
    network.model.generation_embeddings.weight.data.copy_(rows)
    optimizer = torch.optim.AdamW(
        [p for p in codec.parameters() if p.requires_grad], settings.learning_rate, betas=(0.9, 0.95), weight_decay=1e-4
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate_factor(step, settings.steps, settings.warmup)
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    definition = defining({"recipe": "codec", "settings": asdict(settings)})
    state = RunState(place.state, network, [optimizer], [schedule], definition, settings.steps)
    if beginning.resume:
        first = state.load(accept_changes=beginning.accept_changes)
    else:
        first = 0
        state.check_new(restart=beginning.restart)
    halves, began = CodecParts(codec), time.monotonic()
    name, paint = torch.compile(halves.name), torch.compile(halves.paint)
    for step in range(first, settings.steps):
        naming = step < settings.naming_steps
        images = scenes_to_learn(random.Random(f"{settings.seed} {step}"), settings.batch)
        pixels = to_pixels(images).contiguous(memory_format=torch.channels_last)
        codes = torch.tensor([patch_codes(image) for image in images])
        with torch.autocast("cpu", torch.bfloat16):
            error = paint(codes).float() - pixels
            cosines = name(pixels).float() if naming else None
        loss = (error.abs() + error.square()).mean()
        if cosines is not None:
            loss = loss + NAMING * F.cross_entropy(SHARPNESS * cosines.flatten(0, 1), codes.flatten())
        check_finite({"loss": loss.item()})
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(codec.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 25 == 0:
            print(f"step {step:5d} error {error.abs().mean().item():.4f} {time.monotonic() - began:6.0f} s", flush=True)
        if step % 250 == 249:
            state.save(step + 1)
            save(janus, out, settings, read_back(janus, 100), state.resumed)
    state.save(settings.steps)
    save(janus, out, settings, read_back(janus, 1000), state.resumed)


def save(janus: Janus, out: Path, settings: Settings, quality: dict[str, float], resumed: list[dict]) -> None:
    """Write the checkpoint folder with what it has reached."""
    print(" ".join(f"{name} {value:.4g}" for name, value in quality.items()), flush=True)
    provenance = {"recipe": "codec", "settings": asdict(settings), "quality": quality}
    provenance |= {"resumed": resumed} if resumed else {}
    save_checkpoint(janus.network, new_processor(janus.tokenizer), out, provenance)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m model.training.embedded.codec", description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the checkpoint")
    add_settings(parser, Settings())
    add_beginning(parser)
    arguments = parser.parse_args()
    settings = settings_of(arguments, Settings())
    reporting("codec", lambda: train(arguments.out, settings, beginning=beginning_of(arguments)))


if __name__ == "__main__":
    main()
