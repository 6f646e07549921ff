"""The rule by which annotations become `judge_sft` rows, and the reasons why some do not.

A reflection judged right is kept in the model's own words when its reason is rated good, and in the
person's words when they wrote a better reason. One judged wrong becomes the opposite verdict with the
person's reason, and nothing without it. The images and reflections before it are its context. What a reviewer has
decided of a reflection stands in place of what others said of it; where that makes no example, those who said the same
still do.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from annotations.schema.annotation import Annotation, right_answer
from annotations.schema.forms.rating import GOOD, Rating
from annotations.schema.project import Project
from annotations.schema.questions import REASON_CORRECTION, REASON_RATING, VERDICT_RIGHT, YES
from model.examples import JudgeExample
from model.reflection_text import sentence, split_verdict
from model.trajectory import Image, Origin, Reflection, Source, Trajectory

DEFAULT_RATING = Rating()


class LeftOut(StrEnum):
    """Why a submitted annotation makes no example."""

    NO_REFLECTION = "about something else than a reflection"
    NO_VERDICT = "without an answer to whether the verdict is right"
    NO_CORRECTION = "verdict wrong, but no corrected reason"
    LOW_RATING = f"verdict right, but the reason neither rated {GOOD} nor corrected"
    OVERRULED = "a reviewer has decided instead"
    CONTEXT = "images and reflections before it do not alternate"


@dataclass(frozen=True)
class Target:
    """What should be said of the last image, in reflection `segment`, and by whom it was written."""

    segment: int
    completion: str
    origin: Origin
    images: tuple[str, ...]  # sha256, in the order they were drawn
    reflections: tuple[str, ...]  # one fewer
    correction: str | None = None  # the reason as a person wrote it, of which the completion is the sentence


def judge_target(trajectory: Trajectory, annotation: Annotation, rating: Rating = DEFAULT_RATING) -> Target | LeftOut:
    """The example that a submitted annotation makes, its pictures still by name, or why it makes none. `rating`: the
    form in which its project asks for REASON_RATING.
    """
    segment = annotation.segment
    reflection = None if segment is None else trajectory.segments[segment]
    if segment is None or not isinstance(reflection, Reflection):
        return LeftOut.NO_REFLECTION
    context = _context(trajectory, segment)
    if context is None:
        return LeftOut.CONTEXT
    if VERDICT_RIGHT not in annotation.answers:  # a project need not ask it
        return LeftOut.NO_VERDICT
    correction = annotation.answers.get(REASON_CORRECTION)
    if correction is not None:
        completion = sentence(right_answer(reflection, annotation.answers), str(correction))
        return Target(segment, completion, Origin.PERSON, *context, correction=str(correction))
    if annotation.answers[VERDICT_RIGHT] != YES:
        return LeftOut.NO_CORRECTION
    if not rating.is_good(annotation.answers.get(REASON_RATING)):
        return LeftOut.LOW_RATING
    written = any(token.origin is Origin.PERSON for token in reflection.tokens)
    origin = Origin.PERSON if written else Origin.SAMPLED
    return Target(segment, _own_words(reflection), origin, *context)


def preferred_target(
    trajectory: Trajectory, annotation: Annotation, decision: Annotation | None, rating: Rating = DEFAULT_RATING
) -> Target | LeftOut:
    """The same, where a reviewer may have decided about the same reflection."""
    if decision is None or decision.id == annotation.id:
        return judge_target(trajectory, annotation, rating)
    said, decided = annotation.answers, decision.answers
    differs = any(said.get(name) != decided[name] for name in (VERDICT_RIGHT, REASON_RATING) if name in decided)
    if differs or isinstance(judge_target(trajectory, decision, rating), Target):
        return LeftOut.OVERRULED
    return judge_target(trajectory, annotation, rating)


def reason_ratings(projects: Iterable[Project]) -> dict[str, Rating]:
    """In which form each project asks how good a reason is, by the project's id; none for those that do not ask."""
    asked = ((project.id, q.form) for project in projects for q in project.questions if q.name == REASON_RATING)
    return {id: form for id, form in asked if isinstance(form, Rating)}


def judge_example(
    trajectory: Trajectory,
    annotation: Annotation,
    target: Target,
    *,
    picture: Callable[[str], bytes],
    annotator: str,
    decided: bool = False,
) -> JudgeExample:
    """The example itself; `picture` gives the PNG of a hash, `annotator` is a pseudonym, `decided` by a reviewer."""
    return JudgeExample(
        prompt=trajectory.prompt,
        images=tuple(picture(sha256) for sha256 in target.images),
        reflections=target.reflections,
        completion=target.completion,
        origin=target.origin.value,
        correction=target.correction,
        trajectory_id=annotation.trajectory_id,
        segment=target.segment,
        annotator=annotator,
        decided=decided,
    )


def _own_words(reflection: Reflection) -> str:
    text = reflection.text.strip()
    return text if split_verdict(text)[0] == reflection.answer else sentence(reflection.answer, reflection.reason)


def _context(trajectory: Trajectory, segment: int) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """Pictures and the reflections between them, up to this segment; None where they do not alternate."""
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
            reflections.append(_own_words(before))
    alternates = len(pictures) == len(reflections) + 1
    return (tuple(pictures), tuple(reflections)) if alternates else None
