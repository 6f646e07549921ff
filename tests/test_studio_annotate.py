"""The Annotate page's handlers, without a browser: real store, hand-made trajectories."""

from dataclasses import replace
from types import SimpleNamespace

import gradio as gr
import pytest
from filling import answers, asked, filled
from test_annotations_samples import aha, image, png, reflection

from annotations.export.preview import survey
from annotations.queue import assignment
from annotations.queue.stock_reasons import USUAL
from annotations.schema.annotation import Status
from annotations.store.store import open_store
from model.trajectory import Thought, Token
from model.world.language import parse
from model.world.reasons import read_reason
from studio.annotate.handlers import AnnotateHandlers
from studio.annotate.item_token import ItemToken, last_done
from studio.annotate.reflection_form import reflection_item
from studio.annotate.stock_reasons import reasons_for, reasons_of_prompt
from studio.annotate.view import AnnotateView
from studio.components.forms.sheet import rewritten
from studio.settings import Mode, Settings

PLAN = "red apple at 0 0"
SKIPPED = gr.skip()


@pytest.fixture
def store(tmp_path):
    with open_store(tmp_path) as store:
        yield store


@pytest.fixture
def handlers(store):
    return AnnotateHandlers(store, Settings())


def visit(**query: str) -> SimpleNamespace:
    session = query.pop("session", "s")
    return SimpleNamespace(query_params=query, username=None, session_hash=session, headers={})


def save(store, number: int = 0, **changes) -> str:
    trajectory, pictures = aha(number, **changes)
    return store.save(trajectory, pictures, owner="visitor")


def submit(
    handlers: AnnotateHandlers, token, verdict=None, rating=None, reason=None, plan_rating=None, plan=None
) -> AnnotateView:
    return handlers.submit(None, token, filled(token, verdict, rating, reason, plan_rating, plan), visit())


def shown(view: AnnotateView) -> ItemToken:
    """What the page shows, by the token that it keeps."""
    return ItemToken.read(view.token)


def place(handlers: AnnotateHandlers, view: AnnotateView) -> tuple[str, int]:
    item = shown(view)
    return assignment.item_location(handlers.store, item.item)[1], item.segment


def submitted(store) -> dict[int, dict]:
    return {a.segment: dict(a.answers) for a in store.annotations(status=Status.SUBMITTED)}


def test_the_reflection_that_waits_longest_is_shown_first_with_its_plan(store, handlers):
    first, _ = save(store, 0), save(store, 1)
    view = handlers.start(visit())
    assert place(handlers, view) == (first, 2)
    assert reflection_item(shown(view), store.trajectory(first)).thought == 0
    shown_as = answers(view)
    assert shown_as["reason_correction"] == "there are three apples instead of two."
    assert shown_as["thought_correction"] == PLAN
    assert shown_as["verdict_right"] is None and shown_as["reason_rating"] is None
    assert "two apples" in view.heading and "2 waiting" in view.progress
    assert view.stage.count("<img") == 3  # the large one, and both rounds


def test_an_address_names_the_trajectory_to_show(store, handlers):
    save(store, 0)
    second = save(store, 1)
    assert place(handlers, handlers.start(visit(trajectory=second)))[0] == second
    assert shown(handlers.start(visit(trajectory="nonsense"))).key


def test_a_submit_leads_through_the_reflections_of_a_trajectory_and_on_to_the_next(store, handlers):
    first, second = save(store, 0), save(store, 1)
    view = handlers.start(visit())
    seen = []
    while view.token:
        seen.append(place(handlers, view))
        view = submit(handlers, view.token, "yes", 4)
    assert seen == [(first, 2), (first, 4), (second, 2), (second, 4)]
    assert "Nothing waits" in view.heading and 'href="./"' in view.heading
    assert view.workspace["visible"] is False
    assert survey(store, "judge_sft").rows == 4


def test_an_unchanged_text_is_no_correction(store, handlers):
    save(store)
    view = handlers.start(visit())
    submit(handlers, view.token, "yes", 3, answers(view)["reason_correction"] + "\n", None, PLAN)
    assert submitted(store) == {2: {"verdict_right": "yes", "reason_rating": 3}}


def test_a_correction_and_an_opinion_of_the_plan_are_stored_together(store, handlers):
    save(store)
    submit(
        handlers, handlers.start(visit()).token, "no", None, "there are two apples.", 2, "apple at 0 0; apple at 4 4"
    )
    assert submitted(store) == {
        2: {"verdict_right": "no", "reason_correction": "there are two apples."},
        0: {"thought_rating": 2, "thought_correction": "apple at 0 0; apple at 4 4"},
    }


