"""The store: values in, values out; append-only; hidden at once."""

import dataclasses
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import event, text
from test_annotations_samples import NO_REASON, aha, judged, png

from annotations.db.engine import default_directory
from annotations.errors import (
    AnswerError,
    ConflictError,
    DatabaseError,
    DirectoryError,
    NotFoundError,
    PictureError,
    TrajectoryError,
)
from annotations.schema.annotation import Annotation, Status
from annotations.store.listing import Cursor, Filter
from annotations.store.store import open_store, open_store_for_reading
from model.events import fold, replay
from model.trajectory import Parent, Sampling, StopReason, Trajectory


@pytest.fixture
def store(tmp_path, url):
    with open_store(tmp_path, url) as store:
        yield store


def save(store, number: int = 0, **changes) -> str:
    trajectory, pictures = aha(number, **changes)
    return store.save(trajectory, pictures, owner="visitor")


def test_a_trajectory_and_its_pictures_come_back_as_they_were(store):
    trajectory, pictures = aha(parent=Parent("elsewhere", 1, 3), seed=2**64 + 1)
    trajectory_id = store.save(trajectory, pictures, owner="visitor")
    again = store.trajectory(trajectory_id)
    assert again == trajectory
    assert (again.id, again.created_at, again.times_ms) == (trajectory_id, trajectory.created_at, (1, 2, 3, 4, 5))
    assert {sha256: store.picture(sha256) for sha256 in pictures} == pictures
    assert fold(replay(again, store.picture)) == trajectory


def test_ids_and_times_are_given_where_they_are_missing(store):
    trajectory, pictures = aha(created_at="")
    first, second = (store.save(trajectory, pictures, owner="visitor") for _ in range(2))
    assert first != second
    assert len(first) == 32
    assert datetime.fromisoformat(store.trajectory(first).created_at).tzinfo is not None


def test_saving_an_id_again_changes_nothing_and_other_content_is_refused(store):
    trajectory, pictures = aha(id="example-1")
    for _ in range(2):
        assert store.save(trajectory, pictures, owner="visitor") == "example-1"
    assert len(store.trajectories()) == 1
    with pytest.raises(ConflictError, match="stored with other content"):
        store.save(dataclasses.replace(trajectory, prompt="x"), pictures, owner="visitor")
    assert store.trajectory("example-1").prompt == "two apples"


def test_a_trajectory_with_pictures_that_are_missing_or_wrong_is_not_stored(store):
    trajectory, pictures = aha()
    first, second = pictures
    with pytest.raises(TrajectoryError, match="was not given and is not stored"):
        store.save(trajectory, {first: pictures[first]}, owner="visitor")
    with pytest.raises(PictureError, match="name it by its own hash"):
        store.save(trajectory, pictures | {second: png(99)}, owner="visitor")
    assert store.trajectories() == []
    store.save(trajectory, pictures, owner="visitor")
    store.save(trajectory, {}, owner="visitor")  # they are stored by now
    assert store.counts().images == 2


@pytest.mark.parametrize(
    "changes",
    [{"id": "../x"}, {"id": "x" * 65}, {"created_at": "yesterday"}, {"prompt": "a\ud800"}, {"prompt": "a\0"}],
)
def test_what_cannot_be_stored_is_refused_with_a_reason(store, changes):
    trajectory, pictures = aha(**changes)
    with pytest.raises(TrajectoryError):
        store.save(trajectory, pictures, owner="visitor")


def test_numbers_that_are_none_do_not_reach_the_disk(store):
    trajectory, pictures = aha(sampling=Sampling(guidance=float("nan")))
    with pytest.raises(TrajectoryError, match="JSON"):
        store.save(trajectory, pictures, owner="visitor")
    assert store.trajectories() == []


