"""A batched diffusers pipeline for the images of many requests, with previews; opened by folder or Hub id.

A thread paints. What waits under the same settings is painted together, each image with its own prompt and generator,
so that it is the one it would be alone but for the order of floating-point sums. Whoever stops is left out of what is
shown; the batch ends once nobody is left.
"""

import copy
import inspect
import math
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from PIL import Image as Picture

from model.backends.checkpoint.checks import check_finite
from model.backends.checkpoint.loading import WEIGHTS, default_device, dtype_of
from model.backends.checkpoint.opening_errors import why_not
from model.backends.contract import CheckpointError
from model.backends.diffusion.parts import open_parts
from model.backends.diffusion.predicted_image import decode, watch_steps
from model.backends.diffusion.source import PaintingOptions
from model.backends.request import RequestError

PREVIEWS = 8  # of an image, at most: each is stored
PREVIEW_SIDE = 256  # pixels, at most
PREVIEW_SHARE = 0.25  # of the time of painting that decoding previews may take
PREVIEW_SECONDS = 1.0  # that it may take in any case
MEMORY = "not enough memory for the image; lower its size or batch (diffusion:PIPELINE?size=512&batch=1+…)"

ADVICE = "give the folder or Hub id of a text-to-image pipeline, whose parts are of diffusers or transformers"


class PaintingError(Exception):
    """An image that could not be painted; what was painted before stands."""


class _NobodyWaits(Exception):
    """Everybody whose image is in the batch has stopped."""


@dataclass(frozen=True)
class LatentPreview:
    """The predicted clean image after a share of the steps."""

    picture: Picture.Image
    share: float


@dataclass(eq=False)
class PaintJob:
    """One image to paint."""

    prompt: str
    seed: int
    guidance: float
    draft: Picture.Image | None = None  # what it begins at
    stop: Callable[[], bool] = lambda: False
    shown: queue.SimpleQueue = field(default_factory=queue.SimpleQueue)  # previews, then a picture or an error

    @property
    def settings(self) -> tuple[float, bool]:
        """What the images of one batch have in common."""
        return self.guidance, self.draft is not None


def next_batch(waiting: Sequence[PaintJob], size: int) -> tuple[list[PaintJob], list[PaintJob]]:
    """The oldest image and, up to `size`, those of the same settings; and what waits on, in its order."""
    together = [job for job in waiting if job.settings == waiting[0].settings][:size]
    return together, [job for job in waiting if job not in together]


