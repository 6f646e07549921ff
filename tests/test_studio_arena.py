"""The page where drawings are compared blind, without a browser."""

import json
import re
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import httpx2
import pytest
from pressing import Page
from running_app import free_port
from studio_samples import HOSTILE, aha

from annotations.auth.accounts import add
from annotations.queue.progress import project_answers, project_counts
from annotations.schema.annotation import Status
from annotations.schema.default_projects import ARENA, REFLECTIONS_PROJECT, RICH
from annotations.schema.forms.text import Text
from annotations.schema.project import Role
from annotations.schema.question_targets import PAIR
from annotations.schema.questions import Question
from annotations.store.items import NewItem
from annotations.store.store import open_store
from model.decoding.janus_backend import JanusBackend
from model.trajectory import Thought
from studio.annotate.held_items import HeldItems
from studio.arena.handlers import ArenaHandlers, can_be_asked
from studio.arena.leaderboard import contestants, leaderboard
from studio.inference.checkpoints import Checkpoints
from studio.inference.generator import Generator
from studio.review.page import ReviewHandlers
from studio.server import start
from studio.settings import Mode, Settings

PAIRS = replace(ARENA, overlap=2)


def visit(**address: str) -> SimpleNamespace:
    return SimpleNamespace(query_params=address, username=None, session_hash="s")


@pytest.fixture
def store(tmp_path: Path):
    with open_store(tmp_path / "data") as store:
        yield store


def handlers_of(store, name: str = "me") -> ArenaHandlers:
    return ArenaHandlers(store, Settings(annotator=name), HeldItems(store))


def keep(store, id: str, **changes) -> str:
    trajectory, pictures = aha(identity=id, last=20 + sum(map(ord, id)) % 200)
    return store.save(replace(trajectory, **changes), pictures, owner="visitor")


def filled(store, count: int = 2, project=PAIRS) -> None:
    """Pairs of two checkpoints, good and bad, of which the bad one is the first."""
    store.create_project(project)
    for number in range(count):
        prompt = f"{number} cats"
        keep(store, f"bad{number}", checkpoint="bad", prompt=prompt)
        keep(store, f"good{number}", checkpoint="good", prompt=prompt)
    store.add_items(project.id, [NewItem(f"bad{number}", f"good{number}") for number in range(count)])


def good_side(view) -> str:
    return "left" if view.showing.left.startswith("good") else "right"


def vote(page: ArenaHandlers, view):
    """Both questions for the good one."""
    view = page.answer(view.showing, good_side(view), visit())
    return page.answer(view.showing, good_side(view), visit())


def submitted(store):
    return [a for a in store.annotations(project="arena") if a.status is Status.SUBMITTED]


def test_two_questions_are_asked_one_after_the_other_and_then_the_next_pair_comes(store):
    filled(store)
    page = handlers_of(store)
    first = page.start(visit(project="arena"))
    assert "Which one shows what was asked for?" in first.heading and "Question 1 of 2" in first.heading
    second = page.answer(first.showing, "tie", visit())
    assert second.showing.item == first.showing.item and "Which one looks better?" in second.heading
    assert submitted(store) == [] and second.none["visible"] is True
    third = page.answer(second.showing, "both_bad", visit())
    assert third.showing.item != first.showing.item
    [made] = submitted(store)
    assert {name: value["choice"] for name, value in made.answers.items()} == {
        "alignment": "tie",
        "appearance": "both_bad",
    }
    assert made.answers["alignment"]["left"] == first.showing.left
    assert "1 done" in third.progress


def test_every_text_question_is_asked_beside_both_questions_and_stored_with_them(store):
    why = Question("why", PAIR, Text(), "Why <b>so</b>?", "In a few words.")
    filled(store, project=replace(PAIRS, questions=(*PAIRS.questions, why)))
    page = handlers_of(store)
    first = page.start(visit(project="arena"))
    assert [box["title"] for box in first.words["boxes"]] == ["Anything to add?", "Why <b>so</b>?"]
    written = {"comment": " the car is cut off ", "why": "It <is> red."}
    second = page.answer(first.showing, "left", visit(), json.dumps(written))
    assert [box["text"] for box in second.words["boxes"]] == ["the car is cut off", "It <is> red."]
    third = page.answer(second.showing, "left", visit(), json.dumps(written | {"comment": "twice"}))
    assert [box["text"] for box in third.words["boxes"]] == ["", ""] and third.words["key"] != second.words["key"]
    blank = json.dumps({"comment": " ", "why": ""})
    page.answer(page.answer(third.showing, "left", visit(), json.dumps(written)).showing, "left", visit(), blank)
    texts = {made.item: (made.answers.get("comment"), made.answers.get("why")) for made in submitted(store)}
    assert texts == {first.showing.item: ("twice", "It <is> red."), third.showing.item: (None, None)}


