"""The predicted clean image (x₀) at each step of a diffusion pipeline, read from the scheduler's `step`.

It works for every pipeline that calls `scheduler.step`, with a step callback or without. The prediction is the
scheduler's own `pred_original_sample` where it has one; of flow matching x₀ = x_σ − σ·v (Lipman et al., 2023).
"""

from collections.abc import Callable
from types import MethodType
from typing import Any

import torch

Watch = Callable[[torch.Tensor, float], None]  # (predicted clean latents, share of the steps that are done)


def watch_steps(scheduler: Any, watch: Watch, share: float = 1.0) -> None:
    """Call `watch` after every step of this scheduler. `share`: of its timesteps that are taken, from the end."""
    step, taken = scheduler.step, 0

    def watched(self: Any, model_output: torch.Tensor, timestep: Any, sample: torch.Tensor, *more: Any, **by: Any):
        nonlocal taken
        as_tuple = not by.pop("return_dict", True)
        sigma = _flow_sigma(self, timestep)
        output = step(model_output, timestep, sample, *more, return_dict=True, **by)
        clean = getattr(output, "pred_original_sample", None)
        if clean is None:
            clean = output.prev_sample if sigma is None else sample - sigma * model_output
        taken += 1
        watch(clean, min(1.0, taken / max(1.0, share * len(self.timesteps))))
        return output.to_tuple() if as_tuple else output

    scheduler.step = MethodType(watched, scheduler)


def is_flow(scheduler: Any) -> bool:
    """Whether it is a scheduler of flow matching, or a solver that is set to one."""
    config = scheduler.config
    solver = config.get("prediction_type") == "flow_prediction" and config.get("use_flow_sigmas", False)
    return bool("FlowMatch" in type(scheduler).__name__ or solver)


def _flow_sigma(scheduler: Any, timestep: Any) -> float | None:
    """The noise level of a flow-matching scheduler, or of a solver of flows, before it steps; None for others."""
    if not is_flow(scheduler):
        return None
    if scheduler.step_index is not None:
        return float(scheduler.sigmas[scheduler.step_index])
    return float(scheduler.sigmas[scheduler.index_for_timestep(timestep)])


def decode(pipeline: Any, vae: Any, latents: torch.Tensor, size: int) -> torch.Tensor:
    """(B, 3, H, W) in [0, 1] of latents as they stand in the pipeline's loop: packed, with a time axis, or pixels."""
    if hasattr(pipeline, "_unpack_latents") and latents.dim() == 3:
        latents = pipeline._unpack_latents(latents, size, size, pipeline.vae_scale_factor)
    if vae is not None:
        latents = vae.decode(_unscaled(vae.config, latents).to(vae.dtype)).sample
    if latents.dim() == 5:  # (B, 3, 1, H, W)
        latents = latents[:, :, 0]
    return (latents.float() / 2 + 0.5).clamp(0, 1)


def scaled(config: Any, latents: torch.Tensor) -> torch.Tensor:
    """Latents of an autoencoder as the model sees them, (B, C, H, W)."""
    scale = getattr(config, "scaling_factor", None) or 1.0
    return (latents - (getattr(config, "shift_factor", None) or 0.0)) * scale


def _unscaled(config: Any, latents: torch.Tensor) -> torch.Tensor:
    """Latents as the autoencoder has them; the model sees them shifted and scaled."""
    if (mean := getattr(config, "latents_mean", None)) is not None and latents.dim() == 5:
        shape = (1, -1, 1, 1, 1)
        std = torch.tensor(config.latents_std, device=latents.device, dtype=latents.dtype).view(shape)
        return latents * std + torch.tensor(mean, device=latents.device, dtype=latents.dtype).view(shape)
    scale = getattr(config, "scaling_factor", None) or 1.0
    return latents / scale + (getattr(config, "shift_factor", None) or 0.0)
