"""The page of reviewers, without a browser: the worst first, answers side by side, decisions, the trail."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest
from sqlalchemy import update
from studio_samples import HOSTILE, aha
from thoroughness import ON_SQLITE

from annotations.auth import accounts
from annotations.db.tables import LeaseRow
from annotations.errors import AnswerError, ProjectError
from annotations.metrics.quality import accuracy, agreements, cases, labels, throughput
from annotations.queue.assignment import claim
from annotations.queue.audit import trail
from annotations.queue.gold_items import set_use
from annotations.queue.progress import changes_since, project_answers, project_counts
from annotations.queue.review import decide, restore_revision, returned, send_back
from annotations.queue.submission import submit
from annotations.schema.annotation import Annotation, Decision, Status
from annotations.schema.default_projects import ARENA, REFLECTIONS_PROJECT
from annotations.schema.project import ItemPurpose, Role
from annotations.store.items import NewItem
from annotations.store.store import open_store
from studio.auth.identity import Identity
from studio.auth.pseudonyms import names_for
from studio.auth.session_cookie import COOKIE, new_session
from studio.review.page import ReviewCase, ReviewHandlers
from studio.review.review_queue import ReviewQueue
from studio.settings import Mode, Settings

TEAM = replace(REFLECTIONS_PROJECT, id="team", name="Team", overlap=3, collects=False)


def visit(**address: str) -> SimpleNamespace:
    return SimpleNamespace(query_params=address, username=None, session_hash="s")


@pytest.fixture
def store(tmp_path: Path, url: str | None):
    with open_store(tmp_path / "data", url) as store:
        yield store


@pytest.fixture
def handlers(store):
    return ReviewHandlers(store, Settings())


def keep(store, number: int, **changes) -> str:
    trajectory, pictures = aha(identity=f"t{number}", last=20 + number)
    return store.save(replace(trajectory, **changes), pictures, owner="visitor")


def filled(store) -> list[int]:
    """Three items by three people: on the first they differ once, on the second twice, on the third never."""
    store.create_project(TEAM)
    ids = [keep(store, number) for number in range(3)]
    items = store.add_items("team", [NewItem(id) for id in ids])
    for who in ("ann", "bob", "eve"):
        odd = who == "eve"
        for number, id in enumerate(ids):
            for segment in (2, 5):
                verdict = "no" if odd and (number == 1 or (number == 0 and segment == 2)) else "yes"
                said = {"verdict_right": verdict, "reason_rating": 4}
                store.annotate(Annotation(id, segment, who, said, project="team"))
    return items


def test_the_worst_disagreement_comes_first_and_what_all_agree_on_is_left_out(store, handlers):
    items = filled(store)
    disputed = [case.item for case in cases(project_answers(store, "team")) if case.score > 0]
    assert disputed == [items[1], items[0]]
    view = handlers.start(visit(project="team"))
    assert view.case.item == items[1] and "2 of 2 to decide" in view.queue
    assert handlers.following(view.case, visit()).case.item == items[0]
    assert handlers.start(visit(project="team", item=str(items[0]))).case.item == items[0]
    assert handlers.start(visit()).case.project == "team"


@ON_SQLITE
def test_answers_stand_side_by_side_and_differences_are_marked(store, handlers):
    filled(store)
    html = handlers.start(visit(project="team")).answers
    assert all(f"<th>{who}</th>" in html for who in ("ann", "bob", "eve"))
    assert html.count('class="differs"') == 2
    assert "Does the picture fit?" in html and "image 1" in html and ">Does not</td>" in html


@ON_SQLITE
def test_who_decides_after_somebody_else_has_decided_or_answered_is_told(store, handlers):
    filled(store)
    view = handlers.start(visit(project="team"))
    about = project_answers(store, "team", [view.case.item]).submitted[0]
    decide(store, view.case.item, "rev", [replace(about, annotator="rev", key="theirs", id=None)])
    before = project_answers(store, "team").decisions
    for told in (decided(handlers, view.case, "no"), handlers.accept(view.case, visit())):
        assert "Somebody else answered or decided this meanwhile" in told.note
    assert project_answers(store, "team").decisions == before
    again = handlers.start(visit(project="team", item=str(view.case.item)))
    assert "Decided" in decided(handlers, again.case).note
    assert "Decided" in decided(handlers, again.case).note  # the same once more


def test_people_are_pseudonymous_unless_an_admin_looks(store):
    reviewer, admin = Identity("rev", Role.REVIEWER), Identity("boss", Role.ADMIN)
    names = names_for(store, reviewer, ["ann", "rev"])
    assert "ann" not in names("ann") and names("ann").startswith("person ") and names("rev") == "you"
    assert names("ann") != names_for(store, reviewer, ["bob"])("bob")
    assert names_for(store, admin, ["ann"])("ann") == "ann"


@ON_SQLITE
def test_what_all_agree_on_is_filled_in_and_what_they_differ_on_is_not(store, handlers):
    filled(store)
    sheet = handlers.start(visit(project="team")).sheet
    assert [thing["name"] for thing in sheet["things"]] == ["image 1", "image 2"]
    assert sheet["answers"] == {"2": {"reason_rating": 4}, "5": {"reason_rating": 4}}


def decided(handlers, case, verdict: str = "yes"):
    said = {"verdict_right": verdict, "reason_rating": 4}
    return handlers.decide(case, json.dumps({"2": said, "5": said}), visit())


def test_a_decision_is_the_reviewers_own_answer_and_counts_among_nobodys(store, handlers):
    items = filled(store)
    before = project_counts(store)["team"], agreements(project_answers(store, "team"))
    case = handlers.start(visit(project="team")).case
    view = decided(handlers, case)
    assert "Decided" in view.note and view.case.item == items[1]
    told = project_answers(store, "team")
    assert {a.annotator for a in told.decisions} == {"me"} and len(told.decisions) == 2
    assert (project_counts(store)["team"], agreements(told)) == before
    assert [(case.item, case.decided) for case in cases(told) if case.score > 0] == [
        (items[0], False),
        (items[1], True),
    ]
    again = handlers.start(visit(project="team", item=str(items[1])))
    assert "decided by me" in again.answers and again.answers.count('class="differs"') == 2
    decided(handlers, case)  # sent twice
    assert len(store.history("t1", annotator="me")) == 2


@ON_SQLITE
def test_nobody_decides_about_their_own_answer_and_nothing_half_is_stored(store, handlers):
    [first, *_] = filled(store)
    mine = [Annotation("t0", 2, "ann", {"verdict_right": "no"})]
    with pytest.raises(ProjectError, match="let another reviewer decide"):
        decide(store, first, "ann", mine)
    with pytest.raises(AnswerError, match="not about this item"):
        decide(store, first, "rev", [Annotation("t0", 2, "rev", {"verdict_right": "no"}), replace(mine[0])])
    assert store.history("t0", annotator="rev") == []
    case = handlers.start(visit(project="team")).case
    assert "not answered yet" in decided(handlers, case, None).note.lower()


def test_a_pair_is_decided_by_its_sides(store, handlers):
    store.create_project(replace(ARENA, overlap=2))
    keep(store, 0), keep(store, 1, checkpoint="other")
    [item] = store.add_items("arena", [NewItem("t0", "t1")])
    for who, wanted in (("ann", "t0"), ("bob", "t1")):
        turn = claim(store, "arena", who)
        right = "t1" if turn.left == "t0" else "t0"
        choice = "left" if turn.left == wanted else "right"
        said = {"alignment": {"choice": choice, "left": turn.left, "right": right}}
        submit(store, item, who, [Annotation("t0", None, who, said)])
    view = handlers.start(visit(project="arena"))
    assert '<td dir="auto">Left</td><td dir="auto">Right</td>' in view.answers
    assert view.stage.count('class="timeline still"') == 2
    assert view.stage.index("<h2>Left</h2>") < view.stage.index("<h2>Right</h2>")
    handlers.decide(view.case, json.dumps({"all": {"alignment": "right"}}), visit())
    [made] = project_answers(store, "arena").decisions
    assert dict(made.answers["alignment"]) == {"choice": "right", "left": "t0", "right": "t1"}


@ON_SQLITE
def test_the_trail_says_everything_and_any_revision_comes_back(store, handlers):
    filled(store)
    store.annotate(Annotation("t0", 2, "ann", {"verdict_right": "no"}, project="team"))
    look = handlers.look("gallery?run=t0", visit())
    assert look.trail_of == "t0" and "drew it" in look.trail and look.trail.count("submitted") == 7
    first = next(id for words, id in reversed(look.revision["choices"]) if "by ann, reflection on image 1" in words)
    view = handlers.restore("t0", first, visit())
    assert "counts again" in view.note and "Nothing was overwritten" in view.note
    [now] = [a for a in store.annotations("t0", annotator="ann", project="team") if a.segment == 2]
    assert now.answers["verdict_right"] == "yes"
    assert len(store.history("t0", segment=2, annotator="ann")) == 3
    for once_more in (first, now.id):
        assert f"counts already, by revision {now.id}." in handlers.restore("t0", once_more, visit()).note
    assert len(store.history("t0", segment=2, annotator="ann")) == 3
    assert "Choose the revision" in handlers.restore("t0", None, visit()).note
    assert "no revision 999" in handlers.restore("t0", 999, visit()).note
    assert "no trajectory" in handlers.look("gone", visit()).trail


@ON_SQLITE
def test_a_revision_that_the_newest_repeats_is_said_to_count_only_where_the_newest_is_submitted(store, handlers):
    items = filled(store)
    send_back(store, items[1], "ann", "me", "Look again.", to_others=False)
    *_, given, taken_back = store.history("t1", segment=2, annotator="ann")
    assert (given.status, taken_back.status) == (Status.SUBMITTED, Status.UNFINISHED)
    told = handlers.restore("t1", taken_back.id, visit()).note
    assert f"Revision {taken_back.id} is the newest, which is unfinished and does not count." in told
    assert len(store.history("t1", segment=2, annotator="ann")) == 2
    told = handlers.restore("t1", given.id, visit()).note
    assert f"Revision {given.id} counts again as revision" in told
    told = handlers.restore("t1", taken_back.id, visit()).note
    assert f"Revision {taken_back.id} is the newest again, unfinished, as revision" in told
    newest = store.history("t1", segment=2, annotator="ann")[-1]
    told = handlers.restore("t1", taken_back.id, visit()).note
    assert f"says what the newest, {newest.id}, says, which is unfinished and does not count." in told
    store.annotate(Annotation("t0", 2, "bob", {}, Status.DISCARDED, project="team"))
    told = handlers.restore("t0", store.history("t0", segment=2, annotator="bob")[-1].id, visit()).note
    assert "which is discarded and does not count. Choose one that was submitted." in told


@ON_SQLITE
def test_a_decision_that_the_newest_repeats_counts_already(store, handlers):
    filled(store)
    case = handlers.start(visit(project="team")).case
    decided(handlers, case, "yes")
    [first, *_] = store.history("t1", segment=2, annotator="me")
    assert f"counts already, by revision {first.id}." in handlers.restore("t1", first.id, visit()).note
    decided(handlers, replace(case, key="again"), "no")
    assert f"Revision {first.id} counts again" in handlers.restore("t1", first.id, visit()).note
    newest = store.history("t1", segment=2, annotator="me")[-1]
    assert newest.decision is first.decision is not None
    for number in (first.id, newest.id):
        assert f"counts already, by revision {newest.id}." in handlers.restore("t1", number, visit()).note


@ON_SQLITE
def test_a_decision_that_comes_back_is_still_one(store, handlers):
    filled(store)
    case = handlers.start(visit(project="team")).case
    decided(handlers, case, "yes")
    [old, *_] = store.history("t1", annotator="me")
    decided(handlers, replace(case, key="again"), "no")
    again = restore_revision(store, old.id)
    assert (again.status, again.answers["verdict_right"]) == (Status.SUBMITTED, "yes")
    assert project_counts(store)["team"].answers == 9 and len(project_answers(store, "team").decisions) == 2


@ON_SQLITE
@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        ({"verdict_right": "no", "reason_rating": 4}, Decision.ACCEPTED),  # as eve
        ({"verdict_right": "yes"}, Decision.ACCEPTED),  # as ann, who rated the reason as well
        ({"verdict_right": "yes", "reason_rating": 2}, Decision.REJECTED),
        ({"verdict_right": "yes", "reason_correction": "It is a dog."}, Decision.REWRITTEN),
    ],
)
def test_a_decision_says_in_its_row_of_what_kind_it_is_and_keeps_it_when_the_lease_changes(store, answers, kind):
    item = filled(store)[1]
    [made] = decide(store, item, "rev", [Annotation("t1", 2, "rev", answers, key="d")])
    assert made.decision is kind and store.history("t1", annotator="rev") == [made]
    assert decide(store, item, "rev", [Annotation("t1", 2, "rev", answers, key="d")])[0].decision is kind
    with store.database.writing() as session:
        session.execute(update(LeaseRow).where(LeaseRow.annotator == "rev").values(outcome="left"))
    assert [a.decision for a in project_answers(store, "team").decisions] == [kind]


def test_a_decision_that_is_taken_back_leaves_the_one_before_a_decision(store, handlers):
    filled(store)
    case = handlers.start(visit(project="team")).case
    decided(handlers, case, "yes")
    decided(handlers, replace(case, key="again"), "no")
    for segment in (2, 5):
        store.undo("t1", segment, "me", project="team")
    told = project_answers(store, "team")
    assert [a.answers["verdict_right"] for a in told.decisions] == ["yes", "yes"]
    assert project_counts(store)["team"].answers == 9
    store.undo("t1", 2, "me", project="team")
    assert [a.segment for a in project_answers(store, "team").decisions] == [5]


@ON_SQLITE
def test_the_list_kept_up_to_date_is_the_one_made_anew_and_reads_only_what_was_said_since(store):
    items, queue = filled(store), ReviewQueue(store)
    changes = {
        "an answer": lambda: store.annotate(Annotation("t2", 2, "ann", {"verdict_right": "no"}, project="team")),
        "a decision": lambda: decide(store, items[0], "rev", [Annotation("t0", 2, "rev", {"verdict_right": "no"})]),
        "an undo": lambda: store.undo("t2", 2, "ann", project="team"),
        "practice": lambda: set_use(store, items[2], ItemPurpose.PRACTICE),
        "other words": lambda: store.change_project(
            replace(TEAM, questions=(replace(TEAM.questions[0], help="Look."), *TEAM.questions[1:]))
        ),
        "a deletion": lambda: store.hide("t1", by="me"),
        "nothing": lambda: None,
    }
    touched = {"an answer": {items[2]}, "a decision": {items[0]}, "an undo": {items[2]}, "nothing": set()}
    for what, change in changes.items():
        queue.cases("team")
        change()
        assert changes_since(store, "team", queue.known["team"][0])[1] == touched.get(what), what
        assert queue.cases("team") == cases(project_answers(store, "team")), what


@ON_SQLITE
def test_hostile_words_stay_text(store, handlers):
    store.create_project(TEAM)
    keep(store, 0, prompt=HOSTILE)
    store.add_items("team", [NewItem("t0")])
    for who, verdict in (("ann", "yes"), (HOSTILE, "no")):
        said = {"verdict_right": verdict, "reason_correction": HOSTILE}
        store.annotate(Annotation("t0", 2, who, said, project="team"))
        store.annotate(Annotation("t0", 5, who, said, project="team"))
    view = handlers.start(visit(project="team"))
    for html in (view.queue, view.stage, view.answers, view.trail):
        assert "<img src=q" not in html and "&lt;img src=q" in html


@ON_SQLITE
def test_what_answers_say_of_each_other(store):
    items = filled(store)
    told = project_answers(store, "team")
    verdict, rating = agreements(told)[:2]
    assert verdict.percent.value == pytest.approx((3 + 3 * 1 / 3) / 6) and verdict.alpha.items == 6
    assert rating.alpha is None and rating.percent.value == 1
    counted = {question.name: counts for question, counts in labels(told, {}).items()}
    assert counted["verdict_right"] == {"yes": 15, "no": 3} and counted["reason_rating"]["5"] == 0
    assert [sum(day.values()) for day in throughput(told).values()] == [9]
    assert accuracy(told) == {} and len(items) == 3


@ON_SQLITE
def test_accuracy_is_of_gold_alone(store):
    store.create_project(replace(TEAM, gold_share=0.5))
    keep(store, 0), keep(store, 1)
    right = ({"segment": 2, "answers": {"verdict_right": "yes"}},)
    store.add_items("team", [NewItem("t0", use=ItemPurpose.GOLD, gold=right), NewItem("t1")])
    for who, verdict in (("ann", "yes"), ("bob", "no")):
        for id in ("t0", "t1"):
            for segment in (2, 5):
                store.annotate(Annotation(id, segment, who, {"verdict_right": verdict}, project="team"))
    found = accuracy(project_answers(store, "team"))
    assert {who: (one.right, one.of) for who, one in found.items()} == {"ann": (1, 1), "bob": (0, 1)}


@ON_SQLITE
def test_a_visitor_is_refused_by_every_handler(store):
    handlers = ReviewHandlers(store, Settings(mode=Mode.PUBLIC))
    calls = (
        lambda: handlers.start(visit()),
        lambda: handlers.choose("team", visit()),
        lambda: handlers.following(None, visit()),
        lambda: handlers.decide(None, "{}", visit()),
        lambda: handlers.look("t0", visit()),
        lambda: handlers.restore("t0", 1, visit()),
        lambda: handlers.appoint(None, "", "gold", visit()),
    )
    for call in calls:
        with pytest.raises(gr.Error, match="not open to visitors"):
            call()


@ON_SQLITE
def test_an_admin_makes_gold_and_practice_of_what_was_reviewed(store, handlers):
    items = filled(store)
    view = handlers.start(visit(project="team", item=str(items[2])))
    assert view.case.item == items[2] and "all alike, 3 people" in view.queue  # it can be found, too
    assert view.appointing["visible"]
    told = handlers.appoint(view.case, "", "gold", visit())
    assert "4 right answers are known" in told.note
    assert set(project_answers(store, "team").gold) == {items[2]}
    told = handlers.appoint(view.case, "Count <them>.", "practice", visit())
    assert "for practice now" in told.note
    assert "stays so" in handlers.appoint(view.case, "", "work", visit()).note
    assert len({a.annotator for a in project_answers(store, "team").submitted if a.item == items[2]}) == 3


@ON_SQLITE
def test_a_reviewer_neither_sees_nor_restores_nor_decides_what_a_closed_project_says(store):
    [item, *_] = filled(store)
    other = replace(TEAM, id="secret", name="Secret", people=("boss",))
    store.create_project(other)
    store.annotate(Annotation("t0", 2, "ann", {"verdict_right": "no"}, project="secret"))
    store.annotate(Annotation("t0", 2, "ann", {"verdict_right": "yes"}, project="secret"))
    hidden = [a.id for a in store.history("t0") if a.project == "secret"]
    shown = next(a.id for a in store.history("t0") if a.project == "team")
    accounts.add(store, "rex", Role.REVIEWER, "a long enough one")
    handlers = ReviewHandlers(store, Settings(mode=Mode.PUBLIC))
    cookie = f"{COOKIE}={new_session(store, accounts.person(store, 'rex'))}"
    asked = SimpleNamespace(query_params={"trajectory": "t0"}, session_hash="s", headers={"cookie": cookie})
    menu = {id for _, id in handlers.look("t0", asked).revision["choices"]}
    assert shown in menu and not menu & set(hidden)
    assert not {id for _, id in handlers.start(asked).revision["choices"]} & set(hidden)
    before = store.history("t0")
    assert "no revision" in handlers.restore("t0", hidden[0], asked).note
    assert "no revision" in handlers.restore("t1", shown, asked).note  # of another drawing than the one on the page
    case = ReviewCase("secret", item, "key")
    assert "no project" in handlers.decide(case, '{"2": {"verdict_right": "no"}}', asked).note
    handlers.following(case, asked)
    assert store.history("t0") == before
    assert "counts already" in handlers.restore("t0", shown, asked).note


@ON_SQLITE
def test_the_trail_names_who_restored_and_the_row_stays_its_annotators(store, handlers):
    filled(store)
    first = store.history("t0", segment=2, annotator="ann")[0]
    store.annotate(Annotation("t0", 2, "ann", {"verdict_right": "no"}, project="team"))
    again = restore_revision(store, first.id, key="once", by="rex")
    assert again.annotator == "ann" and restore_revision(store, first.id, key="once", by="eve") == again
    last = trail(store, "t0")[-1]
    assert (last.who, last.by, last.after) == ("ann", "rex", again)
    assert "restored by rex" in handlers.look("t0", visit()).trail


@ON_SQLITE
def test_a_pair_of_single_drawings_is_headed_by_its_sides_alone(store, handlers):
    store.create_project(replace(ARENA, overlap=2))
    for number in range(2):
        keep(store, number, segments=aha(last=20 + number)[0].segments[4:5], checkpoint=f"net{number}")
    [item] = store.add_items("arena", [NewItem("t0", "t1")])
    for who, choice in (("ann", "tie"), ("bob", "both_bad")):
        left = claim(store, "arena", who).left
        said = {"alignment": {"choice": choice, "left": left, "right": "t1" if left == "t0" else "t0"}}
        submit(store, item, who, [Annotation("t0", None, who, said)])
    stage = handlers.start(visit(project="arena")).stage
    assert "<h2>Left</h2>" in stage and "Draft" not in stage


@ON_SQLITE
def test_a_decided_item_stays_until_next_is_pressed(store, handlers):
    filled(store)
    view = handlers.start(visit(project="team"))
    after = decided(handlers, view.case)
    assert after.case.item == view.case.item and "Decided" in after.note
    assert handlers.following(after.case, visit()).case.item != view.case.item


@ON_SQLITE
def test_a_reviewer_accepts_what_most_say_and_is_told_where_people_are_split(store, handlers):
    items = filled(store)
    view = handlers.accept(handlers.start(visit(project="team")).case, visit())
    assert "Decided as most say" in view.note and view.case.item == items[1]  # it stays on the table
    verdicts = {a.segment: a.answers["verdict_right"] for a in project_answers(store, "team").decisions}
    assert verdicts == {2: "yes", 5: "yes"}
    [split] = store.add_items("team", [NewItem(keep(store, 7))])
    for who, verdict in (("ann", "yes"), ("bob", "no")):
        said = {"verdict_right": verdict, "reason_rating": 4}
        store.annotate(Annotation("t7", 2, who, said, project="team"))
    view = handlers.accept(handlers.start(visit(project="team", item=str(split))).case, visit())
    assert "People are split" in view.note and view.sheet["answers"]["2"] == {"reason_rating": 4}


@pytest.mark.parametrize("to_others", [False, True])
def test_answers_are_sent_back_with_a_note_to_the_same_person_or_to_somebody_else(store, handlers, to_others):
    items = filled(store)
    view = handlers.start(visit(project="team"))
    pseudonym = store.pseudonyms(["eve"])["eve"]
    assert ("eve", pseudonym) in view.returning["choices"]  # as an admin sees her
    assert "Got no note" in handlers.send_back(view.case, pseudonym, " ", to_others, visit()).note
    view = handlers.send_back(view.case, pseudonym, "Look at the car.", to_others, visit())
    assert "Taken back" in view.note and "eve" not in view.answers and f"by {handlers.settings.annotator}" in view.trail
    again, other = claim(store, "team", "eve"), claim(store, "team", "zoe")
    assert (again.item if again else None) == (None if to_others else items[1])
    assert (other.item if other else None) == (items[1] if to_others else None)
    asked = "zoe" if to_others else "eve"
    assert returned(store, items[1], asked) == "Look at the car."
    for segment in (2, 5):
        said = {"verdict_right": "yes", "reason_rating": 4}
        store.annotate(Annotation("t1", segment, asked, said, project="team", item=items[1]))
    assert returned(store, items[1], asked) is None
    assert len([a for a in project_answers(store, "team", [items[1]]).submitted if a.segment == 2]) == 3
