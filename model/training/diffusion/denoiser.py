"""The denoiser of a diffusers pipeline as training needs it: its conditioning, its latents, its noise and its target.

What a denoiser is given beside the noisy latents differs from pipeline to pipeline. It is taken from the pipeline
itself: its loop is run up to the first call of the denoiser, whose arguments are kept. So any pipeline trains whose
denoiser (`transformer` or `unet`) takes a tensor of latents and a timestep: flow matching (Lipman et al., 2023), and
diffusion that predicts the noise, the velocity or the image (Ho et al., 2020; Salimans and Ho, 2022).
"""

import contextlib
import copy
import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import torch

from model.backends.contract import CheckpointError
from model.backends.diffusion.painter import Painter, PaintJob
from model.backends.diffusion.predicted_image import is_flow, scaled

PARTS = ("transformer", "unet")  # what a pipeline may call its denoiser
TIMES = 0.5, 1.0  # mean and standard deviation of logit(σ) of flow matching (Esser et al., 2024), before the shift


class _FirstCallError(Exception):
    """Ends a pipeline's loop where it calls its denoiser."""


@dataclass(frozen=True, eq=False)
class Conditioning:
    """What the denoiser is given for B prompts beside latents and time."""

    arguments: Mapping[str, Any]
    sample: str  # the name of the latents among its arguments
    packed: bool  # whether latents go in as a sequence
    per_level: float  # of the timestep that it is given, for each of the scheduler's


@dataclass(frozen=True, eq=False)
class Noising:
    """Noise, and how much of it, for B pictures: `levels` are σ of flow matching, else a scheduler's timesteps."""

    noise: torch.Tensor  # (B, C, H, W)
    levels: torch.Tensor  # (B,)


class Denoiser:
    """The trainable part of an open pipeline."""

    def __init__(self, painter: Painter) -> None:
        """Raises CheckpointError for a pipeline that cannot be trained."""
        self.painter, self.pipeline = painter, painter.pipeline
        self.part = next((name for name in PARTS if getattr(self.pipeline, name, None) is not None), "")
        if not self.part:
            raise CheckpointError(f"{type(self.pipeline).__name__} has no transformer or unet; it cannot be trained")
        self.module: torch.nn.Module = getattr(self.pipeline, self.part)
        self.scheduler = self.pipeline.scheduler
        self.flow = is_flow(self.scheduler)
        if not self.flow and not hasattr(self.scheduler, "alphas_cumprod"):
            raise CheckpointError(f"{type(self.scheduler).__name__} tells no noise levels; it cannot be trained")

    @property
    def device(self) -> torch.device:
        return next(self.module.parameters()).device

    @property
    def log_shift(self) -> float:
        """By how much a scheduler of flow matching raises logit(σ) of the levels that it draws at, so that training
        sees those at which an image is decided: σ' = s·σ / (1 + (s − 1)·σ) (Esser et al., 2024, §5.3.2)."""
        config = self.scheduler.config
        return math.log(config.get("flow_shift") or config.get("shift") or 1.0)

    @torch.no_grad()
    def latents(self, pictures: Sequence[np.ndarray]) -> torch.Tensor:
        """(B, H, W, 3) uint8 → (B, C, h, w), as the denoiser sees them without noise."""
        pixels = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1
        vae = getattr(self.pipeline, "vae", None)
        if vae is None:
            return pixels.to(self.device)
        encoded = vae.encode(pixels.to(vae.device, vae.dtype))
        latents = encoded.latent_dist.mode() if hasattr(encoded, "latent_dist") else encoded.latents
        if hasattr(vae, "quantize"):  # what the decoder takes is the nearest row of the codebook
            latents = vae.quantize(latents)[0]
        return scaled(vae.config, latents).float().to(self.device)

    @torch.no_grad()
    def conditioning(self, prompts: Sequence[str]) -> Conditioning:
        """Raises CheckpointError for a denoiser that is called otherwise than with latents and a timestep."""
        pipeline, stub = copy.copy(self.pipeline), copy.copy(self.module)
        seen: dict[str, Any] = {}

        def remember(*given: Any, **named: Any) -> NoReturn:
            seen.update(inspect.signature(type(stub).forward).bind(stub, *given, **named).arguments)
            raise _FirstCallError

        stub.forward = remember
        setattr(pipeline, self.part, stub)
        pipeline.register_modules(scheduler=type(self.scheduler).from_config(self.scheduler.config))
        guidance = self.painter.guidance if getattr(self.module.config, "guidance_embeds", False) else 1.0
        jobs = [PaintJob(prompt, 0, float(guidance or 1.0)) for prompt in prompts]
        with contextlib.suppress(_FirstCallError):
            pipeline(**self.painter.arguments(pipeline, jobs))
        self_name, sample, *_ = inspect.signature(type(stub).forward).parameters
        seen.pop(self_name, None)
        latents, time = seen.pop(sample, None), seen.pop("timestep", None)
        if not isinstance(latents, torch.Tensor) or latents.dim() not in (3, 4) or time is None:
            raise CheckpointError(f"{type(stub).__name__} does not take latents and a timestep; it cannot be trained")
        first = float(pipeline.scheduler.timesteps[0])
        per_level = float(torch.as_tensor(time).flatten()[0]) / first if first else 1.0
        return Conditioning({**seen, "return_dict": False}, sample, latents.dim() == 3, per_level)

    def noising(self, shape: Sequence[int], generator: torch.Generator) -> Noising:
        """Noise of this shape, (B, C, H, W), and its levels, by a generator on the CPU."""
        noise = torch.randn(tuple(shape), generator=generator)
        if self.flow:
            mean, deviation = TIMES
            levels = (mean + self.log_shift + deviation * torch.randn(shape[0], generator=generator)).sigmoid()
        else:
            levels = torch.randint(0, len(self.scheduler.alphas_cumprod), (shape[0],), generator=generator)
        return Noising(noise.to(self.device), levels.to(self.device))

    def error(
        self, module: torch.nn.Module, latents: torch.Tensor, noising: Noising, given: Conditioning
    ) -> torch.Tensor:
        """(B,): the mean squared error of what a denoiser (this one, or one of the same kind) predicts."""
        noisy, target, times = self._noised(latents, noising)
        if given.packed:
            noisy, target = (self.pipeline._pack_latents(each, *latents.shape) for each in (noisy, target))
        kind = next(module.parameters()).dtype
        sample = {given.sample: noisy.to(kind), "timestep": (times * given.per_level).to(noisy.dtype)}
        predicted = module(**sample, **given.arguments)[0].float()
        if not given.packed and predicted.shape[1] == 2 * target.shape[1]:  # with a learned variance
            predicted = predicted.chunk(2, dim=1)[0]
        return (predicted - target).square().flatten(1).mean(1)

    def _noised(self, latents: torch.Tensor, noising: Noising) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Noisy latents, what is to be predicted, and the scheduler's timesteps."""
        noise, each = noising.noise, (slice(None), None, None, None)
        if self.flow:
            share = noising.levels[each]
            times = noising.levels * self.scheduler.config.num_train_timesteps
            return (1 - share) * latents + share * noise, noise - latents, times
        kept = self.scheduler.alphas_cumprod.to(latents.device)[noising.levels][each]
        noisy = kept.sqrt() * latents + (1 - kept).sqrt() * noise
        targets = {
            "epsilon": noise,
            "v_prediction": kept.sqrt() * noise - (1 - kept).sqrt() * latents,
            "sample": latents,
        }
        return noisy, targets[self.scheduler.config.prediction_type], noising.levels.float()
