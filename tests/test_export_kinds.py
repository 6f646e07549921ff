"""Everything that people say is in some data set, and of every answer each data set says what became of it."""

import io
import itertools
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pytest
from export_store import ANN, BOB, EVE, RAE, TEAM, filled
from PIL import Image as Picture
from test_annotations_samples import NO_REASON, aha, png
from thoroughness import few

from annotations.export.exporter import export, made_rows
from annotations.export.kind import ACTS, Excluded, ExportRow
from annotations.export.manifest import Manifest, trajectories_of
from annotations.export.query import EVERYTHING, Aggregation, Query
from annotations.export.registry import KINDS
from annotations.export.store_context import StoreContext
from annotations.queue.submission import skip_item
from annotations.schema.annotation import Annotation
from annotations.schema.forms.registry import FORMS
from annotations.schema.project import Skipping
from annotations.store.items import NewItem
from annotations.store.store import Store, open_store
from model.trajectory import Origin, Parent, Thought, Token

OURS = [name for name, kind in KINDS.items() if ".kinds." in type(kind).__module__]
WHOLE = ("trajectory", "answers", "ours")  # kinds that hold whatever was answered


class Exports:
    """A filled store, and every kind of it exported."""

    def __init__(self, folder: Path) -> None:
        self.store, self.ids = filled(folder / "data")
        self.folder = folder
        self.manifests: dict[str, Manifest] = {name: export(self.store, name, folder / name) for name in OURS}
        self.made = {name: list(made(self.store, name)) for name in OURS}

    def rows(self, kind: str) -> list[ExportRow]:
        return [row for row in self.made[kind] if isinstance(row, ExportRow)]

    def values(self, kind: str) -> list[dict[str, Any]]:
        return [dict(row.values) for row in self.rows(kind)]


def made(store: Store, kind: str, query: Query = EVERYTHING) -> Iterator[ExportRow | Excluded]:
    for _, some in made_rows(StoreContext(store, query), KINDS[kind]):
        yield from some


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Iterator[Exports]:
    exports = Exports(tmp_path_factory.mktemp("exports"))
    yield exports
    exports.store.close()


def form_by_answer(store: Store) -> dict[tuple[int, str], Any]:
    """The question of every submitted answer."""
    questions = {p.id: {q.name: q for q in p.questions} for p in store.projects()}
    return {(a.id, name): questions[a.project][name] for a in store.counted() for name in a.answers}


def test_every_form_and_every_act_is_carried_by_a_kind_beside_the_plain_answers(exported):
    carried = {name for kind in OURS if kind != "answers" for name in (*KINDS[kind].forms, *KINDS[kind].acts)}
    assert carried == {*FORMS, *ACTS}
    forms = {question.form.name for question in form_by_answer(exported.store).values()}
    assert forms == set(FORMS), "the store has an answer of every form"


@pytest.mark.parametrize("kind", OURS)
def test_a_kind_carries_what_it_says(exported, kind):
    questions = form_by_answer(exported.store)
    forms = {questions[answer].form.name for row in exported.rows(kind) for answer in row.answers}
    said = set(KINDS[kind].forms)
    assert forms <= said and (forms == said or kind in ("redraw_sft", "edit_sft"))  # of which no pair was compared
    ids, acts = exported.ids, KINDS[kind].acts
    shown = {trajectory for row in exported.rows(kind) for trajectory in row.trajectories}
    assert ("plan" in acts) <= (ids["plan"] in shown)
    assert ("verdict" in acts and kind != "redraw_sft") <= (ids["flip"] in shown)
    assert ("decision" in acts and kind != "edit_sft") <= any(
        exported.store.pseudonyms([RAE])[RAE] in row.people for row in exported.rows(kind)
    )


