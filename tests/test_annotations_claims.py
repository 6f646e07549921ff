"""Who is given what, and what becomes of what they hand in: overlap, leases, clocks, tabs, retries."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event, text
from test_annotations_samples import aha, judged
from thoroughness import ON_SQLITE

from annotations.errors import AnswerError, LeaseError, NotFoundError, ProjectError
from annotations.queue.assignment import AnnotatorProgress, claim, heartbeat, leave, progress, recover
from annotations.queue.submission import SubmitResult, save, skip_item, submit
from annotations.schema.annotation import Annotation, Status
from annotations.schema.default_projects import ARENA, REFLECTIONS_PROJECT, RICH
from annotations.schema.project import ItemPurpose, Order, Skipping
from annotations.store.items import NewItem
from annotations.store.leases import LEASE
from annotations.store.store import Store, open_store

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
TEAM = dataclasses.replace(REFLECTIONS_PROJECT, id="team", name="Team", overlap=2, collects=False)


class Clock:
    """A clock that goes where it is told."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now

    def go(self, **by: float) -> None:
        self.now += timedelta(**by)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path, url, clock):
    with open_store(tmp_path, url) as store:
        store.clock = clock
        yield store


def save_one(store: Store, number: int = 0, **changes) -> str:
    trajectory, pictures = aha(number, **changes)
    return store.save(trajectory, pictures, owner="visitor")


def make(store: Store, count: int = 1, project=TEAM, **changes) -> list[str]:
    """A project with so many trajectories, each with one reflection to judge."""
    store.create_project(dataclasses.replace(project, **changes))
    ids = [save_one(store, number, segments=aha(number)[0].segments[:3]) for number in range(count)]
    store.add_items(project.id, [NewItem(id) for id in ids])
    return ids


def answer(turn, annotator: str, key: str = "", segment: int = 2, **answers) -> Annotation:
    said = judged(turn.trajectory_id, segment, annotator, **(answers or {"verdict_right": "yes"}))
    return dataclasses.replace(said, key=key)


def counted(store: Store) -> list[tuple[str, str]]:
    return [(a.trajectory_id, a.annotator) for a in store.annotations(project="team", status=Status.SUBMITTED)]


def test_an_item_is_given_to_as_many_people_as_wanted_and_no_more(store):
    [first, second] = make(store, 2)
    given = [claim(store, "team", name) for name in ("ann", "bob", "eve", "joe", "max")]
    assert [turn and turn.trajectory_id for turn in given] == [first, first, second, second, None]
    assert claim(store, "team", "ann") == dataclasses.replace(given[0], begun=True)  # the same until it is done
    assert submit(store, given[0].item, "ann", [answer(given[0], "ann")]).result is SubmitResult.COUNTED
    assert claim(store, "team", "max") is None  # ann's answer and bob's lease are two
    leave(store, "bob")
    assert claim(store, "team", "max").trajectory_id == first
    assert progress(store, "ann", "team") == AnnotatorProgress(done=1, waiting=1)


def test_sixty_four_threads_are_given_nothing_twice_beyond_the_overlap(store, thorough):
    count = 40 if thorough else 12
    make(store, count, overlap=3)
    people = [f"annotator {number}" for number in range(64)]

    def work(annotator: str) -> list[int]:
        done = []
        while turn := claim(store, "team", annotator):
            assert submit(store, turn.item, annotator, [answer(turn, annotator)]).result is SubmitResult.COUNTED
            done.append(turn.item)
        return done

    with ThreadPoolExecutor(64) as pool:
        done = [item for items in pool.map(work, people) for item in items]
    assert len(done) == count * 3
    assert {done.count(item) for item in done} == {3}
    assert len(set(counted(store))) == len(counted(store)) == 3 * count


