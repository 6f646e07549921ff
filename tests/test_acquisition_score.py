"""The order by acquisition score: margin, disagreement of critics, novelty; in a project's queue; the study of it."""

from dataclasses import replace
from pathlib import Path

import pytest
from test_annotations_samples import aha, judged

from annotations.calibration.scores import CriticScore, add
from annotations.metrics.acquisition_score import acquisition_score, disagreement, novelty
from annotations.queue.assignment import claim
from annotations.schema.default_projects import REFLECTIONS_PROJECT
from annotations.schema.project import Order
from annotations.store.items import NewItem
from annotations.store.reordering import rank_anew
from annotations.store.store import open_store
from model.trajectory import Reflection

TEAM = replace(REFLECTIONS_PROJECT, id="team", name="Team", overlap=1, collects=False, order=Order.ACQUISITION_SCORE)


def drawn(number: int, p_yes: float, prompt: str):
    trajectory, pictures = aha(number, prompt=prompt)
    sure = [replace(s, p_yes=p_yes) if isinstance(s, Reflection) else s for s in trajectory.segments]
    return replace(trajectory, segments=tuple(sure)), pictures


def test_a_verdict_at_half_critics_that_differ_and_a_new_category_are_of_most_use() -> None:
    assert disagreement([0.0, 1.0]) == 1
    assert disagreement([0.7]) == 0
    assert novelty(0) == 1
    assert novelty(99) == pytest.approx(0.1)
    assert acquisition_score([[0.5]], 0) > acquisition_score([[0.9]], 0) > acquisition_score([[0.9]], 50)
    assert acquisition_score([[0.9, 0.1]], 9) > acquisition_score([[0.9, 0.9]], 9)
    assert acquisition_score([], 0) == 0


def test_a_project_in_this_order_asks_first_what_teaches_most(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.create_project(TEAM)
        drawings = [(0.99, "two apples"), (0.55, "two apples"), (0.9, "a red cat"), (0.99, "a red cat")]
        ids = [store.save(*drawn(number, *each), owner="visitor") for number, each in enumerate(drawings)]
        store.add_items("team", [NewItem(id) for id in ids])
        assert claim(store, "team", "ann").trajectory_id == ids[1]
        add(store, [CriticScore(ids[3], 1, "verifier", 0.0)])
        rank_anew(store.database, Order.ACQUISITION_SCORE)
        assert claim(store, "team", "bob").trajectory_id == ids[3]


def test_an_answer_makes_its_category_less_novel(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.create_project(TEAM)
        drawings = [(0.9, "two apples"), (0.9, "two apples"), (0.9, "a red cat")]
        ids = [store.save(*drawn(number, *each), owner="visitor") for number, each in enumerate(drawings)]
        store.add_items("team", [NewItem(id) for id in ids])
        for segment, answers in (
            (0, {"thought_rating": 3}),
            (2, {"verdict_right": "yes"}),
            (4, {"verdict_right": "yes"}),
        ):
            store.annotate(replace(judged(ids[0], segment, "ann", **answers), project="team"))
        rank_anew(store.database, Order.ACQUISITION_SCORE)
        assert claim(store, "team", "bob").trajectory_id == ids[2]
