"""Several people at the Annotate page's handlers: real store, real accounts, no browser."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import gradio as gr
import pytest
from filling import answers, asked, filled
from test_annotations_samples import aha, image, png, reflection

from annotations.auth import accounts
from annotations.auth.accounts import add
from annotations.metrics.gold_answers import Feedback
from annotations.queue import assignment, flags, submission
from annotations.queue.own_gold_accuracy import GoldRecord, gold_accuracy_of
from annotations.queue.practice import PracticeResult
from annotations.schema.annotation import REFLECTIONS, Annotation, Status
from annotations.schema.default_projects import READY_MADE
from annotations.schema.forms.tags import Tags
from annotations.schema.project import ItemPurpose, Project, Role, Skipping
from annotations.schema.questions import QUESTIONS, SKIP_REASON, Question
from annotations.store.items import NewItem
from annotations.store.store import Store
from studio.annotate.handlers import AnnotateHandlers
from studio.annotate.held_items import on_closing
from studio.annotate.item_token import ItemToken
from studio.annotate.panels import PanelHandlers
from studio.annotate.practice_view import lesson
from studio.annotate.view import AnnotateView
from studio.auth.session_cookie import COOKIE, new_session
from studio.components.forms.sheet import Sheet
from studio.settings import Mode, Settings

ONE_EACH = Project("one-each", "One each", QUESTIONS, "reflection", guidelines="Look **twice**.", overlap=1)
SKIPPED = gr.skip()


def by(store: Store, name: str, page: str = "", **query: str) -> SimpleNamespace:
    """A request of a page that somebody has open."""
    cookie = f"{COOKIE}={new_session(store, accounts.person(store, name))}"
    return SimpleNamespace(query_params=query, session_hash=page or f"page of {name}", headers={"cookie": cookie})


def fill(store: Store, project: Project = ONE_EACH, count: int = 2) -> list[str]:
    """A project with drawings in it."""
    store.create_project(project)
    ids = []
    for number in range(count):
        trajectory, pictures = aha(number)
        ids.append(store.save(trajectory, pictures, owner="visitor"))
    store.add_items(project.id, [NewItem(id) for id in ids])
    return ids


def at(handlers: AnnotateHandlers, view: AnnotateView) -> tuple[str, int]:
    showing = ItemToken.read(view.token)
    return assignment.item_location(handlers.store, showing.item)[1], showing.segment


def submit(handlers: AnnotateHandlers, view: AnnotateView, request: SimpleNamespace, *answer) -> AnnotateView:
    return handlers.submit("one-each", view.token, filled(view.token, *answer), request)


def test_two_people_are_never_at_the_same_item_where_one_answer_is_wanted(store, handlers):
    first, second = fill(store)
    ada, bob = (handlers.start(by(store, name, project="one-each")) for name in ("ada", "bob"))
    assert (at(handlers, ada)[0], at(handlers, bob)[0]) == (first, second)
    add(store, "cleo", Role.ANNOTATOR, "a long enough one")
    assert "Nothing waits" in handlers.start(by(store, "cleo", project="one-each")).heading


def test_what_a_page_had_open_goes_to_others_when_it_is_closed(store, handlers):
    [first] = fill(store, count=1)
    handlers.start(by(store, "ada", project="one-each"))
    assert handlers.start(by(store, "bob", project="one-each")).token == ""
    closed = on_closing(handlers.leave, handlers.holding)
    asyncio.run(closed(by(store, "bob", "another")))  # a page that had nothing open
    assert handlers.start(by(store, "bob", project="one-each")).token == ""
    asyncio.run(closed(by(store, "ada")))
    assert at(handlers, handlers.start(by(store, "bob", project="one-each")))[0] == first


def test_one_of_two_tabs_that_closes_leaves_the_other_its_item(store, handlers):
    fill(store, count=1)
    for tab in ("one", "two"):
        handlers.start(by(store, "ada", tab, project="one-each"))
    handlers.leave(by(store, "ada", "one"))
    assert handlers.start(by(store, "bob", project="one-each")).token == ""
    handlers.leave(by(store, "ada", "two"))
    handlers.leave(by(store, "ada", "two"))  # nothing more to leave
    assert handlers.start(by(store, "bob", project="one-each")).token


def test_a_page_that_closes_while_the_next_one_opens_leaves_it_its_item(store, handlers, monkeypatch):
    fill(store, count=1)
    handlers.start(by(store, "ada", "one", project="one-each"))
    claim = assignment.claim

    def closed_meanwhile(*given, **options):
        claimed = claim(*given, **options)
        handlers.leave(by(store, "ada", "one"))  # before the new page is known to have it
        return claimed

    monkeypatch.setattr(assignment, "claim", closed_meanwhile)
    handlers.start(by(store, "ada", "two", project="one-each"))
    monkeypatch.setattr(assignment, "claim", claim)
    assert handlers.start(by(store, "bob", project="one-each")).token == ""


def test_an_item_is_kept_by_signs_of_life_and_its_loss_is_told(store, handlers):
    fill(store, count=1)
    now = datetime.now(UTC)
    store.clock = lambda: now
    view, request = handlers.start(by(store, "ada", project="one-each")), by(store, "ada")
    for _ in range(4):
        now += timedelta(minutes=5)
        assert handlers.alive("one-each", view.token, request) == SKIPPED
        assert handlers.start(by(store, "bob", project="one-each")).token == ""
    now += timedelta(minutes=11)
    theirs = handlers.start(by(store, "bob", project="one-each"))
    assert "time on this ran out" in handlers.alive("one-each", view.token, request)
    for segment in (2, 4):
        assert at(handlers, theirs)[1] == segment
        theirs = submit(handlers, theirs, by(store, "bob"), "yes", 4)
    told = submit(handlers, view, request, "yes", 2)
    assert "do not count" in told.note
    kept = store.annotations(annotator="ada")
    assert [(a.status, dict(a.answers)) for a in kept] == [
        (Status.UNFINISHED, {"verdict_right": "yes", "reason_rating": 2})
    ]


def test_unfinished_answers_are_there_again_after_the_page_was_closed(store, handlers):
    fill(store)
    view = handlers.start(by(store, "ada", project="one-each"))
    form = ("no", 2, "there are two", 3, None)
    assert handlers.save("one-each", view.token, filled(view.token, *form), by(store, "ada")) == ""
    handlers.leave(by(store, "ada"))
    again = handlers.start(by(store, "ada", project="one-each"))
    assert at(handlers, again) == at(handlers, view)
    there = answers(again)
    assert (there["verdict_right"], there["reason_rating"], there["reason_correction"]) == ("no", 2, "there are two")
    assert there["thought_rating"] == 3
    assert {a.status for a in store.annotations(annotator="ada")} == {Status.UNFINISHED}


def test_what_cannot_be_kept_as_it_is_is_said(store, handlers):
    fill(store)
    view = handlers.start(by(store, "ada", project="one-each"))
    long = filled(view.token, "yes", 1, "x" * 2001)
    assert "at most 2000" in handlers.save("one-each", view.token, long, by(store, "ada"))
    assert handlers.save("one-each", "nonsense", filled(None, "yes", 1), by(store, "ada")) == ""


def test_an_undo_shows_what_was_sent_and_not_what_was_kept_before(store, handlers):
    fill(store)
    view, request = handlers.start(by(store, "ada", project="one-each")), by(store, "ada")
    handlers.save("one-each", view.token, filled(view.token, "yes", 1), request)
    submit(handlers, view, request, "yes", 5)
    back = handlers.undo("one-each", request)
    assert at(handlers, back) == at(handlers, view)
    assert (answers(back)["verdict_right"], answers(back)["reason_rating"]) == ("yes", 5)
    assert submit(handlers, back, request, "yes", 4).note == ""
    assert [dict(a.answers)["reason_rating"] for a in store.annotations(status=Status.SUBMITTED)] == [4]


def test_a_skip_keeps_its_reason_and_shows_the_next(store, handlers):
    first, second = fill(store)
    view = handlers.start(by(store, "ada", project="one-each"))
    assert at(handlers, handlers.skip("one-each", view.token, "too blurred", by(store, "ada")))[0] == second
    skipped = store.annotations(first, annotator="ada")
    assert {(a.status, a.answers[SKIP_REASON.name]) for a in skipped} == {(Status.DISCARDED, "too blurred")}
    assert at(handlers, handlers.start(by(store, "bob", project="one-each")))[0] == first  # others are asked instead


def test_a_skip_for_later_comes_back_last(store, handlers):
    first, second = fill(store, replace(ONE_EACH, skipping=Skipping.LATER))
    view, request = handlers.start(by(store, "ada", project="one-each")), by(store, "ada")
    view = handlers.skip("one-each", view.token, "", request)
    assert at(handlers, view)[0] == second
    for _ in range(2):
        view = submit(handlers, view, request, "yes", 4)
    assert at(handlers, view)[0] == first


def test_who_practises_is_told_what_was_right(store, handlers):
    store.create_project(replace(ONE_EACH, practice=1))
    trajectory, pictures = aha(0)
    id = store.save(trajectory, pictures, owner="visitor")
    known = tuple({"segment": at, "answers": {"verdict_right": "yes"}, "because": "Count <them>."} for at in (2, 4))
    store.add_items("one-each", [NewItem(id, use=ItemPurpose.PRACTICE, gold=known)])
    view, request = handlers.start(by(store, "ada", project="one-each")), by(store, "ada")
    assert "for practice" in view.learnt and "feedback" not in view.learnt
    told = submit(handlers, view, request, "no", None, "there are two apples.")  # the model had said no, rightly
    assert told.token == "" and told.sheet["right"] == {
        "2": {"verdict_right": {"value": "yes", "right": False, "why": "Count <them>."}}
    }
    assert "You: <bdi>fits</bdi> – <bdi>wanted does not</bdi>" in told.learnt and "Count &lt;them&gt;." in told.learnt
    assert "annotate-on" in told.learnt and "annotate-again" not in told.learnt
    view = handlers.submit("one-each", told.token, None, request)
    assert at(handlers, view) == (id, 4)
    told = submit(handlers, view, request, "yes")
    assert "0 of 1 right" in told.learnt and "annotate-again" in told.learnt
    assert "Nothing waits" in handlers.submit("one-each", told.token, None, request).heading
    view = handlers.again("one-each", request)
    assert at(handlers, view) == (id, 2) and answers(view)["verdict_right"] is None
    for _ in range(2):
        told = submit(handlers, view, request, "yes")
        view = handlers.submit("one-each", told.token, None, request)
    assert "1 of 1 right" in told.learnt and "Nothing waits" in view.heading


def test_a_reason_that_is_not_there_is_not_rated(store, handlers):
    drawn = png(7)
    segments = (image(drawn), replace(reflection("No, a."), tokens=reflection("No").tokens))
    trajectory, _ = aha(0, segments=segments)
    store.save(trajectory, {segments[0].sha256: drawn}, owner="visitor")
    view = handlers.start(by(store, "ada"))
    assert "reason_rating" not in asked(view) and "verdict_right" in asked(view)
    handlers.submit(REFLECTIONS, view.token, filled(view.token, "yes", 4), by(store, "ada"))
    assert [dict(a.answers) for a in store.annotations(annotator="ada")] == [{"verdict_right": "yes"}]


def test_the_menu_has_the_projects_that_are_open_to_who_asks(store, handlers):
    fill(store)
    for project in (replace(ONE_EACH, id="hers", name="Hers", people=("ada",)), *READY_MADE[1:]):
        store.create_project(project)
    store.create_project(replace(ONE_EACH, id="top", name="Top", role=Role.REVIEWER))
    view = handlers.start(by(store, "ada"))
    everybodys = {REFLECTIONS, "one-each", *(project.id for project in READY_MADE[1:])}
    assert {id for _, id in view.project["choices"]} == everybodys | {"hers"}
    bobs = handlers.start(by(store, "bob", project="hers"))  # not his: the first that is
    assert bobs.project["value"] == REFLECTIONS
    assert {id for _, id in bobs.project["choices"]} == everybodys
    view = handlers.choose("one-each", view.token, by(store, "ada"))
    assert view.guidelines["value"] == "Look **twice**."
    for project in ("hers", "top", "nonsense"):
        with pytest.raises(gr.Error, match="no such project"):
            handlers.choose(project, None, by(store, "bob"))


def test_an_item_of_a_project_that_is_not_open_is_refused_whatever_its_page_says(store, handlers):
    fill(store, replace(ONE_EACH, people=("ada",)))
    view = handlers.start(by(store, "ada", project="one-each"))
    with pytest.raises(gr.Error, match="no such project"):
        submit(handlers, view, by(store, "bob"), "yes", 4)
    refused = handlers.submit(REFLECTIONS, view.token, filled(view.token, "yes", 4), by(store, "bob"))
    assert "another project" in refused.note
    item, _, key, moment = json.loads(view.token)
    forged = json.dumps([item, 0, key, moment])  # a thought, where a reflection is asked about
    assert "load it again" in handlers.submit("one-each", forged, filled(forged, "yes", 4), by(store, "ada")).note
    assert store.annotations() == []


def test_agreement_with_gold_is_told_in_steps_of_ten_answers(store):
    store.create_project(replace(ONE_EACH, gold_share=0.5))
    known = tuple({"segment": segment, "answers": {"verdict_right": "yes"}} for segment in (2, 4))
    handlers, request = AnnotateHandlers(store, Settings(annotator="ada")), by(store, "ada")
    seen = []
    for number in range(6):
        trajectory, pictures = aha(number)
        id = store.save(trajectory, pictures, owner="visitor")
        [item] = store.add_items("one-each", [NewItem(id, use=ItemPurpose.GOLD, gold=known)])
        assignment.claim_specific(store, "one-each", id, "ada")
        for segment in (2, 4):
            answer = ("no", None, "there are two apples.") if (number, segment) == (0, 2) else ("yes", 4, None)
            token = json.dumps([item, segment, f"key{number}{segment}", 0])
            handlers.submit("one-each", token, filled(token, *answer), request)
        seen.append(gold_accuracy_of(store, "ada", "one-each"))
    assert seen[:4] == [None] * 4
    assert seen[4:] == [GoldRecord(9, 10)] * 2
    assert "90 % as known" in handlers.start(by(store, "ada", project="one-each")).progress


def test_feedback_is_words_whatever_was_answered():
    sheet, none = Sheet(ONE_EACH, aha(0)[0]), PracticeResult(0, 0, over=False)
    hostile = Feedback(2, "<b>", "<i>", "yes", False, "<img src=q onerror=alert(1)>", "reason_correction")
    html = lesson(sheet, [hostile], none)
    assert "<img" not in html and "<i>" not in html
    assert "no answer" in lesson(sheet, [replace(hostile, answer=None)], none)


def test_a_project_that_asks_more_than_the_form_of_reflections_is_asked_on_a_sheet(store, handlers):
    tags = Question("tags", "reflection", Tags(), "Tags")
    fill(store, replace(ONE_EACH, questions=(*QUESTIONS, tags)))
    request = by(store, "ada", project="one-each")
    view = handlers.start(request)
    assert [thing["key"] for thing in view.sheet["things"]] == ["0", "2", "4"]  # a thought, two reflections
    assert [q["name"] for q in view.sheet["things"][1]["questions"]][-1] == "tags"
    told = json.loads(view.token)
    told[1] = 2  # as if reflections were asked one by one
    refused = handlers.submit("one-each", json.dumps(told), filled(json.dumps(told), "yes", 4), request)
    assert "load it again" in refused.note
    assert view.sheet["layout"] == "alone" and view.stage == view.claim == ""


def test_who_was_not_given_an_item_can_neither_answer_nor_keep_nor_skip_it_by_its_number(store, handlers):
    fill(store, replace(ONE_EACH, skipping=Skipping.EVERYBODY))
    view = handlers.start(by(store, "ada", project="one-each"))
    mine = ItemToken.read(view.token)
    other = mine._replace(item=mine.item + 1, key="made up")
    calls = (
        lambda: handlers.submit("one-each", other.token(), filled(other.token(), "yes", 4), by(store, "ada")).note,
        lambda: handlers.save("one-each", other.token(), filled(other.token(), "yes", 4), by(store, "ada")),
        lambda: handlers.skip("one-each", other.token(), "", by(store, "ada")).note,
        lambda: handlers.alive("one-each", other.token(), by(store, "ada")),
    )
    for call in calls:
        assert "not given to you" in call().casefold()
    assert store.annotations(project="one-each") == []
    assert submit(handlers, view, by(store, "ada"), "yes", 4).note == ""


def test_skips_are_bounded_and_what_was_bounded_goes_on_later(store, handlers, monkeypatch):
    monkeypatch.setattr("annotations.queue.submission.MOST_SKIPS", 2)
    fill(store, replace(ONE_EACH, skipping=Skipping.EVERYBODY), count=4)
    view = handlers.start(by(store, "ada", project="one-each"))
    for _ in range(2):
        view = handlers.skip("one-each", view.token, "", by(store, "ada"))
    assert "You have skipped 2 items" in handlers.skip("one-each", view.token, "", by(store, "ada")).note
    now = store.clock()
    store.clock = lambda: now + timedelta(minutes=11)
    again = handlers.start(by(store, "ada", project="one-each"))
    assert "skipped 2" not in handlers.skip("one-each", again.token, "", by(store, "ada")).note


def test_nothing_that_is_told_reacts_to_answers_of_gold_that_are_sent_again_undone_or_skipped(store, handlers):
    fill(store, count=0)
    ids = []
    for number in range(24):
        trajectory, pictures = aha(number)
        ids.append(store.save(replace(trajectory, segments=trajectory.segments[:3]), pictures, owner="visitor"))
    gold = ({"segment": 2, "answers": {"verdict_right": "yes"}},)
    use = [ItemPurpose.GOLD if number % 2 else ItemPurpose.WORK for number in range(24)]
    new = [NewItem(id, use=u, gold=gold if u is ItemPurpose.GOLD else ()) for id, u in zip(ids, use, strict=True)]
    items = store.add_items("one-each", new)
    store.change_project(replace(store.project("one-each"), gold_share=0.3, overlap=None))
    for item, run in zip(items, ids, strict=True):
        assert assignment.claim_specific(store, "one-each", run, "ada") is not None  # gold is taken like others
        submission.submit(store, item, "ada", [answer(run, item, "yes")])
    told = gold_accuracy_of(store, "ada", "one-each")
    assert told == GoldRecord(10, 10)
    seen = assignment.progress(store, "ada", "one-each")
    for item, run in zip(items, ids, strict=True):
        submission.submit(store, item, "ada", [answer(run, item, "no")])
        assert gold_accuracy_of(store, "ada", "one-each") == told
        assert assignment.progress(store, "ada", "one-each") == seen
        store.undo(run, 2, "ada", project="one-each", item=item)
        store.undo(run, 2, "ada", project="one-each", item=item)
        assert gold_accuracy_of(store, "ada", "one-each") == told
        left = assignment.progress(store, "ada", "one-each")
        assert (left.done, left.items) in ((seen.done - 1, seen.items - 1), (seen.done - 1, seen.items))
        submission.skip_item(store, item, "ada")
        assert gold_accuracy_of(store, "ada", "one-each") == told
        submission.submit(store, item, "ada", [answer(run, item, "yes")])
        assert assignment.progress(store, "ada", "one-each") == seen


def answer(run: str, item: int, verdict: str) -> Annotation:
    return Annotation(run, 2, "ada", {"verdict_right": verdict, "reason_rating": 4}, item=item, project="one-each")


def test_panels_do_what_the_role_of_who_asks_allows(store, handlers):
    fill(store, replace(ONE_EACH, overlap=None))
    panels = PanelHandlers(store, Settings(mode=Mode.PUBLIC))
    add(store, "rae", Role.REVIEWER, "a long enough one")
    add(store, "kim", Role.ADMIN, "a long enough one")
    ada, rae, kim = (by(store, name, project="one-each") for name in ("ada", "rae", "kim"))
    view = handlers.start(ada)
    for item in (str(ItemToken.read(view.token).item + 1), str(2**63), "-1", "x", "1.5", None):
        assert "none of your drawings" in handlers.jump("one-each", item, ada).note
    assert ItemToken.read("[" * 100_000) is None
    assert at(handlers, handlers.jump("one-each", str(ItemToken.read(view.token).item), ada)) == at(handlers, view)
    assert "write what is the matter" in panels.flag("one-each", view.token, " ", ada)[0]
    assert "Flagged" in panels.flag("one-each", view.token, "<b>", ada)[0]
    [flagged] = flags.flags(store, "one-each")
    answer, example = ({"answer": flagged.id, "note": "Yes."}, {"example": "so"})
    for command in (answer, example, {"without": 0}, "nonsense", None, [1], {"answer": "x"}):
        panels.command("one-each", view.token, json.dumps(command), ada)
    assert flags.flags(store, "one-each")[0].answer is None and store.project("one-each").examples == ()
    assert "&lt;b&gt;" in panels.mine("one-each", ada)
    assert "Yes." in panels.command("one-each", view.token, json.dumps(answer), rae)[1]
    assert "answered this meanwhile" in panels.command("one-each", view.token, json.dumps(answer), rae)[1]
    kims = handlers.start(kim)
    assert "<img" in panels.command("one-each", kims.token, json.dumps(example), kim)[0]
    assert "<img" in panels.guide("one-each", ada) and "data-without" not in panels.guide("one-each", ada)
    assert "<img" not in panels.command("one-each", "", json.dumps({"without": 0}), kim)[0]
    assert "not JSON" not in panels.command("one-each", "", "{", kim)[0]
