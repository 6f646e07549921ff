"""Many at once: what the command counts, and that it finds a studio that keeps up, also when it is killed meanwhile."""

import asyncio
from dataclasses import replace

import httpx2
import postgres_server
import pytest
from thoroughness import ON_SQLITE

from studio import loadtest
from studio.load import annotation_load, attack, cluster, imports, kills, visits
from studio.load.page_client import Handler, PageClient
from studio.load.visitors import VisitResult, follow, measure, visit


def value(first: int, *rows: dict) -> dict:
    return {"run": "r", "first": first, "rows": list(rows)}


IMAGE, CELLS, PICTURE = {"is": "segment", "kind": "image"}, {"is": "cells"}, {"is": "picture"}


def test_rows_that_are_sent_twice_are_counted_once_and_a_missing_one_is_found():
    seen = VisitResult()
    seen.take(value(0, IMAGE), 0.0)
    seen.take(value(0, IMAGE, CELLS), 1.0)
    seen.take(value(2, PICTURE) | {"trajectory": {}}, 3.5)
    assert (seen.rows, seen.drawing, seen.complete) == ([IMAGE, CELLS, PICTURE], 2.5, True)
    seen.take(value(4, CELLS), 4.0)
    assert not seen.complete


def test_a_row_that_changed_or_a_picture_that_never_came_is_found():
    changed, unfinished = VisitResult(), VisitResult()
    changed.take(value(0, IMAGE, PICTURE) | {"trajectory": {}}, 0.0)
    assert changed.complete
    changed.take(value(1, CELLS), 1.0)
    assert not changed.complete
    unfinished.take(value(0, IMAGE, CELLS) | {"trajectory": {}}, 0.0)
    assert not unfinished.complete


def test_visitors_of_a_real_studio_see_everything_in_order():
    alone, many = asyncio.run(measure(2, pace=0.005))
    assert all(one.complete for one in [alone, *many])
    assert all(one.rows[1:] == alone.rows[1:] for one in many)
    assert alone.drawing > 0.2


@ON_SQLITE
def test_annotators_of_a_studio_that_is_killed_lose_nothing_and_are_given_nothing_twice(url):
    load = annotation_load.AnnotationLoad(annotators=5, items=12)
    trouble = kills.RandomKills(1, load)
    account = asyncio.run(annotation_load.measure(load, url, trouble))
    print(kills.table(trouble.restarts), annotation_load.table(account), sep="\n")
    assert [one.passed for one in trouble.restarts] == [True]
    assert account.passed, account.errors
    assert 0 < account.confirmed <= load.answers <= account.confirmed + account.broken_off
    assert len(account.times) + len(account.alone) + 1 == account.confirmed


async def followed_at_the_other(studios: cluster.Cluster) -> tuple[VisitResult, VisitResult]:
    """A drawing of the first studio as its own page sees it, and as one of the second that is opened by its link."""
    first, second = studios.servers
    at = {"timeout": 60}
    async with (
        httpx2.AsyncClient(base_url=f"{first.url}{cluster.ROOT_PATH}", **at) as at_first,
        httpx2.AsyncClient(base_url=f"{second.url}{cluster.ROOT_PATH}", **at) as at_second,
    ):
        config = (await at_first.get("/config")).json()
        draw, opened, follows = (
            Handler.on(config, "", name, event)
            for name, event in (("draw", "click"), ("timeline", "load"), ("timeline", "follow"))
        )
        own = VisitResult()
        drawing = asyncio.create_task(visit(at_first, draw, own))
        while not own.run:
            assert not drawing.done(), await drawing
            await asyncio.sleep(0.05)
        page = PageClient(at_second, f"?run={own.run}")
        while (page.fields.get("timeline") or {}).get("watch") != own.run and not drawing.done():
            await page.ask(opened)
        seen = await follow(at_second, follows, own.run)
        await drawing
        await page.ask(opened)
        assert page.fields["timeline"]["trajectory"]["id"] == own.run  # stored
        return own, seen


