"""Index of rated trajectories by prompt, 16 bytes each in memory."""

from __future__ import annotations

import hashlib

import numpy as np

from annotations.export.annotated_trajectories import AnnotatedTrajectory, annotated_trajectories_at, prompts
from annotations.export.query import Query
from annotations.schema.forms.rating import Rating
from annotations.store.store import Store

NEIGHBOURS = 32  # of a trajectory among those of its prompt, on either side: what a popular prompt costs is bounded
KEPT = 4 * NEIGHBOURS  # subjects in memory


class SamePrompt:
    """The rated trajectories that a query keeps, by prompt; read once from the store."""

    def __init__(self, store: Store, query: Query) -> None:
        self._store, self._query = store, query
        rated = [p.id for p in store.projects() if any(isinstance(question.form, Rating) for question in p.questions)]
        ids = [id for id in rated if not query.projects or id in query.projects]
        rows = ((_key(prompt), number) for number, prompt in prompts(store, query, ids))
        index = np.fromiter(rows, dtype=[("key", np.uint64), ("number", np.int64)])
        self._index = np.sort(index, order=("key", "number"))
        self._by_number: dict[int, AnnotatedTrajectory] = {}

    def neighbours(self, annotated: AnnotatedTrajectory) -> list[AnnotatedTrajectory]:
        """At most NEIGHBOURS before and as many after it, in order."""
        of_prompt = self._numbers(annotated.trajectory.prompt)
        place, end = np.searchsorted(of_prompt, [annotated.number, annotated.number + 1])
        before, after = of_prompt[max(0, place - NEIGHBOURS) : place], of_prompt[end : end + NEIGHBOURS]
        numbers = [int(number) for number in (*before, *after)]
        unknown = [number for number in numbers if number not in self._by_number]
        if unknown:
            self._by_number |= {
                each.number: each for each in annotated_trajectories_at(self._store, self._query, unknown)
            }
        known = [self._by_number[number] for number in numbers if number in self._by_number]
        for number in [number for number in self._by_number if number not in numbers][: -KEPT or None]:
            del self._by_number[number]
        return [each for each in known if each.trajectory.prompt == annotated.trajectory.prompt]

    def _numbers(self, prompt: str) -> np.ndarray:
        key = np.uint64(_key(prompt))
        keys = self._index["key"]
        return self._index["number"][np.searchsorted(keys, key) : np.searchsorted(keys, key, side="right")]


def _key(prompt: str) -> int:
    return int.from_bytes(hashlib.sha256(prompt.encode(errors="surrogatepass")).digest()[:8])
