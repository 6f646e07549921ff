"""Project rows to and from values: created, changed, listed; answered questions keep their meaning."""

from dataclasses import replace
from datetime import datetime

from sqlalchemy import exists, insert, select, update
from sqlalchemy.orm import Session

from annotations.db.tables import AnnotationRow, ProjectRow
from annotations.errors import ConflictError, NotFoundError, ProjectError
from annotations.schema.names import confusable_skeleton
from annotations.schema.project import MOMENTS, Project, check_project
from annotations.schema.questions import Question

COLUMNS = [column.name for column in ProjectRow.__table__.columns if column.name != "deleted_at"]


def create(session: Session, project: Project, *, now: datetime) -> Project:
    """Store a new project. Raises ProjectError, and ConflictError where its id or its name is taken."""
    check_project(project)
    _check_name_is_free(session, project.name)
    if session.scalar(select(exists().where(ProjectRow.id == project.id))):
        raise ConflictError(f"there is a project with the id {project.id}; choose another name")
    created = replace(project, created_at=now, closed_at=None)
    session.execute(insert(ProjectRow).values(**_columns(created)))
    return created


def _check_name_is_free(session: Session, new_name: str, *, except_id: str | None = None) -> None:
    """Raises ConflictError where the name of another project than `except_id` looks the same."""
    for identity, name in session.execute(select(ProjectRow.id, ProjectRow.name)):
        if identity != except_id and confusable_skeleton(name) == confusable_skeleton(new_name):
            raise ConflictError(f"there is a project “{name}”, which looks the same; choose another name")


def change(session: Session, project: Project, read: Project | None = None) -> Project:
    """Store a project's new guidelines, overlap and so on; `read` is what it was made of. Raises ProjectError,
    NotFoundError, and ConflictError where somebody else has changed it since it was read."""
    check_project(project)
    before = get(session, project.id)
    if read is not None and before != read:
        raise ConflictError(f"“{before.name}” was changed by somebody else meanwhile; load the page again")
    if (project.subject, project.collects) != (before.subject, before.collects):
        raise ProjectError(f"what “{before.name}” is about cannot change; make another project")
    if question := _answered_but_changed(session, before, project):
        raise ProjectError(f"people have answered “{question.title}”, which cannot change any more; ask a new question")
    if project.name != before.name:
        _check_name_is_free(session, project.name, except_id=project.id)
    changed = replace(project, created_at=before.created_at)
    session.execute(update(ProjectRow).where(ProjectRow.id == project.id).values(**_columns(changed)))
    return changed


def _answered_but_changed(session: Session, before: Project, after: Project) -> Question | None:
    """A question with answers that would change or be removed."""
    asked = {question.name: question for question in after.questions}
    for question in before.questions:
        now = asked.get(question.name)
        if now is not None and now.segment == question.segment and now.form.keeps(question.form):
            continue
        answered = AnnotationRow.answers[question.name].as_string().is_not(None)
        if session.scalar(select(exists().where(AnnotationRow.project_id == before.id, answered))):
            return question
    return None


def get(session: Session, project_id: str) -> Project:
    """Raises NotFoundError when there is none."""
    row = session.get(ProjectRow, project_id)
    if row is None or row.deleted_at is not None:
        raise NotFoundError(f"there is no project {project_id[:80]!r}; choose one of the list")
    return _value(row)


def get_all(session: Session) -> list[Project]:
    """Every project, the oldest first."""
    query = select(ProjectRow).where(ProjectRow.deleted_at.is_(None)).order_by(ProjectRow.created_at, ProjectRow.id)
    return [_value(row) for row in session.scalars(query)]


def all_ids(session: Session) -> set[str]:
    """The ids of all projects, of deleted ones too."""
    return set(session.scalars(select(ProjectRow.id)))


def collecting(session: Session) -> list[Project]:
    """The projects that every new trajectory is added to."""
    return [
        _value(row)
        for row in session.scalars(select(ProjectRow).where(ProjectRow.collects, ProjectRow.deleted_at.is_(None)))
    ]


def delete(session: Session, project_id: str, *, now: datetime) -> None:
    """Hide a project and its answers for good; its rows stay, its name is free again. Raises NotFoundError."""
    name = f"{get(session, project_id).name} (deleted {now:%Y-%m-%d %H:%M:%S}, {project_id})"
    session.execute(update(ProjectRow).where(ProjectRow.id == project_id).values(deleted_at=now, name=name))


def _columns(project: Project) -> dict[str, object]:
    row = project.to_dict() | {name: getattr(project, name) for name in MOMENTS}
    return {name: row[name] for name in COLUMNS}


def _value(row: ProjectRow) -> Project:
    return Project.from_dict({name: getattr(row, name) for name in COLUMNS})
