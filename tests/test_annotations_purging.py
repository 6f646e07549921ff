"""What was deleted is gone for good a day later, unless somebody's work refers to it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from test_annotations_samples import aha, judged

from annotations.errors import NotFoundError
from annotations.store import Store, open_store
from model.trajectory import Parent

NOW = datetime(2026, 5, 1, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def store(tmp_path: Path):
    with open_store(tmp_path / "data") as store:
        store.clock = Clock()
        yield store


def files(store: Store) -> set[str]:
    return {path.stem for path in (store.database.directory / "images").rglob("*.png")}


def saved(store: Store, number: int, **changed) -> str:
    trajectory, pictures = aha(number)
    return store.save(replace(trajectory, **changed), pictures, owner="ada")


def later(store: Store, **time: float) -> None:
    store.clock.now += timedelta(**time)


def test_a_deleted_drawing_and_its_pictures_are_gone_a_day_later(store: Store):
    run, other = saved(store, 1), saved(store, 2)
    kept = set(images_of(store, other))
    store.hide(run, by="ada")
    assert (store.purge(), len(store.trajectories())) == (0, 1)
    later(store, days=1, seconds=1)
    assert (store.purge(), store.purge()) == (1, 0)
    assert files(store) == kept
    assert store.trajectory(other)
    with pytest.raises(NotFoundError):
        store.trajectory(run)


def images_of(store: Store, run: str) -> list[str]:
    return [image.sha256 for image in store.trajectory(run).images]


def test_a_picture_that_another_drawing_shows_stays(store: Store):
    run, twin = saved(store, 1, id="one"), saved(store, 1, id="two")
    store.hide(run, by="ada")
    later(store, days=2)
    assert store.purge() == 1
    assert all(store.picture(sha256) for sha256 in images_of(store, twin))


def test_what_somebody_annotated_or_went_on_from_is_kept_and_stays_hidden(store: Store):
    annotated, parent = saved(store, 1), saved(store, 2)
    branch = saved(store, 3, parent=Parent(parent, 1, 0))
    store.annotate(judged(annotated, verdict_right="yes"))
    for run in (annotated, parent):
        store.hide(run, by="ada")
    later(store, days=2)
    assert store.purge() == 0
    store.hide(branch, by="ada")
    later(store, days=2)
    assert store.purge() == 2  # the branch, and now its parent, too
    assert len(files(store)) > 0


def test_a_recorded_example_stays_hidden(store: Store):
    trajectory, pictures = aha(1)
    run = store.save(trajectory, pictures, owner="recorded", recorded=True)
    store.hide(run, by="ada")
    later(store, days=2)
    assert (store.purge(), store.trajectories()) == (0, [])


def test_nothing_that_is_not_deleted_is_ever_purged(store: Store):
    saved(store, 1)
    later(store, days=1000)
    assert store.purge() == 0
    assert len(store.trajectories()) == 1


def test_a_drawing_can_be_saved_again_after_its_picture_was_removed(store: Store):
    store.hide(saved(store, 1, id="one"), by="ada")
    later(store, days=2)
    store.purge()
    again = saved(store, 1, id="two")
    assert all(store.picture(sha256) for sha256 in images_of(store, again))
