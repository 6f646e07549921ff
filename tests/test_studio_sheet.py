"""A sheet, without a browser: what it asks, and what becomes of what is filled in. Real store, real accounts."""

import json
from dataclasses import replace

import pytest
from test_annotations_samples import aha
from test_studio_annotating import by

from annotations.errors import AnswerError
from annotations.schema.annotation import Status
from annotations.schema.default_projects import ARENA, RICH
from annotations.store.items import NewItem
from studio.annotate.item_token import ItemToken
from studio.components.forms.sheet import Sheet, annotations_of, panes_of, sheet_targets, value_of

BOX = {"x": 0.25, "y": 0.5, "w": 0.125, "h": 0.25, "label": "artifact"}
FILLED = {
    "1": {"alignment": 2, "appearance": 4, "regions": [BOX, {"x": 0.5, "y": 0.5, "label": "misalignment"}]},
    "3": {"alignment": 5, "appearance": 3, "words_not_drawn": [1]},
    "all": {"best": 3, "tags": ["dark"], "comment": "Mended."},
}
SHOWING = ItemToken(1, -1, "k", 0)


def save(store, number: int = 0, **changes) -> str:
    trajectory, pictures = aha(number, **changes)
    return store.save(trajectory, pictures, owner="visitor")


def rich(store, **changes) -> list[str]:
    """The project, with two drawings in it, the more certain one last."""
    store.create_project(replace(RICH, overlap=1, **changes))
    ids = [save(store, 0), save(store, 1)]
    store.add_items(RICH.id, [NewItem(id) for id in ids])
    return ids


def pairs(store) -> tuple[str, str]:
    store.create_project(ARENA)
    one, other = save(store, 0), save(store, 1)
    store.add_items(ARENA.id, [NewItem(one, other)])
    return one, other


def said(store, **narrowed) -> dict:
    return {a.segment: a.answers.to_dict() for a in store.annotations(annotator="ada", **narrowed)}


def test_a_sheet_asks_about_every_picture_and_about_all_of_it():
    sheet = Sheet(RICH, aha()[0])
    assert [(pane.name, pane.segments) for pane in panes_of(sheet)] == [("Image 1", {0, 1, 2}), ("Image 2", {3, 4})]
    assert [(t.key, t.pane, t.needed, len(t.questions)) for t in sheet_targets(sheet)] == [
        ("1", 0, True, 4),
        ("3", 1, True, 4),
        ("all", None, False, 3),
    ]
    by_name = {question.name: question for question in RICH.questions}
    assert by_name["best"].form.choices_for(sheet.trajectory) == [("image 1", 1), ("image 2", 3)]
    assert by_name["words_not_drawn"].form.choices_for(sheet.trajectory) == [("two", 0), ("apples", 1)]
    assert [value for _, value in by_name["regions"].form.choices_for(sheet.trajectory)] == ["artifact", "misalignment"]


def test_what_the_page_is_sent_is_json_and_of_a_pair_says_nothing_of_who_drew_it():
    one, other = (replace(aha(number)[0], id=f"id-{number}", checkpoint=f"net-{number}") for number in (0, 1))
    sheet = Sheet(ARENA, one, other, left=other.id)
    value = json.dumps(value_of(sheet, SHOWING.key, {}, lambda sha256: None))
    assert "id-" not in value and "net-" not in value
    assert [pane.sha256 for pane in panes_of(sheet)] == [other.images[-1].sha256, one.images[-1].sha256]
    order = [value for _, value in ARENA.questions[0].form.choices_for(one)]
    assert order == ["left", "tie", "both_bad", "right"]


def test_everything_that_is_asked_is_stored_as_it_was_filled_in(store, handlers):
    first, second = rich(store)
    request = by(store, "ada", project=RICH.id)
    view = handlers.start(request)
    assert view.sheet["answers"] == {"1": {}, "3": {}, "all": {}}
    following = handlers.submit(RICH.id, view.token, json.dumps(FILLED), request)
    assert following.note == "" and following.sheet["key"] != view.sheet["key"]
    assert said(store, status=Status.SUBMITTED) == {int(k) if k != "all" else None: v for k, v in FILLED.items()}
    assert "1 done" in following.progress


def test_an_undo_shows_the_sheet_as_it_was_sent(store, handlers):
    rich(store)
    request = by(store, "ada", project=RICH.id)
    handlers.submit(RICH.id, handlers.start(request).token, json.dumps(FILLED), request)
    view = handlers.undo(RICH.id, request)
    assert view.sheet["answers"] == FILLED and "Taken back" in view.note
    assert said(store, status=Status.SUBMITTED) == {}
    again = FILLED | {"1": FILLED["1"] | {"alignment": 3}}
    handlers.submit(RICH.id, view.token, json.dumps(again), request)
    assert said(store, status=Status.SUBMITTED)[1]["alignment"] == 3
    assert len(store.history(store.annotations()[0].trajectory_id)) == 9  # nothing is overwritten
    handlers.undo(RICH.id, request)
    assert "nothing to undo" in handlers.undo(RICH.id, request).note


