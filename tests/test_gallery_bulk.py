"""Several drawings of the gallery at once: for admins only, and what came of it is said."""

import json

import gradio as gr
import pytest
from test_annotations_samples import aha
from test_studio_annotating import by

from annotations.auth.accounts import add
from annotations.moderation.withholding import withheld
from annotations.schema.default_projects import RICH
from annotations.schema.project import Role
from annotations.store.store import Store
from studio.gallery.bulk import BulkHandlers, ids_of
from studio.gallery.filters import HIDDEN, GalleryFilter
from studio.gallery.page import listing
from studio.settings import Mode, Settings


@pytest.fixture
def bulk(store: Store) -> BulkHandlers:
    add(store, "root", Role.ADMIN, "a long enough one")
    for number in range(3):
        trajectory, pictures = aha(number)
        store.save(trajectory, pictures, owner="visitor")
    return BulkHandlers(store, Settings(mode=Mode.PUBLIC))


def test_several_are_hidden_shown_again_put_into_a_project_and_deleted_by_an_admin(bulk: BulkHandlers):
    admin, ids = by(bulk.store, "root"), [each.id for each in bulk.store.trajectories()]
    assert "2 drawings are hidden" in bulk.hide(json.dumps(ids[:2]), admin)
    assert [each.id for each in bulk.store.trajectories()] == ids[2:]
    assert listing(bulk.store, GalleryFilter(kind=HIDDEN), moderates=True)[0].count("data-run") == 2
    assert "data-run" not in listing(bulk.store, GalleryFilter(kind=HIDDEN))[0]
    assert "1 drawing is shown again" in bulk.show(json.dumps(ids[:1]), admin)
    bulk.store.create_project(RICH)
    assert (RICH.name, RICH.id) in bulk.projects()
    assert "in the project" in bulk.add(json.dumps([ids[0], ids[2]]), RICH.id, admin)
    assert "1 drawing is deleted" in bulk.delete(json.dumps(ids[1:2]), admin)
    assert withheld(bulk.store) == [] and len(bulk.store.trajectories()) == 2


def test_nobody_but_an_admin_acts_on_several_and_what_was_sent_is_checked(bulk: BulkHandlers):
    ids = json.dumps([each.id for each in bulk.store.trajectories()])
    for act in (bulk.hide, bulk.show, bulk.delete):
        with pytest.raises(gr.Error):
            act(ids, by(bulk.store, "ada"))
    with pytest.raises(gr.Error):
        bulk.add(ids, "reflections", by(bulk.store, "ada"))
    admin = by(bulk.store, "root")
    assert "Choose drawings first" in bulk.hide("[]", admin) and "Choose a project" in bulk.add(ids, None, admin)
    assert [ids_of(sent) for sent in ("{", "{}", '[1, "", "a", "a"]')] == [[], [], ["a"]]
    assert len(bulk.store.trajectories()) == 3