def test_sixty_four_threads_that_only_claim_hold_no_item_beyond_the_overlap(store):
    make(store, 40, overlap=1)
    with ThreadPoolExecutor(64) as pool:
        turns = list(pool.map(lambda number: claim(store, "team", f"annotator {number}"), range(64)))
    held = [turn.item for turn in turns if turn]
    assert len(held) == len(set(held)) == 40


def test_a_lease_ends_ten_minutes_after_the_last_sign_of_life(store, clock):
    make(store, overlap=1)
    turn = claim(store, "team", "ann")
    clock.go(minutes=9)
    assert heartbeat(store, turn.item, "ann") == clock.now + LEASE
    clock.go(minutes=9)
    save(store, turn.item, "ann", [answer(turn, "ann", reason_rating=2)])
    clock.go(minutes=9)
    assert claim(store, "team", "bob") is None
    clock.go(minutes=1)
    assert claim(store, "team", "bob").item == turn.item
    with pytest.raises(LeaseError, match="ran out and others have taken it"):
        heartbeat(store, turn.item, "ann")
    assert claim(store, "team", "ann") is None
    leave(store, "bob")
    assert claim(store, "team", "ann").begun  # what was left is taken up again
    assert store.annotations(item=turn.item)[0].answers == {"reason_rating": 2}


def test_who_lost_the_time_but_not_the_item_goes_on(store, clock):
    make(store, overlap=1)
    turn = claim(store, "team", "ann")
    clock.go(hours=3)
    assert recover(store) == 1
    assert heartbeat(store, turn.item, "ann") == clock.now + LEASE
    clock.go(hours=3)
    assert submit(store, turn.item, "ann", [answer(turn, "ann")]).result is SubmitResult.COUNTED


def test_what_comes_too_late_is_kept_and_its_writer_told(store, clock):
    make(store, overlap=1)
    turn = claim(store, "team", "ann")
    clock.go(minutes=11)
    taken = claim(store, "team", "bob")
    late = [answer(turn, "ann", key="late", verdict_right="no", reason_correction="it is a dog.")]
    receipt = submit(store, turn.item, "ann", late)  # bob has the item, and keeps it
    assert (receipt.result, receipt.completed) == (SubmitResult.OVER_QUOTA, True)
    assert "kept, but do not count" in receipt.message
    assert submit(store, turn.item, "bob", [answer(taken, "bob")]).result is SubmitResult.COUNTED
    assert submit(store, turn.item, "ann", late) == receipt  # a retry hears the same
    assert counted(store) == [(turn.trajectory_id, "bob")]
    [kept] = store.annotations(item=turn.item, annotator="ann")
    assert (kept.status, kept.answers["reason_correction"]) == (Status.UNFINISHED, "it is a dog.")
    with pytest.raises(LeaseError, match="one more answer would be too many"):
        store.annotate(dataclasses.replace(late[0], project="team", item=turn.item, key=""))


@pytest.mark.parametrize("jump", [timedelta(hours=-1), timedelta(days=-400)])
def test_a_clock_that_jumps_back_gives_nothing_twice_and_locks_nothing_for_long(store, clock, jump):
    make(store, overlap=1)
    turn = claim(store, "team", "ann")
    clock.now += jump
    assert claim(store, "team", "bob") is None  # ann is at it
    clock.go(minutes=9)
    assert claim(store, "team", "bob") is None
    clock.go(minutes=2)
    assert claim(store, "team", "bob").item == turn.item


def test_a_lease_that_lapsed_does_not_come_back_to_life_with_an_earlier_clock(store, clock):
    make(store, overlap=1)
    turn = claim(store, "team", "ann")
    clock.go(minutes=11)
    claim(store, "team", "bob")
    clock.go(hours=-1)
    assert claim(store, "team", "ann") is None
    assert submit(store, turn.item, "bob", [answer(turn, "bob")]).result is SubmitResult.COUNTED
    assert submit(store, turn.item, "ann", [answer(turn, "ann")]).result is SubmitResult.OVER_QUOTA


