"""The command line of a training run: options from a settings dataclass, how a run begins, errors as one line."""

import argparse
import inspect
import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from model.backends.contract import CheckpointError
from model.distributed.command_line import ending_in_a_line
from model.training.optimization import TrainingError
from model.training.runs.folder import RunStart, RunStopped
from model.training.runs.settings import option_names
from model.training.runs.sharding import SHARDINGS
from model.training.runs.trackers import TRACKERS


class SettingsDataclass(Protocol):
    """Any dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


Settings = TypeVar("Settings", bound=SettingsDataclass)
FIELD = re.compile(r"    (?P<name>\w+): [^#]*#\s*(?P<comment>.*)")  # of a dataclass, with a comment
CRITERIA = ("guarded", "mean", "last")  # of the best checkpoint: safeguards/evaluations.py
BOUNDS = {  # least and most of a setting, wherever there is one of this name
    **dict.fromkeys(("steps", "batch", "micro_batches", "micro_batch", "prompts", "group", "updates"), (1, 10**7)),
    **dict.fromkeys(("warmup", "save_every", "repair_groups", "rehearsal", "resample"), (0, 10**7)),
    **dict.fromkeys(
        ("decay", "thinking", "thinking_hard", "learning_rate", "muon", "label_smoothing", "verdict_threshold"), (0, 1)
    ),
    **dict.fromkeys(
        ("weight_decay", "untrue_penalty", "rehearsal_share", "clip_range", "chosen_nll", "chosen_error"), (0, 100)
    ),
    "beta": (0, 10**6),  # thousands in Diffusion-DPO
    **dict.fromkeys(("center", "desirable_weight", "undesirable_weight"), (0, 100)),
    **dict.fromkeys(("naming_steps", "most_characters", "most_tokens"), (0, 10**9)),
    **dict.fromkeys(("distill_rollouts", "distill_batch"), (1, 10**6)),
    **dict.fromkeys(("evaluate_every", "evaluate_prompts"), (0, 10**7)),
    "distill": (0, 100),
    **dict.fromkeys(("rounds", "distill_rounds"), (1, 16)),
    "max_grad_norm": (1e-9, 1e9),
    "most_megapixels": (1e-6, 1e4),
    "threads": (1, 1024),
    "seed": (-(2**62), 2**62),
}


SEVERAL = ("reward", "watch")  # settings of several words


def run_method(
    name: str,
    description: str,
    defaults: Settings,
    work: Callable[[argparse.Namespace, Settings, RunStart], None],
    options: Callable[[argparse.ArgumentParser], None] = lambda parser: None,
    choices: Mapping[str, Sequence[str]] | None = None,
    errors: Sequence[type[Exception]] = (),
) -> None:
    """The command `python -m model.training.{name}`: its own options, where and how a run begins, its settings."""
    parser = argparse.ArgumentParser(prog=f"python -m model.training.{name}", description=description)
    options(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder for the new checkpoint")
    parser.add_argument("--resume", action="store_true", help="go on from the last save of --out")
    accept = "with --resume: go on although settings, data or checkpoint differ, and write that into provenance"
    parser.add_argument("--accept-changes", action="store_true", help=accept)
    parser.add_argument("--restart", action="store_true", help="begin anew in place of an unfinished run of --out")
    add_settings(parser, defaults, {"best": CRITERIA, "track": TRACKERS, "sharding": SHARDINGS} | dict(choices or {}))
    arguments = parser.parse_args()
    settings = settings_of(arguments, defaults)
    run_command(name.rpartition(".")[2], lambda: work(arguments, settings, start_of(arguments)), *errors)


def settings_of(arguments: argparse.Namespace, defaults: Settings) -> Settings:
    """The settings that the options of `add_settings` give."""
    return type(defaults)(**{field: getattr(arguments, field) for field in asdict(defaults)})


def start_of(arguments: argparse.Namespace) -> RunStart:
    """How the run begins. Raises CheckpointError for options that contradict each other."""
    if arguments.resume and arguments.restart:
        raise CheckpointError("--resume goes on with a run, --restart begins it anew; give one of them")
    if arguments.accept_changes and not arguments.resume:
        raise CheckpointError("--accept-changes belongs to --resume")
    return RunStart(arguments.resume, arguments.accept_changes, arguments.restart)


def add_settings(
    parser: argparse.ArgumentParser, defaults: Settings, choices: Mapping[str, Sequence[str]] | None = None
) -> None:
    """An option for every field, with its default and the comment on its line as help; a flag for one that is False."""
    comments = field_comments(type(defaults))
    for name, default in asdict(defaults).items():
        options, about = option_names(name), [comments.get(name, "")]
        if isinstance(default, bool):
            parser.add_argument(*options, action="store_true", help=about[0] or None)
        else:
            several: dict[str, Any] = {"nargs": "+", "action": _Joined} if name in SEVERAL else {}
            kind = bounded(type(default), *BOUNDS[name]) if name in BOUNDS else type(default)
            choice = (choices or {}).get(name)
            about += [f"(default: {default}".replace("%", "%%") + ")"] if default != "" else []
            about += [f"[formerly {options[1]}]"] if len(options) > 1 else []
            text = " ".join(filter(None, about))
            parser.add_argument(*options, type=kind, default=default, choices=choice, help=text, **several)


def field_comments(settings: type) -> dict[str, str]:
    """Of every field of a dataclass and of those that it extends: the comment on the line of its definition, for
    argparse (% doubled). None where Python runs without its sources."""
    try:
        sources = [inspect.getsource(each) for each in reversed(settings.__mro__) if is_dataclass(each)]
    except OSError:
        return {}
    found = (FIELD.match(line) for source in sources for line in source.splitlines())
    return {match["name"]: match["comment"].replace("%", "%%") for match in found if match}


class _Joined(argparse.Action):
    """Several words as one text."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option: str | None = None) -> None:
        setattr(namespace, self.dest, " ".join(values))


def bounded(kind: Callable[[str], float], least: float, most: float) -> Callable[[str], float]:
    """Type for argparse: a number from `least` to `most`."""

    def read(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            expected = "a whole number" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f"got {text}, wanted {expected} from {least:g} to {most:g}")
        return value

    return read


def run_command(name: str, work: Callable[[], None], *errors: type[Exception]) -> None:
    """Run a command; expected errors end the process with one line on stderr and a non-zero status."""
    with ending_in_a_line(name, CheckpointError, TrainingError, OSError, *errors):
        try:
            work()
        except RunStopped as stopped:
            print(f"{name}: {stopped}", file=sys.stderr)
            sys.exit(stopped.code)
