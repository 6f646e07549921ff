"""Lists are narrowed by what trajectories have: whatever is asked for together, in both databases."""

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import product
from pathlib import Path

import pytest
from sqlalchemy import select
from test_annotations_samples import aha, judged

from annotations.db.search_words import search_words
from annotations.db.tables import PostingRow
from annotations.schema.annotation import Annotation, Status
from annotations.store import search_index
from annotations.store.listing import Cursor, Filter
from annotations.store.search_index import BLOCK, exactly
from annotations.store.store import Store, open_store
from model.trajectory import Parent

HOSTILE = (
    "a cat'; DROP TABLE traits; --",
    '100% "red" cats_and_dogs \\ naïve',
    "🐱 and ❤️ above",
    "‮חתול אדום‬ next to قطة",
    "一只红色的猫",
)


@pytest.fixture
def store(tmp_path: Path, url: str | None) -> Iterator[Store]:
    with open_store(tmp_path / "data", url) as store:
        yield store


def save(store: Store, prompt: str, **changes) -> str:
    trajectory, pictures = aha(len(prompt), prompt, **changes)
    return store.save(trajectory, pictures, owner="visitor")


def found(store: Store, search: str, **more) -> list[str]:
    return [listed.prompt for listed in store.trajectories(keep=Filter(search=search, **more))]


def rows(store: Store) -> dict[tuple[bytes, int], bytes]:
    with store.database.reading() as session:
        return {(row.trait, row.block): row.bits for row in session.scalars(select(PostingRow))}


def test_a_search_finds_whole_words_and_how_they_begin_in_any_case_and_order(store: Store):
    for prompt in ("Two red Apples", "a blue car", "a red cat above a cart"):
        save(store, prompt)
    for search, prompts in {
        "RED": ["a red cat above a cart", "Two red Apples"],
        "appl": ["Two red Apples"],
        "pples": [],
        "ca": ["a red cat above a cart", "a blue car"],
        "T a": ["Two red Apples"],
        "z": [],
        "car": ["a red cat above a cart", "a blue car"],
        "cart, red": ["a red cat above a cart"],
        "blue red": [],
        "red zebra": [],
        "  ": ["a red cat above a cart", "a blue car", "Two red Apples"],
    }.items():
        assert found(store, search) == prompts, search


@pytest.mark.parametrize("prompt", HOSTILE)
def test_text_that_would_break_a_query_is_found_by_each_of_its_words_and_by_all(store: Store, prompt: str):
    save(store, prompt)
    other = save(store, "something else")
    for search in (prompt, *prompt.split()):
        shown = [listed.id for listed in store.trajectories(keep=Filter(search=search))]
        assert other not in shown or not search_words(search), search
        assert shown, search
    for search in ("%", "_", "'", '"', "\\", "%' OR 1=1"):
        assert store.trajectories(keep=Filter(search=search)) is not None
    assert found(store, "zebra' OR 'a'='a") == []
    assert found(store, "%c%zebra%") == []
    assert store.trajectories(keep=Filter(checkpoint="\ud800", owner="\0", search="\0")) == []