class Painter:
    """An open pipeline. `paint` may be called from several threads."""

    def __init__(self, pipeline: Any, options: PaintingOptions, tiny: Any = None) -> None:
        self.pipeline, self.options, self.tiny = pipeline, options, tiny
        pipeline.set_progress_bar_config(disable=True)
        self._parameters = inspect.signature(pipeline.__call__).parameters
        self.size = options.size or _native_size(pipeline)
        if options.size is not None:
            _check_size(pipeline, options.size, fixed=not {"height", "prompt"} <= self._parameters.keys())
        self.steps = options.steps or self._default("num_inference_steps") or 50
        own = self._default("guidance_scale")
        self.guidance = own if options.guidance is None else options.guidance
        self.batch = options.batch
        self._variant = _from_draft(pipeline) if options.redraw == "image" else None
        self._jobs: queue.SimpleQueue[PaintJob] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def check(self, prompt: str) -> None:
        """Raises RequestError for a prompt that a class-conditional pipeline has no class for."""
        if not self.takes_text and prompt.strip() not in self.pipeline.labels:
            known = ", ".join(list(self.pipeline.labels)[:8])
            raise RequestError(f"This painter knows classes, not sentences: {known} …; ask for one of them.")

    def paint(self, job: PaintJob) -> Iterator[LatentPreview | np.ndarray]:
        """Previews, then the picture, (size, size, 3) uint8; ends without one where the job is stopped. Raises
        PaintingError."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="painter", daemon=True)
                self._thread.start()
        self._jobs.put(job)
        while True:
            try:
                shown = job.shown.get(timeout=0.2)
            except queue.Empty:
                if job.stop():
                    return
                continue
            if isinstance(shown, PaintingError):
                raise shown
            if shown is None:
                return
            yield shown
            if isinstance(shown, np.ndarray) or job.stop():
                return

    @property
    def takes_text(self) -> bool:
        return "prompt" in self._parameters

    def _default(self, name: str) -> Any:
        parameter = self._parameters.get(name)
        return parameter.default if parameter is not None and isinstance(parameter.default, int | float) else None

    # In the thread

    def _work(self) -> None:
        waiting: list[PaintJob] = []
        while True:
            if not waiting:
                waiting.append(self._jobs.get())
            while not self._jobs.empty():
                waiting.append(self._jobs.get())
            together, waiting = next_batch(waiting, self.batch)
            self._together(together)

    def _together(self, jobs: Sequence[PaintJob]) -> None:
        """Paint a batch; half of it at a time where there is no memory for all."""
        pictures: list[Any] | None = None
        try:
            pictures = self._painted(jobs)
        except _NobodyWaits:
            pictures = [None] * len(jobs)
        except torch.OutOfMemoryError:
            pass  # what the failed batch holds is free only once its exception is gone
        except Exception as error:  # of whichever pipeline
            message = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            pictures = [PaintingError(f"the pipeline failed ({message}); change its options or give another")] * len(
                jobs
            )
        if pictures is None and (half := len(jobs) // 2):
            self._together(jobs[:half])
            self._together(jobs[half:])
            return
        for job, picture in zip(jobs, pictures or [PaintingError(MEMORY)], strict=True):
            job.shown.put(picture)

    @torch.inference_mode()
    def _painted(self, jobs: Sequence[PaintJob]) -> list[Any]:
        from_draft = jobs[0].draft is not None and self._variant is not None
        pipeline = copy.copy(self._variant if from_draft else self.pipeline)
        scheduler = type(pipeline.scheduler).from_config(pipeline.scheduler.config)  # a state of its own
        pipeline.register_modules(scheduler=scheduler)
        watch_steps(scheduler, self._shows(pipeline, jobs), self.options.strength if from_draft else 1.0)
        output = pipeline(**self.arguments(pipeline, jobs))
        flagged = getattr(output, "nsfw_content_detected", None) or [False] * len(jobs)
        return [
            PaintingError("the pipeline's safety checker has blacked the image out; ask for something else")
            if is_flagged
            else np.asarray(picture.convert("RGB").resize((self.size, self.size)))
            for picture, is_flagged in zip(output.images, flagged, strict=True)
        ]

    def arguments(self, pipeline: Any, jobs: Sequence[PaintJob]) -> dict[str, Any]:
        """What a pipeline of this kind is called with, for jobs of the same settings."""
        known = inspect.signature(pipeline.__call__).parameters
        prompts = [job.prompt for job in jobs]
        offered = {
            "prompt": prompts,
            "num_inference_steps": self.steps,
            "guidance_scale": jobs[0].guidance,
            "generator": [torch.Generator("cpu").manual_seed(job.seed) for job in jobs],
            "height": self.size,
            "width": self.size,
            "use_resolution_binning": False,
            "clean_caption": False,
        } | _text_length(pipeline, known)
        if jobs[0].draft is not None:
            offered |= {"image": [job.draft for job in jobs], "strength": self.options.strength}
        if not self.takes_text:
            offered["class_labels"] = pipeline.get_label_ids([prompt.strip() for prompt in prompts])
        return {name: value for name, value in offered.items() if name in known}

    def _shows(self, pipeline: Any, jobs: Sequence[PaintJob]) -> Callable[[torch.Tensor, float], None]:
        """What is done after every step: stop where nobody waits; now and then show the predicted images."""
        began, spent, shown = time.monotonic(), 0.0, 0

        def watch(clean: torch.Tensor, share: float) -> None:
            nonlocal spent, shown
            waits = [not job.stop() for job in jobs]
            if not any(waits):
                raise _NobodyWaits
            now = time.monotonic()
            dear = spent > max(PREVIEW_SECONDS, PREVIEW_SHARE * (now - began))
            if share >= 1 or share * PREVIEWS < shown + 1 or dear:
                return
            vae = self.tiny or getattr(pipeline, "vae", None)
            for job, wait, picture in zip(
                jobs, waits, decode(pipeline, vae, clean[: len(jobs)], self.size), strict=True
            ):
                if wait:
                    job.shown.put(LatentPreview(_small(picture), share))
            spent, shown = spent + time.monotonic() - now, int(share * PREVIEWS)

        return watch


def _small(picture: torch.Tensor) -> Picture.Image:
    """(3, H, W) in [0, 1] as a picture of at most PREVIEW_SIDE."""
    made = Picture.fromarray((picture * 255).round().byte().permute(1, 2, 0).cpu().numpy())
    side = min(made.width, PREVIEW_SIDE)
    return made.resize((side, side))


def _text_length(pipeline: Any, parameters: Mapping[str, Any]) -> dict[str, int]:
    """`max_sequence_length` where the tokenizer reads fewer tokens than the pipeline pads every prompt to."""
    own = getattr(parameters.get("max_sequence_length"), "default", None)
    last = max((name for name in pipeline.config if name.startswith("tokenizer")), default="")  # whose texts are padded
    most = getattr(getattr(pipeline, last, None), "model_max_length", None)
    return {"max_sequence_length": most} if own is not None and most is not None and most < own else {}


def _native_size(pipeline: Any) -> int:
    """Pixels per side that the denoiser was trained for."""
    denoiser = _denoiser(pipeline)
    sample = getattr(pipeline, "default_sample_size", None) or getattr(denoiser.config, "sample_size", None) or 128
    vae = getattr(pipeline, "vae", None)
    own = 1 if vae is None else 2 ** (len(getattr(vae.config, "block_out_channels", (1,))) - 1)
    sample = sample if isinstance(sample, int) else sample[0]
    return int(sample * (getattr(pipeline, "vae_scale_factor", None) or own))


def _check_size(pipeline: Any, size: int, *, fixed: bool) -> None:
    """Raises CheckpointError for images that it would paint at another size, or fail to."""
    name, own = type(pipeline).__name__, _native_size(pipeline)
    if fixed:
        if size != own:
            raise CheckpointError(f"{name} paints {own} pixels a side only; got size={size}, so leave size out")
        return
    scale, denoiser = getattr(pipeline, "vae_scale_factor", None) or 1, _denoiser(pipeline)
    patch = getattr(denoiser.config, "patch_size", None) if denoiser is not None else None
    grid = math.lcm(
        8, scale * (patch if isinstance(patch, int) else 1), scale * (1 + hasattr(pipeline, "_unpack_latents"))
    )
    if size % grid:
        nearest = max(grid, round(size / grid) * grid)
        raise CheckpointError(
            f"{name} paints sides of a multiple of {grid} pixels; got size={size}, give size={nearest}"
        )


def _denoiser(pipeline: Any) -> Any:
    return getattr(pipeline, "transformer", None) or getattr(pipeline, "unet", None)


def _from_draft(pipeline: Any) -> Any:
    """The same weights as an image-to-image pipeline. Raises CheckpointError."""
    try:
        return diffusers.AutoPipelineForImage2Image.from_pipe(pipeline)
    except (ValueError, AttributeError) as error:
        raise CheckpointError(
            f"{type(pipeline).__name__} cannot begin at a draft; choose redraw=prompt or redraw=seed"
        ) from error


def open_painter(
    source: str | Path, options: PaintingOptions, *, device: str | None = None, dtype: str | None = None
) -> Painter:
    """A text-to-image pipeline (or a class-conditional one) of a folder or a Hub id. Raises CheckpointError."""
    device = device or default_device()
    chosen = dtype_of(dtype or ("float32" if device == "cpu" else "bfloat16"))
    try:
        folder = next((each for each in (WEIGHTS / source, Path(source)) if each.is_dir()), None)
        place = str(folder or diffusers.DiffusionPipeline.download(source))
        pipeline = diffusers.DiffusionPipeline.from_pretrained(place, dtype=chosen, **open_parts(place, chosen))
        if options.scheduler:
            kind = getattr(diffusers, options.scheduler, None)
            if not (isinstance(kind, type) and issubclass(kind, diffusers.SchedulerMixin)):
                raise CheckpointError(f"diffusers has no scheduler “{options.scheduler}”")
            pipeline.register_modules(scheduler=kind.from_config(pipeline.scheduler.config))
        if options.lora:
            with _opening(f"lora={options.lora}", "weights of a LoRA for this pipeline"):
                pipeline.load_lora_weights(options.lora)
        tiny = None
        if options.preview:
            with _opening(f"preview={options.preview}", "an AutoencoderTiny"):
                tiny = diffusers.AutoencoderTiny.from_pretrained(options.preview, dtype=chosen)
        if not {"prompt", "class_labels"} & inspect.signature(pipeline.__call__).parameters.keys():
            raise CheckpointError(f"{type(pipeline).__name__} paints without a prompt; give a text-to-image pipeline")
        _check_parts(pipeline, Path(place))
        _place(pipeline, device)
        return Painter(pipeline, options, None if tiny is None else tiny.to(device))
    except CheckpointError:
        raise
    except Exception as error:  # files that somebody else wrote, through a library with errors of its own
        raise CheckpointError(why_not(source, error, "a diffusers pipeline", ADVICE)) from error


def _check_parts(pipeline: Any, source: Path) -> None:
    """Raises CheckpointError for weights that are not finite, and for latents of no scale."""
    for name, part in pipeline.components.items():
        if isinstance(part, torch.nn.Module):
            check_finite(part, source / name)
    scale = getattr(getattr(getattr(pipeline, "vae", None), "config", None), "scaling_factor", None)
    if scale is not None and not (isinstance(scale, int | float) and math.isfinite(scale) and scale):
        raise CheckpointError(f"{source / 'vae'}: scaling_factor: got {scale!r}, wanted a number other than 0")


@contextmanager
def _opening(option: str, expected: str) -> Iterator[None]:
    """Whatever goes wrong becomes a CheckpointError that names the option."""
    try:
        yield
    except Exception as error:  # of whichever library reads the files
        advice = "give a file, folder or Hub id of such, or leave the option out"
        raise CheckpointError(why_not(option, error, expected, advice)) from error


def _place(pipeline: Any, device: str) -> None:
    """On its device; on a GPU that is too small for all of it part by part as it is used."""
    weights = sum(
        p.numel() * p.element_size()
        for m in pipeline.components.values()
        if isinstance(m, torch.nn.Module)
        for p in m.parameters()
    )
    if device.startswith("cuda") and weights > 0.8 * torch.cuda.mem_get_info()[0]:
        pipeline.enable_model_cpu_offload(device=device)
    else:
        pipeline.to(device)
    vae = getattr(pipeline, "vae", None)
    if device.startswith("cuda") and hasattr(vae, "enable_slicing"):
        vae.enable_slicing()
