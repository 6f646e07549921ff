"""The context of export kinds over a store: aggregated votes (a reviewer's decision first), pictures, pseudonyms."""

from __future__ import annotations

import pkgutil
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import cached_property, lru_cache
from typing import Any

from annotations.export.aggregate.votes import Votes, decided, vote
from annotations.export.annotated_trajectories import AnnotatedTrajectory, AnswerGroup, annotated_trajectories
from annotations.export.kind import Context
from annotations.export.query import Aggregation, Query
from annotations.export.same_prompt import SamePrompt
from annotations.importing.formats import FORMATS
from annotations.metrics.quality import accuracy
from annotations.queue.progress import project_answers
from annotations.schema.annotation import Annotation
from annotations.store.imported_records import RecordOrigin
from annotations.store.store import Store

DAWID_SKENE = "annotations.export.aggregate.dawid_skene:dawid_skene"  # imported where it is asked for
PICTURES = 200  # in memory: rows of one trajectory show the same ones
Thing = tuple[str, int | None, str, int | None, str, str | None]  # project, item, trajectory, segment, question, part


class StoreContext(Context):
    """Of one export. `picture` stands for the store's where rows are only counted."""

    def __init__(self, store: Store, query: Query, picture: Callable[[str], bytes] | None = None) -> None:
        self.store, self.query = store, query
        self._picture = lru_cache(PICTURES)(picture or store.picture)
        self._pseudonyms: dict[str, str] = {}
        self._weights: dict[str, dict[str, float]] = {}

    def picture(self, sha256: str) -> bytes:
        return self._picture(sha256)

    def pseudonym(self, annotator: str) -> str:
        if annotator not in self._pseudonyms:
            self._pseudonyms |= self.store.pseudonyms([annotator])
        return self._pseudonyms[annotator]

    def imported(self, ids: Sequence[str], format: str) -> list[dict[str, Any]]:
        records: dict[tuple[str, int], dict[int, RecordOrigin]] = defaultdict(dict)
        for id in ids:
            for origin in self.store.origins(id):
                if origin.format == format:
                    records[origin.batch, origin.row][origin.part] = origin
        whole = [[parts[number] for number in sorted(parts)] for parts in records.values()]
        together = [parts for parts in whole if [origin.trajectory_id for origin in parts] == list(ids)]
        return [dict(FORMATS[format].merged([origin.record for origin in parts])) for parts in together]

    def same_prompt(self, annotated: AnnotatedTrajectory) -> Sequence[AnnotatedTrajectory]:
        return self._same_prompt.neighbours(annotated)

    @cached_property
    def _same_prompt(self) -> SamePrompt:
        return SamePrompt(self.store, self.query)

    def shown_with(self, annotated: AnnotatedTrajectory) -> set[str]:
        """The ids of all trajectories that a row of the trajectory may show."""
        near = self._same_prompt.neighbours(annotated) if "_same_prompt" in vars(self) else []
        others = [group.other for group in annotated.groups if group.other is not None]
        return {trajectory.id for trajectory in (annotated.trajectory, *others, *(each.trajectory for each in near))}

    def votes(self, group: AnswerGroup, question: str, part: str | None = None) -> Votes | None:
        labelled = [(a, labels[part]) for a in group.people if part in (labels := _labels(group, question, a))]
        if group.decision is not None and part in (decision := _labels(group, question, group.decision)):
            return decided({decision[part]: 1.0}, len(labelled) or 1)
        if not labelled:
            return None
        if self.query.aggregation is Aggregation.DAWID_SKENE and _is_compared(group, question):
            return self._posteriors[thing(group, labelled[0][0], question, part)]
        weights = self._accuracy(group.project.id) if self.query.aggregation is Aggregation.WEIGHTED else None
        return vote([(a.annotator, label) for a, label in labelled], weights)

    def _accuracy(self, project: str) -> dict[str, float]:
        """By annotator, the share of a project's gold that was answered right; nobody without gold."""
        if project not in self._weights:
            known = accuracy(project_answers(self.store, project))
            self._weights[project] = {name: share.value for name, share in known.items()}
        return self._weights[project]

    @cached_property
    def _posteriors(self) -> dict[Thing, Votes]:
        """Dawid–Skene over each question of each project by itself, from all that the query keeps; over parts of its
        answers apart from whole ones."""
        estimate = pkgutil.resolve_name(DAWID_SKENE)
        by_question: dict[tuple[str, str, bool], list[tuple[Thing, str, Hashable]]] = {}
        for about, annotator, label in self._all_votes():
            by_question.setdefault((about[0], about[4], about[5] is None), []).append((about, annotator, label))
        return {about: votes for some in by_question.values() for about, votes in estimate(some).items()}

    def _all_votes(self) -> Iterator[tuple[Thing, str, Hashable]]:
        for annotated in annotated_trajectories(self.store, self.query):
            for group in annotated.groups:
                for annotation in group.people:
                    for name in annotation.answers:
                        if _is_compared(group, name):
                            for part, label in _labels(group, name, annotation).items():
                                yield thing(group, annotation, name, part), annotation.annotator, label


def thing(group: AnswerGroup, annotation: Annotation, question: str, part: str | None) -> Thing:
    return group.project.id, group.item, annotation.trajectory_id, group.segment, question, part


def _labels(group: AnswerGroup, question: str, annotation: Annotation) -> dict[str | None, Hashable]:
    """An answer as its form compares it: the whole under None, and each part where it has several. As it was stored
    where its question is not asked any more; nothing where there is no answer."""
    value: Any = annotation.answers.get(question)
    form = next((q.form for q in group.project.questions if q.name == question), None)
    if value is None or form is None:
        return {} if value is None else {None: value}
    parts = form.parts(value)
    return {None: parts[""]} if "" in parts else {None: form.comparable(value), **parts}


def _is_compared(group: AnswerGroup, question: str) -> bool:
    return any(q.name == question and q.form.level is not None for q in group.project.questions)
