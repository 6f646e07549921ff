"""Guests: they see projects, items and results, by an account or by a setting, and change nothing."""

from dataclasses import replace
from types import SimpleNamespace

import gradio as gr
import pytest
from test_studio_annotating import ONE_EACH, by, fill

from annotations.auth.accounts import add
from annotations.auth.invitations import accept, invite
from annotations.schema.annotation import Annotation
from annotations.schema.project import Role
from annotations.store.store import Store
from studio.access import changes_nothing
from studio.annotate.reflection_form import reflections_of
from studio.auth.identity import GUESTS_LOOK, Identity
from studio.header import menu
from studio.page_list import PAGES
from studio.pages import refusal_for_role
from studio.results.page import ResultsHandlers
from studio.settings import Mode, Settings

PUBLIC = Settings(mode=Mode.PUBLIC)
ANYBODY = SimpleNamespace(query_params={}, session_hash="", headers={})


@pytest.fixture
def guest(store: Store) -> str:
    """Somebody who came by an invitation, to a studio where something was answered."""
    id = fill(store)[0]
    [judged, *_] = reflections_of(store.trajectory(id))
    store.annotate(Annotation(id, judged, "ada", {"verdict_right": "yes"}, project=ONE_EACH.id))
    store.create_project(replace(ONE_EACH, id="secret", name="Secret", people=("ada",)))
    return accept(store, invite(store, Role.GUEST, by="root"), "gast", "a long enough one").name


def test_a_guest_sees_projects_items_and_answers_by_pseudonyms(store: Store, guest: str):
    handlers = ResultsHandlers(store, PUBLIC)
    listed = handlers.start(by(store, guest))
    assert ONE_EACH.name in listed and "Secret" not in listed
    shown = handlers.start(by(store, guest, project=ONE_EACH.id))
    assert "yes</bdi> ×1" in shown and "<img" in shown and "ada" not in shown
    assert "no such project" in handlers.start(by(store, guest, project="secret"))


def test_visitors_see_results_only_where_the_settings_say_so_and_annotators_never(store: Store, guest: str):
    with pytest.raises(gr.Error):
        ResultsHandlers(store, PUBLIC).start(ANYBODY)
    with pytest.raises(gr.Error):
        ResultsHandlers(store, PUBLIC).start(by(store, "ada"))
    assert ONE_EACH.name in ResultsHandlers(store, replace(PUBLIC, visitors_see_results=True)).start(ANYBODY)


def test_a_guest_changes_nothing_and_is_told_so(store: Store, guest: str):
    assert refusal_for_role(PUBLIC, store, by(store, guest), Role.VISITOR) == GUESTS_LOOK
    assert refusal_for_role(PUBLIC, store, ANYBODY, Role.VISITOR) is None
    for role in (Role.ANNOTATOR, Role.REVIEWER, Role.ADMIN):
        assert refusal_for_role(PUBLIC, store, by(store, guest), role) is not None
    drawing = SimpleNamespace(targets=[(1, "click")], page="", fn=lambda: None, api_name="asked")
    looking = SimpleNamespace(targets=[], page="", fn=lambda: None, api_name="trajectory")
    assert not changes_nothing(drawing) and changes_nothing(looking)
    assert not changes_nothing(SimpleNamespace(targets=[], page="", fn=None, api_name="draw"))


def test_the_menu_names_results_for_guests_and_not_for_who_sees_projects():
    page = next(page for page in PAGES if page.path == "results")
    for role, named in ((Role.GUEST, True), (Role.VISITOR, False), (Role.ANNOTATOR, False), (Role.REVIEWER, False)):
        assert ('href="results"' in menu(page, Identity("somebody", role), "")) is named


def test_an_account_of_a_guest_is_stored(store: Store):
    assert add(store, "visiting", Role.GUEST, "a long enough one").role is Role.GUEST
