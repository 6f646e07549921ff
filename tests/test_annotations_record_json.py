"""Records of any shape come back equal from JSON and files."""

import json
import math
from datetime import UTC, date, datetime
from decimal import Decimal

import pandas as pd
import pytest

from annotations.db.record_json import pack, unpack

RECORDS = {
    "plain values": {"a": 1, "b": 0.1, "c": "ü\n", "d": None, "e": True, "f": [1, [2]], "g": {"h": "i"}},
    "numbers wider than a database's": {"id": 2**80},
    "bytes anywhere": {"jpg": b"\xff\xd8", "image": {"bytes": b"\0", "path": "x.png"}, "many": [b"1", b"2"]},
    "names that meet": {"a": {"b": b"inner"}, "a.b": b"outer"},
    "times": {
        "at": datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
        "ns": pd.Timestamp("2023-04-05T06:07:08.123456789"),
        "day": date(2026, 1, 2),
    },
    "no number": {"inf": math.inf, "minus": -math.inf},
    "a heat map": {"map": [[x * y for x in range(200)] for y in range(200)]},
    "what looks packed": {"a": {"$bytes": "b"}, "c": {"$object": []}, "$time": "x"},
    "nothing": {},
}


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_comes_back_equal_through_json(name: str):
    packed, files = pack(RECORDS[name])
    assert unpack(json.loads(json.dumps(packed, allow_nan=False)), files) == RECORDS[name]


def test_a_value_that_is_no_number_comes_back_as_one():
    packed, files = pack({"score": math.nan})
    assert math.isnan(unpack(json.loads(json.dumps(packed, allow_nan=False)), files)["score"])


def test_long_lists_and_bytes_lie_in_files_of_their_own():
    packed, files = pack(RECORDS["a heat map"] | {"jpg": b"\xff"})
    assert packed == {"map": {"$long": "map"}, "jpg": {"$bytes": "jpg"}}
    assert len(files["map"]) < 200_000


@pytest.mark.parametrize("value", [Decimal(1), "a\0b", "\ud800", {1: "key"}])
def test_what_cannot_be_kept_is_refused(value):
    with pytest.raises(ValueError, match="cannot be"):
        pack({"field": value})
