"""Archives and deletes projects, and says beforehand what happens to their answers.

An archived project is closed and stands in no list but that of the archive; its answers stay and are exported. A
deleted one is seen nowhere any more, nor are its answers, whose rows stay.
"""

from dataclasses import dataclass, replace

from annotations.errors import ProjectError
from annotations.queue.progress import project_answers, project_counts
from annotations.schema.annotation import REFLECTIONS
from annotations.schema.project import Project
from annotations.store import projects
from annotations.store.store import Store


@dataclass(frozen=True)
class Contents:
    """What a project holds."""

    items: int
    answers: int  # submitted, and decisions of reviewers
    people: int
    gold: int  # items of gold and of practice


def contents(store: Store, project_id: str) -> Contents:
    """Raises NotFoundError."""
    counts, answers = project_counts(store)[project_id], project_answers(store, project_id)
    people = {annotation.annotator for annotation in (*answers.submitted, *answers.decisions)}
    items = counts.items + counts.practice
    return Contents(items, len(answers.submitted) + len(answers.decisions), len(people), counts.gold + counts.practice)


def archive(store: Store, project_id: str) -> Project:
    """Close a project and put it into the archive, if it is not there. Raises NotFoundError, ConflictError."""
    project, now = store.project(project_id), store.clock()
    if project.archived_at is not None:
        return project
    return store.change_project(replace(project, archived_at=now, closed_at=project.closed_at or now), project)


def take_out(store: Store, project_id: str) -> Project:
    """Take a project out of the archive, still closed. Raises NotFoundError, ConflictError."""
    project = store.project(project_id)
    return project if project.archived_at is None else store.change_project(replace(project, archived_at=None), project)


def delete(store: Store, project_id: str) -> None:
    """Raises NotFoundError, and ProjectError for the project that every drawing with a reflection belongs to."""
    if project_id == REFLECTIONS:
        raise ProjectError("every drawing that is reflected on belongs to this project; close it or archive it")
    with store.database.writing() as session:
        projects.delete(session, project_id, now=store.clock())