def test_acts_beside_answers_stand_in_the_trajectory(exported):
    by_id = {row["id"]: row for row in exported.values("trajectory")}
    names = exported.store.pseudonyms([EVE])
    plan, flip, skipped = (by_id[exported.ids[name]] for name in ("plan", "flip", "t4"))
    assert plan["parent"] == {"trajectory_id": exported.ids["t0"], "segment": 0, "token": 0}
    assert plan["segments"][0]["origins"] == [{"origin": "person", "count": 1}]
    assert flip["segments"][2]["mask"] == [{"learn": True, "count": 2}]
    assert by_id[exported.ids["t0"]]["segments"][0]["mask"] == [{"learn": False, "count": 1}]  # of the template
    assert {skip["reason"] for skip in skipped["skips"]} == {"not my language"}
    assert {skip["annotator"] for skip in skipped["skips"]} == {names[EVE]}
    [flag] = skipped["flags"]
    assert (flag["annotator"], flag["note"], flag["answer"]) == (names[EVE], "Which language is it?", "German.")


@pytest.mark.parametrize("kind", OURS)
def test_of_every_answer_that_a_kind_reads_it_says_what_became_of_it(exported, kind):
    questions = form_by_answer(exported.store)
    read = {answer for answer, question in questions.items() if KINDS[kind].reads(question)}
    assert {answer for row in exported.made[kind] for answer in row.answers} == read
    in_rows = {answer for row in exported.rows(kind) for answer in row.answers}
    left_out = [row for row in exported.made[kind] if isinstance(row, Excluded)]
    assert sum(exported.manifests[kind].left_out.values()) == len(left_out)
    twice = [row.reason for row in left_out if row.answers and in_rows.issuperset(row.answers)]
    assert not twice or kind == "reward", "in a row and left out"  # a rating that is a score, and of a tie


@pytest.mark.parametrize(
    ("kind", "how"),
    few(itertools.product(OURS, Aggregation), *range(6), *range(6, len(OURS) * len(Aggregation), 5)),
)
def test_the_same_holds_however_answers_become_one(exported, kind, how):
    questions = form_by_answer(exported.store)
    read = {answer for answer, question in questions.items() if KINDS[kind].reads(question)}
    rows = list(made(exported.store, kind, Query(aggregation=how, min_agreement=0.6, own_words=True)))
    assert {answer for row in rows for answer in row.answers} == read


def test_every_submitted_answer_is_in_a_row_of_some_kind(exported):
    answers = form_by_answer(exported.store).keys()
    for kind in WHOLE:
        assert {answer for row in exported.rows(kind) for answer in row.answers} == answers
    narrow = [kind for kind in OURS if kind not in WHOLE]
    of_training = {answer for kind in narrow for row in exported.made[kind] for answer in row.answers}
    others = {
        question.form.name for answer, question in form_by_answer(exported.store).items() if answer not in of_training
    }
    assert others == {"choice", "text", "tags", "regions", "words"}  # comments and free questions


def test_a_branch_whose_beginning_is_deleted_shows_nothing_of_it(tmp_path):
    with open_store(tmp_path) as store:
        first = store.save(*aha(0), owner="visitor")
        thought = Thought((Token(7, " a plan", Origin.PERSON),))
        changes = {"segments": (thought, *aha(1)[0].segments[1:]), "parent": Parent(first, 0, 0)}
        store.save(*aha(1, **changes), owner="visitor")
        [row] = [row for row in made(store, "thought_pref") if isinstance(row, ExportRow)]
        assert first in row.trajectories
        store.hide(first, by="visitor")
        assert list(made(store, "thought_pref")) == [Excluded("the drawing that the branch continues was deleted")]
        [row] = [row for row in made(store, "thought_sft") if isinstance(row, ExportRow)]
        assert text(row.values["completion"]) == "a plan"


def test_who_puts_something_off_is_told_with_the_reason(tmp_path):
    with open_store(tmp_path) as store:
        store.create_project(replace(TEAM, skipping=Skipping.LATER))
        [item] = store.add_items("team", [NewItem(store.save(*aha(0), owner="visitor"))])
        skip_item(store, item, EVE, reason="too dark")
        [row] = made(store, "trajectory")
        assert {skip["reason"] for skip in row.values["skips"]} == {"too dark"}


