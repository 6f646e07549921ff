"""Who did what, when, what it was before; and back to any revision."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from test_annotations_samples import aha, judged, png

from annotations.db.engine import open_database
from annotations.errors import AnswerError, ConflictError, NotFoundError
from annotations.importing.importer import bring_in
from annotations.queue.audit import AuditEntry, restore, trail
from annotations.schema.annotation import Annotation, Status
from annotations.store.store import Store

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path):
    """A store whose clock goes on by a minute whenever it is read."""
    minutes = iter(range(10_000))
    with Store(open_database(tmp_path / "data"), clock=lambda: BEGIN + timedelta(minutes=next(minutes))) as store:
        yield store


def save(store: Store) -> str:
    trajectory, pictures = aha(1)
    return store.save(trajectory, pictures, owner="ada")


def test_the_trail_says_who_when_what_before_and_what_after(store: Store):
    run = save(store)
    store.annotate(Annotation(run, 2, "ann", {"reason_rating": 2}, status=Status.UNFINISHED))
    store.annotate(judged(run, 2, "ann", verdict_right="yes", reason_rating=2))
    store.annotate(judged(run, 2, "bob", verdict_right="no"))
    store.annotate(judged(run, 2, "ann", verdict_right="no", reason_rating=2))
    store.undo(run, 2, "ann")
    store.annotate(Annotation(run, 4, "ann", status=Status.DISCARDED))
    store.hide(run, by="eve")
    changes = trail(store, run)
    assert [(change.who, change.act, change.segment) for change in changes] == [
        ("ada", AuditEntry.SAVED, None),
        ("ann", AuditEntry.BEGAN, 2),
        ("ann", AuditEntry.SUBMITTED, 2),
        ("bob", AuditEntry.SUBMITTED, 2),
        ("ann", AuditEntry.SUBMITTED, 2),
        ("ann", AuditEntry.UNDID, 2),
        ("ann", AuditEntry.DISCARDED, 4),
        ("eve", AuditEntry.DELETED, None),
    ]
    assert [change.answers for change in changes[1:6]] == [
        {"reason_rating": (None, 2)},
        {"verdict_right": (None, "yes")},
        {"verdict_right": (None, "no")},
        {"verdict_right": ("yes", "no")},
        {"verdict_right": ("no", "yes")},
    ]
    assert changes[3].before is None  # others' answers are others'
    assert [change.at for change in changes] == sorted(change.at for change in changes)
    assert all(change.at >= BEGIN for change in changes[1:])


def test_any_revision_comes_back_as_a_new_row(store: Store):
    run = save(store)
    first = store.annotate(judged(run, 2, "ann", verdict_right="yes", reason_rating=5))
    store.annotate(judged(run, 2, "ann", verdict_right="no"))
    store.annotate(judged(run, 2, "ann", verdict_right="no", reason_rating=1))
    again = restore(store, first.id)
    assert again == first.__class__(run, 2, "ann", first.answers)
    assert again.id > first.id
    assert store.annotations(run) == [again]
    assert len(store.history(run)) == 4
    undone = store.undo(run, 2, "ann")  # and can itself be undone
    assert undone.answers == {"verdict_right": "no", "reason_rating": 1}
    assert trail(store, run)[-1].answers == {"verdict_right": ("yes", "no"), "reason_rating": (5, 1)}


def test_restoring_with_the_same_key_happens_once(store: Store):
    run = save(store)
    first = store.annotate(judged(run, 2, "ann", verdict_right="yes"))
    other = store.annotate(judged(run, 2, "ann", verdict_right="no"))
    assert restore(store, first.id, key="k").id == restore(store, first.id, key="k").id
    assert len(store.history(run)) == 3
    with pytest.raises(ConflictError):
        restore(store, other.id, key="k")


def test_what_is_not_there_and_what_no_longer_fits_are_told(store: Store):
    run = save(store)
    with pytest.raises(NotFoundError, match="there is no revision 99"):
        restore(store, 99)
    with pytest.raises(NotFoundError, match="there is no trajectory 'nothing'"):
        trail(store, "nothing")
    with pytest.raises(AnswerError):
        store.annotate(judged(run, 2, "ann", verdict_right="perhaps"))
    assert [change.act for change in trail(store, run)] == [AuditEntry.SAVED]


def test_the_trail_of_what_was_made_elsewhere_begins_with_its_import(store: Store, tmp_path: Path):
    (tmp_path / "a.png").write_bytes(png(1))
    (tmp_path / "t.csv").write_text("file_name,prompt\na.png,a cat\n")
    report = bring_in(store, tmp_path, "folder", owner="ada")
    [run] = store.imported(report.batch)
    assert [(change.who, change.act) for change in trail(store, run)] == [("ada", AuditEntry.IMPORTED)]
