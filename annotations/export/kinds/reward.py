"""The kind `reward`: scores of single drawings, and pairs of drawings, by criterion, for a reward model."""

from __future__ import annotations

from collections.abc import Iterator

from datasets import Features, Value
from datasets import Image as Picture

from annotations.export.kind import PROVENANCE, Context, Elsewhere, ExportKind, ExportRow, LeftOut, png, provenance
from annotations.export.labels.opinions import only, pseudonyms, with_the_rest
from annotations.export.labels.pair import Pair
from annotations.export.labels.pairs import is_compared, pairs
from annotations.export.labels.scores import DrawingScore, is_scored, scores
from annotations.export.subjects import Subject
from annotations.schema.questions import Question
from model.trajectory import Image

UNSCORED = "about no finished drawing"


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
    carries = ("choice", "rating", "preference", "best", "ranking", "facts", "decision")
    tasks = ("image-to-text",)
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

    def rows(self, subject: Subject, context: Context) -> Iterator[ExportRow | LeftOut]:
        yield from with_the_rest(self, subject, self._made(subject, context), UNSCORED)

    def _made(self, subject: Subject, context: Context) -> Iterator[ExportRow | LeftOut | Elsewhere]:
        for score in scores(subject, context, each=True):
            yield score if isinstance(score, LeftOut) else _scored(subject, score, context)
        for pair in pairs(subject, context):
            yield _pair(subject, pair, context) if isinstance(pair, Pair) else pair


def _scored(subject: Subject, score: DrawingScore, context: Context) -> ExportRow:
    image, opinion = subject.trajectory.segments[score.segment], score.opinion
    assert isinstance(image, Image) and image.sha256 is not None
    picture = context.picture(image.sha256)
    people = pseudonyms(opinion.people, context)
    values = {
        "type": "score",
        "prompt": score.fact or subject.trajectory.prompt,
        "criterion": score.criterion,
        "image": png(picture),
        "score": score.mean,
        "std": score.deviation,
        "count": opinion.votes.count,
        "rejected": None,
        "margin": None,
        "weight": 1.0,
    }
    beside = provenance(subject, opinion.group, opinion.votes, only(people))
    beside |= {"segment": score.segment, "decided": opinion.decided}
    labels = ("fact" if score.fact else "score", *(["decided"] if opinion.decided else []))
    return ExportRow(
        values | beside, opinion.answers, (subject.trajectory.id,), labels, people, size=1000 + len(picture)
    )


def _pair(subject: Subject, pair: Pair, context: Context) -> ExportRow:
    chosen, rejected = (context.picture(place.sha256) for place in (pair.chosen, pair.rejected))
    values = {
        "type": "pair",
        "prompt": subject.trajectory.prompt,
        "criterion": pair.criterion,
        "image": png(chosen),
        "score": None,
        "std": None,
        "count": pair.votes,
        "rejected": png(rejected),
        "margin": pair.margin,
        "weight": pair.weight,
    }
    beside = pair.beside(context)
    labels = ("pair", *(["decided"] if beside["decided"] else []))
    people = pseudonyms(pair.people, context)
    size = 1000 + len(chosen) + len(rejected)
    return ExportRow(values | beside, pair.answers, pair.trajectories, labels, people, size=size)
