"""Disagreement of people's answers about one thing, from 0 to 1. Values only: knows questions and annotations."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from math import fsum

from annotations.schema.annotation import Annotation
from annotations.schema.questions import Question


def disagreement(questions: Sequence[Question], annotations: Sequence[Annotation]) -> float:
    """From 0 (all alike, or nobody else) to almost 1: the share that does not say what most say, a mean over all that
    several people answered, part by part. Questions whose answers are not compared do not count.
    """
    forms = {question.name: question.form for question in questions if question.form.level is not None}
    answers: dict[tuple[int | None, str, str], list[Hashable]] = defaultdict(list)
    for annotation in annotations:
        for name in forms.keys() & set(annotation.answers):
            for part, label in forms[name].parts(annotation.answers[name]).items():
                answers[annotation.segment, name, part].append(label)
    several = [values for values in answers.values() if len(values) > 1]
    shares = [1 - max(Counter(values).values()) / len(values) for values in several]
    return fsum(shares) / len(shares) if shares else 0.0  # the same in any order, so that ties stay ties
