"""What of the projects somebody may see: asked at every reading and writing that a client names a project for."""

from __future__ import annotations

from annotations.errors import NotFoundError
from annotations.project import Project
from annotations.store import Store
from studio.identity import Who


def readable(store: Store, project_id: str, who: Who) -> Project:
    """A project that is open to this person. Raises NotFoundError, also for one that is there but not for them."""
    project = store.project(project_id)
    if not project.is_open_to(who.name, who.role):
        raise NotFoundError(f"there is no project {project_id[:80]!r} that is open to you")
    return project


def all_readable(store: Store, who: Who) -> set[str]:
    """The ids of the projects that are open to this person."""
    return {project.id for project in store.projects() if project.is_open_to(who.name, who.role)}
