"""The reviewer's sheet: all questions of an item, filled in where all people answered alike.

Values only; knows questions and trajectories, no store and no page.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from annotations.schema.annotation import Annotation, Answers, Value
from annotations.schema.project import Project
from annotations.schema.questions import Question
from model.trajectory import Reflection, Thought, Trajectory
from studio.annotate.reflection_form import worded_as_asked
from studio.components.forms.sheet import Kept, Sheet, SheetTarget, sheet_targets
from studio.components.render import rounds_of


def review_sheet(
    project: Project, trajectory: Trajectory, other: Trajectory | None, submitted: Sequence[Annotation]
) -> Sheet:
    """What the project is about and whatever else somebody (`given`) has answered. All of it is seen at once, and
    nothing has to be answered. The pictures are there only where something is to be marked on them: they stand beside
    the form.
    """
    answered = {None, *(annotation.segment for annotation in submitted)}
    pictures = other is None and any(question.form.on_image for question in project.questions)
    left = trajectory.id if other is not None else None
    sheet = Sheet(project, trajectory, other, left, layout="review", pictures=pictures, spread=True)
    things = [thing for thing in sheet_targets(sheet) if thing.needed or thing.segment in answered]
    return replace(sheet, asked=tuple(_decidable(project, thing, trajectory) for thing in things))


def _decidable(project: Project, thing: SheetTarget, trajectory: Trajectory) -> SheetTarget:
    """Named as in the table of answers, and asked in the words that annotators saw."""
    name = "" if thing.segment is None else image_name(trajectory, thing.segment)
    worded = worded_as_asked(project, trajectory, thing.segment)
    return replace(thing, needed=False, said="", name=name, worded=worded)


def image_name(trajectory: Trajectory, segment: int) -> str:
    """Which image of a drawing a segment belongs to, as annotators count them: “image 2”."""
    number = next(shown.number for shown in rounds_of(trajectory) if segment in dict(shown.segments))
    return f"image {number}" if number else "the image given"


def segment_name(trajectory: Trajectory, segment: int) -> str:
    """What a segment is called: “reflection on image 2”, “plan of image 1”, “image 1”."""
    image = image_name(trajectory, segment)
    match trajectory.segments[segment]:
        case Reflection():
            return f"reflection on {image}"
        case Thought():
            return f"plan of {image}"
    return image


def agreed(sheet: Sheet, submitted: Sequence[Annotation]) -> Kept:
    """What all who answered about a thing answered alike."""
    return _filled_in(sheet, submitted, _agreed)


def majority(sheet: Sheet, submitted: Sequence[Annotation]) -> Kept:
    """What most people said about a segment, question by question; nothing where they are split, and no texts."""
    return _filled_in(sheet, submitted, _most)


def _filled_in(
    sheet: Sheet, submitted: Sequence[Annotation], answer: Callable[[Question, Sequence[Annotation]], Value | None]
) -> Kept:
    kept = {}
    for thing in sheet_targets(sheet):
        about = [annotation for annotation in submitted if annotation.segment == thing.segment]
        kept[thing.segment] = Answers({question.name: answer(question, about) for question in thing.questions})
    return kept


def _most(question: Question, about: Sequence[Annotation]) -> Value | None:
    values = [annotation.answers[question.name] for annotation in about if question.name in annotation.answers]
    return question.form.majority(values) if question.form.has_gold else None


def _agreed(question: Question, about: Sequence[Annotation]) -> Value | None:
    values = [annotation.answers.get(question.name) for annotation in about]
    if not values or None in values or not question.form.has_gold:
        return None
    return values[0] if len(set(map(question.form.comparable, values))) == 1 else None