def test_a_clock_that_jumps_ahead_costs_nobody_their_answer(store, clock):
    make(store, overlap=1)
    turn = claim(store, "team", "ann")
    clock.go(hours=1)
    assert submit(store, turn.item, "ann", [answer(turn, "ann")]).result is SubmitResult.COUNTED
    assert claim(store, "team", "bob") is None


def test_the_same_submit_five_times_is_one_row_also_at_once(store):
    make(store)
    turn = claim(store, "team", "ann")
    with ThreadPoolExecutor(5) as pool:
        receipts = list(pool.map(lambda _: submit(store, turn.item, "ann", [answer(turn, "ann", "k")]), range(5)))
    assert len({receipt.annotations[0].id for receipt in receipts}) == 1
    assert {receipt.result for receipt in receipts} == {SubmitResult.COUNTED}
    assert len(store.history(turn.trajectory_id)) == 1
    assert progress(store, "ann", "team").done == 1


def test_two_tabs_of_one_person_show_the_same_item_and_the_last_word_counts(store):
    make(store, 2)
    first, second = claim(store, "team", "ann"), claim(store, "team", "ann")
    assert first.item == second.item
    submit(store, first.item, "ann", [answer(first, "ann", "tab 1")])
    receipt = submit(store, second.item, "ann", [answer(second, "ann", "tab 2", verdict_right="no")])
    assert receipt.result is SubmitResult.CHANGED
    assert "in another tab" in receipt.message
    assert [a.answers["verdict_right"] for a in store.history(first.trajectory_id)] == ["yes", "no"]
    assert len(counted(store)) == 1
    assert progress(store, "ann", "team") == AnnotatorProgress(1, 1)


def test_unfinished_work_of_another_tab_never_takes_the_place_of_what_was_submitted(store):
    make(store)
    turn = claim(store, "team", "ann")
    submit(store, turn.item, "ann", [answer(turn, "ann", "tab 1")])
    receipt = save(store, turn.item, "ann", [answer(turn, "ann", "tab 2", reason_correction="I was writing this.")])
    assert receipt.result is SubmitResult.BEHIND
    assert [a.answers.get("reason_correction") for a in store.history(turn.trajectory_id)] == [
        None,
        "I was writing this.",
        None,
    ]
    assert store.annotations(item=turn.item)[0].status is Status.SUBMITTED
    assert progress(store, "ann", "team").done == 1


def test_the_next_item_can_be_fetched_ahead(store):
    first, second = make(store, 2, overlap=1)
    turn = claim(store, "team", "ann")
    ahead = claim(store, "team", "ann", exclude_item=turn.item)
    assert (turn.trajectory_id, ahead.trajectory_id) == (first, second)
    assert claim(store, "team", "ann", exclude_item=turn.item).item == ahead.item
    assert claim(store, "team", "bob") is None
    submit(store, turn.item, "ann", [answer(turn, "ann")])
    assert claim(store, "team", "ann").item == ahead.item
    assert leave(store, "ann") == 1


def test_a_page_that_closes_leaves_all_it_held_at_once_and_its_first_item_comes_back_first(store, clock):
    make(store, 2, overlap=1)
    turn = claim(store, "team", "ann")
    ahead = claim(store, "team", "ann", exclude_item=turn.item)
    left = {turn.item: store.clock(), ahead.item: store.clock()}
    commits: list[str] = []
    with store.database.writing() as session:
        engine = session.get_bind()
    event.listen(engine, "commit", lambda connection: commits.append("commit"))
    assert leave(store, "ann", unless_renewed_after=left) == 2
    assert commits == ["commit"]
    clock.go(seconds=1)
    assert claim(store, "team", "ann").item == turn.item
    assert leave(store, "ann", unless_renewed_after=left) == 0  # another page has it since