@pytest.mark.thorough
def test_annotators_of_two_studios_behind_a_proxy_go_on_at_the_other_where_one_is_killed(postgres):
    address = postgres.format(name="studio")
    with postgres_server.emptied_afterwards(address):
        load = annotation_load.AnnotationLoad(annotators=5, items=24)
        trouble = kills.RandomKills(1, load, seed=2)
        watched = []

        async def before(studios, _team):
            watched.extend(await followed_at_the_other(studios))

        account = asyncio.run(annotation_load.measure(load, address, trouble, processes=2, before=before))
    own, seen = watched
    assert own.complete and seen.complete and seen.rows == own.rows
    print(kills.table(trouble.restarts), annotation_load.table(account), sep="\n")
    [restart] = trouble.restarts
    assert restart.passed and restart.meanwhile > 0
    assert account.passed, account.errors
    assert 0 < account.confirmed <= load.answers <= account.confirmed + account.broken_off


@ON_SQLITE
def test_people_at_work_while_rows_are_imported_lose_nothing_and_the_rows_are_all_there(url, monkeypatch):
    monkeypatch.setattr(imports, "ANNOTATORS", 4)
    monkeypatch.setattr(imports, "VISITORS", 1)
    account = asyncio.run(imports.measure(20, 5, url, items=12))
    print(imports.table(account))
    assert (account.listed, account.report["errors"], account.report["trajectories"]) == (20, [], 20)
    assert not account.errors and not account.lost and len(account.times) >= imports.ANNOTATORS - 1
    assert len(account.drawings) >= imports.VISITORS and all(one.complete for one in account.drawings)


def test_an_import_that_made_people_wait_or_lost_something_is_not_fine():
    seen = VisitResult([IMAGE, PICTURE], [0.0, 1.0], ended=True)
    fine = imports.ImportResult(2, 0, {}, {"errors": []}, 2, 1.0, (10.0, 20.0), (), (), (seen,))
    assert fine.problems == [] and "20 ms" in imports.table(fine)
    worse = {"listed": 1, "seconds": 999.0, "times": (10.0, 1001.0), "errors": ("no",), "lost": ("a",)}
    for name, value in (worse | {"drawings": (VisitResult(),)}).items():
        assert len(replace(fine, **{name: value}).problems) == 1, name


@pytest.mark.thorough
def test_annotators_of_a_studio_that_is_flooded_are_refused_nothing():
    account = asyncio.run(attack.measure(annotators=3, each=8, clients=2, pause=0.5))
    print(attack.table(account))
    assert (account.refused, len(account.during)) == ((), 24)
    kinds = {kind for kind, _ in account.answers}
    assert len(kinds) >= 5, account.answers  # of six; on a busy machine the last one may not get its turn
    assert not [answer for answer in account.answers if answer[1] == 500], account.answers
    assert account.answers["forged bodies", 400] > 0 and min(account.used) > 0
    held, peak, after = account.memory
    assert 0 < held <= peak and after - held <= attack.MORE


@pytest.mark.thorough
def test_visits_and_drawings_of_a_day_are_seen_whole_and_what_they_cost_is_told(monkeypatch):
    monkeypatch.setattr(visits, "FIRST", (4, 1))
    account = asyncio.run(visits.measure(8, 2))
    print(visits.table(account))
    assert account.passed and account.incomplete == 0
    assert 0 < account.cpu < 100 and min(account.memory) > 0


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("--import 3 --pictures 4", "of 3 rows"),
        ("--import 0", "of 0 rows"),
        ("--import 3 --kill 1", "1 kills"),
        ("--pictures 4", "of None rows"),
        ("--kill 3", "for --annotators"),
        ("--annotators 0", "wanted at least 16"),
        ("--annotators 3 --items 2", "wanted at least 16"),
        ("--annotators 2 --overlap 3", "there are 2"),
        ("--annotators 2 --items 20 --kill 21", "at most 20"),
        ("--annotators 20 --processes 2", "give --database"),
        ("--visits 0", "at least one visit"),
        ("--visits 5 --database postgresql://a/b", "for --annotators"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_starts(monkeypatch, capsys, asked, told):
    monkeypatch.setattr("sys.argv", ["loadtest", *asked.split()])
    with pytest.raises(SystemExit) as ended:
        loadtest.main()
    assert ended.value.code == 2
    assert told in capsys.readouterr().err
