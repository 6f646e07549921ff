"""Stores the answers of imported records as annotations, or as gold, in a project of their format.

Read from the records as they are stored, so that an import that was interrupted after its publishing is resumed;
keys make it harmless to do it twice.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain, count, groupby, islice
from operator import itemgetter

from annotations.errors import AnnotationsError, NotFoundError
from annotations.importing.formats import FORMATS
from annotations.importing.formats.imported_answers import ImportedAnswers
from annotations.queue.gold_items import LONGEST_WHY
from annotations.schema.annotation import IMPORTED_KEY_PREFIX, Annotation, Decision
from annotations.schema.names import confusable_skeleton
from annotations.schema.project import ItemPurpose, Project
from annotations.store.items import NewItem
from annotations.store.store import Store

AT_ONCE = 100  # answers in memory; those of a project in one transaction
LONGEST_ID, LONGEST_NAME = 60, 110  # of a project, to which a number is added


def prepare(store: Store, format: str) -> None:
    """Make the project of a format's answers, where there is none. Raises ConflictError where its name is taken."""
    project: Project | None = FORMATS[format].PROJECT
    if project is not None:
        try:
            store.project(project.id)
        except NotFoundError:
            store.create_project(project)


def _made(store: Store, project: Project) -> Project:
    """The project of that id, if its questions are the same; else the first of those whose ids say that they were
    imported that has these questions, or is made."""
    imported = f"imported-{project.id}"[:LONGEST_ID]
    for id in chain((project.id, imported), (f"{imported}-{n}" for n in count(2))):
        try:
            if (known := store.project(id)).questions == project.questions:
                return known
        except NotFoundError:
            break
    return store.create_project(replace(project, id=id, name=_free_name(store, project.name)))


def _free_name(store: Store, name: str) -> str:
    """The name, with a number where a project has one that looks the same."""
    taken = {confusable_skeleton(project.name) for project in store.projects()}
    numbered = (f"{name[:LONGEST_NAME]} ({n})" for n in count(2))
    return next(each for each in chain((name,), numbered) if confusable_skeleton(each) not in taken)


def add_answers(store: Store, batch: str) -> None:
    """Of all records of a published import whose format has some. A drawing that was deleted meanwhile, and a question
    that is not asked any more, are passed over.
    """
    made: dict[str, Project] = {}  # by the id that the file has
    every = _answers(store, batch)
    while some := list(islice(every, AT_ONCE)):
        by_project: dict[str, list[tuple[str, ImportedAnswers]]] = defaultdict(list)
        for key, project, answers in some:
            if project.id not in made:
                made[project.id] = project if answers.project is None else _made(store, project)
            by_project[project.id].append((key, answers))
        for id, keyed in by_project.items():
            try:
                _add(store, made[id], keyed)
            except AnnotationsError:
                for one in keyed:
                    with suppress(AnnotationsError):
                        _add(store, made[id], [one])


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


def _add(store: Store, project: Project, keyed: Sequence[tuple[str, ImportedAnswers]]) -> None:
    """All of these or none."""
    items = store.add_items(project.id, [_item(answers) for _, answers in keyed])
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
            key=IMPORTED_KEY_PREFIX + hashlib.sha256(key.encode()).hexdigest()[:40],
        )
        for item, (key, answers) in zip(items, keyed, strict=True)
        if not answers.gold
    ]
    store.annotate_all(annotations)


def _item(answers: ImportedAnswers) -> NewItem:
    if not answers.gold:
        return NewItem(answers.trajectory_id, answers.other_id)
    gold = {"segment": answers.segment, "answers": dict(answers.answers)}
    gold |= {"because": answers.because[:LONGEST_WHY]} if answers.because else {}
    return NewItem(answers.trajectory_id, answers.other_id, ItemPurpose.GOLD, gold=(gold,))
