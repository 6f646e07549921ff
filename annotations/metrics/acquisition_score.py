"""Acquisition score of active learning: the mean of margin, disagreement of critics, and novelty of the category.

Uncertainty sampling, query by committee (Settles, 2009, sections 3.1 and 3.2) and the count of what is known already;
each from 0 to 1, and so is their mean. Pure functions.
"""

import math
from collections.abc import Iterable, Sequence


def acquisition_score(committees: Iterable[Sequence[float]], answered: int) -> float:
    """`committees`: for each picture of a drawing what its critics say, the model's own p_yes first; `answered`: how
    many drawings of its category people have answered. 0 for a drawing that no critic has judged."""
    judged = [committee for committee in committees if committee]
    if not judged:
        return 0.0
    margin = max(1 - abs(2 * committee[0] - 1) for committee in judged)
    return (margin + max(map(disagreement, judged)) + novelty(answered)) / 3


def disagreement(p_yes: Sequence[float]) -> float:
    """Twice the standard deviation of what critics say: 1 where half of them are sure of a yes, half of a no."""
    mean = math.fsum(p_yes) / len(p_yes)
    return 2 * math.sqrt(math.fsum((p - mean) ** 2 for p in p_yes) / len(p_yes))


def novelty(answered: int) -> float:
    """1 for a category that nobody has answered anything of, then as the error of a mean falls."""
    return 1 / math.sqrt(1 + answered)
