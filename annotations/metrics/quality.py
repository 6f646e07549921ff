"""Quality of a project's answers: agreement now and over time, distributions, accuracy on gold, disagreements.

Pure functions over what counts in a project; they know its questions and no store. Texts, tags, words and regions are
counted but not compared: no two people write or draw the same.
"""

from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby

from annotations.metrics.agreement import Accuracy, Agreement, gold_accuracy, krippendorff_alpha, percent_agreement
from annotations.metrics.disagreement import disagreement
from annotations.metrics.gold_answers import compare
from annotations.schema.annotation import Annotation
from annotations.schema.forms.question_form import MeasurementLevel
from annotations.schema.project_answers import ProjectAnswers
from annotations.schema.questions import Question
from model.trajectory import Trajectory

MOMENTS = 12  # points of a curve over time
RESAMPLES_OVER_TIME = 200

Given = list[tuple[Hashable, str, Hashable]]


@dataclass(frozen=True)
class QuestionAgreement:
    """How far people agree on one question; None where no two have answered the same thing, or nobody differs."""

    question: Question
    level: MeasurementLevel
    alpha: Agreement | None
    percent: Agreement | None
    over_time: tuple[tuple[datetime, Agreement], ...]  # of everything until then


@dataclass(frozen=True)
class Disagreement:
    """One item that people have answered, and how far they differ on it."""

    item: int
    trajectory_id: str
    score: float  # from 0 (all alike) to almost 1, the mean over what was asked
    people: int
    decided: bool  # by a reviewer


def agreements(answers: ProjectAnswers) -> list[QuestionAgreement]:
    """One for every question whose answers can be compared, in their order."""
    measures = []
    for question in answers.project.questions:
        if (level := question.form.level) is not None:
            annotations = sorted((a for a in answers.submitted if question.name in a.answers), key=moment)
            ratings = stances(question, annotations)
            alpha, percent = krippendorff_alpha(ratings, level), percent_agreement(ratings)
            measures.append(
                QuestionAgreement(question, level, alpha, percent, _over_time(question, annotations, level))
            )
    return measures


def stances(question: Question, annotations: Sequence[Annotation]) -> Given:
    """(what it is about, who, the answer as something that can be compared), for every part of an answer."""
    return [
        ((a.item, a.trajectory_id, a.segment, part), a.annotator, label)
        for a in annotations
        for part, label in question.form.parts(a.answers[question.name]).items()
    ]


def stance(question: Question, annotation: Annotation) -> Hashable:
    """The answer to a question as a value that is equal for two people who say the same."""
    return question.form.comparable(annotation.answers[question.name])


def moment(annotation: Annotation) -> datetime:
    return annotation.created_at


def _over_time(
    question: Question, annotations: Sequence[Annotation], level: MeasurementLevel
) -> tuple[tuple[datetime, Agreement], ...]:
    """After every day on which something was answered; at most MOMENTS days, evenly among the answers."""
    ends = [len(list(day)) for _, day in groupby(annotations, key=lambda a: moment(a).date())]
    ends = [sum(ends[: i + 1]) for i in range(len(ends))]
    if len(ends) > MOMENTS:
        ends = sorted({ends[round(i * (len(ends) - 1) / (MOMENTS - 1))] for i in range(MOMENTS)})
    series = []
    for end in ends:
        ratings = stances(question, annotations[:end])
        if (alpha := krippendorff_alpha(ratings, level, resamples=RESAMPLES_OVER_TIME)) is not None:
            series.append((moment(annotations[end - 1]), alpha))
    return tuple(series)


def labels(answers: ProjectAnswers, drawings: Mapping[str, Trajectory]) -> dict[Question, Counter[str]]:
    """How often every answer was given, with those that nobody gave; of free text, how many wrote one. `drawings`: by
    id, what was answered about by forms that name images."""
    counts = {}
    for question in answers.project.questions:
        counted: Counter[str] = Counter(dict.fromkeys(question.form.labels(), 0))
        for annotation in answers.submitted:
            if question.name in annotation.answers:
                about = drawings.get(annotation.trajectory_id)
                counted.update(question.form.labels_of(annotation.answers[question.name], about))
        counts[question] = counted
    return counts


def drawings_to_name(answers: ProjectAnswers) -> list[str]:
    """The ids of the trajectories that `labels` needs."""
    naming = [question.name for question in answers.project.questions if question.form.names_images]
    return list(dict.fromkeys(a.trajectory_id for a in answers.submitted if any(name in a.answers for name in naming)))


def accuracy(answers: ProjectAnswers) -> dict[str, Accuracy]:
    """Per annotator: how many gold items they answered right in all that is known of them."""
    mine: dict[tuple[int, str], list[Annotation]] = defaultdict(list)
    for annotation in answers.submitted:
        if annotation.item in answers.gold:
            mine[annotation.item, annotation.annotator].append(annotation)
    marks = []
    for (item, annotator), submitted in mine.items():
        feedback = compare(answers.project.questions, answers.gold[item], submitted)
        marks.append((item, annotator, "right" if all(answer.right for answer in feedback) else "wrong"))
    return gold_accuracy(marks, dict.fromkeys(answers.gold, "right"))


def throughput(answers: ProjectAnswers) -> dict[date, Counter[str]]:
    """Answers per day (UTC) and person, the days in order: all that somebody said of one item is one answer, given with
    its last part."""
    last = {
        (annotation.item or annotation.trajectory_id, annotation.annotator): moment(annotation)
        for annotation in sorted(answers.submitted, key=moment)
    }
    by_day: dict[date, Counter[str]] = defaultdict(Counter)
    for (_, annotator), last_answer in sorted(last.items(), key=lambda entry: entry[1]):
        by_day[last_answer.date()][annotator] += 1
    return dict(by_day)


def cases(answers: ProjectAnswers) -> list[Disagreement]:
    """All items that were answered: those on which people differ, of them those nobody has decided first, then the
    greatest differences; then those on which they do not.
    """
    decided = {annotation.item for annotation in answers.decisions}
    by_item: dict[int, list[Annotation]] = defaultdict(list)
    for annotation in answers.submitted:
        if annotation.item is not None:
            by_item[annotation.item].append(annotation)
    disagreements = []
    for item, submitted in by_item.items():
        people = len({annotation.annotator for annotation in submitted})
        score = disagreement(answers.project.questions, submitted)
        disagreements.append(Disagreement(item, submitted[0].trajectory_id, score, people, item in decided))
    return sorted(disagreements, key=review_order)


def review_order(case: Disagreement) -> tuple[bool, bool, float, int]:
    return case.score == 0, case.decided, -case.score, case.item
