"""The dashboard of a project as HTML.

Pure functions from values to HTML; no store. People are called what `Names` calls them: by pseudonyms, unless whoever
looks may see their names.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from annotations.metrics.agreement import Accuracy, Agreement
from annotations.metrics.quality import QuestionAgreement, accuracy, agreements, labels, throughput
from annotations.queue.progress import AnnotatorProgress
from annotations.schema.forms.text import Text
from annotations.schema.project_answers import ProjectAnswers
from model.trajectory import Trajectory
from studio.auth.pseudonyms import Names
from studio.components.plots import PlottedInterval, bars, columns, curve, intervals
from studio.components.render import isolated

DAYS = 30  # of the throughput that are shown
LEVELS = {"nominal": "answers are the same or not", "ordinal": "by ranks", "interval": "by their difference"}
ALL = (-1.0, 1.0)
LABELS = {"both_bad": "both bad", "tie": "equal"}


def dashboard(
    answers: ProjectAnswers, shares: Sequence[AnnotatorProgress], names: Names, drawings: Mapping[str, Trajectory]
) -> str:
    """Everything that is known of how a project goes; `drawings` as `labels` takes them."""
    if not answers.submitted:
        return '<p class="none">Nobody has submitted anything yet; then plots of it will be here.</p>'
    parts = (
        ("People", people(shares, accuracy(answers), names)),
        ("Answers per day", per_day(answers, names)),
        ("Agreement", agreement(agreements(answers))),
        ("Answers", distributions(answers, drawings)),
    )
    made = "".join(f"<section><h2>{title}</h2>{html}</section>" for title, html in parts if html)
    return f'<div class="dashboard">{made}</div>'


def people(shares: Sequence[AnnotatorProgress], right: Mapping[str, Accuracy], names: Names) -> str:
    """A row for each: what they have done, and how often they were right where that is known."""
    most = max((share.completed for share in shares), default=0) or 1
    rows = "".join(_person(share, right.get(share.annotator), most, names) for share in shares)
    return (
        '<table class="plot people"><thead><tr><td></td><th>Items completed</th><td></td><th>Skipped</th>'
        f"<th>Right on gold</th></tr></thead>{rows}</table>"
    )


def _person(share: AnnotatorProgress, right: Accuracy | None, most: int, names: Names) -> str:
    held = f' <span class="soft">at {share.held} now</span>' if share.held else ""
    known = "–"
    if right is not None:
        known = f'{100 * right.value:.0f} % <span class="soft">{100 * right.low:.0f} to {100 * right.high:.0f}, '
        known += f"{right.right} of {right.of}</span>"
    return (
        f"<tr><th>{isolated(names(share.annotator))}{held}</th>"
        f'<td class="track"><i style="width:{100 * share.completed / most:.1f}%"></i></td>'
        f'<td class="number">{share.completed:,}</td><td class="number" data-name="skipped">{share.skipped:,}</td>'
        f'<td class="gold" data-name="right on gold">{known}</td></tr>'
    )


def per_day(answers: ProjectAnswers, names: Names) -> str:
    """The last days up to the last answer, also those on which nobody worked."""
    counts_by_day = throughput(answers)
    last = max(counts_by_day)
    first = max(min(counts_by_day), last - timedelta(days=DAYS - 1))
    days = [first + timedelta(days=i) for i in range((last - first).days + 1)]
    counted = {_day(day): {names(who): n for who, n in counts_by_day.get(day, {}).items()} for day in days}
    return columns(counted)


def _day(day: datetime) -> str:
    return f"{day.day} {day:%b %Y}"


def agreement(measures: Sequence[QuestionAgreement]) -> str:
    """Krippendorff's alpha of every question, with its interval; below, how it came to that."""
    known = [measure for measure in measures if measure.alpha is not None]
    alone = "".join(
        f'<p class="soft">{isolated(measure.question.title)} {_why_not(measure)}</p>'
        for measure in measures
        if measure.alpha is None
    )
    if not known:
        return alone
    rows = [_estimate(measure.question.title, measure.alpha, _told(measure)) for measure in known]
    curves = "".join(
        f"<div><h3>{isolated(measure.question.title)}</h3>{drawn}</div>"
        for measure in known
        if (drawn := curve([_estimate(_day(at), alpha) for at, alpha in measure.over_time], ALL))
    )
    title = '<h3 class="lead">Over time, of everything until then</h3>'
    over_time = f'{title}<div class="curves">{curves}</div>' if curves else ""
    what = (
        '<p class="soft">Krippendorff’s alpha, with 95 % bootstrap intervals over items: 1 is perfect, 0 is what '
        "chance would do, less is worse.</p>"
    )
    return what + intervals(rows, ALL) + alone + over_time


def _estimate(name: str, alpha: Agreement, note: str = "") -> PlottedInterval:
    return PlottedInterval(name, alpha.value, alpha.low, alpha.high, note)


def _told(measure: QuestionAgreement) -> str:
    """“ordinal, by ranks; 31 items with 93 answers; 84 % alike”."""
    same = f"; {100 * measure.percent.value:.0f} % of pairs alike" if measure.percent else ""
    alpha = measure.alpha
    return f"{measure.level}, {LEVELS[measure.level]}; {alpha.items:,} items, {alpha.answers:,} answers{same}"


def _why_not(measure: QuestionAgreement) -> str:
    if measure.percent is None:
        return "No two people have answered this about one thing."
    return f"All {measure.percent.answers:,} answers are the same, so that chance alone would make them agree."


def distributions(answers: ProjectAnswers, drawings: Mapping[str, Trajectory]) -> str:
    """What was answered to every question, and how often."""
    made = []
    for question, counts in labels(answers, drawings).items():
        if counts.total():
            named = {LABELS.get(label, label): number for label, number in counts.items()}
            form = "free text" if isinstance(question.form, Text) else ""
            made.append(f'<div><h3>{isolated(question.title)} <span class="soft">{form}</span></h3>{bars(named)}</div>')
    return f'<div class="distributions">{"".join(made)}</div>'
