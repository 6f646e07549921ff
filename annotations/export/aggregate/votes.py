"""Labels from what several people said: by majority, or by votes weighted with accuracy on gold.

Pure functions over votes. A tie is no label: nothing becomes a preference by the order in which it was answered.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

TIED = 1e-9  # of the total weight: a difference that is none


@dataclass(frozen=True)
class Votes:
    """What was said of one thing. `label` is None where nothing has the most weight."""

    label: Hashable
    agreement: float  # the label's share of the weight, or its posterior; 0 where there is no label
    count: int  # people
    shares: Mapping[Hashable, float]  # of every label that was given, in sum 1

    @property
    def margin(self) -> float:
        """The share of the label less that of the next."""
        ordered = sorted(self.shares.values(), reverse=True)
        return ordered[0] - (ordered[1] if len(ordered) > 1 else 0.0)


def vote(votes: Sequence[tuple[str, Hashable]], weights: Mapping[str, float] | None = None) -> Votes:
    """The label with the most weight. `votes` are (annotator, label); without `weights` each vote weighs the same.

    An annotator without a weight has the mean of those that have one.
    """
    usual = sum(weights.values()) / len(weights) if weights else 1.0
    shares: dict[Hashable, float] = defaultdict(float)
    for annotator, label in votes:
        shares[label] += (weights or {}).get(annotator, usual)
    total = sum(shares.values())
    if total <= 0:  # of people who were never right
        shares = {label: float(sum(given == label for _, given in votes)) for label in shares}
        total = float(len(votes))
    return decided({label: share / total for label, share in shares.items()}, len(votes))


def decided(shares: Mapping[Hashable, float], count: int) -> Votes:
    """Votes of `count` people with these shares."""
    best = max(shares.values())
    first = [label for label, share in shares.items() if best - share <= TIED]
    return Votes(first[0], best, count, shares) if len(first) == 1 else Votes(None, 0.0, count, shares)