def text(messages: list[dict[str, Any]]) -> str:
    return messages[-1]["content"][0]["text"]


FIRST = {  # of the first row, what the store holds
    "judge_sft": ("completion", lambda ids: "Yes, there are two apples."),
    "judge_pref": ("rejected", lambda ids: "No, one apple is too much."),
    "judge_kto": ("completion", lambda ids: NO_REASON),
    "thought_sft": ("completion", lambda ids: "red apple at 0 0; red apple at 2 0"),
    "thought_pref": ("rejected", lambda ids: "red apple at 0 0"),
    "draw_sft": ("image", lambda ids: png(0)),
    "redraw_sft": ("drafts", lambda ids: png(2)),
    "edit_sft": ("source", lambda ids: png(200)),
    "image_pref": ("chosen", lambda ids: png(1)),
    "reward": ("image", lambda ids: png(0)),
    "prompts": ("prompt", lambda ids: "two apples"),
    "trajectory": ("id", lambda ids: ids["t0"]),
    "answers": ("trajectory_id", lambda ids: ids["t0"]),
    "ours": ("prompt", lambda ids: "two apples"),
}


def plain(value: Any) -> Any:
    """The last text of messages, the bytes of a picture or of the first of several, any other value."""
    if isinstance(value, Picture.Image):
        return value.convert("RGB").tobytes()
    if isinstance(value, dict):
        return Picture.open(io.BytesIO(value["bytes"])).convert("RGB").tobytes()
    if isinstance(value, str):
        return value
    first = value[0]
    return text(list(value)) if isinstance(first, dict) and "role" in first else plain(first)


@pytest.mark.parametrize("kind", OURS)
def test_a_folder_loads_with_datasets_and_pandas_and_shows_what_the_store_holds(exported, kind, tmp_path):
    folder, rows = exported.folder / kind, exported.values(kind)
    loaded = datasets.load_dataset(str(folder), kind, cache_dir=str(tmp_path))["train"]
    assert loaded.features == KINDS[kind].features
    assert loaded.num_rows == len(rows) == exported.manifests[kind].examples > 0
    column, expected = FIRST[kind]
    value = expected(exported.ids)
    if isinstance(value, bytes):
        value = Picture.open(io.BytesIO(value)).convert("RGB").tobytes()
    frame = pd.read_parquet(folder / exported.manifests[kind].files[0].name)
    assert list(frame.columns) == list(KINDS[kind].features)
    for row in (loaded[0], frame.iloc[0]):
        assert plain(row[column]) == value
    assert frame.iloc[0].get("codes") is None or list(frame.iloc[0]["codes"]) == [1, 2, 3, 4]


def test_a_wording_of_the_outvoted_and_the_models_own_are_rejected(exported):
    first = [row for row in exported.values("judge_pref") if row["trajectory_id"] == exported.ids["t0"]]
    assert {(text(row["chosen"]), text(row["rejected"]), row["rejected_origin"]) for row in first} == {
        ("Yes, there are two apples.", "No, one apple is too much.", "person"),
        ("Yes, there are two apples.", NO_REASON, "sampled"),
    }
    assert [row["margin"] for row in first] == [pytest.approx(1 / 3)] * 2
    assert sum(row["weight"] for row in first) == 1
    [flip] = [row for row in exported.values("judge_pref") if row["trajectory_id"] == exported.ids["flip"]]
    assert (text(flip["chosen"]), text(flip["rejected"])) == ("Yes, it fits.", NO_REASON)
    decided = [row for row in exported.values("judge_pref") if row["decided"]]
    assert {text(row["rejected"]) for row in decided} == {NO_REASON, "Yes, it is a dog."}


def test_labels_of_reflections_follow_verdicts_and_ratings(exported):
    labels = {(r["trajectory_id"], r["segment"], r["decided"]): r["label"] for r in exported.values("judge_kto")}
    ids = exported.ids
    assert labels[ids["t0"], 2, False] is False  # two of three say that the verdict is wrong
    assert labels[ids["t0"], 4, False] is labels[ids["t1"], 4, False] is labels[ids["t3"], 4, True] is True
    assert labels[ids["t3"], 2, False] is False  # right, but for a bad reason
    reasons = exported.manifests["judge_kto"].left_out
    assert reasons["rated neither good nor bad"] == 1
    assert reasons["the reflection was written by a person, not by the model"] == 1


