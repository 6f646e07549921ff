"""Annotator and project of an open page."""

from typing import NamedTuple

import gradio as gr

from annotations.schema.annotation import REFLECTIONS
from annotations.schema.project import Project, Role
from annotations.store.store import Store
from studio.annotate.item_view import AnnotatorInProject
from studio.annotate.progress_cache import Counts
from studio.auth.identity import Identity, require
from studio.settings import Settings


class PageSession(NamedTuple):
    """Somebody at an open page, and the project they are at."""

    who: Identity
    session: str
    place: AnnotatorInProject

    @property
    def name(self) -> str:
        return self.who.name

    @property
    def project(self) -> Project:
        return self.place.project


def open_projects(store: Store, who: Identity) -> list[Project]:
    """Those that this person may answer in."""
    return [p for p in store.projects() if p.closed_at is None and p.is_open_to(who.name, who.role)]


def resolve_session(
    project: str | None, request: gr.Request, store: Store, settings: Settings, counts: Counts, *, strict: bool = True
) -> PageSession:
    """Raises gr.Error for visitors, and where the project is not open to this person; another will do if not strict."""
    who = require(Role.ANNOTATOR, request, settings, store)
    projects = open_projects(store, who)
    chosen = next((p for p in projects if p.id == (project or REFLECTIONS)), None)
    if chosen is None and not strict and projects:
        chosen = projects[0]
    if chosen is None:
        raise gr.Error("There is no such project that is open to you. Load the page again.")
    return PageSession(who, request.session_hash or "", AnnotatorInProject(store, counts, who.name, chosen))