def test_an_item_that_was_shown_comes_before_one_that_was_fetched_ahead_and_is_held_still(store, clock):
    make(store, 2, overlap=1)
    turn = claim(store, "team", "ann")
    clock.go(seconds=1)
    ahead = claim(store, "team", "ann", exclude_item=turn.item)
    leave(store, "ann", turn.item)  # the page was closed before the other was there
    assert [claim(store, "team", "ann").item, claim(store, "team", "ann", exclude_item=turn.item).item] == [
        turn.item,
        ahead.item,
    ]


def test_an_undo_gives_the_item_back_to_who_had_it_and_makes_room_again(store):
    make(store, overlap=1)
    turn = claim(store, "team", "ann")
    submit(store, turn.item, "ann", [answer(turn, "ann")])
    store.undo(turn.trajectory_id, 2, "ann", project="team", item=turn.item)
    assert claim(store, "team", "bob") is None  # ann holds it
    assert claim(store, "team", "ann").item == turn.item
    leave(store, "ann")
    assert claim(store, "team", "bob").item == turn.item


def test_an_item_is_done_when_everything_asked_of_it_is(store):
    store.create_project(TEAM)
    trajectory_id = save_one(store)
    store.add_items("team", [NewItem(trajectory_id)])
    turn = claim(store, "team", "ann")
    assert not submit(store, turn.item, "ann", [answer(turn, "ann")]).completed
    assert claim(store, "team", "ann").item == turn.item
    assert submit(store, turn.item, "ann", [answer(turn, "ann", segment=4)]).completed
    assert claim(store, "team", "ann") is None


@pytest.mark.parametrize("policy", list(Skipping))
def test_a_skip_keeps_its_reason_and_follows_the_project(store, policy):
    first, second = make(store, 2, skipping=policy)
    turn = claim(store, "team", "ann")
    save(store, turn.item, "ann", [answer(turn, "ann", reason_rating=4)])
    [skipped] = skip_item(store, turn.item, "ann", reason="too dark")
    assert skipped.answers["skip_reason"] == "too dark"
    assert claim(store, "team", "ann").trajectory_id == second
    assert claim(store, "team", "bob").trajectory_id == (second if policy is Skipping.EVERYBODY else first)
    leave(store, "bob")
    if policy is Skipping.LATER:
        submit(store, turn.item + 1, "ann", [answer(claim(store, "team", "ann"), "ann")])
        assert claim(store, "team", "ann").trajectory_id == first
        assert store.annotations(item=turn.item)[0].answers["reason_rating"] == 4
    else:
        store.undo(first, 2, "ann", project="team", item=turn.item)
        leave(store, "ann", turn.item + 1)
        assert claim(store, "team", "ann").trajectory_id == first
        assert claim(store, "team", "eve").trajectory_id == first


@pytest.mark.parametrize(("order", "wanted"), [(Order.OLDEST, "abc"), (Order.NEWEST, "cba"), (Order.MARGIN, "bca")])
def test_a_line_stands_in_its_projects_order_and_priority_goes_before(store, order, wanted):
    store.create_project(dataclasses.replace(TEAM, order=order))
    for number, (id, p_yes) in enumerate(zip("abc", (0.01, 0.55, 0.7), strict=True)):
        segments = aha()[0].segments[:3]
        unsure = dataclasses.replace(segments[2], p_yes=p_yes)
        save_one(store, number, id=id, segments=(*segments[:2], unsure))
    save_one(store, 9, id="first")
    store.add_items("team", [NewItem("a"), NewItem("b"), NewItem("c"), NewItem("first", priority=-1)])
    line = "SELECT trajectory_id FROM project_items WHERE project_id = 'team' ORDER BY priority, rank, id"
    with store.database.reading() as session:
        assert session.scalars(text(line)).all() == ["first", *wanted]
    assert claim(store, "team", "ann").trajectory_id == "first"


