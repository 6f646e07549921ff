"""A reflection as static HTML: prompt, images, verdict and reason.

Pure functions, as in `render`: no store, no Gradio. Probabilities are left out on purpose, lest they persuade.
"""

from collections.abc import Callable, Sequence

from annotations.queue.assignment import AnnotatorProgress
from annotations.queue.own_gold_accuracy import GoldRecord
from annotations.queue.own_items import Pace
from model.trajectory import Image, Reflection, Source, Trajectory
from studio.components.quantities import duration
from studio.components.render import SMOOTH, data_url, escaped, isolated, rounds_of, sentence, verdict, width_of

PictureOf = Callable[[str], bytes | None]  # the PNG of a hash, None where it is lost

LONG = 120  # characters from which a prompt is set smaller
NOTHING = """<h1>Nothing waits for you</h1>
<p class="nothing"><a href="./">Draw something</a>: what the model says of it will wait here to be annotated.</p>"""
KEYS = (
    ("Y N", "the picture fits, does not"),
    ("Space", "agree with the model and submit; or submit what is answered"),
    ("1 – 9", "after a disagreement: one of the reasons; else rate the reason, 1 – 5"),
    ("⇧1 – ⇧5", "rate the plan"),
    ("C ⇧C", "correct the reason, the plan"),
    ("+ - 0", "closer, farther, all of it"),
    ("⇧← – ⇧↓", "move the picture"),
    ("Ctrl+↵", "submit"),
    ("S ⇧S", "skip this drawing, and say why"),
    ("F", "flag this drawing: a note for the reviewers"),
    ("U", "undo the last submit or skip"),
    ("G M P", "the guidelines; my drawings; another project"),
    ("Esc", "leave a text field, close what is open"),
    ("?", "these keys"),
)
SHEET_KEYS = (
    ("↑ ↓", "from question to question"),
    ("1 – 9", "answer it, with what has that number"),
    ("← →", "the choice, the word, the mark beside it"),
    ("Space", "take a word or a tag, or leave it out"),
    ("Del", "no answer; take a mark away"),
    ("Y N X", "of a fact: holds, does not, cannot tell"),
    ("R", "mark a place: arrows, ↵ at one corner, ↵ at the other"),
    ("E", "the other corner of a mark anew: arrows, ↵"),
    ("C", "write"),
    (", .", "the picture before, after"),
    ("+ - 0", "closer, farther, all of it"),
    ("⇧← – ⇧↓", "move the pictures"),
    ("Ctrl+↵", "submit; or to what is missing"),
    ("S ⇧S", "skip this, and say why"),
    ("F", "flag this: a note for the reviewers"),
    ("U", "undo the last submit or skip"),
    ("G M P", "the guidelines; my drawings; another project"),
    ("Esc", "leave a text field, or drawing; close what is open"),
    ("?", "these keys"),
)


def heading(prompt: str) -> str:
    """The prompt, of which the styles show two lines, and all where the pointer or the focus is."""
    size = ' class="long" tabindex="0"' if len(prompt) > LONG else ""
    return f'<p class="eyebrow">The prompt</p><h1{size} dir="auto" title="{escaped(prompt)}">{escaped(prompt)}</h1>'


def progress_line(
    progress: AnnotatorProgress, known: GoldRecord | None = None, pace: Pace | None = None, part: str = ""
) -> str:
    """How far one is, in drawings; at which `part` of this one; how many today, how fast; and, where some answers are
    known, how many of one's own agree with those.
    """
    share = 100 * progress.done / max(1, progress.done + progress.waiting)
    skipped = f"<span>{progress.skipped:,} skipped</span>" if progress.skipped else ""
    at = f'<span title="of this drawing">{escaped(part)}</span>' if part else ""
    return (
        f'<div class="counted"><span>{progress.done:,} done</span>{skipped}<span>{progress.waiting:,} waiting</span>'
        f'<div class="bar"><i style="width:{share:.1f}%"></i></div>{at}{_pace(pace)}{_standing(known)}</div>'
    )


def _pace(pace: Pace | None) -> str:
    if pace is None or not pace.today:
        return ""
    each = f", {duration(pace.seconds)} each" if pace.seconds and pace.seconds >= 1 else ""
    return f'<span class="pace" title="drawings since midnight, UTC">{pace.today:,} today{each}</span>'


def _standing(known: GoldRecord | None) -> str:
    if known is None:
        return ""
    share = round(100 * known.right / known.compared)
    return f'<span title="{known.right} of {known.compared} answers that are known">{share} % as known</span>'


def sent_back(note: str | None) -> str:
    """The note of a reviewer who wants an item answered anew."""
    return f'<p class="practice">A reviewer asks for this anew: {isolated(note)}</p>' if note else ""


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
    shown = f'<img src="{data_url(png)}" alt="{escaped(what)}" draggable="false"{smooth}>'
    return f'<div class="pane"><div class="inner">{shown}</div></div>'


def mark(reflection: Reflection) -> str:
    return f'<span class="mark {escaped(reflection.answer)}">{verdict(reflection.answer)}</span>'


def claim(reflection: Reflection, *, hides: bool = False) -> str:
    """What the model says; `hides`: the styles show it once the picture is judged."""
    reason = escaped(sentence(reflection.reason)) or "<i>and gives no reason</i>"
    style = "claim hides" if hides else "claim"
    title = "The model says of this drawing" + (", once you have judged it" if hides else "")
    return (
        f'<p class="eyebrow">{title}</p>'
        f'<p class="{style}">{mark(reflection)}<span class="said" dir="auto">{reason}</span></p>'
    )


def keys_dialog(id: str, keys: Sequence[tuple[str, str]]) -> str:
    rows = "".join(f"<dt>{_caps(caps)}</dt><dd>{what}</dd>" for caps, what in keys)
    close = '<form method="dialog"><button>Close</button></form>'
    return f'<dialog id="{id}" class="keys" aria-label="Keys"><h2>Keys</h2><dl>{rows}</dl>{close}</dialog>'


def _caps(keys: str) -> str:
    return " ".join(key if key == "–" else f"<kbd>{key}</kbd>" for key in keys.split(" "))