def test_plans_are_corrected_rated_or_begun_in_a_branch(exported):
    plans = {(row["trajectory_id"], row["source"]): text(row["completion"]) for row in exported.values("thought_sft")}
    ids = exported.ids
    assert plans == {
        (ids["t0"], "correction"): "red apple at 0 0; red apple at 2 0",
        (ids["t1"], "rating"): "red apple at 0 0",
        (ids["t3"], "correction"): "a dog at 1 1",
        (ids["plan"], "branch"): "red apple at 0 0; red apple at 2 0",
    }
    pairs = {(row["trajectory_id"], text(row["rejected"])) for row in exported.values("thought_pref")}
    assert pairs == {
        (ids["t0"], "red apple at 0 0"),
        (ids["plan"], "red apple at 0 0"),
        (ids["t3"], "red apple at 0 0"),
        (ids["t3"], "one dog at 1 1"),
    }
    narrowed = [
        row for row in made(exported.store, "thought_sft", Query(projects=("team",))) if isinstance(row, ExportRow)
    ]
    assert [row.values["source"] for row in narrowed] == ["correction"]


def test_a_redraw_is_a_rejected_draft_the_written_reason_and_an_accepted_drawing(exported):
    [first, *_] = exported.values("redraw_sft")
    assert first["trajectory_id"] == exported.ids["t1"]
    assert first["reflections"] == ["No, the car is missing."] and first["correction"] == "the car is missing."
    assert first["drafts"][0]["bytes"] == png(2) and first["image"]["bytes"] == png(3)
    assert first["draft_codes"] == [[1, 2, 3, 4]] and first["origins"] == [{"origin": "sampled", "count": 4}]


def test_a_drawing_goes_with_the_plan_as_people_wrote_it_or_with_none(exported):
    drawings = {(row["trajectory_id"], row["segment"]): row["thought"] for row in exported.values("draw_sft")}
    assert drawings[exported.ids["t0"], 1] == "red apple at 0 0; red apple at 2 0"
    assert drawings[exported.ids["t0"], 3] is None  # no plan stands before it
    assert (exported.ids["edit"], 1) not in drawings
    [edit] = exported.values("edit_sft")
    assert (edit["prompt"], edit["source_codes"]) == ("make it blue", [5, 6, 7, 8])


def pair(row: dict[str, Any]) -> tuple[str, str, str]:
    return row["trajectory_id"], row["rejected_trajectory_id"], row["source"]


def test_drawings_are_preferred_by_people_and_ties_are_no_pairs(exported):
    ids, rows = exported.ids, exported.values("image_pref")
    found = {pair(row): row for row in rows if row["source"] == "preference"}
    assert set(found) == {(ids["t2"], ids["t3"], "preference"), (ids["t5"], ids["t0"], "preference"),
                          (ids["t0"], ids["t5"], "preference")}  # fmt: skip
    two_to_one = found[ids["t5"], ids["t0"], "preference"]
    assert (two_to_one["margin"], two_to_one["votes"], two_to_one["shown_left"]) == (pytest.approx(1 / 3), 3, 1.0)
    assert found[ids["t0"], ids["t5"], "preference"]["decided"]
    reasons = exported.manifests["image_pref"].left_out
    assert reasons["as many say one thing as another"] == 1
    assert reasons["both are bad"] == 1 and reasons["the other drawing was deleted"] == 1
    [best] = [row for row in rows if row["source"] == "best" and row["trajectory_id"] == ids["t1"]]
    assert (best["segment"], best["rejected_segment"], best["agreement"]) == (3, 1, 1.0)
    rated = {row["criterion"]: row for row in rows if row["source"] == "rating" and row["trajectory_id"] == ids["t1"]}
    assert set(rated) == {"alignment"} and rated["alignment"]["margin"] == pytest.approx(0.75)  # appearance is a tie


