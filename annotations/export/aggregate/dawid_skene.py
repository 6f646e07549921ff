"""Dawid–Skene: each thing's label under one error rate per annotator and label, by crowd-kit.

Imported where it is asked for only: crowd-kit brings scikit-learn, which takes seconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable

import pandas as pd
from crowdkit.aggregation import DawidSkene

from annotations.export.aggregate.votes import Votes, decided

ITERATIONS = 100


def dawid_skene(votes: Iterable[tuple[Hashable, Hashable, Hashable]]) -> dict[Hashable, Votes]:
    """The posterior of each thing's label (Dawid and Skene, 1979). `votes` are (thing, annotator, label), one of each
    annotator about a thing; a thing whose labels are equally likely has none.
    """
    rows = list(votes)
    if not rows:
        return {}
    things = {thing: at for at, thing in enumerate(dict.fromkeys(thing for thing, _, _ in rows))}
    labels = {label: at for at, label in enumerate(dict.fromkeys(label for _, _, label in rows))}
    table = [(things[thing], annotator, labels[label]) for thing, annotator, label in rows]
    frame = pd.DataFrame(table, columns=["task", "worker", "label"])
    posterior = DawidSkene(n_iter=ITERATIONS).fit_predict_proba(frame)
    shares, known = posterior.to_numpy(), list(labels)
    names = [known[int(column)] for column in posterior.columns]
    at_row = {at: row for row, at in enumerate(posterior.index)}
    people = Counter(thing for thing, _ in {(thing, annotator) for thing, annotator, _ in rows})
    return {
        thing: decided(dict(zip(names, map(float, shares[at_row[at]]), strict=True)), people[thing])
        for thing, at in things.items()
    }
