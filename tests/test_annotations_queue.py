"""Who is asked about what next."""

import pytest
from test_annotations_samples import aha, judged

from annotations.errors import NotFoundError
from annotations.queue.assignment import AnnotatorProgress, claim, progress
from annotations.queue.progress import annotator_progress
from annotations.queue.submission import skip_item
from annotations.schema.annotation import REFLECTIONS, Annotation, Status
from annotations.store.store import open_store


@pytest.fixture
def store(tmp_path, url):
    with open_store(tmp_path, url) as store:
        yield store


def save(store, number: int = 0, **changes) -> str:
    trajectory, pictures = aha(number, **changes)
    return store.save(trajectory, pictures, owner="visitor")


def shown(store, annotator: str, **options) -> str | None:
    turn = claim(store, REFLECTIONS, annotator, **options)
    return turn and turn.trajectory_id


def test_an_empty_store_has_nothing_to_ask(store):
    assert shown(store, "ann") is None
    assert progress(store, "ann") == AnnotatorProgress(done=0, waiting=0)


def test_the_oldest_waits_until_every_reflection_of_it_is_answered(store):
    newer, older = save(store, 5), save(store, 1)
    assert shown(store, "ann") == older
    assert shown(store, "ann", exclude_item=claim(store, REFLECTIONS, "ann").item) == newer
    store.annotate(judged(older, verdict_right="yes"))
    store.annotate(judged(older, verdict_right="no"))  # the same one again
    store.annotate(Annotation(older, 0, "ann", {"thought_rating": 3}))  # not a reflection
    assert shown(store, "ann") == older
    store.annotate(judged(older, segment=4, verdict_right="yes"))
    assert shown(store, "ann") == newer
    assert progress(store, "ann") == AnnotatorProgress(done=1, waiting=1)
    assert shown(store, "bob") == older
    skip_item(store, claim(store, REFLECTIONS, "ann").item, "ann")
    assert progress(store, "ann") == AnnotatorProgress(done=1, waiting=0, skipped=1)
    [share] = [each for each in annotator_progress(store, REFLECTIONS) if each.annotator == "ann"]
    assert (share.completed, share.skipped) == (1, 1)


def test_what_is_unfinished_waits_and_an_undo_brings_back_what_was_submitted(store):
    trajectory_id = save(store)
    store.annotate(judged(trajectory_id, verdict_right="yes"))
    store.annotate(Annotation(trajectory_id, 4, "ann", {"reason_rating": 3}, Status.UNFINISHED))
    assert shown(store, "ann") == trajectory_id
    store.annotate(judged(trajectory_id, segment=4, verdict_right="yes"))
    assert shown(store, "ann") is None
    store.undo(trajectory_id, 2, "ann")
    assert shown(store, "ann") == trajectory_id


def test_a_skip_discards_only_what_is_not_answered_and_can_be_undone(store):
    trajectory_id = save(store)
    item = claim(store, REFLECTIONS, "ann").item
    store.annotate(judged(trajectory_id, verdict_right="yes"))
    assert [a.segment for a in skip_item(store, item, "ann")] == [4]
    assert skip_item(store, item, "ann") == []
    assert shown(store, "ann") is None
    assert {a.segment: a.status for a in store.annotations()} == {2: Status.SUBMITTED, 4: Status.DISCARDED}
    store.undo(trajectory_id, 4, "ann")
    assert shown(store, "ann") == trajectory_id


def test_what_is_running_hidden_or_without_reflection_is_not_asked_about(store):
    save(store, 1, stop_reason=None)
    save(store, 2, segments=())
    hidden = save(store, 3)
    item = claim(store, REFLECTIONS, "ann").item
    store.hide(hidden, by="ann")
    assert shown(store, "ann") is None
    with pytest.raises(NotFoundError):
        skip_item(store, item, "ann")