def values_of(store: Store, kind: str, query: Query) -> list[dict[str, Any]]:
    return [dict(row.values) for row in made(store, kind, query) if isinstance(row, ExportRow)]


def test_agreement_can_be_asked_for_and_each_vote_by_itself(exported):
    ids, agreed = exported.ids, Query(min_agreement=0.9)
    asked = [pair(row) for row in values_of(exported.store, "image_pref", agreed)]
    assert (ids["t5"], ids["t0"], "preference") not in asked and (ids["t2"], ids["t3"], "preference") in asked
    each = [pair(row) for row in values_of(exported.store, "image_pref", Query(aggregation=Aggregation.ALL))]
    assert each.count((ids["t5"], ids["t0"], "preference")) == 2
    assert each.count((ids["t0"], ids["t5"], "preference")) == 2  # one of three, and a decision about another item
    judges = {row["trajectory_id"] for row in values_of(exported.store, "judge_pref", agreed)}
    assert ids["t0"] not in judges and ids["t1"] in judges


def test_scores_have_a_mean_a_deviation_and_their_people(exported):
    rows = [
        row
        for row in exported.values("reward")
        if row["type"] == "score" and row["trajectory_id"] == exported.ids["t1"]
    ]
    scores = {(row["segment"], row["criterion"]): row for row in rows}  # of a checklist, its last fact
    low = scores[1, "alignment"]
    assert (low["score"], low["std"], low["count"]) == (pytest.approx(0.125), pytest.approx(0.125), 2)
    assert scores[3, "overall"]["score"] == 1.0 and scores[3, "verdict"]["score"] == 1.0
    assert {row["type"] for row in exported.values("reward")} == {"score", "pair"}
    facts = {(row["segment"], row["prompt"]): row["score"] for row in rows if row["criterion"] == "facts"}
    assert facts[1, "two apples"] == 0.25 and facts[1, "a car"] == facts[3, "two apples"] == 1.0  # no, and cannot tell
    ranked = [row for row in exported.values("image_pref") if row["source"] == "ranking"]
    assert [(row["segment"], row["rejected_segment"], row["votes"]) for row in ranked] == [(3, 1, 2)]
    first = next(row for row in exported.values("prompts") if row["trajectory_id"] == exported.ids["t1"])
    assert first["facts"] == ["two red apples", "a blue car", "two red apples above a blue car"]
    by_rating_and_checklist = (0.0, 0.125, 0.5, 1.0, 0.875, 0.5, 1.0), (0.625, 1.0)
    assert first["score"] == pytest.approx(sum(map(sum, by_rating_and_checklist)) / 9)


@pytest.mark.parametrize("kind", OURS)
def test_people_have_pseudonyms_and_a_deleted_drawing_is_gone(exported, kind):
    names = set(exported.store.pseudonyms([ANN, BOB, EVE, RAE]).values())
    assert {person for row in exported.rows(kind) for person in row.people} <= names
    words = json.dumps(exported.values(kind), default=str)
    assert "example.org" not in words and "secret" not in words and "visitor" not in words
    shown = trajectories_of(exported.folder / kind, exported.manifests[kind])
    assert exported.ids["hidden"] not in shown


def test_a_branch_of_a_parent_that_is_shorter_than_its_branch_point_makes_rows(tmp_path):
    """Imported trajectories name whatever parent they had elsewhere."""
    with open_store(tmp_path) as store:
        parent, pictures = aha(0)
        short = store.save(replace(parent, segments=parent.segments[:2]), pictures, owner="visitor")
        branch = replace(parent, seed=1, parent=Parent(short, 2, 0))
        said = {"verdict_right": "yes", "reason_correction": "there are four apples."}
        store.annotate(Annotation(store.save(branch, pictures, owner="visitor"), 2, ANN, said))
        [row] = made(store, "judge_pref")
        assert isinstance(row, ExportRow) and row.values["rejected"][0]["content"][0]["text"] == NO_REASON