@pytest.mark.parametrize(
    "words", ["{", "[]", '{"alignment": "left"}', '{"comment": 3}', '{"comment": "' + "x" * 2001 + '"}']
)
def test_texts_that_no_box_sent_are_refused_and_nothing_is_stored(store, words):
    filled(store)
    page = handlers_of(store)
    view = page.start(visit(project="arena"))
    assert "wrong" in page.answer(view.showing, "left", visit(), words).note
    assert store.annotations(project="arena") == []


def test_no_box_is_shown_where_no_text_is_asked_for(store):
    filled(store, project=replace(PAIRS, questions=PAIRS.questions[:2]))
    assert handlers_of(store).start(visit(project="arena")).words is None


def test_a_question_that_need_not_be_answered_can_be_left(store):
    filled(store, 1)
    page = handlers_of(store)
    view = page.answer(page.start(visit()).showing, "left", visit())
    assert page.answer(view.showing, "", visit()).showing is None
    assert list(submitted(store)[0].answers) == ["alignment"]


def test_the_first_question_cannot_be_left(store):
    filled(store, 1)
    page = handlers_of(store)
    begun = page.start(visit())
    assert begun.none["visible"] is False
    view = page.answer(begun.showing, "", visit())  # as a program might
    view = page.answer(view.showing, "left", visit()) if view.showing else view
    assert submitted(store) == [] or "alignment" in submitted(store)[0].answers


def test_nothing_on_the_page_says_who_drew(store):
    filled(store, 1)
    view = handlers_of(store).start(visit())
    shown = re.sub("[0-9a-f]{32,}", "", view.heading + json.dumps(view.sheet) + str(view.progress))  # ids, hashes
    assert "good" not in shown and "bad" not in shown.replace("Both bad", "").replace("both_bad", "")


def test_what_was_begun_is_there_after_the_page_is_loaded_again(store):
    filled(store)
    first = handlers_of(store).start(visit())
    handlers_of(store).answer(first.showing, "left", visit())
    again = handlers_of(store).start(visit())
    assert again.showing.item == first.showing.item and again.showing.question == "appearance"
    assert (again.showing.left, again.showing.right) == (first.showing.left, first.showing.right)


def test_the_same_answer_sent_twice_is_stored_once(store):
    filled(store)
    page = handlers_of(store)
    view = page.answer(page.start(visit()).showing, "left", visit())
    page.answer(view.showing, "left", visit())
    page.answer(view.showing, "left", visit())
    assert len(submitted(store)) == 1


def test_undo_brings_the_pair_back(store):
    filled(store)
    page = handlers_of(store)
    first = page.start(visit())
    vote(page, first)
    back = page.undo("arena", page.start(visit()).showing, visit())
    assert back.showing.item == first.showing.item and "Taken back" in back.note and submitted(store) == []
    vote(page, page.answer(back.showing, "left", visit()) if back.showing.question == "appearance" else back)
    assert "nothing to undo" in handlers_of(store, "bob").undo("arena", None, visit()).note.lower()


def test_undo_at_the_second_question_leads_back_to_the_first_and_leaves_the_pair_before_alone(store):
    filled(store)
    page = handlers_of(store)
    vote(page, page.start(visit()))
    before = submitted(store)
    second = page.answer(page.start(visit()).showing, "left", visit())
    back = page.undo("arena", second.showing, visit())
    assert (back.showing.item, back.showing.question) == (second.showing.item, "alignment")
    assert submitted(store) == before
    again = page.answer(back.showing, "right", visit())
    page.answer(again.showing, "tie", visit())
    assert submitted(store)[-1].answers["alignment"]["choice"] == "right"