def test_a_line_can_be_reordered_and_its_overlap_changed(store):
    ids = make(store, 3, overlap=1)
    turn = claim(store, "team", "ann")
    submit(store, turn.item, "ann", [answer(turn, "ann")])
    store.change_project(dataclasses.replace(TEAM, order=Order.NEWEST, overlap=2))
    assert claim(store, "team", "ann").trajectory_id == ids[2]
    seen = []
    while turn := claim(store, "team", "bob"):
        seen.append(turn.trajectory_id)
        submit(store, turn.item, "bob", [answer(turn, "bob")])
    assert seen == ids[::-1]


def test_where_people_disagree_comes_first(store):
    ids = make(store, 3, order=Order.DISAGREEMENT, overlap=3)
    for name, said in (("ann", "yes"), ("bob", "no")):
        for _ in ids:
            turn = claim(store, "team", name)
            agreed = said if turn.trajectory_id == ids[1] else "yes"
            submit(store, turn.item, name, [answer(turn, name, verdict_right=agreed)])
    assert claim(store, "team", "eve").trajectory_id == ids[1]


def test_what_comes_in_later_is_seen_by_those_who_were_at_the_end(store):
    store.create_project(dataclasses.replace(TEAM, order=Order.NEWEST, collects=True))
    short = {"segments": aha()[0].segments[:3]}
    for number in range(3):
        save_one(store, number, **short)
    while turn := claim(store, "team", "ann"):
        submit(store, turn.item, "ann", [answer(turn, "ann")])
    late = save_one(store, 50, **short)
    assert claim(store, "team", "ann").trajectory_id == late


def test_a_new_annotator_practises_first_and_is_told_what_was_right(store):
    make(store, 2, practice=2)
    for number, right in ((10, "yes"), (11, "no"), (12, "no")):
        id = save_one(store, number, segments=aha()[0].segments[:3])
        gold = {"segment": 2, "answers": {"verdict_right": right}, "because": "Count them."}
        store.add_items("team", [NewItem(id, use=ItemPurpose.PRACTICE, gold=(gold,))])
    told = []
    for _ in range(3):
        turn = claim(store, "team", "ann")
        receipt = submit(store, turn.item, "ann", [answer(turn, "ann")])
        told.append([(f.answer, f.gold, f.right, f.because) for f in receipt.feedback])
    assert told == [[("yes", "yes", True, "Count them.")], [("yes", "no", False, "Count them.")], []]
    assert not turn.practice
    assert [a.trajectory_id for a in store.counted()] == [turn.trajectory_id]


@ON_SQLITE
def test_gold_is_mixed_in_by_its_share_and_looks_like_work(store):
    make(store, 60, gold_share=0.3)
    golden = []
    for number in range(60, 100):
        id = save_one(store, number, segments=aha()[0].segments[:3])
        gold = {"segment": 2, "answers": {"verdict_right": "yes"}}
        golden += store.add_items("team", [NewItem(id, use=ItemPurpose.GOLD, gold=(gold,))])
    uses = []
    for _ in range(50):
        turn = claim(store, "team", "ann")
        assert claim(store, "team", "ann").item == turn.item
        assert submit(store, turn.item, "ann", [answer(turn, "ann")]).feedback == ()
        uses.append(turn.item in golden)
    assert 2 <= sum(uses) <= 30  # of a share of 0.3; by chance less often than once in 100,000 runs
    assert "gold" not in {field.name for field in dataclasses.fields(turn)}


