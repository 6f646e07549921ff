"""Refuses rewards whose agreement with people is too low in the calibration report of `python -m studio.calibration`.

The report is a file; the trainer knows no database. A critic is held for as good as the lower end of the interval of
its Cohen's kappa, over all prompts.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from model.backends.checkpoint.loading import name_of
from model.training.rewards.janus_pro_r1 import RewardError
from model.training.rewards.registry import RewardChoice

LEAST = 0.4  # of kappa: from here on “moderate” (Landis and Koch, 1977)
FEWEST = 30  # judgements, below which an interval says nothing


def add_agreement(parser: argparse.ArgumentParser) -> None:
    """The options."""
    report = "a calibration report; rewards of critics that agree too little with people are refused"
    parser.add_argument("--calibration", type=Path, metavar="FILE", help=report)
    least = f"with --calibration: the least kappa, at the lower end of its interval (default: {LEAST})"
    parser.add_argument("--least-agreement", type=float, default=LEAST, metavar="KAPPA", help=least)
    force = "with --calibration: take critics that agree less, or were not measured, all the same"
    parser.add_argument("--uncalibrated", action="store_true", help=force)


def check_agreement(arguments: argparse.Namespace, choice: RewardChoice) -> dict[str, Any]:
    """What provenance says of the rewards that are critics. Raises RewardError for one that agrees too little."""
    if arguments.calibration is None:
        return {}
    kappas = read_kappas(arguments.calibration)
    named = {reward: _known(reward, kappas) for reward in choice.weights if ":" in reward}
    for reward, kappa in named.items():
        if not arguments.uncalibrated and (kappa is None or kappa < arguments.least_agreement):
            why = (
                "was measured on too few pictures, or not at all" if kappa is None else f"has kappa ≥ {kappa:.2f} only"
            )
            raise RewardError(
                f"{reward} {why} ({arguments.calibration}; wanted ≥ {arguments.least_agreement:g}). Let people judge "
                "more, measure again, take another reward, or give --uncalibrated"
            )
    return {"agreement": named}


def read_kappas(file: Path) -> dict[str, float]:
    """The lower end of kappa of each critic that was measured on enough pictures. Raises RewardError."""
    try:
        rows = json.loads(file.read_text("utf-8"))["critics"]
        whole = [row for row in rows if row["category"] is None and row["judgements"] >= FEWEST]
        return {row["critic"]: float(row["kappa"]["low"]) for row in whole if row["kappa"] is not None}
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError) as error:
        raise RewardError(
            f"{file} is no calibration report ({error}); `python -m studio.calibration` writes one"
        ) from error


def _known(reward: str, kappas: dict[str, float]) -> float | None:
    """By the name that was measured, or by that of the checkpoint behind it."""
    kind, _, source = reward.partition(":")
    return kappas.get(reward, kappas.get(f"{kind}:{name_of(source)}"))
