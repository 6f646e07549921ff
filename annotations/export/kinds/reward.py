"""The kind `reward`: scores of single drawings, and pairs of drawings, by criterion, for a reward model."""

from __future__ import annotations

from collections.abc import Iterator

from datasets import Features, Value
from datasets import Image as Picture

from annotations.export.annotated_trajectories import AnnotatedTrajectory
from annotations.export.kind import (
    PROVENANCE,
    Context,
    Excluded,
    ExportedElsewhere,
    ExportKind,
    ExportRow,
    png,
    provenance,
)
from annotations.export.labels.aggregated_answers import pseudonyms, single_value
from annotations.export.labels.pair import Pair
from annotations.export.labels.pairs import is_compared, pairs
from annotations.export.labels.scores import DrawingScore, is_scored, scores
from annotations.schema.questions import Question
from model.trajectory import Image


class Reward(ExportKind):
    """One row per drawing and criterion, and one per pair and criterion."""

    name = "reward"
    title = "Scores and pairs for a reward model"
    purpose = (
        "What people hold of drawings, by `criterion`, for a reward model. A row of `type` `score` has an `image`, the "
        "mean of its `score` from 0 to 1, its standard deviation `std` and the `count` of people; the criterion is the "
        "name of a question, or `verdict`: the share of people by whose answers the drawing is right. Of a checklist "
        "there is a row of the mean over its facts, and one for each fact, which is the row’s `prompt`. A row of "
        "`type` `pair` has an `image` and a `rejected` one to which people prefer it, and the `margin`, as in "
        "image_pref."
    )
    counted = ("score", "fact", "pair", "decided")
    advice = "rate or compare drawings"
    forms = ("choice", "rating", "preference", "best", "ranking", "facts")
    acts = ("decision",)
    tasks = ("image-to-text",)
    unused = "about no finished drawing"
    features = Features(
        {
            "type": Value("string"),
            "prompt": Value("string"),
            "criterion": Value("string"),
            "image": Picture(),
            "score": Value("float64"),
            "std": Value("float64"),
            "count": Value("int64"),
            "rejected": Picture(),
            "margin": Value("float64"),
            "weight": Value("float64"),
            **PROVENANCE,
        }
    )

    def reads(self, question: Question) -> bool:
        return is_scored(question) or is_compared(question)

    def make(
        self, annotated: AnnotatedTrajectory, context: Context
    ) -> Iterator[ExportRow | Excluded | ExportedElsewhere]:
        for score in scores(annotated, context, each=True):
            yield score if isinstance(score, Excluded) else _scored(annotated, score, context)
        for pair in pairs(annotated, context):
            yield _pair(annotated, pair, context) if isinstance(pair, Pair) else pair


def _scored(annotated: AnnotatedTrajectory, score: DrawingScore, context: Context) -> ExportRow:
    image, aggregated = annotated.trajectory.segments[score.segment], score.aggregated
    assert isinstance(image, Image) and image.sha256 is not None
    picture = context.picture(image.sha256)
    people = pseudonyms(aggregated.people, context)
    values = {
        "type": "score",
        "prompt": score.fact or annotated.trajectory.prompt,
        "criterion": score.criterion,
        "image": png(picture),
        "score": score.mean,
        "std": score.deviation,
        "count": aggregated.votes.count,
        "rejected": None,
        "margin": None,
        "weight": 1.0,
    }
    columns = provenance(annotated, aggregated.group, aggregated.votes, single_value(people))
    columns |= {"segment": score.segment, "decided": aggregated.decided}
    labels = ("fact" if score.fact else "score", *(["decided"] if aggregated.decided else []))
    return ExportRow(
        values | columns, aggregated.answers, (annotated.trajectory.id,), labels, people, size=1000 + len(picture)
    )


def _pair(annotated: AnnotatedTrajectory, pair: Pair, context: Context) -> ExportRow:
    chosen, rejected = (context.picture(image.sha256) for image in (pair.chosen, pair.rejected))
    values = {
        "type": "pair",
        "prompt": annotated.trajectory.prompt,
        "criterion": pair.criterion,
        "image": png(chosen),
        "score": None,
        "std": None,
        "count": pair.votes,
        "rejected": png(rejected),
        "margin": pair.margin,
        "weight": pair.weight,
    }
    columns = pair.provenance_columns(context)
    labels = ("pair", *(["decided"] if columns["decided"] else []))
    people = pseudonyms(pair.people, context)
    size = 1000 + len(chosen) + len(rejected)
    return ExportRow(values | columns, pair.answers, pair.trajectories, labels, people, size=size)