def test_a_pair_stands_in_an_order_that_is_left_to_chance_and_stored(store):
    store.create_project(ARENA)
    ids = [save_one(store, number) for number in range(2)]
    [item] = store.add_items("arena", [NewItem(*ids)])
    lefts = []
    for name in ("ann", "bob", "eve"):
        turn = claim(store, "arena", name)
        assert (turn.item, {turn.trajectory_id, turn.other_id}) == (item, set(ids))
        assert claim(store, "arena", name).left == turn.left
        right = next(id for id in ids if id != turn.left)
        said = {"alignment": {"choice": "left", "left": right, "right": turn.left}}
        with pytest.raises(AnswerError, match="open the pair again"):
            submit(store, item, name, [Annotation(turn.trajectory_id, None, name, said)])
        said = {"alignment": {"choice": "left", "left": turn.left, "right": right}}
        assert submit(store, item, name, [Annotation(turn.trajectory_id, None, name, said)]).completed
        lefts.append(turn.left)
    assert [a.answers["alignment"]["left"] for a in store.annotations(item=item)] == lefts
    assert claim(store, "arena", "joe") is None
    with store.database.reading() as session:
        assert session.scalar(text("SELECT kind FROM annotations LIMIT 1")) == "pair"


def test_rich_feedback_is_asked_about_every_image_and_may_be_given_about_the_whole(store):
    store.create_project(RICH)
    trajectory_id = save_one(store)
    store.add_items("rich-feedback", [NewItem(trajectory_id)])
    turn = claim(store, "rich-feedback", "ann")
    box = {"label": "artifact", "x": 0.25, "y": 0.5, "w": 0.25, "h": 0.5}
    said = {"alignment": 2, "appearance": 5, "regions": [box], "words_not_drawn": [1]}
    given = [Annotation(trajectory_id, at, "ann", said) for at in (1, 3)]
    given.append(Annotation(trajectory_id, None, "ann", {"best": 3, "tags": ["count"], "comment": "One too many."}))
    assert submit(store, turn.item, "ann", given).completed
    stored = {a.segment: a.answers.to_dict() for a in store.annotations(project="rich-feedback")}
    assert stored[1] == said
    assert stored[None] == {"best": 3, "tags": ["count"], "comment": "One too many."}
    assert store.annotations(project="reflections") == []


def test_what_is_deleted_is_given_to_nobody(store):
    first, second = make(store, 2)
    turn = claim(store, "team", "ann")
    store.hide(first, by="ann")
    with pytest.raises(NotFoundError):
        heartbeat(store, turn.item, "ann")
    with pytest.raises(NotFoundError, match="may have been deleted"):
        submit(store, turn.item, "ann", [answer(turn, "ann")])
    assert claim(store, "team", "ann").trajectory_id == second
    assert progress(store, "ann", "team") == AnnotatorProgress(0, 1)


def test_what_is_not_of_the_item_or_of_the_person_is_refused(store):
    make(store)
    turn = claim(store, "team", "ann")
    elsewhere = save_one(store, 7)
    with pytest.raises(AnswerError, match="not of this item"):
        submit(store, turn.item, "ann", [judged(elsewhere, verdict_right="yes")])
    with pytest.raises(AnswerError, match="not of this item"):
        submit(store, turn.item, "eve", [answer(turn, "ann")])
    with pytest.raises(AnswerError, match="got no answers"):
        submit(store, turn.item, "ann", [])
    with pytest.raises(LeaseError, match="not yours"):
        heartbeat(store, turn.item, "eve")
    store.change_project(dataclasses.replace(TEAM, closed_at=NOON))
    with pytest.raises(ProjectError, match="is closed"):
        claim(store, "team", "ann")
    with pytest.raises(NotFoundError, match="no project"):
        claim(store, "nowhere", "ann")


def test_nobody_looks_again_at_what_they_have_done_because_somebody_else_is_slower(store):
    make(store, 20, overlap=None)
    for _ in range(15):
        turn = claim(store, "team", "ann")
        submit(store, turn.item, "ann", [answer(turn, "ann")])
    claim(store, "team", "ann")
    place = "SELECT item_id FROM places WHERE annotator = 'ann'"
    with store.database.reading() as session:
        before = session.scalar(text(place))
    for _ in range(3):
        turn = claim(store, "team", "bob")
        submit(store, turn.item, "bob", [answer(turn, "bob")])
    with store.database.reading() as session:
        assert session.scalar(text(place)) == before > 15
