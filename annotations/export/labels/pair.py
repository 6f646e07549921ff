"""A preference pair of drawings, and the reasons for which answers make none."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from annotations.export.annotated_trajectories import AnswerGroup
from annotations.export.kind import Answer, Context, Excluded
from annotations.export.labels.aggregated_answers import AggregatedAnswer, pseudonyms, single_value
from annotations.schema.annotation import Annotation
from model.trajectory import Image, Trajectory


class PairExclusion(StrEnum):
    """Why answers prefer no drawing to another."""

    TIE = "a tie: neither is better"
    BOTH_BAD = "both are bad"
    GONE = "the other drawing was deleted"
    TOO_CLOSE = "the ratings of two drawings differ by less than was asked for"
    SAME_PICTURE = "both show the same picture"
    UNFINISHED = "a drawing has no finished image"
    ALONE = "no other drawing of its prompt was rated so"


@dataclass(frozen=True)
class ImageRef:
    """A finished image."""

    trajectory: Trajectory
    segment: int

    @property
    def image(self) -> Image:
        image = self.trajectory.segments[self.segment]
        assert isinstance(image, Image) and image.sha256 is not None
        return image

    @property
    def sha256(self) -> str:
        return self.image.sha256 or ""


@dataclass(frozen=True)
class Pair:
    """`chosen` is better than `rejected` by `criterion`, the name of a question."""

    chosen: ImageRef
    rejected: ImageRef
    criterion: str
    source: str  # the form of the question, or ACROSS
    margin: float  # of shares of votes, or of mean ratings from 0 to 1
    votes: int
    agreement: float
    group: AnswerGroup
    people: tuple[Annotation, ...]
    answers: tuple[Answer, ...]
    shown_left: float | None = None  # the share of people who had the chosen one on their left; None: no sides
    weight: float = 1.0

    def provenance_columns(self, context: Context) -> dict[str, Any]:
        """The columns PROVENANCE."""
        return {
            "project": self.group.project.id,
            "trajectory_id": self.chosen.trajectory.id,
            "segment": self.chosen.segment,
            "checkpoint": self.chosen.trajectory.checkpoint,
            "annotator": single_value(pseudonyms(self.people, context)),
            "decided": self.group.decision in self.people,
            "votes": self.votes,
            "agreement": self.agreement,
        }

    @property
    def trajectories(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(image.trajectory.id for image in (self.chosen, self.rejected)))


def pair_of(
    aggregated: AggregatedAnswer, chosen: ImageRef, rejected: ImageRef, margin: float, shown_left: float | None = None
) -> Pair | Excluded:
    if chosen.sha256 == rejected.sha256:
        return Excluded(PairExclusion.SAME_PICTURE, aggregated.answers)
    name, form, votes = aggregated.question.name, aggregated.question.form.name, aggregated.votes
    some = (votes.count, votes.agreement, aggregated.group, aggregated.people, aggregated.answers)
    return Pair(chosen, rejected, name, form, margin, *some, shown_left)
