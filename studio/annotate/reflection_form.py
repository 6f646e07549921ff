"""A reflection as a sheet of its own: what is asked about it and about the thought behind its image.

Knows trajectories and questions. No store, no page: `handlers` shows a `ReflectionItem`, and gets back its token and
what was filled in.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from annotations.errors import AnswerError
from annotations.schema.annotation import Annotation, right_answer
from annotations.schema.project import Project
from annotations.schema.questions import (
    NO,
    QUESTIONS,
    REASON_CORRECTION,
    REASON_RATING,
    THOUGHT_CORRECTION,
    VERDICT_RIGHT,
    YES,
    questions_about,
)
from model.trajectory import Reflection, Thought, Trajectory
from studio.annotate.item_token import ItemToken
from studio.annotate.stock_reasons import is_reason_for
from studio.components.forms.sheet import Otherwise, Sheet, SheetTarget, Wording

LAYOUT = "reflection"
FITS, FITS_HELP = "Does the picture fit?", "Look at the picture and the prompt only."
USUAL_TITLE = next(question.title for question in QUESTIONS if question.name == VERDICT_RIGHT)
KNOWN = {(question.name, question.segment, type(question.form)) for question in QUESTIONS}


@dataclass(frozen=True)
class ReflectionItem:
    """What is shown: a reflection (the segment of `showing`), and the thought behind its image."""

    showing: ItemToken
    opposite: str  # the verdict that is right if the model's is wrong: “yes” or “no”
    thought: int | None  # segment of the plan, where there is one


def asks_only_about_reflections(project: Project) -> bool:
    """Whether it asks what reflections are asked one by one, and nothing else; all others are asked on one sheet."""
    asked = {(question.name, question.segment, type(question.form)) for question in project.questions}
    return project.subject == Reflection.kind and asked <= KNOWN


def reflections_of(trajectory: Trajectory) -> list[int]:
    """The segments that can be asked about."""
    return [i for i, s in enumerate(trajectory.segments) if isinstance(s, Reflection) and s.finished]


def reflection_item(showing: ItemToken, trajectory: Trajectory) -> ReflectionItem:
    """The reflection that a token names, with the last thought since the reflection before it. Raises AnswerError where
    it names none."""
    if showing.segment not in reflections_of(trajectory):
        raise AnswerError("this page shows something that is not asked about any more; load it again")
    before = reversed(list(enumerate(trajectory.segments[: showing.segment])))
    since = takewhile(lambda pair: not isinstance(pair[1], Reflection), before)
    thought = next((i for i, s in since if isinstance(s, Thought) and s.finished), None)
    return ReflectionItem(showing, right_answer(trajectory.segments[showing.segment], {VERDICT_RIGHT: NO}), thought)


def fits(opposite: str) -> Wording:
    """The question whether a verdict is right, asked about the picture: “yes” to the one is “yes” to the other where
    the model said yes.
    """
    right, wrong = (YES, NO) if opposite == NO else (NO, YES)
    return Wording(FITS, FITS_HELP, (("Fits", right), ("Does not", wrong)))


def worded_as_asked(project: Project, trajectory: Trajectory, segment: int | None) -> dict[str, Wording]:
    """By question: in which other words the form of reflections asks it about this segment."""
    reflection = None if segment is None else trajectory.segments[segment]
    if not isinstance(reflection, Reflection) or not asks_only_about_reflections(project):
        return {}
    opposite = right_answer(reflection, {VERDICT_RIGHT: NO})
    return {q.name: fits(opposite) for q in project.questions if (q.name, q.title) == (VERDICT_RIGHT, USUAL_TITLE)}


def reflection_sheet(
    project: Project, trajectory: Trajectory, item: ReflectionItem, reasons: Sequence[str] = ()
) -> Sheet:
    """The questions about a reflection, then those about its thought. A reason that is not there is not rated, nor that
    of a wrong verdict, unless the project requires it: its correction is asked for. `reasons`: to choose from where the
    verdict is wrong. A title that an admin changed is asked as it stands.
    """
    segment = item.showing.segment
    reason = trajectory.segments[segment].reason
    asked = questions_about(Reflection.kind, project.questions)
    if not reason.strip():
        asked = tuple(question for question in asked if question.name != REASON_RATING)
    words = Otherwise(
        VERDICT_RIGHT,
        NO,
        title="What should it have said?",
        help=f"After “{item.opposite.capitalize()},” – the whole reason. It is needed here.",
    )
    worded = worded_as_asked(project, trajectory, segment)
    things = [
        SheetTarget(
            segment,
            None,
            "",
            asked,
            needed=True,
            originals={REASON_CORRECTION: reason},
            otherwise={REASON_CORRECTION: words},
            worded=worded,
            unless={q.name: (VERDICT_RIGHT, NO) for q in asked if q.name == REASON_RATING and not q.required},
            suggestions={REASON_CORRECTION: tuple(reasons)},
        )
    ]
    about_thought = questions_about(Thought.kind, project.questions)
    if item.thought is not None and about_thought:
        originals = {THOUGHT_CORRECTION: trajectory.segments[item.thought].text.strip()}
        things.append(SheetTarget(item.thought, None, "", about_thought, needed=False, originals=originals))
    return Sheet(project, trajectory, layout=LAYOUT, pictures=False, asked=tuple(things))


def check_correction(annotations: Sequence[Annotation], prompt: str, opposite: str) -> None:
    """Raises AnswerError where the verdict is called wrong and nothing says what it should have been, or where it is
    called right and the correction is a reason for `opposite`.
    """
    for annotation in annotations:
        correction = str(annotation.answers.get(REASON_CORRECTION, ""))
        if annotation.answers.get(VERDICT_RIGHT) == YES and is_reason_for(prompt, opposite, correction):
            raise AnswerError(
                f"“{correction}” is a reason for “{opposite}”, but by your answer above that is not the right verdict; "
                "change one of them"
            )
        if annotation.answers.get(VERDICT_RIGHT) == NO and REASON_CORRECTION not in annotation.answers:
            raise AnswerError(
                "A wrong verdict has a wrong reason: write what it should have said, or skip this drawing."
            )