def test_the_time_spent_is_recorded(store, handlers):
    save(store)
    item = shown(handlers.start(visit()))
    submit(handlers, item._replace(shown_at=item.shown_at - 12).token(), "yes")
    (stored,) = store.annotations()
    assert 11.5 < stored.seconds < 60  # the page rounds when it was shown


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        ((None, 5), "Is the verdict right?"),
        (("no",), "write what it should have said"),
        (("no", None, "No, it is red."), "change one of them"),
        (("yes", 9), "from 1 to 5"),
        (("maybe",), "yes, no"),
        (("yes", 3, "x" * 2001), "at most 2000"),
        (("yes", 3, None, None, "only a plan"), "How good is the plan?"),
    ],
)
def test_an_answer_that_does_not_fit_is_refused_in_words_and_nothing_is_stored(store, handlers, answer, wanted):
    save(store)
    view = submit(handlers, handlers.start(visit()).token, *answer)
    assert wanted in view.note
    assert view.token == SKIPPED and view.sheet == SKIPPED  # what was typed stays
    assert store.annotations() == []


def test_submitting_the_same_showing_twice_stores_it_once(store, handlers):
    save(store)
    token = handlers.start(visit()).token
    sent = [submit(handlers, token, "yes", 4, plan_rating=5) for _ in range(5)]
    assert {shown(view).segment for view in sent} == {4}
    assert len(store.history(store.trajectories()[0].id)) == 2


def test_a_showing_that_was_submitted_with_other_answers_is_shown_as_stored(store, handlers):
    save(store)
    token = handlers.start(visit()).token
    submit(handlers, token, "yes", 4)
    view = submit(handlers, token, "yes", 1)
    assert (shown(view).segment, answers(view)["reason_rating"]) == (2, 4)
    assert shown(view).key != ItemToken.read(token).key
    assert "Submitted before" in view.note


def test_undo_takes_back_the_last_submit_and_shows_it_as_it_was(store, handlers):
    save(store)
    first = handlers.start(visit())
    submit(handlers, first.token, "no", 2, "there are two apples.", 3, PLAN)
    view = handlers.undo(None, visit())
    assert place(handlers, view) == place(handlers, first)
    assert answers(view) == {
        "verdict_right": "no",
        "reason_rating": 2,
        "reason_correction": "there are two apples.",
        "thought_rating": 3,
        "thought_correction": PLAN,
    }
    assert submitted(store) == {}
    assert len(store.history(place(handlers, first)[0])) == 4  # nothing is overwritten
    assert "nothing to undo" in handlers.undo(None, visit()).note


def test_undo_goes_back_step_by_step(store, handlers):
    save(store, 0)
    view = handlers.start(visit())
    for _ in range(2):
        view = submit(handlers, view.token, "yes", 4)
    assert [shown(handlers.undo(None, visit())).segment for _ in range(2)] == [4, 2]
    view = submit(handlers, handlers.start(visit()).token, "yes", 5)
    assert submitted(store) == {2: {"verdict_right": "yes", "reason_rating": 5}}
    assert shown(handlers.undo(None, visit())).segment == 2


def test_skip_leaves_the_drawing_and_undo_brings_all_of_it_back(store, handlers):
    first, second = save(store, 0), save(store, 1)
    assert place(handlers, handlers.skip(None, handlers.start(visit()).token, "", visit()))[0] == second
    view = handlers.undo(None, visit())
    assert place(handlers, view) == (first, 2)
    assert "2 waiting" in view.progress
    assert shown(submit(handlers, view.token, "yes", 4)).segment == 4


def test_a_drawing_deleted_meanwhile_is_passed_over(store, handlers):
    first, second = save(store, 0), save(store, 1)
    token = handlers.start(visit()).token
    store.hide(first, by="me")
    assert place(handlers, handlers.skip(None, token, "", visit()))[0] == second
    view = submit(handlers, token, "yes")
    assert place(handlers, view)[0] == second and "deleted" in view.note


def test_a_wrong_verdict_asks_for_the_reason_of_the_opposite_one(store, handlers):
    save(store)
    question = asked(handlers.start(visit()))["reason_correction"]
    assert question["title"] == "What should the reason be?"
    other = question["otherwise"]
    assert (other["question"], other["answer"]) == ("verdict_right", "no")
    assert other["title"] == "What should it have said?" and "“Yes,”" in other["help"]


def test_an_offered_reason_for_the_other_verdict_is_refused_where_the_verdict_is_called_right(store, handlers):
    save(store)  # the model said no
    token = handlers.start(visit()).token
    view = submit(handlers, token, "yes", 5, "There are  two apples.")
    assert "is a reason for “yes”" in view.note and submitted(store) == {}
    submit(handlers, token, "no", None, "there are two apples.")
    assert submitted(store)[2] == {"verdict_right": "no", "reason_correction": "there are two apples."}


def test_how_far_one_is_in_a_drawing_of_several_images_is_said_after_every_submit(store, handlers):
    save(store)
    view = handlers.start(visit())
    assert "0 done" in view.progress and "image 1 of 2" in view.progress
    assert "image 2 of 2" in submit(handlers, view.token, "yes").progress


def test_a_page_that_has_lost_its_item_starts_again(store, handlers):
    save(store)
    for lost in ("", None, "nonsense", "[1]", '[1e999, 2, "k", 0]', '[1, 2, "", 0]'):
        assert shown(submit(handlers, lost, "yes")).segment == 2
        assert shown(handlers.skip(None, lost, "", visit())).segment == 2