def test_a_project_without_pairs_says_so(store):
    store.create_project(PAIRS)
    assert "no pairs in this project yet" in handlers_of(store).start(visit()).heading


def test_a_skipped_pair_is_left_to_others(store):
    filled(store, 1)
    page = handlers_of(store)
    assert page.skip(page.start(visit()).showing, visit()).showing is None
    assert handlers_of(store, "bob").start(visit()).showing is not None


def test_nobody_is_asked_when_enough_have_answered(store):
    filled(store, 1)
    for name in ("ann", "bob"):
        vote(handlers_of(store, name), handlers_of(store, name).start(visit()))
    view = handlers_of(store, "eve").start(visit())
    assert view.showing is None and "Nothing waits" in view.heading
    assert len(submitted(store)) == 2


def test_who_draws_better_leads_whatever_side_it_stood_on(store):
    filled(store, 12)  # that all stand on one side happens once in eight million
    sides = set()
    for name in ("ann", "bob"):
        page = handlers_of(store, name)
        view = page.start(visit())
        while view.showing is not None:
            sides.add(good_side(view))
            view = vote(page, view)
    assert sides == {"left", "right"}
    html = handlers_of(store).leaders("arena", visit())
    assert html.index("<th>good") < html.index("<th>bad")
    assert "24 won, 0 lost" in html and html.count("<h3>") == 2


def test_a_leaderboard_without_votes_says_so(store):
    filled(store, 1)
    assert "Nobody has compared anything yet" in handlers_of(store).leaders("arena", visit())
    assert handlers_of(store).leaders("gone", visit()) == ""


def test_one_checkpoint_with_and_without_a_plan_is_two_contestants():
    planned, _ = aha(identity="a")
    bare = replace(planned, id="b", segments=tuple(s for s in planned.segments if not isinstance(s, Thought)))
    other = replace(bare, id="c", checkpoint="janus")
    assert contestants([planned, bare, other]) == {"a": "embedded", "b": "embedded, without a plan", "c": "janus"}


def test_only_pairs_that_this_page_can_ask_about_are_offered(store):
    assert can_be_asked(ARENA) and not can_be_asked(REFLECTIONS_PROJECT) and not can_be_asked(RICH)
    assert "no pairs" in handlers_of(store).start(visit()).heading
    assert handlers_of(store).answer(None, "left", visit()).showing is None


def test_a_pair_goes_to_others_when_its_page_is_closed_and_not_before(store):
    filled(store, 1, replace(PAIRS, overlap=1))
    ada, bob = handlers_of(store, "ada"), handlers_of(store, "bob")
    mine = ada.start(visit()).showing
    tab = SimpleNamespace(query_params={}, username=None, session_hash="another tab")
    assert ada.start(tab).showing.item == mine.item
    ada.leave(visit())
    assert bob.start(visit()).showing is None  # another tab of ada's still has it
    ada.leave(tab)
    ada.leave(tab)  # nothing more to leave
    assert bob.start(visit()).showing.item == mine.item


def test_a_pair_is_kept_by_signs_of_life_and_its_loss_is_told(store):
    filled(store, 1, replace(PAIRS, overlap=1))
    now = datetime.now(UTC)
    store.clock = lambda: now
    ada, bob = handlers_of(store, "ada"), handlers_of(store, "bob")
    mine = ada.start(visit()).showing
    for _ in range(4):
        now += timedelta(minutes=5)
        assert ada.alive(mine, visit()) == gr.skip()
        assert bob.start(visit()).showing is None
    now += timedelta(minutes=11)
    assert bob.start(visit()).showing.item == mine.item
    assert "time on this ran out" in ada.alive(mine, visit())
    assert ada.alive(None, visit()) == gr.skip()


