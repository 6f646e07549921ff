"""HTML of the Calibration page: agreement of every critic with people, its reliability curve, its drift."""

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby

from annotations.metrics.calibration import EVEN, Bin, Calibration, Drift, Threshold
from model.training.safeguards.critic_agreement import FEWEST
from studio.components.plots import PlottedInterval, curve, intervals
from studio.components.render import isolated

NOTHING = (
    '<p class="none">People have judged no picture yet that a critic has judged, too. Answer a few reflections on '
    '<a href="annotate">Annotate</a> first.</p>'
)
WHAT = (
    '<p class="soft">Cohen’s kappa between a critic’s verdict (yes from p(yes) = 0.5 on) and that of people, with 95 % '
    "intervals: 1 is perfect, 0 is what chance would do.</p>"
)
TOO_FEW = (
    f"An interval says something from {FEWEST} pictures on; below that it is so wide that nearly any agreement is "
    "possible. So there is none yet, no curve, and training takes no figure of this critic. "
    '<a href="annotate">Judge more pictures</a>.'
)
NO_REPORT = (
    f"No report is written: no critic has judged {FEWEST} pictures that people judged, too, and a figure of fewer says "
    "nothing."
)
ALL = (-1.0, 1.0)
SHARE = (0.0, 1.0)


def report(measured: Sequence[Calibration]) -> str:
    """Every critic, its categories below it."""
    if not measured:
        return NOTHING
    parts = (critic([*rows]) for _, rows in groupby(measured, key=lambda each: each.critic))
    what = WHAT if any(map(is_enough, measured)) else ""
    return f'<div class="dashboard calibration">{what}{"".join(parts)}</div>'


def critic(rows: Sequence[Calibration]) -> str:
    """One critic: of all prompts first, then of each category; in words alone where too few pictures are judged."""
    whole = rows[0]
    if not is_enough(whole):
        return f"<section><h2>{isolated(whole.critic)}</h2><p>{so_far(whole)} {TOO_FEW}</p></section>"
    known = [
        PlottedInterval(
            each.category or "all prompts",
            each.kappa.value,
            max(each.kappa.low, -1.0),
            min(each.kappa.high, 1.0),
            figures(each),
        )
        for each in rows
        if each.kappa is not None and is_enough(each)
    ]
    unknown = "".join(
        f'<p class="soft">{isolated(each.category or "all prompts")}: no kappa, as the critic or people always say '
        f"the same; {figures(each)}</p>"
        for each in rows
        if each.kappa is None and is_enough(each)
    )
    few = [each for each in rows if not is_enough(each)]
    if few:
        counts = ", ".join(f"{isolated(each.category or '')} {each.judgements}" for each in few)
        unknown += f'<p class="soft">Fewer than {FEWEST} pictures, so no interval: {counts}.</p>'
    over_time = [
        PlottedInterval(_day(each.until), each.accuracy.value, each.accuracy.low, each.accuracy.high)
        for each in whole.periods
    ]
    drawn = curve(over_time, SHARE)
    time = f"<div><h3>Agreement over time</h3>{drawn}{drift(whole.drift)}</div>" if drawn else ""
    return (
        f"<section><h2>{isolated(whole.critic)}</h2>{intervals(known, ALL) if known else ''}{unknown}"
        f'<div class="curves"><div><h3>Reliability</h3>{reliability(whole.bins)}'
        f"<p>{threshold(whole.threshold)} Expected calibration error {whole.expected_error:.3f}, Brier score "
        f"{whole.brier:.3f}.</p></div>{time}</div></section>"
    )


def is_enough(each: Calibration) -> bool:
    """Whether an interval says something."""
    return each.judgements >= FEWEST


def so_far(each: Calibration) -> str:
    """“2 pictures are judged by people and by this critic, 1 of them alike.”"""
    alike = round(each.accuracy.value * each.judgements)
    pictures = "1 picture is" if each.judgements == 1 else f"{each.judgements} pictures are"
    return f"{pictures} judged by people and by this critic, {alike} of them alike."


def figures(each: Calibration) -> str:
    """“31 pictures, 84 % alike; error 0.08”."""
    pictures = "1 picture" if each.judgements == 1 else f"{each.judgements:,} pictures"
    best = f"; best threshold {each.threshold.p_yes:.2f}" if each.threshold else ""
    return f"{pictures}, {100 * each.accuracy.value:.0f} % alike; calibration error {each.expected_error:.3f}{best}"


def threshold(best: Threshold | None) -> str:
    if best is None:
        return "People always say the same, so that no threshold is better than another."
    if best.p_yes == EVEN:
        return "No threshold fits people better than 0.5."
    return f"A threshold of {best.p_yes:.2f} fits people best: kappa {best.kappa:.2f}, on these pictures."


def drift(change: Drift | None) -> str:
    """What the later half says beside the earlier one."""
    if change is None:
        return ""
    text = f"{100 * change.value:+.0f} points ({100 * change.low:+.0f} to {100 * change.high:+.0f})".replace("-", "−")
    if change.low > 0 or change.high < 0:
        return f"<p>It drifts: from the earlier half to the later one agreement changes by {text}.</p>"
    return f'<p class="soft">No drift to be seen: from the earlier half to the later one {text}.</p>'


def reliability(bins: Sequence[Bin]) -> str:
    """The share of pictures that people say yes to, by the critic's p(yes); on the diagonal it says what is so."""
    marks = "".join(
        f'<line x1="{100 * each.p_yes:.1f}%" x2="{100 * each.p_yes:.1f}%" y1="{100 - 100 * each.person.low:.1f}%" '
        f'y2="{100 - 100 * each.person.high:.1f}%"/>'
        f'<circle cx="{100 * each.p_yes:.1f}%" cy="{100 - 100 * each.person.value:.1f}%" r="4"/>'
        for each in bins
    )
    label = "; ".join(f"p(yes) {b.p_yes:.2f}: people {b.person.value:.2f} of {b.person.of}" for b in bins)
    return (
        '<figure class="plot reliability"><span class="end">1</span><span class="end">0</span>'
        f'<svg role="img" aria-label="{label}"><line class="even" x1="0" x2="100%" y1="100%" y2="0"/>{marks}</svg>'
        "<figcaption><span>p(yes) = 0</span><span>share that people say yes to</span><span>1</span></figcaption>"
        "</figure>"
    )


def _day(at: datetime) -> str:
    return f"{at.day} {at:%b %Y}"
