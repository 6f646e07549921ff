"""Train the embedded codec: pixels ⇄ image codes. `python -m model.training.codec --out DIR`

The world has 513 distinct patches, so the codebook can be exact: one row per patch. The encoder learns to name each
patch (cross-entropy over cosines to the rows), the decoder to paint an image from rows alone, and the rows, which end
with unit norm, learn from both. The decoder never sees an unquantised latent, in training as in use.

A straight-through VQ-VAE on the same network was tried first and read back no scene after 1,000 steps.
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
from transformers import JanusForConditionalGeneration, JanusVQVAE

from model.checkpoint import save_checkpoint
from model.janus import nearest_codes
from model.training.embedded import new_config, new_network, new_processor, new_tokenizer
from model.world.patches import patch_codes
from model.world.scene import random_scene, render
from model.world.verifier import read

SHARPNESS = 10.0  # factor on cosines before the softmax
NAMING = 0.1  # weight of the encoder's cross-entropy beside the decoder's error


@dataclass(frozen=True)
class Settings:
    """One run's choices; written into the checkpoint's provenance."""

    steps: int = 1500
    batch: int = 16  # images per step
    learning_rate: float = 5e-4  # peak; short warm-up, then cosine
    seed: int = 0
    threads: int = 2


def scenes_to_learn(rng: random.Random, count: int) -> np.ndarray:
    """(count, H, W, 3) uint8 drawings, crowded so that there is much to see."""
    return np.stack([render(random_scene(rng, rng.randint(3, 8))) for _ in range(count)])


def to_pixels(images: np.ndarray) -> torch.Tensor:
    """uint8 (B, H, W, 3) → (B, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


class Lesson(torch.nn.Module):
    """One forward pass of both halves."""

    def __init__(self, codec: JanusVQVAE):
        super().__init__()
        self.codec = codec

    def forward(self, pixels: torch.Tensor, codes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """pixels (B, 3, H, W), codes (B, N) → painting (B, 3, H, W), cosines to all rows (B, N, K)."""
        codec = self.codec
        rows = F.normalize(codec.quantize.embedding.weight, dim=-1)
        latents = codec.quant_conv(codec.encoder(pixels)).float().flatten(2).transpose(1, 2)
        batch, side = len(codes), codec.quantize.quant_state_dims[0]
        quantised = rows[codes].view(batch, side, side, -1).permute(0, 3, 1, 2)
        return codec.decoder(codec.post_quant_conv(quantised)), F.normalize(latents, dim=-1) @ rows.T


@torch.inference_mode()
def read_back(network: JanusForConditionalGeneration, rng: random.Random, count: int) -> dict[str, float]:
    """Of random scenes, after encode → decode: the share read identically, codes as numbered, PSNR in dB."""
    codec, right, named, errors = network.model.vqmodel, 0, 0.0, []
    for _ in range(count):
        scene = random_scene(rng, rng.randint(1, 6))
        image = render(scene)
        codes = nearest_codes(codec, to_pixels(image[None]).contiguous())
        drawn = ((codec.decode(codes) + 1) * 127.5).clamp(0, 255).to(torch.uint8)[0].permute(1, 2, 0).numpy()
        reading = read(drawn)
        right += reading.items == scene.items and not reading.broken
        named += np.mean(codes[0].numpy() == np.array(patch_codes(image)))
        errors.append(float(np.mean((drawn.astype(float) - image) ** 2)))
    psnr = float(10 * np.log10(255**2 / max(np.mean(errors), 1e-9)))
    return {"read_back": right / count, "codes_right": named / count, "psnr_db": psnr}


def train(out: Path, settings: Settings) -> None:
    torch.manual_seed(settings.seed)
    torch.set_num_threads(settings.threads)
    rng = random.Random(settings.seed)
    network = new_network(new_config(), settings.seed)
    codec = network.model.vqmodel.train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(codec.parameters(), settings.learning_rate, betas=(0.9, 0.95), weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=settings.steps, pct_start=0.04, cycle_momentum=False
    )
    lesson = torch.compile(Lesson(codec))
    began = time.monotonic()
    for step in range(settings.steps):
        images = scenes_to_learn(rng, settings.batch)
        pixels = to_pixels(images).contiguous(memory_format=torch.channels_last)
        codes = torch.tensor([patch_codes(image) for image in images])
        with torch.autocast("cpu", torch.bfloat16):
            painted, cosines = lesson(pixels, codes)
        error = painted.float() - pixels
        naming = F.cross_entropy(SHARPNESS * cosines.float().flatten(0, 1), codes.flatten())
        loss = (error.abs() + error.square()).mean() + NAMING * naming
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(codec.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 25 == 0:
            print(
                f"step {step:5d} painting {error.abs().mean().item():.4f} naming {naming.item():.4f} "
                f"{time.monotonic() - began:6.0f} s",
                flush=True,
            )
        if step % 250 == 249:
            save(network, out, settings, read_back(network, random.Random(1), 50))
    save(network, out, settings, read_back(network, random.Random(1), 1000))


def save(network: JanusForConditionalGeneration, out: Path, settings: Settings, quality: dict[str, float]) -> None:
    """Unit-norm rows, generation embeddings started from them, a checkpoint folder."""
    print(" ".join(f"{name} {value:.4g}" for name, value in quality.items()), flush=True)
    rows = network.model.vqmodel.quantize.embedding.weight
    with torch.no_grad():
        rows.copy_(F.normalize(rows, dim=-1))
        network.model.generation_embeddings.weight.copy_(rows)
    provenance = {"recipe": "codec", "settings": asdict(settings), "quality": quality}
    save_checkpoint(network, new_processor(new_tokenizer()), out, provenance)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m model.training.codec", description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the checkpoint")
    for name, default in asdict(Settings()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    arguments = parser.parse_args()
    train(arguments.out, Settings(**{name: getattr(arguments, name) for name in asdict(Settings())}))


if __name__ == "__main__":
    main()
