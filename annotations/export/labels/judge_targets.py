"""Target reflections from annotations of reflections, and the reason of every exclusion.

Votes are filtered before (`reflections.aggregate_reflections`: who was overruled or outvoted), the model's own words
after (`kinds/judge_sft.py` and `kinds/judge_pref.py`, by the option `--own-words`). A reflection judged right is kept
in the model's own words when its reason is rated good, and in the person's words when they wrote a better reason. One
judged wrong becomes the opposite verdict with the person's reason, and nothing without it. The images and reflections
before it are its context.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from annotations.schema.annotation import Annotation, right_answer
from annotations.schema.forms.rating import Rating
from annotations.schema.questions import EDIT, REASON_CORRECTION, REASON_RATING, VERDICT_RIGHT, YES
from model.examples import JudgeExample, is_number
from model.reflection_text import own_words, sentence
from model.trajectory import Image, Origin, Reflection, Source, Trajectory, origin_of

DEFAULT_RATING = Rating()
GOOD_SHARE = 0.75  # of a rating's scale


class JudgeExclusion(StrEnum):
    """Why a submitted annotation of a reflection makes no row, each with the function that says so."""

    # `judge_target`, by the annotation itself
    NO_REFLECTION = "about something else than a reflection"
    NO_VERDICT = "without an answer to whether the verdict is right"
    NO_CORRECTION = "verdict wrong, but no corrected reason"
    LOW_RATING = "verdict right, but the reason neither rated good nor corrected"
    CONTEXT = "images and reflections before it do not alternate"
    # `reflections.aggregate_reflections`, by the votes of all
    OUTVOTED = "others see the verdict the other way"
    DISAGREE = "people disagree about the verdict, and no reviewer has decided"
    OVERRULED = (
        "a reviewer has decided instead"  # also `_rows` of `judge_sft` and `judge_pref`: other words than theirs
    )
    # `_rows` of `judge_sft` and `judge_pref`, `_plan` of `plans`, by the option `--own-words`
    OWN_WORDS = "the model’s own words, which were not asked for"


@dataclass(frozen=True)
class JudgeTarget:
    """What should be said of the last image, in reflection `segment`, and by whom it was written."""

    segment: int
    completion: str
    origin: Origin
    images: tuple[str, ...]  # sha256, in the order they were drawn
    reflections: tuple[str, ...]  # one fewer
    correction: str | None = None  # the reason as a person wrote it, of which the completion is the sentence
    edit: str | None = None  # what to change, as a person or the model wrote it


def judge_target(
    trajectory: Trajectory, annotation: Annotation, rating: Rating = DEFAULT_RATING, good: float = GOOD_SHARE
) -> JudgeTarget | JudgeExclusion:
    """The example that a submitted annotation makes, its pictures still by name, or why it makes none. `rating`: the
    form in which its project asks for REASON_RATING; `good`: where on its scale good reasons begin.
    """
    segment = annotation.segment
    reflection = None if segment is None else trajectory.segments[segment]
    if segment is None or not isinstance(reflection, Reflection):
        return JudgeExclusion.NO_REFLECTION
    context = context_of(trajectory, segment)
    if context is None:
        return JudgeExclusion.CONTEXT
    if VERDICT_RIGHT not in annotation.answers:  # a project need not ask it
        return JudgeExclusion.NO_VERDICT
    correction, written_edit = annotation.answers.get(REASON_CORRECTION), annotation.answers.get(EDIT)
    edit = reflection.edit if written_edit is None else str(written_edit)
    if correction is not None:
        completion = sentence(right_answer(reflection, annotation.answers), str(correction))
        return JudgeTarget(segment, completion, Origin.PERSON, *context, correction=str(correction), edit=edit)
    if annotation.answers[VERDICT_RIGHT] != YES:
        return JudgeExclusion.NO_CORRECTION
    if not is_rated_good(rating, annotation.answers.get(REASON_RATING), good):
        return JudgeExclusion.LOW_RATING
    return JudgeTarget(segment, own_words(reflection), origin_of(reflection), *context, edit=edit)


def judge_example(
    trajectory: Trajectory, target: JudgeTarget, *, picture: Callable[[str], bytes], annotator: str
) -> JudgeExample:
    """The example itself; `picture` gives the PNG of a hash, `annotator` is a pseudonym."""
    return JudgeExample(
        prompt=trajectory.prompt,
        images=tuple(picture(sha256) for sha256 in target.images),
        reflections=target.reflections,
        completion=target.completion,
        origin=target.origin.value,
        correction=target.correction,
        trajectory_id=trajectory.id,
        segment=target.segment,
        annotator=annotator,
    )


def context_of(trajectory: Trajectory, segment: int) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """Hashes of pictures, and the reflections between them, up to this segment; None where they do not alternate."""
    pictures: list[str] = []
    reflections: list[str] = []
    for before in trajectory.segments[:segment]:
        if isinstance(before, Image | Source):
            if len(pictures) != len(reflections) or not before.sha256:
                return None
            pictures.append(before.sha256)
        elif isinstance(before, Reflection):
            if len(pictures) != len(reflections) + 1:
                return None
            reflections.append(own_words(before))
    alternates = len(pictures) == len(reflections) + 1
    return (tuple(pictures), tuple(reflections)) if alternates else None


def is_rated_good(rating: Rating, value: Any, good: float = GOOD_SHARE) -> bool:
    """Whether a rating is at least so far up its scale, from 0 to 1."""
    return is_number(value) and (value - rating.scale[0]) / rating.steps >= good - 1e-9
