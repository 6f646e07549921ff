"""The benchmark runs both engines, and says where they disagree."""

import json

from commands import run


def test_both_engines_pick_the_same_codes_and_every_case_is_measured():
    done = run("model.benchmark", "--counts", "1", "3", "--repeats", "1", "--device", "cpu", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["greedy_codes_that_differ"] == 0
    alone, three, group = told["cases"]
    assert [case["images"] for case in told["cases"]] == [1, 3, 8]
    assert alone["padded"] is None and min(three["padded"], group["padded"]) > 0
    assert three["one_by_one"] == 3 * alone["one_by_one"]
    assert all(case["share_of_floor"] is None and case["memory"] > 0 for case in told["cases"])
