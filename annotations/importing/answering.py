"""Stores what imported records say of their images as annotations, or as gold, in a project of the format's.

Read from the records as they are stored, so that an import that was broken off behind its publishing is gone on with;
keys make it harmless to do it twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import groupby
from operator import itemgetter

from annotations.errors import AnnotationsError, NotFoundError
from annotations.importing.formats import FORMATS
from annotations.importing.formats.imported_answers import KEY, ImportedAnswers
from annotations.queue.gold_items import LONGEST_WHY
from annotations.schema.annotation import Annotation
from annotations.schema.project import Project, Use
from annotations.store.items import NewItem
from annotations.store.store import Store

AT_ONCE = 100  # records in one transaction


def prepare(store: Store, format: str) -> None:
    """Make the project of a format's answers, where there is none. Raises ConflictError where its name is taken."""
    project: Project | None = FORMATS[format].PROJECT
    if project is not None:
        try:
            store.project(project.id)
        except NotFoundError:
            store.create_project(project)


def add_answers(store: Store, batch: str) -> None:
    """Of all records of a published import whose format has some. A drawing that was deleted meanwhile, and a question
    that is not asked any more, are passed over.
    """
    answers = list(_answers(store, batch))
    for start in range(0, len(answers), AT_ONCE):
        some = answers[start : start + AT_ONCE]
        try:
            _add(store, some)
        except AnnotationsError:
            for each in some:
                with suppress(AnnotationsError):
                    _add(store, [each])


def _answers(store: Store, batch: str) -> Iterator[tuple[str, Project, ImportedAnswers]]:
    for key, group in groupby(store.import_parts(batch), key=itemgetter(0)):
        origins = [origin for _, origin in group]
        reader = FORMATS[origins[0].format]
        if reader.PROJECT is None:
            return
        record = reader.merged([origin.record for origin in origins])
        answers = reader.answers(record, [origin.trajectory_id for origin in origins])
        if answers is not None and answers.trajectory_id != answers.other_id:
            yield key, reader.PROJECT, answers


def _add(store: Store, some: Sequence[tuple[str, Project, ImportedAnswers]]) -> None:
    """All of these or none."""
    project = some[0][1]
    items = store.add_items(project.id, [_item(answers) for _, _, answers in some])
    annotations = [
        Annotation(
            answers.trajectory_id,
            answers.segment,
            answers.annotator,
            answers.answers,
            project=project.id,
            item=item,
            key=KEY + hashlib.sha256(key.encode()).hexdigest()[:40],
        )
        for item, (key, _, answers) in zip(items, some, strict=True)
        if not answers.gold
    ]
    store.annotate_all(annotations)


def _item(answers: ImportedAnswers) -> NewItem:
    if not answers.gold:
        return NewItem(answers.trajectory_id, answers.other_id)
    gold = {"segment": answers.segment, "answers": dict(answers.answers)}
    gold |= {"because": answers.because[:LONGEST_WHY]} if answers.because else {}
    return NewItem(answers.trajectory_id, answers.other_id, Use.GOLD, gold=(gold,))
