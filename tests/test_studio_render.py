"""Rendering: rows for the timeline, static HTML, cards; and that nobody's words become markup."""

import json
from dataclasses import replace
from datetime import UTC, datetime

from studio_samples import HOSTILE, aha, png, stopped

from annotations.store.listing import TrajectorySummary
from model.events import replay
from model.trajectory import Origin, StopReason
from studio.components import render


def rows_of(trajectory, pictures):
    return [row for row in map(render.row, replay(trajectory, pictures.__getitem__)) if row]


def test_the_rows_tell_the_whole_story_in_order():
    kinds = [row["is"] for row in rows_of(*aha())]
    assert kinds[:2] == ["start", "segment"]
    assert kinds[-1] == "end"
    assert kinds.count("picture") == 2
    assert kinds.count("verdict") == 2


def test_the_page_is_told_of_the_published_contexts():
    trajectory, pictures = aha()
    assert rows_of(trajectory, pictures)[0]["contexts"] == ""
    published_contexts = replace(trajectory, sampling=replace(trajectory.sampling, published_contexts=True))
    assert rows_of(published_contexts, pictures)[0]["contexts"] == "published contexts"


def test_every_value_can_be_sent_as_json():
    trajectory, pictures = aha(HOSTILE)
    assert json.loads(json.dumps(rows_of(trajectory, pictures)))


def test_a_brief_telling_has_whole_texts_and_pictures():
    trajectory, pictures = aha()
    brief = render.in_brief(trajectory, pictures.__getitem__)
    texts = [row["text"] for row in brief if row["is"] == "text"]
    assert texts[0] == "red apple at 1 1; green apple at 4 4"
    assert texts[1] == "No, one apple is green."
    assert [row["is"] for row in brief].count("picture") == 2
    assert not [row for row in brief if row["is"] == "cells"]


def test_patches_that_the_model_did_not_choose_are_named_live_and_again():
    trajectory, pictures = aha()
    origins = (Origin.SAMPLED,) * 9 + (Origin.PERSON,) * 2 + (Origin.SAMPLED,) * 52 + (Origin.TEMPLATE,)
    branch = replace(trajectory, segments=(trajectory.segments[0], replace(trajectory.segments[1], origins=origins)))
    told = [rows_of(branch, pictures), render.in_brief(branch, pictures.__getitem__)]
    for rows in told:
        forced = [(row["start"], row["count"], row["by"]) for row in rows if row["is"] == "forced"]
        assert forced == [(9, 2, "person"), (63, 1, "template")]
    assert not [row for row in rows_of(trajectory, pictures) if row["is"] == "forced"]


def test_an_unfinished_image_says_how_far_it_came():
    brief = render.in_brief(stopped(), {}.__getitem__)
    assert {"is": "progress", "segment": 0, "count": 10} in brief
    assert render.still(stopped(), {}.__getitem__).count("unfinished") == 1


def test_a_value_repeats_what_the_browser_may_have_missed():
    rows = [{"is": "text", "segment": 0, "text": "x" * 50} for _ in range(200)]
    value = render.timeline_value("run", rows, 150)
    assert value["first"] + len(value["rows"]) == 200
    assert 0 < value["first"] < 150
    assert len(json.dumps(value)) < 12_000


def test_a_large_row_is_not_sent_twice():
    rows = [{"is": "picture", "segment": 0, "png": "x" * 9000}, {"is": "done", "segment": 0}]
    assert render.timeline_value("run", rows, 1)["first"] == 1


def test_a_replay_without_pace_shows_everything_at_once():
    trajectory, pictures = aha()
    value = render.replay_value(trajectory, pictures.__getitem__, run="r", pace=0)
    assert value["rows"] == []
    assert value["whole"][-1]["is"] == "end"


def test_a_replay_sends_each_picture_once():
    trajectory, pictures = aha()
    value = render.replay_value(trajectory, pictures.__getitem__, run="r", pace=1)
    kinds = {row["is"] for row in value["rows"] if "png" in row}
    assert not kinds & {"cells", "picture"} and {"cells", "picture"} <= {row["is"] for row in value["rows"]}
    assert {row["segment"] for row in value["whole"] if row["is"] == "picture"} == {1, 4}


def test_rounds_hold_a_thought_an_image_and_a_reflection():
    trajectory, _ = aha()
    assert [[index for index, _ in r.segments] for r in render.rounds_of(trajectory)] == [[0, 1, 2], [3, 4, 5]]


def test_a_still_shows_all_rounds():
    trajectory, pictures = aha()
    still = render.still(trajectory, pictures.__getitem__)
    assert still.count("<img") == 2
    assert "two red apples." in still
    assert "Revision" in still


def test_the_aha_moment_is_marked_once_at_the_yes():
    trajectory, pictures = aha()
    assert trajectory.aha_segment == 5
    assert render.still(trajectory, pictures.__getitem__).count('class="aha"') == 1


def test_a_verdict_is_a_sign_and_a_word_not_only_a_colour():
    assert "✓" in render.verdict("yes")
    assert "Yes" in render.verdict("yes")
    assert "✗" in render.verdict("no")
    assert "No" in render.verdict("no")


def test_words_of_people_are_escaped_everywhere():
    trajectory, pictures = aha(HOSTILE)
    listed = TrajectorySummary(
        "id", HOSTILE, datetime.now(UTC), HOSTILE, True, StopReason.CONTENT, True, None, HOSTILE, ("no", "yes")
    )
    for html in (render.still(trajectory, pictures.__getitem__), render.cards([listed], lambda _: None)):
        assert "<img src=q" not in html
        assert "&lt;img src=q" in html


def test_a_card_says_verdict_aha_origin_and_date():
    trajectory, pictures = aha()
    moment = datetime(2026, 1, 31, tzinfo=UTC)
    cover = next(iter(pictures))
    listed = TrajectorySummary(
        "id1", "two stars", moment, "c", True, StopReason.CONTENT, True, cover, "me", ("no", "yes")
    )
    html = render.cards([listed], pictures.__getitem__)
    for wanted in ("gallery?run=id1", "✓", "aha moment", "recorded example", "31 Jan 2026", "2 drawings", "<img"):
        assert wanted in html


def test_small_pictures_stay_and_large_ones_become_thumbnails():
    assert render.thumbnail(png(1)) == png(1)
    assert render.width_of(render.thumbnail(png(1, side=600))) == 192
