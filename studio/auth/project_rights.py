"""Access of a person to a project."""

from annotations.errors import NotFoundError
from annotations.schema.project import Project
from annotations.store.store import Store
from studio.auth.identity import Identity


def readable(store: Store, project_id: str, who: Identity) -> Project:
    """A project that is open to this person. Raises NotFoundError, also for one that is there but not for them."""
    project = store.project(project_id)
    if not project.is_open_to(who.name, who.role):
        raise NotFoundError(f"there is no project {project_id[:80]!r} that is open to you")
    return project


def all_readable(store: Store, who: Identity) -> dict[str, Project]:
    """The projects that are open to this person, by id."""
    return {project.id: project for project in store.projects() if project.is_open_to(who.name, who.role)}
