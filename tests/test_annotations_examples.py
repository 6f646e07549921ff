"""Which annotation makes which example."""

import dataclasses

import pytest
from test_annotations_samples import NO_REASON, YES_REASON, aha, judged, png

from annotations.export.labels.judge_targets import JudgeExclusion, judge_example, judge_target
from annotations.schema.annotation import Annotation
from model.reflection_text import sentence
from model.trajectory import Origin, Source, Token

TRAJECTORY = aha(id="t")[0]


@pytest.mark.parametrize(
    ("segment", "answers", "completion", "origin"),
    [
        (2, {"verdict_right": "yes", "reason_rating": 4}, NO_REASON, Origin.SAMPLED),
        (4, {"verdict_right": "yes", "reason_rating": 5}, YES_REASON, Origin.SAMPLED),
        (
            2,
            {"verdict_right": "yes", "reason_rating": 1, "reason_correction": "One apple is missing"},
            "No, one apple is missing.",
            Origin.PERSON,
        ),
        (
            2,
            {"verdict_right": "no", "reason_correction": "there are two apples."},
            "Yes, there are two apples.",
            Origin.PERSON,
        ),
        (
            4,
            {"verdict_right": "no", "reason_correction": "No, there are three."},
            "No, there are three.",
            Origin.PERSON,
        ),
    ],
)
def test_a_judgement_becomes_the_words_to_learn(segment, answers, completion, origin):
    target = judge_target(TRAJECTORY, judged("t", segment, **answers))
    assert (target.completion, target.origin) == (completion, origin)


@pytest.mark.parametrize(
    ("annotation", "why"),
    [
        (judged("t", verdict_right="yes"), JudgeExclusion.LOW_RATING),
        (judged("t", verdict_right="yes", reason_rating=3), JudgeExclusion.LOW_RATING),
        (judged("t", verdict_right="no"), JudgeExclusion.NO_CORRECTION),
        (judged("t", verdict_right="no", reason_rating=5), JudgeExclusion.NO_CORRECTION),
        (Annotation("t", 0, "ann", {"thought_rating": 5}), JudgeExclusion.NO_REFLECTION),
        (Annotation("t", None, "ann", {"comment": "all of it"}), JudgeExclusion.NO_REFLECTION),  # a vote on a pair, too
    ],
)
def test_a_judgement_that_says_too_little_makes_no_example(annotation, why):
    assert judge_target(TRAJECTORY, annotation) is why


def test_earlier_images_and_reflections_are_the_context_in_order():
    annotation = judged("t", 4, verdict_right="yes", reason_rating=5)
    target = judge_target(TRAJECTORY, annotation)
    pictures = aha()[1]
    example = judge_example(TRAJECTORY, target, picture=pictures.get, annotator="p")
    assert example.images == (png(0), png(1))
    assert example.reflections == (NO_REASON,)
    assert (example.prompt, example.trajectory_id, example.segment, example.annotator) == ("two apples", "t", 4, "p")
    assert example.from_row(example.to_row()) == example


def test_a_given_image_can_be_judged_but_not_one_drawn_right_after_it():
    source = Source((1,), "0" * 64)
    given = dataclasses.replace(TRAJECTORY, segments=(source, TRAJECTORY.segments[2]))
    annotation = judged("t", 1, verdict_right="yes", reason_rating=5)
    assert judge_target(given, annotation).images == ("0" * 64,)
    edited = dataclasses.replace(TRAJECTORY, segments=(source, *TRAJECTORY.segments))
    assert judge_target(edited, dataclasses.replace(annotation, segment=3)) is JudgeExclusion.CONTEXT


def test_words_that_a_person_wrote_into_the_trajectory_are_not_called_the_models_own():
    segments = list(TRAJECTORY.segments)
    segments[2] = dataclasses.replace(segments[2], tokens=(Token(1, "No"), Token(2, ", bad.", Origin.PERSON)))
    target = judge_target(
        dataclasses.replace(TRAJECTORY, segments=tuple(segments)), judged("t", verdict_right="yes", reason_rating=5)
    )
    assert (target.completion, target.origin) == ("No, bad.", Origin.PERSON)


@pytest.mark.parametrize(
    ("answer", "reason", "words"),
    [
        ("no", "There are three apples instead of two.", "No, there are three apples instead of two."),
        ("no", "no,  there are\n  three", "No, there are\n  three."),
        ("yes", "I see two!", "Yes, I see two!"),
        ("yes", "TV and cat are there", "Yes, TV and cat are there."),
        ("no", "A cat is missing", "No, a cat is missing."),
        ("no", "No cat is there.", "No, no cat is there."),
        ("yes", "Yes.", "Yes."),
        ("no", "Mario is not there", "No, Mario is not there."),
        ("no", "Two words: “Red Bull”", "No, two words: “Red Bull”"),
        ("no", "no-one is there", "No, no-one is there."),
        ("no", "No. 5 is missing", "No, No. 5 is missing."),
        ("no", "苹果太多了。", "No, 苹果太多了。"),
        ("no", "苹果太多了", "No, 苹果太多了。"),
        ("no", "“苹果太多了！”", "No, “苹果太多了！”"),
        ("no", "هل هذا تفاح؟", "No, هل هذا تفاح؟"),
        ("no", "یہ سیب نہیں ہے۔", "No, یہ سیب نہیں ہے۔"),
        ("no", "दो सेब हैं।", "No, दो सेब हैं।"),
        ("no", "दो सेब हैं", "No, दो सेब हैं।"),
        ("no", "ขาดแอปเปิล", "No, ขาดแอปเปิล"),
        ("no", "the sign says (three…)", "No, the sign says (three…)"),
        ("no", "it is 50 %", "No, it is 50 %."),
    ],
)
def test_a_reason_is_worded_as_the_model_words_it(answer, reason, words):
    assert sentence(answer, reason) == words


@pytest.mark.parametrize(
    "written", ["苹果  太多了。", "Mario\n\nis not there", " هذا ليس تفاحا؟ ", "eBay’s  logo – wrong ;"]
)
def test_what_a_person_wrote_stands_beside_the_sentence_as_it_was_written(written):
    annotation = judged("t", 4, verdict_right="no", reason_correction=written)
    target = judge_target(TRAJECTORY, annotation)
    assert target.correction == written
    assert written.strip() in target.completion
    example = judge_example(TRAJECTORY, target, picture=aha()[1].get, annotator="p")
    assert example.to_row()["correction"] == written
    assert example.from_row(example.to_row()) == example


def test_a_row_without_the_written_text_is_read_as_before():
    annotation = judged("t", 4, verdict_right="yes", reason_rating=5)
    target = judge_target(TRAJECTORY, annotation)
    row = judge_example(TRAJECTORY, target, picture=aha()[1].get, annotator="p").to_row()
    assert row.pop("correction") is None
    assert judge_example(TRAJECTORY, target, picture=aha()[1].get, annotator="p").from_row(row).correction is None