def test_the_list_pages_from_the_newest_without_gaps_when_new_ones_arrive(store):
    ids = [save(store, number // 3) for number in range(12)]  # three of every second
    seen, before = [], None
    while page := store.trajectories(limit=5, before=before):
        seen += [listed.id for listed in page]
        before = Cursor.parse(str(page[-1].cursor))
        save(store, 50)
    assert sorted(seen) == sorted(ids)
    assert [store.trajectory(i).created_at for i in seen] == sorted(
        (store.trajectory(i).created_at for i in seen), reverse=True
    )


def test_a_listed_trajectory_says_what_a_gallery_shows(store):
    trajectory, pictures = aha()
    trajectory_id = store.save(trajectory, pictures, owner="visitor", recorded=True)
    [listed] = store.trajectories()
    assert listed.id == trajectory_id
    assert listed.created_at == datetime(2026, 1, 1, tzinfo=UTC)
    assert listed.cover == trajectory.images[-1].sha256
    assert (listed.answers, listed.aha, listed.recorded) == (("no", "yes"), True, True)
    assert (listed.stop_reason, listed.checkpoint, listed.owner) == (StopReason.CONTENT, "tiny", "visitor")


def test_the_list_keeps_what_is_asked_for(store):
    save(store, 0, prompt="100% red cats")
    save(store, 1, prompt="a blue car", checkpoint="large", segments=())
    for keep, prompts in [
        (Filter(checkpoint="large"), ["a blue car"]),
        (Filter(aha=True), ["100% red cats"]),
        (Filter(aha=False), ["a blue car"]),
        (Filter(search="RED c"), ["100% red cats"]),
        (Filter(search="10%"), ["100% red cats"]),
        (Filter(search="%ed%"), []),
        (Filter(owner="nobody"), []),
        (Filter(recorded=False, search=" "), ["a blue car", "100% red cats"]),
    ]:
        assert [listed.prompt for listed in store.trajectories(keep=keep)] == prompts


def test_a_cursor_from_a_url_that_is_none_is_refused(store):
    for place in ("'; DROP TABLE", "", "-1", "1.5", "٣", "9" * 10, "20260131T120000000000_id1"):
        with pytest.raises(NotFoundError, match="no place in the list"):
            Cursor.parse(place)


def test_submitting_twice_with_one_key_stores_one_annotation(store):
    annotation = dataclasses.replace(judged(save(store), verdict_right="yes"), key="k1", seconds=2.5)
    first = store.annotate(annotation)
    second = store.annotate(dataclasses.replace(annotation, seconds=3.5))
    assert (second.id, second.created_at, second.seconds) == (first.id, first.created_at, 2.5)
    assert len(store.history(annotation.trajectory_id)) == 1


@pytest.mark.parametrize("other", [{"annotator": "bob"}, {"segment": 4}, {"answers": {"verdict_right": "no"}}])
def test_a_key_that_stands_for_something_else_is_refused(store, other):
    annotation = dataclasses.replace(judged(save(store), verdict_right="yes"), key="k1")
    store.annotate(annotation)
    with pytest.raises(ConflictError, match="key k1 stands for another annotation"):
        store.annotate(dataclasses.replace(annotation, **other))
    with pytest.raises(ConflictError):
        store.undo(annotation.trajectory_id, 2, "ann", key="k1")


def test_an_edit_is_a_new_revision_and_the_last_one_counts(store):
    trajectory_id = save(store)
    begun = Annotation(trajectory_id, 2, "ann", {"reason_rating": 2}, Status.UNFINISHED)
    for annotation in (begun, judged(trajectory_id, verdict_right="yes"), judged(trajectory_id, verdict_right="no")):
        store.annotate(annotation)
    store.annotate(judged(trajectory_id, annotator="bob", verdict_right="yes"))
    store.annotate(judged(trajectory_id, segment=4, verdict_right="yes"))
    assert [r.answers for r in store.history(trajectory_id, segment=2, annotator="ann")] == [
        {"reason_rating": 2},
        {"verdict_right": "yes"},
        {"verdict_right": "no"},
    ]
    current = {(a.segment, a.annotator): a.answers["verdict_right"] for a in store.annotations(trajectory_id)}
    assert current == {(2, "ann"): "no", (2, "bob"): "yes", (4, "ann"): "yes"}
    assert [a.annotator for a in store.annotations(annotator="bob", status=Status.SUBMITTED)] == ["bob"]


def test_undo_after_undo_walks_back_to_the_beginning_by_new_revisions(store):
    trajectory_id = save(store)
    for answer in ("yes", "no"):
        store.annotate(judged(trajectory_id, verdict_right=answer))
    first = store.undo(trajectory_id, 2, "ann", key="u1")
    assert store.undo(trajectory_id, 2, "ann", key="u1").id == first.id  # pressed twice, counted once
    assert (first.status, first.answers) == (Status.SUBMITTED, {"verdict_right": "yes"})
    second = store.undo(trajectory_id, 2, "ann")
    assert (second.status, second.answers) == (Status.UNFINISHED, {"verdict_right": "yes"})
    with pytest.raises(NotFoundError, match="nothing to undo"):
        store.undo(trajectory_id, 2, "ann")
    assert [r.undoes for r in store.history(trajectory_id)] == [None, None, 2, 1]
    store.annotate(dataclasses.replace(second, status=Status.SUBMITTED, key=""))
    assert [a.status for a in store.annotations()] == [Status.SUBMITTED]


def test_several_annotations_are_stored_together_or_not_at_all(store):
    trajectory_id = save(store)
    good, bad = judged(trajectory_id, verdict_right="yes"), judged(trajectory_id, segment=4)
    with pytest.raises(AnswerError):
        store.annotate_all([good, bad])
    assert store.annotations() == []


def test_nothing_ever_updates_or_deletes_what_somebody_made_or_said(store):
    statements = []
    event.listen(store.database.write, "before_cursor_execute", lambda _c, _u, said, *_: statements.append(said))
    trajectory_id = save(store)
    store.annotate(judged(trajectory_id, verdict_right="yes"))
    store.undo(trajectory_id, 2, "ann")
    store.hide(trajectory_id, by="ann")
    assert any(s.startswith("INSERT INTO annotations") for s in statements)
    words = [s.removeprefix("DELETE FROM ").removeprefix("UPDATE ").split() for s in statements]
    changed = {w[0] for w, s in zip(words, statements, strict=True) if s.startswith(("UPDATE", "DELETE", "REPLACE"))}
    assert changed <= {"places", "project_items", "leases", "traits"}  # the queue's and the list's own


def test_a_hidden_trajectory_is_gone_at_once_and_its_rows_stay(store):
    trajectory_id, other = save(store, 0), save(store, 5)
    store.annotate(judged(trajectory_id, verdict_right="no", reason_correction="there are two."))
    sha256 = store.trajectory(trajectory_id).images[0].sha256
    for _ in range(2):
        store.hide(trajectory_id, by="ann")
    assert [listed.id for listed in store.trajectories()] == [other]
    assert (store.annotations(), store.annotations(trajectory_id)) == ([], [])
    assert (store.counts().trajectories, store.counts().annotations, store.counts().images) == (1, 0, 2)
    for ask in (
        lambda: store.trajectory(trajectory_id),
        lambda: store.history(trajectory_id),
        lambda: store.picture(sha256),
        lambda: store.annotate(judged(trajectory_id, verdict_right="yes")),
        lambda: store.undo(trajectory_id, 2, "ann"),
        lambda: store.hide("nothing", by="ann"),
    ):
        with pytest.raises(NotFoundError):
            ask()
    with store.database.reading() as session:
        assert session.scalar(text("SELECT count(*) FROM trajectories")) == 2
        assert session.scalars(text("SELECT deleted_by FROM deletions")).all() == ["ann"]


def test_a_picture_that_two_trajectories_share_outlives_one_of_them(store):
    first, second = save(store), save(store)
    store.hide(first, by="ann")
    assert store.picture(store.trajectory(second).images[0].sha256) == png(0)


def test_counts_are_of_what_is_current_and_submitted(store):
    first, second = save(store, 0), save(store, 1)
    store.annotate(judged(first, verdict_right="yes", reason_correction="there are three apples."))
    store.annotate(judged(first, annotator="bob", verdict_right="no", reason_correction="there are two."))
    store.annotate(judged(first, segment=4, verdict_right="no"))
    store.annotate(Annotation(first, 0, "ann", {"thought_rating": 4, "thought_correction": "x"}))
    store.annotate(Annotation(second, 2, "eve", {"verdict_right": "no"}, Status.UNFINISHED))
    counts = store.counts()
    assert (counts.trajectories, counts.aha, counts.recorded, counts.images) == (2, 2, 0, 4)
    assert (counts.annotations, counts.annotators) == (4, 2)
    assert (counts.reflections, counts.corrected, counts.wrong_verdicts) == (2, 1, 2)


def test_pseudonyms_are_stable_and_differ_from_database_to_database(store, tmp_path):
    once = store.pseudonyms(["ann", "bob"])
    assert once == store.pseudonyms(["ann", "bob"])
    assert once["ann"] != once["bob"]
    with open_store(tmp_path / "other") as other:
        assert other.pseudonyms(["ann"])["ann"] != once["ann"]


def test_a_folder_that_cannot_be_written_is_told_in_one_line(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DirectoryError, match=r"cannot write to .*AHA_STUDIO_DATA"):
        open_store(tmp_path / "file" / "data")


def test_the_data_folder_can_be_moved_by_the_environment(monkeypatch):
    monkeypatch.setenv("AHA_STUDIO_DATA", "~/elsewhere")
    assert default_directory() == Path.home() / "elsewhere"
    monkeypatch.delenv("AHA_STUDIO_DATA")
    assert default_directory().name == "aha-studio"


def test_a_store_opened_for_reading_cannot_write(store, tmp_path, url):
    trajectory_id = save(store)
    with open_store_for_reading(tmp_path, url) as reader:
        assert reader.trajectory(trajectory_id) == store.trajectory(trajectory_id)
        with pytest.raises(DatabaseError, match="for reading only"):
            reader.hide(trajectory_id, by="ann")
        with pytest.raises(DatabaseError, match="read-?only"), reader.database.reading() as session:
            session.connection().exec_driver_sql("DELETE FROM annotations")


def test_the_first_words_of_a_reflection_survive(store):
    assert store.trajectory(save(store)).reflections[0].text == NO_REASON


def test_an_unfinished_trajectory_can_be_kept(store):
    trajectory = Trajectory("a cat", 1, 2, Sampling(), "tiny", stop_reason=StopReason.CANCELLED)
    assert store.trajectory(store.save(trajectory, {}, owner="visitor")) == trajectory
