"""The query of an export: filters, aggregation, thresholds, splits.

A value that goes into the manifest as JSON and is read from a command line or a page.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from annotations.errors import ExportError


class Aggregation(StrEnum):
    """How what several people said of one thing becomes labels. A reviewer's decision always goes first."""

    ALL = "all"  # every person's answer by itself
    MAJORITY = "majority"
    WEIGHTED = "weighted"  # each vote by its annotator's accuracy on gold
    DAWID_SKENE = "dawid_skene"  # posterior under an error rate per annotator (Dawid and Skene, 1979)


SHARES = ("min_agreement", "good", "bad", "min_rating_difference")  # named thresholds from 0 to 1
RULES = ("aggregation", *SHARES)  # which a manifest has in any case


@dataclass(frozen=True)
class Split:
    """A share of the prompts under a name of its own."""

    name: str
    share: float


@dataclass(frozen=True)
class Query:
    """Empty tuples and None keep everything. `good` and `bad` are places on a rating's scale, from 0 (its lowest end)
    to 1: on 1 to 5 the defaults make 4 and 5 good, 1 and 2 bad."""

    projects: tuple[str, ...] = ()
    annotators: tuple[str, ...] = ()  # by name or pseudonym
    checkpoints: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()  # of prompts of the embedded world
    since: datetime | None = None  # of the answer, UTC
    until: datetime | None = None  # exclusive
    own_words: bool = False  # only texts that a person wrote
    aggregation: Aggregation = Aggregation.MAJORITY
    min_agreement: float = 0.5  # of the label's weight among all votes; ties never pass
    good: float = 0.75
    bad: float = 0.25
    min_rating_difference: float = 0.25  # of mean ratings of two trajectories' drawings, on the same scale
    splits: tuple[Split, ...] = ()  # beside `train`, which has the rest
    seed: int = 0  # of the splits
    licence: str = ""  # SPDX identifier, for the card

    def __post_init__(self) -> None:
        for name in SHARES:
            if not 0 <= getattr(self, name) <= 1:
                raise ExportError(f"{name} is {getattr(self, name)}, wanted a share from 0 to 1")
        if self.bad >= self.good:
            raise ExportError(f"bad is {self.bad} and good {self.good}; wanted bad below good")
        names = [split.name for split in self.splits]
        if len(set(names)) < len(names) or "train" in names or not all(name.isidentifier() for name in names):
            raise ExportError(f"the splits are {', '.join(names)}; wanted different names other than train")
        if any(split.share <= 0 for split in self.splits) or sum(split.share for split in self.splits) >= 1:
            raise ExportError("the shares of the splits are more than all; wanted each above 0, in sum below 1")

    def to_dict(self) -> dict[str, Any]:
        """The rules, and what else differs from the defaults, as JSON values."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        usual = vars(Query())
        return {name: _plain(value) for name, value in values.items() if name in RULES or value != usual[name]}

    @staticmethod
    def from_dict(row: Mapping[str, Any]) -> Query:
        """Raises ExportError for what is no query."""
        try:
            known: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in row.items()}
            for name in ("since", "until"):
                if isinstance(known.get(name), str):
                    known[name] = datetime.fromisoformat(known[name])
            if "aggregation" in known:
                known["aggregation"] = Aggregation(known["aggregation"])
            known["splits"] = tuple(Split(**split) for split in row.get("splits", ()))
            return replace(Query(), **known)
        except (TypeError, ValueError) as error:
            raise ExportError(f"this is no query of an export: {error}") from error


EVERYTHING = Query()


def moment(text: str) -> datetime:
    """A day or a moment (ISO 8601) in UTC; without a time zone it is taken as UTC. Raises ExportError."""
    try:
        made = datetime.fromisoformat(text)
        return made.replace(tzinfo=UTC) if made.tzinfo is None else made.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ExportError(f"“{text[:40]}” is no day; write it as 2026-11-29, or as 2026-11-29T12:00") from None


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, tuple):
        return [vars(each) if isinstance(each, Split) else each for each in value]
    return value
