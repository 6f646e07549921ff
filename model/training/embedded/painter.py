"""Train the embedded painter: `python -m model.training.embedded.painter --out DIR`

Flow matching (Lipman et al., 2023) on scenes of the embedded world, text encoder and transformer from nothing together:
x_t = (1 − t)·x₀ + t·noise, the network predicts the velocity noise − x₀, t is logit-normal (Esser et al., 2024) about
0.75, where it is decided what an image shows. A part of the prompts says what was wrong with a draft, in the words of a
critic, as the prompts of redraws do. What is saved is the moving average of the weights.
"""

import argparse
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from diffusers import PixArtSigmaPipeline
from diffusers.training_utils import EMAModel
from torch.nn import functional

from model.backends.diffusion.saving import save_pipeline
from model.decoding.load_for_inference import open_checkpoint
from model.training.embedded.painter_pipeline import new_pipeline
from model.training.loop import Evaluation, Loop, ObjectiveBatches, Run, StepData
from model.training.runs.command import run_method
from model.training.runs.folder import FROM_THE_START, RunPaths, RunStart
from model.training.runs.settings import loop_settings
from model.world.defects import spoil
from model.world.language import CATEGORIES, Description, reword, write
from model.world.random_scenes import sample_scene
from model.world.reasons import write_reason
from model.world.scene import Scene, render
from model.world.splits import GENEVAL, held_out_prompts, sample_training
from model.world.sprites import CELL, COLOURS, NOUNS, PATCHES, SPRITE, patch_codes
from model.world.verifier import accepted, check, read

SHARES = (3, 5, 4, 4, 6, 6, 1, 1)  # of the categories, in their order
REASONS = 0.25  # share of prompts with what a critic said of a draft
REWORDED = 0.1  # share of prompts in a person's words
UNCONDITIONAL = 0.1  # share without a prompt, for classifier-free guidance
TIMES = 1.1, 1.1  # mean and standard deviation of logit(t)
FACTORS = len(NOUNS) + 1, len(COLOURS) + 1  # classes of nouns and colours; 0: nothing is there
PLACE = SPRITE // CELL  # cells along one side of a sprite: a patch of the transformer, in which an object stands
NAMING = 0.1  # weight of their cross-entropy
Result = TypeVar("Result")
DRAWN_IN = 20  # steps in which the prompts of the evaluation are drawn


@dataclass(frozen=True)
class PainterTrainingSettings:
    """One run's choices; written into the checkpoint's provenance."""

    steps: int = 10000
    batch: int = 128  # images per step
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.02
    warmup: int = 100  # steps
    decay: float = 0.3  # share of the steps over which the rate decays, the last ones
    average: float = 0.995  # decay of the moving average
    save_every: int = 250  # steps
    evaluate_every: int = 500  # steps
    evaluate_prompts: int = 60
    seed: int = 0
    threads: int = 1


class FlowBatch(NamedTuple):
    """Clean latents (B, C, H, W) and what their patches of 2×2 show (B, H · W / 4, 2), noise of the latents' shape,
    times (B,), token ids and mask (B, L)."""

    latents: torch.Tensor
    factors: torch.Tensor
    noise: torch.Tensor
    times: torch.Tensor
    ids: torch.Tensor
    mask: torch.Tensor


