"""Answers that fit their questions, and those that do not."""

import copy
import pickle
from dataclasses import replace

import pytest

from annotations.errors import AnswerError
from annotations.schema.annotation import Annotation, Answers, Status, validate
from annotations.schema.questions import QUESTIONS, questions_about
from model.reflection_text import split_verdict
from model.trajectory import Image, Reflection, Sampling, Thought, Token, Trajectory

TRAJECTORY = Trajectory(
    "a cat",
    1,
    2,
    Sampling(),
    "tiny",
    segments=(
        Thought((Token(1, "cat at 0 0"),)),
        Image((1, 2, 3, 4), sha256="0" * 64),
        Reflection("no", 0.2, (Token(2, "No"), Token(3, ", it is a dog."))),
        Reflection("yes", 0.9, (Token(2, "Yes"),), finished=False),
    ),
)


def reflection(**answers) -> Annotation:
    return Annotation("t", 2, "ann", answers)


def thought(**answers) -> Annotation:
    return Annotation("t", 0, "ann", answers)


@pytest.mark.parametrize(
    "annotation",
    [
        reflection(verdict_right="yes"),
        reflection(verdict_right="yes", reason_rating=5, reason_correction="it is a dog, not a cat."),
        reflection(verdict_right="no", reason_correction="Yes, there is a cat."),
        reflection(verdict_right="yes", reason_correction="No cat is there."),
        thought(thought_rating=1),
        thought(thought_rating=3, thought_correction="cat at 1 1"),
        replace(reflection(), status=Status.UNFINISHED),
        replace(reflection(reason_rating=2), status=Status.UNFINISHED),
        replace(thought(), status=Status.DISCARDED),
    ],
)
def test_answers_that_fit_are_accepted(annotation):
    validate(annotation, TRAJECTORY)


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        (reflection(), "not answered yet: Is the verdict right"),
        (thought(thought_correction="x"), "not answered yet: How good is the plan"),
        (reflection(verdict_right="maybe"), "'maybe', wanted one of: yes, no"),
        (reflection(verdict_right=True), "True, wanted one of"),
        (reflection(verdict_right="yes", reason_rating=6), "6, wanted a whole number from 1 to 5"),
        (reflection(verdict_right="yes", reason_rating=True), "True, wanted a whole number"),
        (reflection(verdict_right="yes", reason_rating=4.0), "wanted a whole number"),
        (reflection(verdict_right="yes", reason_correction=3), "wanted text"),
        (reflection(verdict_right="yes", reason_correction="x" * 2001), "2001 characters, wanted at most 2000"),
        (reflection(verdict_right="yes", reason_correction="a\ud800"), "cannot be stored"),
        (reflection(verdict_right="yes", thought_rating=3), "“thought_rating” is not asked about a reflection"),
        (reflection(verdict_right="no", reason_correction="No, it is."), "the right verdict is “yes”"),
        (reflection(verdict_right="yes", reason_correction="yes: it is"), "the right verdict is “no”"),
        (replace(reflection(verdict_right="yes"), segment=9), "got segment 9"),
        (replace(reflection(verdict_right="yes"), segment=-1), "got segment -1"),
        (replace(reflection(), segment=1), "is of kind image"),
        (replace(reflection(verdict_right="yes"), segment=3), "was not finished"),
        (replace(reflection(verdict_right="yes"), annotator=" "), "without an annotator"),
        (replace(reflection(verdict_right="yes"), seconds=float("nan")), "seconds"),
        (replace(reflection(verdict_right="yes"), seconds=-1.0), "seconds"),
    ],
)
def test_answers_that_do_not_fit_are_refused_with_what_was_wanted(annotation, message):
    with pytest.raises(AnswerError, match=message):
        validate(annotation, TRAJECTORY)


def test_an_annotation_is_a_value_that_can_be_copied_pickled_hashed_and_written_as_json():
    annotation = reflection(verdict_right="no", reason_correction="there is a cat", reason_rating=None)
    assert dict(annotation.answers) == {"reason_correction": "there is a cat", "verdict_right": "no"}
    for again in (
        copy.deepcopy(annotation),
        pickle.loads(pickle.dumps(annotation)),
        Annotation.from_dict(annotation.to_dict()),
    ):
        assert again == annotation
        assert hash(again) == hash(annotation)
    assert replace(annotation, id=4, key="k") == annotation
    assert replace(annotation, status="discarded") != annotation
    with pytest.raises(TypeError):
        annotation.answers["verdict_right"] = "yes"


def test_blank_text_is_no_answer():
    assert Answers({"reason_correction": "  ", "verdict_right": "yes"}) == {"verdict_right": "yes"}


def test_a_verdict_word_is_told_from_a_sentence_that_begins_with_no():
    assert split_verdict("No, the car is red.") == ("no", "the car is red.")
    assert split_verdict("YES") == ("yes", "")
    assert split_verdict("No car is red.") == (None, "No car is red.")
    assert split_verdict("Nothing is there.") == (None, "Nothing is there.")


def test_questions_are_asked_about_reflections_and_thoughts_only():
    assert len({question.name for question in QUESTIONS}) == len(QUESTIONS) == 5
    assert [q.name for q in questions_about("reflection")] == [
        "verdict_right",
        "reason_rating",
        "reason_correction",
    ]
    assert questions_about("image") == ()
