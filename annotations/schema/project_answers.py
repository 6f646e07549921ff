"""The answers of a project that count: current revisions, submitted, without those of practice."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from annotations.schema.annotation import Annotation
from annotations.schema.project import Project


@dataclass(frozen=True)
class ProjectAnswers:
    """What annotators submitted, what reviewers decided, and the right answers of gold items."""

    project: Project
    submitted: tuple[Annotation, ...]
    decisions: tuple[Annotation, ...]  # by reviewers, about what annotators disagreed on
    gold: Mapping[int, tuple[dict[str, Any], ...]]  # the right answers, by item
    others: Mapping[int, str]  # id of the second trajectory of every pair, by item