def test_filters_together_keep_what_has_everything_that_is_asked_for(store: Store):
    rng = random.Random(0)
    made = {}
    for number in range(40):
        trajectory, pictures = aha(number, rng.choice(["a red cat", "two dogs", "a red dog"]))
        some = trajectory.segments[: rng.choice([0, 3, 5])]
        parent = Parent("elsewhere", 1, 0) if rng.random() < 0.3 else None
        checkpoint = rng.choice(["base", "embedded"])
        trajectory = replace(trajectory, segments=some, parent=parent, checkpoint=checkpoint, id=f"t{number}")
        store.save(trajectory, pictures, owner=rng.choice(["ada", "bob"]), recorded=rng.random() < 0.2)
        if some and rng.random() < 0.4:
            store.annotate(judged(trajectory.id, verdict_right="yes"))
        if rng.random() < 0.2:
            store.hide(trajectory.id, by="ada")
        else:
            made[trajectory.id] = trajectory
    all_of_them = {listed.id: listed for listed in store.trajectories(limit=100)}
    assert list(all_of_them) == list(reversed(made))
    annotated = {annotation.trajectory_id for annotation in store.annotations()}
    both = (None, True, False)
    for checkpoint, flag, verdict, judged_, branch in product((None, "base", "nobody"), both, (None, "no"), both, both):
        keep = Filter(
            checkpoint=checkpoint,
            aha=flag,
            verdict=verdict,
            annotated=judged_,
            branch=branch,
            search="red",
            owner="ada",
        )
        wanted = [
            one.id
            for one in all_of_them.values()
            if (checkpoint is None or one.checkpoint == checkpoint)
            and (flag is None or one.aha == flag)
            and (verdict is None or one.answers[-1:] == (verdict,))
            and (judged_ is None or (one.id in annotated) == judged_)
            and (branch is None or (one.parent_id is not None) == branch)
            and ("red" in one.prompt and one.owner == "ada")
        ]
        assert [listed.id for listed in store.trajectories(limit=100, keep=keep)] == wanted, keep
    assert store.checkpoints() == sorted({one.checkpoint for one in made.values()})
    assert store.counts().aha == sum(one.aha for one in made.values())
    assert store.counts().recorded == sum(one.recorded for one in all_of_them.values())


def test_whoever_begins_to_annotate_makes_it_annotated_and_it_stays_so(store: Store):
    run, other = save(store, "a cat"), save(store, "a dog")
    store.annotate(Annotation(run, 2, "ann", {"reason_rating": 2}, Status.UNFINISHED, key="k"))
    store.undo(run, 2, "ann")
    assert [one.id for one in store.trajectories(keep=Filter(annotated=True))] == [run]
    assert [one.id for one in store.trajectories(keep=Filter(annotated=False))] == [other]


def test_what_is_deleted_is_found_no_more_and_a_purge_leaves_nothing_of_its_words(store: Store):
    save(store, "a red cat")
    before = rows(store)
    run = save(store, "a red zebra", checkpoint="stripes", parent=Parent("elsewhere", 1, 0))
    assert found(store, "zebra") == ["a red zebra"]
    store.hide(run, by="ada")
    assert (found(store, "zebra"), found(store, "red"), store.checkpoints()) == ([], ["a red cat"], ["tiny"])
    assert store.purge(timedelta(seconds=-1)) == 1
    assert rows(store) == before
    save(store, "a blue moon")  # it may have the number of what is gone
    assert (found(store, "zebra"), found(store, "moon")) == ([], ["a blue moon"])


def test_a_long_line_of_pages_crosses_blocks_without_gaps(store: Store):
    some = {BLOCK * at + place for at in (0, 1, 3) for place in (0, 1, 17, BLOCK - 1)}
    hidden = {BLOCK + 1}
    with store.database.writing() as session:
        search_index.add(session, {number: [search_index.VISIBLE, search_index.AHA] for number in some})
        search_index.add(session, {2: [search_index.VISIBLE], BLOCK * 7: [search_index.VISIBLE]})
        search_index.remove(session, {number: [search_index.VISIBLE] for number in hidden})
        seen, before = [], None
        while some_more := search_index.find(session, [exactly(search_index.AHA)], [], before=before, limit=2):
            seen += some_more
            before = some_more[-1]
        assert seen == sorted(some - hidden, reverse=True)
        assert search_index.find(session, [], [exactly(search_index.AHA)], before=None, limit=9) == [BLOCK * 7, 2]
        assert search_index.find(session, [], [], before=0, limit=9) == []
        assert search_index.count(session, search_index.AHA) == len(seen)


@pytest.mark.parametrize("number", [0, 1, 999_999_999])
def test_every_place_that_an_address_may_name_has_an_answer(store: Store, number: int):
    save(store, "a cat")
    shown = store.trajectories(before=Cursor.parse(str(number)))
    assert len(shown) == (number > 1)