class FlowNetwork(torch.nn.Module):
    """Text encoder and transformer, trained together; heads on the transformer's last features, which are not kept, say
    what of the world a place will show."""

    def __init__(self, pipeline: PixArtSigmaPipeline):
        super().__init__()
        self.text_encoder, self.transformer = pipeline.text_encoder, pipeline.transformer
        self.heads = torch.nn.Linear(self.transformer.inner_dim, sum(FACTORS))

    def forward(self, batch: FlowBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """(B,) mean squared error of the velocity, and mean cross-entropy of what the image shows."""
        text = self.text_encoder(batch.ids, attention_mask=batch.mask)[0]
        share = batch.times[:, None, None, None]
        features: list[torch.Tensor] = []
        seen = self.transformer.proj_out.register_forward_pre_hook(lambda _, given: features.append(given[0]))
        velocity = self.transformer(
            (1 - share) * batch.latents + share * batch.noise,
            encoder_hidden_states=text,
            encoder_attention_mask=batch.mask,
            timestep=1000 * batch.times,
            added_cond_kwargs={"resolution": None, "aspect_ratio": None},
            return_dict=False,
        )[0]
        seen.remove()
        named = self.heads(features[0]).split(FACTORS, -1)
        entropy = sum(
            functional.cross_entropy(logits.transpose(1, 2), batch.factors[..., number], reduction="none").mean(1)
            for number, logits in enumerate(named)
        )
        return (velocity - (batch.noise - batch.latents)).square().mean((1, 2, 3)), entropy


class FlowLoss:
    """The mean squared error of the velocity, apart where the noise is strong, and the weighted cross-entropy."""

    def totals(self, batch: FlowBatch) -> dict[str, float]:
        return {"images": len(batch.latents), "noisy": max(float((batch.times > 0.7).sum()), 1.0)}

    def __call__(
        self, network: torch.nn.Module, batch: FlowBatch, totals: Mapping[str, float]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        error, entropy = network(batch)
        loss, named = error.sum() / totals["images"], entropy.sum() / totals["images"]
        noisy = error[batch.times > 0.7].sum() / totals["noisy"]
        return loss + NAMING * named, {"loss": loss, "loss_noisy": noisy, "cross_entropy": named}


def example(rng: random.Random) -> tuple[str, tuple[int, ...]]:
    """A prompt, maybe with what was wrong with a draft, or none; the codes of a scene that is right."""
    [category] = rng.choices(CATEGORIES, SHARES)
    description = sample_training(rng, category)
    scene = sample_scene(rng, description, PLACE)
    return _prompt(rng, description, scene), patch_codes(render(scene))


def _prompt(rng: random.Random, description: Description, scene: Scene) -> str:
    if rng.random() < UNCONDITIONAL:
        return ""
    prompt = write(description)
    prompt = reword(rng, prompt) if rng.random() < REWORDED else prompt
    if rng.random() < REASONS:
        _, wrong = spoil(rng, description, scene)
        prompt += f". {write_reason(description, check(description, read(wrong)), rng).lstrip(', ')}"
    return prompt


def flow_batch(pipeline: PixArtSigmaPipeline, seed: int, step: int, numbers: Sequence[int]) -> FlowBatch:
    """The images of a step with these numbers, each from the seed, the step and its number."""
    examples = [example(random.Random(f"{seed} {step} {number}")) for number in numbers]
    rows = pipeline.vae.quantize.embedding.weight.detach()
    side = pipeline.transformer.config.sample_size
    codes = torch.tensor([codes for _, codes in examples], device=rows.device)
    latents = rows[codes].view(len(codes), side, side, -1).permute(0, 3, 1, 2)
    corners = codes.view(len(codes), side, side)[:, ::PLACE, ::PLACE].flatten(1)
    sprites = (corners - 1).clamp(min=0) // PLACE**2
    factors = (torch.stack([sprites // len(COLOURS), sprites % len(COLOURS)], -1) + 1) * (corners > 0)[..., None]
    draws = np.random.default_rng([seed % 2**32, step, *numbers])
    noise = torch.tensor(draws.standard_normal(latents.shape, dtype=np.float32), device=rows.device)
    mean, deviation = TIMES
    times = torch.tensor(draws.standard_normal(len(codes), dtype=np.float32), device=rows.device)
    tokens = pipeline.tokenizer([prompt for prompt, _ in examples], padding=True, truncation=True, return_tensors="pt")
    ids, mask = tokens.input_ids.to(rows.device), tokens.attention_mask.to(rows.device)
    return FlowBatch(latents, factors, noise, (mean + deviation * times).sigmoid(), ids, mask)


@torch.no_grad()
def drawn(pipeline: PixArtSigmaPipeline, prompts: Sequence[str], seed: int, guidance: float) -> np.ndarray:
    """(B, H, W, 3) uint8: an image of every prompt, as its codes show it."""
    latents = pipeline(
        list(prompts),
        num_inference_steps=DRAWN_IN,
        guidance_scale=guidance,
        height=pipeline.vae.config.sample_size,
        width=pipeline.vae.config.sample_size,
        generator=[torch.Generator().manual_seed(seed + number) for number in range(len(prompts))],
        output_type="latent",
        use_resolution_binning=False,
        clean_caption=False,
        max_sequence_length=pipeline.tokenizer.model_max_length,
    ).images
    rows = pipeline.vae.quantize.embedding.weight
    codes = torch.cdist(latents.permute(0, 2, 3, 1).reshape(-1, rows.shape[1]), rows).argmin(1)
    patches = np.stack([np.frombuffer(patch, np.uint8) for patch in PATCHES])
    side = pipeline.transformer.config.sample_size
    patch = pipeline.vae.config.sample_size // side
    images = patches[codes.cpu().numpy()].reshape(len(prompts), side, side, patch, patch, 3)
    return images.swapaxes(2, 3).reshape(len(prompts), side * patch, side * patch, 3)


def measured(pipeline: PixArtSigmaPipeline, count: int, guidance: float = 2.0) -> dict[str, float]:
    """Share of right drawings of held-out GenEval-like prompts, by category, and share of facts that hold."""
    descriptions = held_out_prompts(count, GENEVAL)
    images = drawn(pipeline, [write(description) for description in descriptions], 0, guidance)
    facts = [check(description, read(image)) for description, image in zip(descriptions, images, strict=True)]
    right = [accepted(each) for each in facts]
    values = {"right": float(np.mean(right)), "facts": float(np.mean([fact.holds for each in facts for fact in each]))}
    values["whole"] = float(np.mean([not any(fact.kind == "broken" for fact in each) for each in facts]))
    return values | {name: float(np.mean(right[number :: len(GENEVAL)])) for number, name in enumerate(GENEVAL)}


def train(
    pipeline: PixArtSigmaPipeline, out: Path, settings: PainterTrainingSettings, start: RunStart = FROM_THE_START
) -> None:
    """Start or resume a run. Raises CheckpointError and TrainingError."""
    RunPaths(out).check()
    torch.set_num_threads(settings.threads)
    loop = Loop(loop_settings(settings))
    pipeline.set_progress_bar_config(disable=True)
    pipeline.vae.to(loop.accelerator.device).requires_grad_(requires_grad=False)
    network = FlowNetwork(pipeline)
    weights = list(network.parameters())
    average = EMAModel(weights, decay=settings.average)
    average.to(loop.accelerator.device)

    def data(step: int) -> StepData:
        if average.optimization_step < step:
            average.step(weights)
        batch = flow_batch(pipeline, settings.seed, step, range(settings.batch)[loop.rank_slice])
        return StepData([ObjectiveBatches(FlowLoss(), [batch])])

    def averaged(work: Callable[[], Result]) -> Result:
        average.store(weights)
        average.copy_to(weights)
        try:
            return work()
        finally:
            average.restore(weights)

    def evaluate(step: int) -> dict[str, float]:
        if not loop.accelerator.is_main_process:
            return {}
        return averaged(lambda: measured(pipeline, settings.evaluate_prompts))

    run = Run(
        network,
        network,
        out,
        {"recipe": "embedded.painter", "settings": asdict(settings)},
        lambda about: averaged(lambda: save_pipeline(pipeline, out, about)),
        start=start,
        evaluation=Evaluation(settings.evaluate_every, evaluate),
        stateful={"average": average},
    )
    loop.train(run, data)


def main() -> None:
    def run(arguments: argparse.Namespace, settings: PainterTrainingSettings, start: RunStart) -> None:
        codec = open_checkpoint().network.model.vqmodel.float()
        train(new_pipeline(codec, seed=settings.seed), arguments.out, settings, start)

    run_method("embedded.painter", __doc__.split(":")[0], PainterTrainingSettings(), run)


if __name__ == "__main__":
    main()