def test_what_is_kept_is_there_again_and_only_what_is_new_is_written(store, handlers):
    rich(store)
    request = by(store, "ada", project=RICH.id)
    view = handlers.start(request)
    begun = {"1": {"alignment": 2}, "3": {}, "all": {"comment": "half"}}
    for _ in range(3):
        assert handlers.save(RICH.id, view.token, json.dumps(begun), request) == ""
    assert len(store.history(store.annotations()[0].trajectory_id)) == 2
    handlers.leave(request)
    assert handlers.start(request).sheet["answers"] == begun
    handlers.save(RICH.id, view.token, json.dumps(begun | {"all": {}}), request)
    assert handlers.start(request).sheet["answers"]["all"] == {}  # what was taken out again stays out
    assert {a.status for a in store.annotations()} == {Status.UNFINISHED}


def test_the_same_sheet_sent_five_times_is_stored_once(store, handlers):
    rich(store)
    request = by(store, "ada", project=RICH.id)
    token = handlers.start(request).token
    for _ in range(5):
        handlers.submit(RICH.id, token, json.dumps(FILLED), request)
    assert len(store.annotations(annotator="ada")) == 3


def test_the_side_on_which_a_picture_stood_is_stored_with_the_preference(store, handlers):
    one, other = pairs(store)
    request = by(store, "ada", project=ARENA.id)
    view = handlers.start(request)
    filled = {"all": {"alignment": "left", "appearance": "both_bad", "comment": "Close."}}
    handlers.submit(ARENA.id, view.token, json.dumps(filled), request)
    [stored] = store.annotations(annotator="ada")
    preference = stored.answers["alignment"]
    assert {preference["left"], preference["right"]} == {one, other}
    shown = store.trajectory(preference["left"]).images[-1].sha256
    assert view.sheet["panes"][0]["src"].startswith("data:") and store.picture(shown)
    back = handlers.undo(ARENA.id, request)
    assert back.sheet["answers"] == filled
    assert back.sheet["panes"] == view.sheet["panes"]  # nobody changes sides meanwhile


@pytest.mark.parametrize(
    ("filled", "wanted"),
    [
        ({}, "Not answered yet"),
        ({"1": {"alignment": 2, "appearance": 2}}, "Not answered yet"),
        (FILLED | {"1": FILLED["1"] | {"alignment": 6}}, "from 1 to 5"),
        (FILLED | {"1": FILLED["1"] | {"regions": [BOX | {"x": 0.95}]}}, "boxes that stay inside"),
        (FILLED | {"1": FILLED["1"] | {"regions": [BOX | {"label": "ugly"}]}}, "one of: artifact, misalignment"),
        (FILLED | {"1": FILLED["1"] | {"words_not_drawn": [7]}}, "words of the prompt"),
        (FILLED | {"all": {"best": 2}}, "the segment of an image"),
        (FILLED | {"all": {"nonsense": 2}}, "is not asked about"),
        (FILLED | {"9": {"alignment": 2}}, "load it again"),
        ({"1": 5}, "load it again"),
        ([1], "load it again"),
    ],
)
def test_a_sheet_that_does_not_fit_is_refused_in_words_and_nothing_is_stored(store, handlers, filled, wanted):
    rich(store)
    request = by(store, "ada", project=RICH.id)
    assert wanted in handlers.submit(RICH.id, handlers.start(request).token, json.dumps(filled), request).note
    assert store.annotations() == []


@pytest.mark.parametrize("filled", ["{", "[" * 100_000, "x" * 200_001, '{"1": {"alignment": NaN}}'])
def test_what_is_no_sheet_is_refused_in_words(store, handlers, filled):
    rich(store)
    request = by(store, "ada", project=RICH.id)
    assert handlers.submit(RICH.id, handlers.start(request).token, filled, request).note
    assert store.annotations() == []


def test_a_page_without_an_item_is_given_the_next(store, handlers):
    rich(store)
    request = by(store, "ada", project=RICH.id)
    for token in ("", None, "nonsense"):
        assert handlers.submit(RICH.id, token, json.dumps(FILLED), request).sheet
        assert handlers.save(RICH.id, token, json.dumps(FILLED), request) == ""


def test_a_thing_that_need_not_be_answered_is_left_out_where_nothing_was_said_of_it():
    sheet = Sheet(RICH, aha()[0])
    said = json.dumps({"1": {"alignment": 1}, "all": {"tags": []}})
    made = annotations_of(sheet, SHOWING.key, said, "ada", SHOWING.seconds())
    assert [(a.segment, dict(a.answers)) for a in made] == [(1, {"alignment": 1}), (3, {})]
    assert made[0].seconds > 0 and made[1].seconds == 0  # the time is counted once
    with pytest.raises(AnswerError, match="load it again"):
        annotations_of(sheet, SHOWING.key, '{"2": {}}', "ada")
