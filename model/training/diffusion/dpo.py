"""Diffusion-DPO (Wallace et al., 2023): pairs of pictures of a prompt train the painter of a diffusion pair.

    python -m model.training.dpo --backend diffusion --checkpoint painter --data DRAWINGS --steps 100 --out DIR
    python -m model.training.dpo --backend diffusion --checkpoint PIPELINE --adapter lora --data DRAWINGS --out DIR

With the denoiser's mean squared error e, of chosen (w) and rejected picture (l) under the same noise at the same level,
the loss is eq. 14 of the paper, its factor T·ω(λ)/2 within β:

    −log σ(−β ((e_w − e_w^ref) − (e_l − e_l^ref)))

In flow matching e is the velocity's error. The reference is a frozen copy of the denoiser, or the denoiser without its
adapter. Text encoders and autoencoder stay as they are. `--out` is a pipeline in diffusers' format, an adapter merged
into its weights.
"""

import argparse
import copy
import pkgutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from model.backends.adapters import TrainedParameters, adapted_layers, merged, switched_off
from model.backends.checkpoint.loading import default_device
from model.backends.diffusion.painter import open_painter
from model.backends.diffusion.saving import save_pipeline
from model.backends.diffusion.source import read_source
from model.examples import DrawnExample, PreferenceExample
from model.images import PictureFileError, read_picture
from model.messages import MessageError
from model.training.dataset import RowBounds, RowFormat, one_line
from model.training.diffusion.denoiser import Conditioning, Denoiser, Noising
from model.training.loop import Loop, ObjectiveBatches, Run, StepData, prefetched
from model.training.preferences.losses import PAIR_LOSSES, check_smoothing, mean_of_pairs, pair_totals
from model.training.runs.estimate import room
from model.training.runs.folder import FROM_THE_START, RunPaths, RunStart
from model.training.runs.load_for_training import KINDS, AdapterOptions, load_options_of
from model.training.runs.settings import MethodSettings
from model.training.sources import WeightedRows, mixed_source, open_data

LOSSES = ("sigmoid", "ipo", "robust", "hinge")  # those that take no mean over tokens, of `PAIR_LOSSES`
ADAPTED = r".*attn.*\.(to_q|to_k|to_v|to_out\.0)"  # linear layers that an adapter stands beside


@dataclass(frozen=True)
class DiffusionDpoSettings(MethodSettings):
    """One run's choices; `batch` counts pairs."""

    micro_batch: int = 8  # pairs in one pass
    loss: str = "sigmoid"
    beta: float = 2000.0  # weight of the log-ratio to the reference
    label_smoothing: float = 0.0  # the share of pairs that are taken to be the wrong way round
    chosen_error: float = 0.0  # weight of the error on what was chosen
    learning_rate: float = 1e-5


@dataclass(frozen=True, eq=False)
class PicturePair:
    """A prompt and the latents, (C, h, w), of two pictures of it, of which the first is preferred."""

    prompt: str
    latents: tuple[torch.Tensor, torch.Tensor]
    weight: float = 1.0
    name: str = ""


@dataclass(frozen=True, eq=False)
class PairBatch:
    """P pairs: `chosen` and `rejected` are (P, C, h, w); both get the same noise."""

    chosen: torch.Tensor
    rejected: torch.Tensor
    noising: Noising
    given: Conditioning
    weights: torch.Tensor  # (P,)


