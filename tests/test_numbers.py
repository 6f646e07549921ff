"""What is no number that can be computed with is refused in words wherever numbers come in, however it is written."""

import math
from dataclasses import replace
from typing import Any

import pytest
from test_annotations_samples import aha, judged
from training_rows import row
from transformers import JanusImageProcessorPil

from annotations.db.record_json import pack, unpack
from annotations.errors import AnswerError
from annotations.export.labels.judge_targets import JudgeExclusion, judge_target
from annotations.metrics.agreement import krippendorff_alpha
from annotations.schema.annotation import validate
from annotations.schema.field_types import misfit
from annotations.schema.forms.regions import Regions
from annotations.schema.questions import Question
from model.backends.preprocessing import Preprocessing
from model.examples import JudgeExample, is_number
from model.messages import MessageError
from model.trajectory import Origin, Reflection, Token, Trajectory

HUGE = 10**400  # JSON and Python have it, a float has not
NO_NUMBERS = {"huge": HUGE, "-huge": -HUGE, "inf": math.inf, "nan": math.nan, "true": True, "text": "0.5", "none": None}
REGIONS = Question("spots", "image", Regions(), "Where?")

TRAJECTORY = aha(id="t")[0]


def _weight(value: Any) -> None:
    JudgeExample.from_row(row(weight=value))


def _region(value: Any) -> None:
    REGIONS.check([{"x": value, "y": 0.5}], TRAJECTORY)


def _seconds(value: Any) -> None:
    validate(replace(judged("t", verdict_right="yes", reason_rating=3), seconds=value), TRAJECTORY)


def _rating(value: Any) -> None:
    validate(judged("t", verdict_right="yes", reason_rating=value), TRAJECTORY)


def _agreement(value: Any) -> None:
    krippendorff_alpha([(1, "ada", value), (1, "bob", 2)], "interval")


def _of_processor(name: str, value: Any) -> None:
    processor = JanusImageProcessorPil()
    setattr(processor, name, value)
    Preprocessing.of(processor)


PLACES = {
    "weight": (_weight, MessageError, "the weight is .*wanted a number from 0"),
    "region": (_region, AnswerError, "numbers from 0 to 1"),
    "seconds": (_seconds, AnswerError, "seconds, wanted a number"),
    "rating": (_rating, AnswerError, "wanted a whole number from 1 to 5"),
    "agreement": (_agreement, AnswerError, "wanted a number"),
    "rescale": (lambda value: _of_processor("rescale_factor", value), ValueError, "rescale_factor: got"),
    "mean": (lambda value: _of_processor("image_mean", [0.5, value, 0.5]), ValueError, "image_mean: got"),
    "std": (lambda value: _of_processor("image_std", [0.5, value, 0.5]), ValueError, "image_std: got"),
    "least": (lambda value: _of_processor("min_size", value), ValueError, "min_size: got"),
    "background": (lambda value: _of_processor("background_color", [0, value, 0]), ValueError, "background_color: got"),
}
ABSENT = {
    ("weight", "none"),
    ("rating", "none"),
    ("agreement", "none"),
    ("agreement", "nan"),
}  # nothing given


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", NO_NUMBERS)
def test_what_is_no_number_is_refused_in_words(place: str, name: str):
    attempt, error, message = PLACES[place]
    if (place, name) in ABSENT:
        attempt(NO_NUMBERS[name])
        return
    with pytest.raises(error, match=message) as refused:
        attempt(NO_NUMBERS[name])
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize("name", NO_NUMBERS)
def test_what_is_no_number_is_found_in_a_trajectory_and_makes_no_good_rating(name: str):
    value = NO_NUMBERS[name]
    assert not is_number(value) and is_number(0) and is_number(0.5)
    said = replace(TRAJECTORY.segments[2], p_yes=value)
    assert misfit(replace(TRAJECTORY, segments=(said,)), Trajectory).startswith("segments[0].p_yes is ")
    rated = judged("t", verdict_right="yes", reason_rating=value)
    assert judge_target(TRAJECTORY, rated) is JudgeExclusion.LOW_RATING


@pytest.mark.parametrize("name", NO_NUMBERS)
def test_a_record_keeps_what_is_no_number_as_it_was(name: str):
    packed, files = pack({"x": NO_NUMBERS[name]})
    [back] = unpack(packed, files).values()
    assert back == NO_NUMBERS[name] or (back != back and name == "nan")
    with pytest.raises(ValueError, match="“x.0” holds a whole number of more than 4300 digits"):
        pack({"x": [10**5000]})


@pytest.mark.parametrize(
    "token",
    [
        Token(True, " a"),
        Token(1.0, " a"),
        Token("1", " a"),
        Token(1, 5),
        Token(1, "\0"),
        Token(1, "\ud800"),
        Token(1, " a", "sampled"),
        (1, " a", Origin.SAMPLED),
        None,
    ],
)
@pytest.mark.parametrize("at", [0, 1, 2])
def test_one_word_of_another_type_is_found_among_many(token: Any, at: int):
    good = [Token(1, " a"), Token(2, "ü", Origin.PERSON)]
    tokens = (*good[:at], token, *good[at:])
    assert misfit(replace(TRAJECTORY, segments=(Reflection("no", 0.5, tuple(good)),)), Trajectory) is None
    found = misfit(replace(TRAJECTORY, segments=(Reflection("no", 0.5, tokens),)), Trajectory)
    assert found is not None and found.startswith(f"segments[0].tokens[{at}]")


@pytest.mark.parametrize("code", [True, 1.0, "1", None])
def test_one_code_of_another_type_is_found_among_many(code: Any):
    image = replace(TRAJECTORY.segments[1], codes=(1, code, 2))
    found = misfit(replace(TRAJECTORY, segments=(image,)), Trajectory)
    assert found == f"segments[0].codes[1] is {code!r}"