def test_a_running_studio_gives_the_pair_to_others_when_the_browser_lets_go(tiny, store):
    filled(store, 1, replace(PAIRS, overlap=1))
    settings = Settings(mode=Mode.PUBLIC, port=free_port())
    demo = start(settings, store, Checkpoints(Generator(JanusBackend(tiny), store)))
    try:
        pages = {}
        for name in ("ada", "bob"):
            add(store, name, Role.ANNOTATOR, "a long enough one")
            client = httpx2.Client(base_url=f"http://127.0.0.1:{settings.port}", timeout=120)
            client.post("/enter", data={"name": name, "password": "a long enough one"})
            pages[name] = Page(client, "arena")
        with pages["ada"].client.stream("GET", f"/gradio_api/heartbeat/{pages['ada'].session}") as alive:
            lines = alive.iter_lines()  # which would let go of the connection if nothing held it
            assert next(lines) == "data: ALIVE"
            pages["ada"].open()
            pages["ada"].tick()
            pages["bob"].open()
            assert "Nothing waits" in pages["bob"].value("arena-prompt")
        until = time.monotonic() + 120
        while "Nothing waits" in pages["bob"].value("arena-prompt"):
            assert time.monotonic() < until, "ada still has it"
            time.sleep(0.5)
            pages["bob"].open()
        assert "0 cats" in pages["bob"].value("arena-prompt")
    finally:
        demo.close()


def test_another_project_gives_the_pair_back(store):
    filled(store, 1, replace(PAIRS, overlap=1))
    store.create_project(replace(PAIRS, id="other", name="Other"))
    ada, bob = handlers_of(store, "ada"), handlers_of(store, "bob")
    mine = ada.start(visit(project="arena")).showing
    ada.choose("other", mine, visit())
    assert bob.start(visit(project="arena")).showing.item == mine.item


def test_hostile_words_stay_text(store):
    store.create_project(PAIRS)
    keep(store, "a", prompt=HOSTILE, checkpoint=HOSTILE), keep(store, "b", prompt=HOSTILE)
    store.add_items("arena", [NewItem("a", "b")])
    view = handlers_of(store).start(visit())
    assert "<img src=q" not in view.heading and "&lt;img src=q" in view.heading
    vote(handlers_of(store), view)
    html = leaderboard(project_answers(store, "arena"), [store.trajectory("a"), store.trajectory("b")])
    assert "<img src=q" not in html and "&lt;img src=q" in html


def test_a_visitor_is_refused_by_every_handler(store):
    page = ArenaHandlers(store, Settings(mode=Mode.PUBLIC), HeldItems(store))
    calls = (
        lambda: page.start(visit()),
        lambda: page.choose("arena", None, visit()),
        lambda: page.alive(None, visit()),
        lambda: page.answer(None, "left", visit()),
        lambda: page.skip(None, visit()),
        lambda: page.undo("arena", None, visit()),
        lambda: page.leaders("arena", visit()),
    )
    for call in calls:
        with pytest.raises(gr.Error, match="not open to visitors"):
            call()


def test_a_pair_of_one_picture_is_never_asked_about_and_the_next_comes(store):
    store.create_project(PAIRS)
    ids = []
    for number, last in enumerate((20, 20, 30, 40)):
        trajectory, pictures = aha("a cat", identity=f"t{number}", last=last)
        ids.append(store.save(replace(trajectory, checkpoint=f"net{number}"), pictures, owner="visitor"))
    store.add_items("arena", [NewItem(*ids[:2]), NewItem(*ids[2:])])
    page = handlers_of(store)
    view = page.start(visit())
    assert {view.showing.left, view.showing.right} == set(ids[2:])
    assert project_counts(store)["arena"].done == 1 and "1 waiting" in view.progress
    vote(page, view)
    assert page.start(visit()).showing is None and len(submitted(store)) == 1


def test_who_can_appoint_practice_is_told_how_before_and_after_the_first_answer(store):
    filled(store, project=replace(PAIRS, practice=5))
    page = handlers_of(store)
    view = page.start(visit())
    assert 'href="review?project=arena"' in view.note and "Nobody has answered anything yet" in view.note
    vote(page, view)
    review, asked = ReviewHandlers(store, Settings()), visit(project="arena")
    case = review.start(asked)
    assert "none is appointed" in case.queue and "press “Use for practice” below it" in case.queue
    appointed = review.appoint(case.case, "It fits.", "practice", asked)  # one person's answer is enough
    assert "It is for practice now" in appointed.note and "2 right answers are known." in appointed.note
    assert "only 1 is appointed" in appointed.queue
