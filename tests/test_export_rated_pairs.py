"""Pairs of drawings of one prompt by their ratings."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from test_annotations_samples import aha, image, png

from annotations.export import same_prompt
from annotations.export.exporter import export, made_rows
from annotations.export.kind import Excluded, ExportRow
from annotations.export.query import EVERYTHING, Aggregation, Query, Split
from annotations.export.registry import KINDS
from annotations.export.store_context import StoreContext
from annotations.schema.annotation import Annotation
from annotations.schema.default_projects import RICH
from annotations.store.items import NewItem
from annotations.store.store import Store, open_store

ALIGNED = replace(RICH, questions=tuple(q for q in RICH.questions if q.name == "alignment"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "data") as store:
        store.create_project(ALIGNED)
        yield store


def rate(store: Store, number: int, prompt: str = "two apples", picture: int | None = None, **ratings: int) -> str:
    """A trajectory of one image, and its alignment by people's names."""
    content = png(number if picture is None else picture)
    trajectory, _ = aha(number, prompt=prompt)
    drawn = image(content)
    id = store.save(replace(trajectory, segments=(drawn,)), {str(drawn.sha256): content}, owner="visitor")
    [item] = store.add_items(ALIGNED.id, [NewItem(id)])
    for who, rating in ratings.items():
        store.annotate(Annotation(id, 0, who, {"alignment": rating}, project=ALIGNED.id, item=item))
    return id


def made(store: Store, query: Query = EVERYTHING, kind: str = "image_pref") -> list[ExportRow | Excluded]:
    return [row for _, some in made_rows(StoreContext(store, query), KINDS[kind]) for row in some]


def pairs(store: Store, query: Query = EVERYTHING) -> set[tuple[str, str, float]]:
    rows = [row.values for row in made(store, query) if isinstance(row, ExportRow)]
    return {(row["trajectory_id"], row["rejected_trajectory_id"], row["margin"]) for row in rows}


def reasons(store: Store, query: Query = EVERYTHING) -> list[str]:
    return [row.reason for row in made(store, query) if isinstance(row, Excluded)]


def test_two_drawings_of_a_prompt_are_a_pair_where_their_mean_ratings_differ_enough(store):
    worst = rate(store, 0, ann=1, bob=2)
    middle = rate(store, 1, eve=3)
    best = rate(store, 2, ann=5)
    rate(store, 3, prompt="a dog", ann=5)
    assert pairs(store) == {(middle, worst, 0.375), (best, worst, 0.875), (best, middle, 0.5)}
    [row] = [row for row in made(store) if isinstance(row, ExportRow) and row.values["margin"] == 0.875]
    assert (row.values["source"], row.values["votes"], row.values["agreement"]) == ("rating_across", 2, 1.0)
    assert {len(row.answers), len(row.people)} == {3, 2} and set(row.trajectories) == {best, worst}
    assert reasons(store) == ["no other drawing of its prompt was rated so"]
    assert pairs(store, Query(min_rating_difference=0.5)) == {(best, worst, 0.875), (best, middle, 0.5)}


def test_a_tie_and_a_small_difference_make_no_pair_and_are_told_once_an_answer(store):
    rate(store, 0, ann=3)
    rate(store, 1, bob=3)
    assert (pairs(store), reasons(store)) == (set(), ["a tie: neither is better"] * 2)
    rate(store, 2, ann=3, bob=4)
    close = "the ratings of two drawings differ by less than was asked for"
    assert (pairs(store), reasons(store)) == (set(), ["a tie: neither is better"] * 2 + [close])
    best = rate(store, 3, eve=5)
    assert len(pairs(store)) == 3 and {row[0] for row in pairs(store)} == {best}
    assert reasons(store) == []  # each answer is in a pair


def test_people_who_disagree_and_the_same_picture_make_no_pair(store):
    rate(store, 0, ann=1, bob=5, eve=1)
    rate(store, 1, ann=5, bob=2, eve=5)
    assert len(pairs(store, Query(min_agreement=0.5))) == 1
    assert set(reasons(store, Query(min_agreement=0.9))) == {"fewer people agree than were asked for"}
    rate(store, 2, prompt="a dog", picture=7, ann=1)
    rate(store, 3, prompt="a dog", picture=7, ann=5)
    assert "both show the same picture" in reasons(store)


def test_every_answer_by_itself_compares_what_one_person_rated(store):
    worse = rate(store, 0, ann=1, bob=2)
    better = rate(store, 1, ann=5, eve=1)
    assert pairs(store, Query(aggregation=Aggregation.ALL)) == {(better, worse, 1.0)}


def test_a_popular_prompt_makes_a_bounded_number_of_pairs_and_each_once(store, monkeypatch, tmp_path):
    monkeypatch.setattr(same_prompt, "NEIGHBOURS", 2)
    monkeypatch.setattr(same_prompt, "KEPT", 3)
    monkeypatch.setattr("annotations.export.annotated_trajectories.AT_ONCE", 2)
    ids = [rate(store, number, ann=1 + 4 * (number % 2)) for number in range(9)]
    expected = {(ids[at], ids[at + 1]) for at in range(8)}
    assert {tuple(sorted(pair[:2], key=ids.index)) for pair in pairs(store)} == expected
    assert len([row for row in made(store) if isinstance(row, ExportRow)]) == 8


def test_the_threshold_stands_in_the_manifest_and_pairs_of_a_prompt_are_in_one_split(store, tmp_path):
    for number in range(12):
        rate(store, number, prompt=f"{number // 2} apples", ann=1 + 4 * (number % 2))
    query = Query(splits=(Split("validation", 0.4),))
    manifest = export(store, "image_pref", tmp_path / "out", query=query)
    assert manifest.query["min_rating_difference"] == 0.25 and manifest.counts["rating_across"] == 6
    prompts = [set(pq.read_table(tmp_path / "out" / file.name)["prompt"].to_pylist()) for file in manifest.files]
    assert len(prompts) == 2 and not set.intersection(*prompts)


def test_a_drawing_that_is_deleted_while_its_pairs_are_made_is_left_out(store, monkeypatch):
    worse = rate(store, 0, ann=1)
    rate(store, 1, ann=5)
    read = StoreContext.picture

    def hiding(context: StoreContext, sha256: str) -> bytes:
        if worse in store.visible([worse]):
            store.hide(worse, by="visitor")
        return read(context, sha256)

    monkeypatch.setattr(StoreContext, "picture", hiding)
    assert reasons(store)[-1] == "trajectory deleted meanwhile"


@pytest.mark.parametrize("kind", ["reward", "pickapic", "verl_dpo"])
def test_other_kinds_of_pairs_have_them_as_well(store, kind):
    worse, better = rate(store, 0, ann=1), rate(store, 1, bob=5)
    assert {worse, better} in [set(row.trajectories) for row in made(store, kind=kind) if isinstance(row, ExportRow)]
