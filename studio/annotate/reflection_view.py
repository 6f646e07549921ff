"""A reflection as static HTML: prompt, images, verdict and reason.

Pure functions, as in `render`: no store, no Gradio. Probabilities are left out on purpose, lest they persuade.
"""

from collections.abc import Callable, Sequence

from annotations.queue.assignment import Progress
from annotations.queue.gold_accuracy import GoldRecord
from annotations.queue.gold_answers import Feedback
from model.trajectory import Image, Reflection, Source, Trajectory
from studio.components.render import SMOOTH, data_url, own, rounds_of, text, verdict, width_of

PictureOf = Callable[[str], bytes | None]  # the PNG of a hash, None where it is lost

LONG = 120  # characters from which a prompt is set smaller, and scrolls
NOTHING = """<h1>Nothing waits for you</h1>
<p class="nothing"><a href="./">Draw something</a>: what the model says of it will wait here to be annotated.</p>"""
KEYS = (
    ("Y N", "the verdict is right, is wrong"),
    ("1 – 5", "rate the reason"),
    ("⇧1 – ⇧5", "rate the plan"),
    ("C ⇧C", "correct the reason, the plan"),
    ("+ - 0", "closer, farther, all of it"),
    ("⇧← – ⇧↓", "move the picture"),
    ("Ctrl+↵", "submit"),
    ("S ⇧S", "skip this drawing, and say why"),
    ("U", "undo the last submit or skip"),
    ("G", "the guidelines"),
    ("P", "another project"),
    ("Esc", "leave a text field"),
    ("?", "these keys"),
)
SHEET_KEYS = (
    ("↑ ↓", "from question to question"),
    ("1 – 9", "answer it, with what has that number"),
    ("← →", "the choice, the word, the mark beside it"),
    ("Space", "take a word or a tag, or leave it out"),
    ("Del", "no answer; take a mark away"),
    ("R", "mark a place: arrows, ↵ at one corner, ↵ at the other"),
    ("E", "the other corner of a mark anew: arrows, ↵"),
    ("C", "write"),
    (", .", "the picture before, after"),
    ("+ - 0", "closer, farther, all of it"),
    ("⇧← – ⇧↓", "move the pictures"),
    ("Ctrl+↵", "submit; or to what is missing"),
    ("S ⇧S", "skip this, and say why"),
    ("U", "undo the last submit or skip"),
    ("G P", "the guidelines; another project"),
    ("Esc", "leave a text field, or drawing"),
    ("?", "these keys"),
)


def heading(prompt: str) -> str:
    size = ' class="long" tabindex="0"' if len(prompt) > LONG else ""
    return f'<p class="eyebrow">The prompt</p><h1{size} dir="auto">{text(prompt)}</h1>'


def progress_line(progress: Progress, known: GoldRecord | None = None) -> str:
    """How far one is; and, where some answers are known, how many of one's own agree with those."""
    share = 100 * progress.done / max(1, progress.done + progress.waiting)
    return (
        f'<div class="counted"><span>{progress.done:,} done</span><span>{progress.waiting:,} waiting</span>'
        f'<div class="bar"><i style="width:{share:.1f}%"></i></div>{_standing(known)}</div>'
    )


def _standing(known: GoldRecord | None) -> str:
    if known is None:
        return ""
    share = round(100 * known.right / known.compared)
    return f'<span title="{known.right} of {known.compared} answers that are known">{share} % as known</span>'


def learnt(feedback: Sequence[Feedback], *, practice: bool = False) -> str:
    """What somebody who practises is told: of the item before, and that this one is for practice."""
    rows = "".join(_beside(answer) for answer in feedback)
    before = f'<ul class="feedback" aria-label="The practice before">{rows}</ul>' if rows else ""
    now = '<p class="practice">This is for practice; you are told what was right afterwards.</p>' if practice else ""
    return before + now


def _beside(answer: Feedback) -> str:
    given_text = "no answer" if answer.given is None else str(answer.given)
    outcome = "right" if answer.right else f"wanted {answer.wanted}"
    why = f" {own(answer.because)}" if answer.because else ""
    kind = "yes" if answer.right else "no"
    return f'<li class="{kind}"><b>{own(answer.question)}</b> You: {own(given_text)} – {text(outcome)}.{why}</li>'


def stage(trajectory: Trajectory, segment: int, picture: PictureOf) -> str:
    """The picture of the reflection `segment`, large; below it every round, with what was said of it."""
    cards, large = [], ""
    rounds = rounds_of(trajectory)
    for shown in rounds:
        image = next((s for _, s in shown.segments if isinstance(s, Image | Source)), None)
        reflection = next((s for _, s in shown.segments if isinstance(s, Reflection)), None)
        tag = _picture(image and image.sha256, f"Image {shown.number} for “{trajectory.prompt}”", picture)
        current = ""
        if segment in dict(shown.segments):
            large, current = tag, ' aria-current="true"'
        cards.append(f"<li{current}>{tag}{mark(reflection) if reflection else ''}</li>")
    strip = f'<ol class="strip">{"".join(cards)}</ol>' if len(rounds) > 1 else ""
    return f'<div class="stage together"><div class="large">{large}</div>{strip}</div>'


def _picture(sha256: str | None, what: str, picture: PictureOf) -> str:
    png = picture(sha256) if sha256 else None
    if png is None:
        return '<span class="lost">picture lost</span>'
    smooth = ' class="smooth"' if width_of(png) > SMOOTH else ""
    shown = f'<img src="{data_url(png)}" alt="{text(what)}" draggable="false"{smooth}>'
    return f'<div class="pane"><div class="inner">{shown}</div></div>'


def mark(reflection: Reflection) -> str:
    return f'<span class="mark {text(reflection.answer)}">{verdict(reflection.answer)}</span>'


def claim(reflection: Reflection) -> str:
    reason = text(reflection.reason) or "<i>and gives no reason</i>"
    return (
        '<p class="eyebrow">The model says of this drawing</p>'
        f'<p class="claim">{mark(reflection)}<span class="said" dir="auto">{reason}</span></p>'
    )


def keys_dialog(id: str, keys: Sequence[tuple[str, str]]) -> str:
    rows = "".join(f"<dt>{_caps(caps)}</dt><dd>{what}</dd>" for caps, what in keys)
    close = '<form method="dialog"><button>Close</button></form>'
    return f'<dialog id="{id}" class="keys" aria-label="Keys"><h2>Keys</h2><dl>{rows}</dl>{close}</dialog>'


def _caps(keys: str) -> str:
    return " ".join(key if key == "–" else f"<kbd>{key}</kbd>" for key in keys.split(" "))
