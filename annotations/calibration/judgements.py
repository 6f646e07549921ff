"""Joins the stored scores of critics with people's verdicts on the same pictures.

People's verdict on a picture is a reviewer's decision, else what most people answered about the reflection on it; where
as many said yes as no, there is none. A checkpoint's own judge is the critic `critic:CHECKPOINT`.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from annotations.calibration.scores import scores
from annotations.metrics.calibration import Judgement
from annotations.queue.progress import project_answers
from annotations.schema.annotation import Annotation, right_answer
from annotations.schema.questions import VERDICT_RIGHT, YES
from annotations.store.store import Store
from annotations.store.trajectory_columns import category
from model.trajectory import Image, Origin, Reflection, Source, Trajectory

OTHER = "other"  # the category of a prompt that is none of the embedded world
AT_ONCE = 200  # trajectories in memory


class PeopleVerdict(NamedTuple):
    """What people say of a picture."""

    trajectory: Trajectory
    reflection: int  # the segment that they were asked about
    image: int  # the segment of the picture
    shows_prompt: bool
    at: datetime  # of the last answer

    @property
    def category(self) -> str:
        return category(self.trajectory.prompt) or OTHER


def verdicts(store: Store) -> Iterator[PeopleVerdict]:
    """Of every picture of a visible trajectory on which most people agree."""
    by_segment: dict[str, dict[int, list[Annotation]]] = defaultdict(lambda: defaultdict(list))
    for project in store.projects():
        if any(
            question.name == VERDICT_RIGHT and question.segment == Reflection.kind for question in project.questions
        ):
            known = project_answers(store, project.id)
            for annotation in (*known.submitted, *known.decisions):
                if annotation.segment is not None and VERDICT_RIGHT in annotation.answers:
                    by_segment[annotation.trajectory_id][annotation.segment].append(annotation)
    ids = sorted(by_segment)
    for start in range(0, len(ids), AT_ONCE):
        for id, trajectory in store.trajectories_by_id(ids[start : start + AT_ONCE]).items():
            for segment, annotations in sorted(by_segment[id].items()):
                yield from _verdict(trajectory, segment, annotations)


def judgements(store: Store) -> list[Judgement]:
    """Of the checkpoints' own judges, and of all critics that have scored pictures which people judged."""
    known: dict[tuple[str, int], dict[str, float]] = defaultdict(dict)
    for score in scores(store):
        known[score.trajectory_id, score.segment][score.critic] = score.p_yes
    return [judgement for verdict in verdicts(store) for judgement in _judgements(verdict, known)]


def _judgements(verdict: PeopleVerdict, known: dict[tuple[str, int], dict[str, float]]) -> Iterable[Judgement]:
    by_critic = dict(known.get((verdict.trajectory.id, verdict.image), {}))
    reflection = verdict.trajectory.segments[verdict.reflection]
    if isinstance(reflection, Reflection) and is_own(reflection):
        by_critic.setdefault(own_judge(verdict.trajectory), reflection.p_yes)
    for critic, p_yes in by_critic.items():
        yield Judgement(critic, verdict.category, p_yes, verdict.shows_prompt, verdict.at)


def own_judge(trajectory: Trajectory) -> str:
    """The critic that judged while a trajectory was drawn; a painter's stands behind the last + of its name."""
    return f"critic:{trajectory.checkpoint.rpartition('+')[2]}"


def is_own(reflection: Reflection) -> bool:
    """Whether no person wrote the verdict."""
    return reflection.finished and all(token.origin is not Origin.PERSON for token in reflection.tokens[:1])


def _verdict(trajectory: Trajectory, segment: int, annotations: Sequence[Annotation]) -> Iterator[PeopleVerdict]:
    reflection = trajectory.segments[segment] if segment < len(trajectory.segments) else None
    image = image_before(trajectory, segment)
    if not isinstance(reflection, Reflection) or image is None:
        return
    decided = [annotation for annotation in annotations if annotation.decision is not None]
    counted = decided or list({each.annotator: each for each in sorted(annotations, key=_moment)}.values())
    yes = sum(right_answer(reflection, annotation.answers) == YES for annotation in counted)
    if 2 * yes != len(counted):
        yield PeopleVerdict(trajectory, segment, image, 2 * yes > len(counted), max(map(_moment, counted)))


def image_before(trajectory: Trajectory, segment: int) -> int | None:
    """The segment of the picture that a reflection is about."""
    before = (at for at in range(segment - 1, -1, -1) if isinstance(trajectory.segments[at], Image | Source))
    return next(before, None)


def _moment(annotation: Annotation) -> datetime:
    return annotation.created_at
