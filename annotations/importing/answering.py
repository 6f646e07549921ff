"""Stores what imported records say of their images as annotations, or as gold, in a project of the format's.

Read from the records as they are stored, so that an import that was broken off behind its publishing is gone on with;
keys make it harmless to do it twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import count, groupby
from operator import itemgetter

from annotations.errors import AnnotationsError, NotFoundError
from annotations.importing.formats import FORMATS
from annotations.importing.formats.imported_answers import KEY, ImportedAnswers
from annotations.queue.gold_items import LONGEST_WHY
from annotations.schema.annotation import Annotation, Decision
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


def _made(store: Store, project: Project) -> Project:
    """The project of that id, if its questions are the same; else one whose id says that it was imported."""
    for id in (project.id, f"imported-{project.id}"[:64]):
        try:
            if (known := store.project(id)).questions == project.questions:
                return known
        except NotFoundError:
            return store.create_project(replace(project, id=id, name=_free_name(store, project.name)))
    return project


def _free_name(store: Store, name: str) -> str:
    taken = {project.name for project in store.projects()}
    return next(each for n in count() if (each := f"{name} ({n + 1})" if n else name) not in taken)


def add_answers(store: Store, batch: str) -> None:
    """Of all records of a published import whose format has some. A drawing that was deleted meanwhile, and a question
    that is not asked any more, are passed over.
    """
    every = list(_answers(store, batch))  # no row is read while others are written
    own = {answers.project.id: answers.project for _, _, answers in every if answers.project is not None}
    made = {id: _made(store, project) for id, project in own.items()}
    for id, group in groupby(every, key=lambda answered: answered[1].id):
        answers = [(key, made.get(id, project), each) for key, project, each in group]
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
        if not hasattr(reader, "answers"):
            return
        record = reader.merged([origin.record for origin in origins])
        every = reader.answers(record, [origin.trajectory_id for origin in origins])
        for number, answers in enumerate(every if isinstance(every, list) else [every]):
            if answers is not None and answers.trajectory_id != answers.other_id:
                yield f"{key} {number}" if number else key, answers.project or reader.PROJECT, answers


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
            seconds=answers.seconds,
            decision=answers.decision and Decision(answers.decision),
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
