"""Parses the name of a painter and its critic: `PAINTER?steps=20&guidance=4+CRITIC`."""

from dataclasses import dataclass, fields
from typing import get_args
from urllib.parse import parse_qsl

from model.backends.checkpoint.loading import name_of
from model.backends.contract import CheckpointError

REDRAWS = ("prompt", "image", "seed")


@dataclass(frozen=True)
class PaintingOptions:
    """How a pipeline paints; None: as the pipeline does by itself."""

    steps: int | None = None  # of denoising
    guidance: float | None = None
    size: int | None = None  # pixels per side
    strength: float = 0.7  # of redraws that begin at the draft: the share of the noise that is added
    redraw: str = "prompt"  # what a redraw begins with: the prompt and what the critic said; the draft, too; a new seed
    scheduler: str | None = None  # a class of diffusers
    lora: str | None = None  # a file, folder or Hub id
    preview: str | None = None  # an AutoencoderTiny that decodes what is shown on the way
    batch: int = 4  # images that are painted together, at most


@dataclass(frozen=True)
class PairSource:
    """A painter, its options and its critic ("" for none)."""

    painter: str
    options: PaintingOptions
    critic: str

    @property
    def name(self) -> str:
        return "+".join(name_of(part) for part in (self.painter, self.critic.partition("?")[0]) if part)


def read_source(source: str) -> PairSource:
    """Raises CheckpointError for options that there are not, or values that they cannot have."""
    painter, _, critic = str(source).partition("+")
    painter, _, query = painter.partition("?")
    if not painter.strip():
        raise CheckpointError(f"got “{source}”; give a pipeline and a critic: diffusion:FOLDER+embedded")
    kinds = {
        field.name: next(kind for kind in (int, float, str) if kind in (field.type, *get_args(field.type)))
        for field in fields(PaintingOptions)
    }
    values: dict[str, int | float | str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in kinds:
            raise CheckpointError(f"{painter} has no option “{name}”; there are {', '.join(kinds)}")
        try:
            values[name] = kinds[name](value)
        except ValueError as error:
            raise CheckpointError(f"the option {name} of {painter} is “{value}”; give a number") from error
    return PairSource(painter, _checked(painter, PaintingOptions(**values)), critic)


def _checked(painter: str, options: PaintingOptions) -> PaintingOptions:
    bounds = {"steps": (1, 1000), "size": (16, 4096), "guidance": (0, 1000), "strength": (0.05, 1), "batch": (1, 256)}
    for name, (least, most) in bounds.items():
        value = getattr(options, name)
        if value is not None and not least <= value <= most:
            raise CheckpointError(f"the option {name} of {painter} is {value}; give one from {least} to {most}")
    if options.redraw not in REDRAWS:
        raise CheckpointError(f"the option redraw of {painter} is “{options.redraw}”; choose {', '.join(REDRAWS)}")
    return options
