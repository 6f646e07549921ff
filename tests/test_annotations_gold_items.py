"""Items whose right answers are known, made of what people have answered; on both databases."""

from dataclasses import replace

import pytest
from test_annotations_samples import aha, judged

from annotations.errors import NotFoundError, ProjectError
from annotations.queue import assignment, review
from annotations.queue.gold_items import LONGEST_WHY, right_answers, set_use
from annotations.queue.own_gold_accuracy import GoldRecord, gold_accuracy_of
from annotations.queue.progress import project_answers, project_counts
from annotations.queue.submission import submit
from annotations.schema.annotation import Annotation
from annotations.schema.default_projects import ARENA, REFLECTIONS_PROJECT
from annotations.schema.project import ItemPurpose
from annotations.store.items import NewItem
from annotations.store.store import open_store

TEAM = replace(REFLECTIONS_PROJECT, id="team", name="Team", overlap=2, collects=False, practice=1)


@pytest.fixture
def store(tmp_path, url):
    with open_store(tmp_path, url) as store:
        yield store


def filled(store, *verdicts: str) -> int:
    """One item, on whose first reflection people say this, and yes on the other."""
    store.create_project(TEAM)
    trajectory, pictures = aha()
    id = store.save(trajectory, pictures, owner="visitor")
    [item] = store.add_items("team", [NewItem(id)])
    for who, verdict in zip(("ann", "bob"), verdicts, strict=False):
        answer(store, id, item, who, verdict)
    return item


def answer(store, id: str, item: int, who: str, verdict: str, key: str = ""):
    given = [judged(id, at, who, verdict_right=said, reason_rating=4) for at, said in ((2, verdict), (4, "yes"))]
    return submit(store, item, who, [replace(a, project="team", key=f"{who}{key}{a.segment}") for a in given])


def exported(store) -> int:
    return store.counts().reflections


def test_what_all_say_alike_becomes_right_and_who_answers_is_checked_by_it(store):
    item = filled(store, "yes", "no")
    assert (
        set_use(store, item, ItemPurpose.GOLD) == 3
    )  # on one verdict they differ, on the other and both ratings they do not
    told = project_answers(store, "team")
    assert {one["segment"]: one["answers"] for one in told.gold[item]} == {
        2: {"reason_rating": 4},
        4: {"reason_rating": 4, "verdict_right": "yes"},
    }
    assert {a.annotator for a in told.submitted} == {"ann", "bob"}
    assert project_counts(store)["team"].gold == 1


def test_what_a_reviewer_has_decided_is_right_whatever_others_say(store):
    item = filled(store, "yes", "yes")
    trajectory_id = store.annotations()[0].trajectory_id
    decided = Annotation(trajectory_id, 2, "rev", {"verdict_right": "no"}, key="d")
    review.decide(store, item, "rev", [decided])
    assert set_use(store, item, ItemPurpose.GOLD) == 1
    assert project_answers(store, "team").gold[item][0]["answers"] == {"verdict_right": "no"}


def test_what_a_reviewer_has_decided_is_no_answer_of_theirs_to_gold(store):
    store.create_project(TEAM)
    for number in range(10):
        trajectory, pictures = aha(number)
        id = store.save(trajectory, pictures, owner="visitor")
        [item] = store.add_items("team", [NewItem(id)])
        answer(store, id, item, "ann", "yes", key=f"{number}-")
        review.decide(store, item, "rev", [Annotation(id, 2, "rev", {"verdict_right": "no"}, key=f"d{number}")])
        set_use(store, item, ItemPurpose.GOLD)
    assert gold_accuracy_of(store, "rev", "team") is None
    assert gold_accuracy_of(store, "ann", "team") == GoldRecord(0, 10)


def test_who_is_new_practises_on_it_and_what_was_said_before_still_counts(store):
    item = filled(store, "yes", "yes")
    before = exported(store)
    assert before > 0
    set_use(store, item, ItemPurpose.PRACTICE, because=" Look at the count. ")
    assert exported(store) == before
    assert {a.annotator for a in project_answers(store, "team").submitted} == {"ann", "bob"}
    turn = assignment.claim(store, "team", "new")
    assert (turn.item, turn.practice) == (item, True)
    receipt = answer(store, turn.trajectory_id, item, "new", "no")
    assert [(one.segment, one.right) for one in receipt.feedback if one.question == "Is the verdict right?"] == [
        (2, False),
        (4, True),
    ]
    assert {one.because for one in receipt.feedback} == {"Look at the count."}
    assert "new" not in {a.annotator for a in project_answers(store, "team").submitted}
    assert exported(store) == before
    assert assignment.claim(store, "team", "ann") is None  # who has answered it is not taught by it


def test_practice_stays_practice_and_gold_becomes_work_again(store):
    item = filled(store, "yes", "yes")
    set_use(store, item, ItemPurpose.GOLD)
    assert assignment.claim(store, "team", "new") is None  # gold comes by lot, and there is no share of it
    assert set_use(store, item, ItemPurpose.WORK) == 0
    assert project_counts(store)["team"].items == 1 and project_answers(store, "team").gold == {}
    assert assignment.claim(store, "team", "new") is None  # two have answered it, and two were wanted
    set_use(store, item, ItemPurpose.PRACTICE)
    trajectory_id = assignment.claim(store, "team", "new").trajectory_id
    answer(store, trajectory_id, item, "new", "no")
    assert (
        set_use(store, item, ItemPurpose.PRACTICE, because="Better said.") == 4
    )  # who has learnt by it decides nothing
    assert {a.annotator for a in project_answers(store, "team").submitted} == {"ann", "bob"}
    with pytest.raises(ProjectError, match="learnt by this"):
        set_use(store, item, ItemPurpose.WORK)


def test_what_nobody_knows_is_refused_and_nothing_changes(store):
    item = filled(store)
    with pytest.raises(ProjectError, match="decide it first"):
        set_use(store, item, ItemPurpose.GOLD)
    with pytest.raises(ProjectError, match="shorten it"):
        set_use(store, item, ItemPurpose.GOLD, because="x" * (LONGEST_WHY + 1))
    with pytest.raises(NotFoundError):
        set_use(store, item + 1, ItemPurpose.GOLD)
    assert project_counts(store)["team"].gold == 0


def test_a_preference_is_the_same_whatever_side_it_stood_on_and_texts_are_nobodys_right_answers():
    left = {"alignment": {"choice": "left", "left": "a", "right": "b"}, "comment": "same"}
    right = {"alignment": {"choice": "right", "left": "b", "right": "a"}, "comment": "same"}
    said = [Annotation("a", None, who, answers) for who, answers in (("ann", left), ("bob", right))]
    [known] = right_answers(ARENA.questions, said)
    assert known == {"segment": None, "answers": {"alignment": left["alignment"]}}
