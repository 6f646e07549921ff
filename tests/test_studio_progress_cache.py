"""How far somebody is: counted anew where that is quick, remembered where it is not."""

import pytest
from test_annotations_samples import aha

from annotations.queue.assignment import AnnotatorProgress
from annotations.schema.annotation import REFLECTIONS
from annotations.store.store import open_store
from studio.annotate import progress_cache
from studio.annotate.progress_cache import Counts, complete, progress_of


@pytest.fixture
def store(tmp_path):
    with open_store(tmp_path) as store:
        yield store


def save(store, count: int) -> None:
    for number in range(count):
        trajectory, pictures = aha(number)
        store.save(trajectory, pictures, owner="visitor")


def test_of_few_items_every_look_is_a_new_count(store):
    counts: Counts = {}
    save(store, 2)
    assert progress_of(counts, store, "ann", REFLECTIONS).progress == AnnotatorProgress(0, 2)
    save(store, 1)
    assert progress_of(counts, store, "ann", REFLECTIONS).progress == AnnotatorProgress(0, 3)


def test_of_many_a_count_is_good_for_a_minute_but_for_what_one_does_oneself(store, monkeypatch):
    monkeypatch.setattr(progress_cache, "FEW", 1)
    counts: Counts = {}
    save(store, 2)
    assert progress_of(counts, store, "ann", REFLECTIONS).progress == AnnotatorProgress(0, 2)
    save(store, 1)
    assert progress_of(counts, store, "ann", REFLECTIONS).progress == AnnotatorProgress(0, 2)
    complete(counts, "ann", REFLECTIONS)
    complete(counts, "bob", REFLECTIONS)
    assert progress_of(counts, store, "ann", REFLECTIONS).progress == AnnotatorProgress(1, 1)
    assert progress_of(counts, store, "bob", REFLECTIONS).progress == AnnotatorProgress(0, 3)
    monkeypatch.setattr(progress_cache, "LASTS", 0.0)
    assert progress_of(counts, store, "ann", REFLECTIONS).progress == AnnotatorProgress(0, 3)