@pytest.mark.parametrize("segment", [0, 1, 99, -1, -99])
def test_a_showing_of_what_is_not_asked_about_is_told_so_and_keeps_nothing(store, handlers, segment: int):
    save(store)
    view = handlers.start(visit())
    token = ItemToken.read(view.token)._replace(segment=segment).token()
    assert "not asked about any more" in handlers.save(None, token, filled(token, "yes", 4), visit())
    assert "not asked about any more" in submit(handlers, token, "yes", 4).note
    assert store.annotations() == []


def test_a_visitor_is_refused_by_every_handler(store):
    save(store)
    token = AnnotateHandlers(store, Settings()).start(visit()).token
    handlers = AnnotateHandlers(store, Settings(mode=Mode.PUBLIC))
    for call in (
        lambda: handlers.start(visit()),
        lambda: submit(handlers, token, "yes", 4),
        lambda: handlers.save(None, token, filled(token, "yes", 4), visit()),
        lambda: handlers.alive(None, token, visit()),
        lambda: handlers.choose(None, token, visit()),
        lambda: handlers.prepare(None, token, visit()),
        lambda: handlers.skip(None, token, "", visit()),
        lambda: handlers.undo(None, visit()),
    ):
        with pytest.raises(gr.Error, match="visitors"):
            call()
    assert store.annotations() == []


def test_what_people_and_models_write_cannot_become_markup(store, handlers):
    evil = "<img src=q onerror=alert(1)>"
    drawn = png(7)
    segments = (Thought((Token(1, evil),)), image(drawn), reflection(f"No, {evil}"))
    trajectory, _ = aha(0, prompt=evil, segments=segments)
    store.save(trajectory, {segments[1].sha256: drawn}, owner="visitor")
    view = handlers.start(visit())
    for html in (view.heading, view.stage, view.claim):
        assert "<img src=q" not in html
        assert "&lt;img" in html or html is view.stage
    assert submit(handlers, view.token, evil).note.count("<") == 0


def test_a_lost_picture_does_not_stop_the_page(store, handlers, tmp_path):
    save(store)
    for file in (tmp_path / "images").rglob("*.png"):
        file.unlink()
    assert "picture lost" in handlers.start(visit()).stage


def test_what_one_action_stored_is_found_by_its_key_or_as_a_skip(store, handlers):
    first = save(store, 0)
    save(store, 1)
    view = submit(handlers, handlers.start(visit()).token, "yes", 4, plan_rating=5)
    assert {a.segment for a in last_done(store.annotations())} == {0, 2}
    view = submit(handlers, view.token, "yes", 4)
    assert [a.segment for a in last_done(store.annotations())] == [4]
    handlers.skip(None, view.token, "", visit())
    assert {(a.trajectory_id == first, a.segment) for a in last_done(store.annotations())} == {(False, 2), (False, 4)}
    assert last_done([]) == []


def test_a_text_is_rewritten_only_where_its_words_differ():
    assert rewritten(None, "a b") is rewritten(" \n", "a b") is rewritten(" a  b\n", "a b") is None
    assert rewritten(" a c ", "a b") == " a c "


def test_the_picture_is_asked_about_whatever_the_model_said_of_it(store, handlers):
    save(store)
    view = handlers.start(visit())
    assert asked(view)["verdict_right"]["title"] == "Does the picture fit?"
    assert asked(view)["verdict_right"]["choices"] == [["Fits", "no"], ["Does not", "yes"]]  # the model said no
    view = submit(handlers, view.token, "yes")
    assert asked(view)["verdict_right"]["choices"] == [["Fits", "yes"], ["Does not", "no"]]
    project = store.project("reflections")
    own = tuple(replace(q, title="Right?") if q.name == "verdict_right" else q for q in project.questions)
    store.change_project(replace(project, questions=own))
    view = handlers.start(visit())
    assert asked(view)["verdict_right"]["choices"] == [["yes", "yes"], ["no", "no"]]


def test_reasons_to_choose_from_are_those_that_the_network_gives_and_fit_the_prompt():
    description = parse("two red apples above a blue car")
    [match] = reasons_of_prompt(description, "yes")
    assert match == "there are two red apples above a blue car."
    reasons = reasons_of_prompt(description, "no")
    claims = [read_reason(f", {reason}") for reason in reasons]
    assert [claim.kind for claim in claims] == [
        "missing", "count", "colour", "relation", "missing", "count", "colour", "count", "broken"
    ]  # fmt: skip
    assert claims[1].found == 1 and claims[2].found == "blue" and claims[3].other == "car"


def test_reasons_are_the_projects_own_or_the_usual_ones_where_a_prompt_is_none_of_the_world(store):
    project = store.project("reflections")
    assert reasons_for(store, project, "a politician", "no") == USUAL
    assert reasons_for(store, replace(project, reasons=("one is green.",)), "two apples", "no") == ("one is green.",)