class DenoiserPolicy(torch.nn.Module):
    """The errors of a denoiser and of its reference on pairs. What trains is the denoiser, or an adapter of it."""

    def __init__(self, denoiser: Denoiser) -> None:
        super().__init__()
        self.module, self._denoiser = denoiser.module, [denoiser]  # in a list: it is no module
        adapted = bool(adapted_layers(self.module))
        self._reference = [] if adapted else [copy.deepcopy(self.module).requires_grad_(requires_grad=False)]

    def forward(self, batch: PairBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """(P, 2) errors of the denoiser on chosen and rejected pictures, and of the reference."""
        with torch.no_grad(), self._as_reference():
            reference = self._errors(self._reference[0] if self._reference else self.module, batch)
        return self._errors(self.module, batch), reference

    def _errors(self, module: torch.nn.Module, batch: PairBatch) -> torch.Tensor:
        error = self._denoiser[0].error
        both = [error(module, each, batch.noising, batch.given) for each in (batch.chosen, batch.rejected)]
        return torch.stack(both, 1)

    def _as_reference(self) -> AbstractContextManager[None]:
        return nullcontext() if self._reference else switched_off(self.module)

    def to_device(self, device: torch.device) -> None:
        self._denoiser[0].pipeline.to(device)
        for each in self._reference:
            each.to(device)


@dataclass(frozen=True)
class DiffusionPreferenceLoss:
    """The weighted mean of a pair's loss."""

    loss: str
    beta: float
    label_smoothing: float = 0.0
    chosen_error: float = 0.0

    def totals(self, pairs: PairBatch) -> dict[str, float]:
        return pair_totals(pairs.weights)

    def __call__(
        self, policy: torch.nn.Module, pairs: PairBatch, totals: Mapping[str, float]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        own, reference = policy(pairs)
        gains = reference - own
        margins = gains[:, 0] - gains[:, 1]
        losses = PAIR_LOSSES[self.loss](margins, self.beta, self.label_smoothing)
        losses = losses + self.chosen_error * own[:, 0]
        values = {
            "margin": self.beta * margins,
            "accuracy": (margins > 0).float(),
            "chosen_error": own[:, 0],
            "rejected_error": own[:, 1],
        }
        return mean_of_pairs(losses, values, pairs.weights, totals)


def pair_rows(denoiser: Denoiser) -> RowFormat:
    """Rows of the kind `image_pref`, as latents."""

    def build(_: Any, example: PreferenceExample, bounds: RowBounds) -> PicturePair:
        drawings = [each for each in (example.chosen, example.rejected) if isinstance(each, DrawnExample)]
        if len(drawings) < 2:
            raise MessageError("wanted two drawings of a prompt; export the kind image_pref")
        try:
            pictures = [read_picture(each.image.png, denoiser.painter.size) for each in drawings]
        except PictureFileError as error:
            raise MessageError(f"a picture cannot be read ({one_line(error)}); replace it") from error
        chosen, rejected = denoiser.latents(pictures).cpu()
        if torch.equal(chosen, rejected):
            raise MessageError("chosen and rejected are the same to the autoencoder; wanted two that differ")
        return PicturePair(drawings[0].prompt, (chosen, rejected), example.weight)

    return RowFormat(("image_pref",), PreferenceExample.from_row, build)


def pair_batch(denoiser: Denoiser, pairs: Sequence[PicturePair], seeds: Sequence[int]) -> PairBatch:
    """Pairs with noise, each from its seed."""
    chosen, rejected = (torch.stack([pair.latents[n] for pair in pairs]).to(denoiser.device) for n in (0, 1))
    each = [denoiser.noising((1, *chosen.shape[1:]), torch.Generator().manual_seed(seed)) for seed in seeds]
    noising = Noising(torch.cat([drawn.noise for drawn in each]), torch.cat([drawn.levels for drawn in each]))
    conditioning = denoiser.conditioning([pair.prompt for pair in pairs])
    return PairBatch(chosen, rejected, noising, conditioning, torch.tensor([pair.weight for pair in pairs]))


def train(
    denoiser: Denoiser,
    data: Sequence[WeightedRows],
    settings: DiffusionDpoSettings,
    out: Path,
    provenance: Mapping[str, Any],
    start: RunStart = FROM_THE_START,
) -> None:
    """Raises what `Loop.train` raises, LossError, and DataError for a batch that is too small."""
    check_smoothing(settings.loss, settings.label_smoothing)
    loop, policy = Loop(settings.loop), DenoiserPolicy(denoiser)
    policy.to_device(loop.accelerator.device)
    source = mixed_source(data, settings.seed, settings.batch)
    objective = DiffusionPreferenceLoss(settings.loss, settings.beta, settings.label_smoothing, settings.chosen_error)
    padding = pair_batch(denoiser, [data[0].rows[0]], [0])
    padding = PairBatch(padding.chosen, padding.rejected, padding.noising, padding.given, torch.zeros(1))

    def step_data(step: int) -> StepData:
        pairs, size = source(step, loop.rank_slice), settings.micro_batch
        seeds = [settings.seed + 1_000_003 * step + number for number in range(settings.batch)[loop.rank_slice]]
        parts = [slice(at, at + size) for at in range(0, len(pairs), size)]
        batches = [pair_batch(denoiser, pairs[part], seeds[: len(pairs)][part]) for part in parts]
        return StepData([ObjectiveBatches(objective, batches, padding)], [pair.name for pair in pairs])

    adapted = bool(adapted_layers(policy.module))
    run = Run(
        policy,
        policy,
        out,
        provenance,
        lambda about: save_merged(denoiser, out, about),
        start=start,
        trained=TrainedParameters(policy) if adapted else None,
    )
    with prefetched(step_data, settings.steps) as ahead:
        loop.train(run, ahead)


def save_merged(denoiser: Denoiser, out: Path, provenance: dict[str, Any]) -> None:
    """The whole pipeline, with an adapter merged into its weights; here it stays beside them."""
    if not adapted_layers(denoiser.module):
        save_pipeline(denoiser.pipeline, out, provenance)
        return
    with merged(denoiser.module):
        plain = copy.deepcopy(denoiser.module)
    for name in adapted_layers(plain):
        parent, _, own = name.rpartition(".")
        setattr(plain.get_submodule(parent), own, plain.get_submodule(name).base_layer)
    pipeline = copy.copy(denoiser.pipeline)
    pipeline.register_modules(**{denoiser.part: plain})
    save_pipeline(pipeline, out, provenance)


def open_denoiser(source: str, adapter: AdapterOptions | None, seed: int) -> Denoiser:
    """A pipeline on the CPU, in float32, its denoiser to be trained. Raises CheckpointError."""
    pair = read_source(source.removeprefix("diffusion:"))
    denoiser = Denoiser(open_painter(pair.painter, pair.options, device="cpu", dtype="float32"))
    for part in denoiser.pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval().requires_grad_(requires_grad=False)
    if adapter is None:
        denoiser.module.requires_grad_()
    else:
        add = pkgutil.resolve_name(KINDS[adapter.kind])
        add(denoiser.module, ADAPTED, adapter, pair.painter, seed)
    return denoiser


def told_memory(denoiser: Denoiser) -> str:
    """What weights, reference, gradients and optimizer take; activations are not counted."""
    sizes = [p.numel() for p in denoiser.module.parameters()]
    trained = sum(p.numel() for p in denoiser.module.parameters() if p.requires_grad)
    parts = [part for part in denoiser.pipeline.components.values() if isinstance(part, torch.nn.Module)]
    whole = sum(p.numel() for part in parts for p in part.parameters())
    copied = 0 if adapted_layers(denoiser.module) else sum(sizes)
    values = {"weights": whole, "reference": copied, "gradients": trained, "optimizer (AdamW)": 2 * trained}
    lines = [f"trained: {trained:,} of {whole:,} parameters ({trained / whole:.1%})"]
    lines += [f"  {name:<28}{4 * size / 1e9:>10.3f} GB" for name, size in values.items() if size]
    total, free = 4 * sum(values.values()) / 1e9, room(default_device()) / 1e9
    return "\n".join([*lines, f"  {'without activations':<28}{total:>10.3f} GB, {free:.1f} GB free"])


def run(arguments: argparse.Namespace, settings: DiffusionDpoSettings, start: RunStart) -> None:
    """Raises CheckpointError, DataError and what `train` raises."""
    check_smoothing(settings.loss, settings.label_smoothing)
    RunPaths(arguments.out).check(read_source(arguments.checkpoint.removeprefix("diffusion:")).painter)
    denoiser = open_denoiser(arguments.checkpoint, load_options_of(arguments).adapter, settings.seed)
    if arguments.estimate:
        print(told_memory(denoiser))
        sys.exit(0)
    data, about = open_data(denoiser, arguments.data, pair_rows(denoiser), RowBounds())
    provenance = {"parent": str(arguments.checkpoint), "recipe": "diffusion dpo", "settings": asdict(settings), **about}
    train(denoiser, data, settings, arguments.out, provenance, start)
