"""Events and trajectories to timeline rows and static HTML.

Pure functions; no store, no network, no Gradio. Everything a person or a model wrote is escaped in HTML and plain
text in rows, which the page's script only ever puts in place as text. The class names are those of timeline.js.
"""

import base64
import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Any
from uuid import uuid4

from annotations.store.listing import TrajectorySummary
from model.backends.contract import GONE
from model.events import (
    Event,
    Failed,
    FrameAdded,
    ImageCodesAdded,
    Preview,
    SegmentFinished,
    SegmentStarted,
    TextAdded,
    TrajectoryFinished,
    TrajectoryStarted,
    Verdict,
    replay,
)
from model.images import PictureFileError, size_of, thumbnail
from model.trajectory import Image, Origin, Reflection, Segment, Source, StopReason, Thought, Trajectory, origin_of

Row = dict[str, Any]
PictureOf = Callable[[str], bytes]  # the PNG of a hash

RESENT = 4_000  # characters of JSON that a value repeats, in case the browser skipped one
SMOOTH = 128  # pixels per side from which a picture is shown smooth, not as crisp squares
ENDINGS = {
    StopReason.CONTENT: "The model is content with its drawing.",
    StopReason.ROUNDS: "The model is not content, but has no rounds left.",
    StopReason.EDITED: "The image is edited.",
    StopReason.JUDGED: "That is what the model makes of it.",
    StopReason.CANCELLED: "Stopped.",
    StopReason.FAILED: "Something went wrong; what was drawn so far is kept.",
    StopReason.IMPORTED: "It was made elsewhere.",
}
BY_PERSON = {  # where the last verdict is a person's
    StopReason.CONTENT: "A person has said yes to the drawing.",
    StopReason.ROUNDS: "A person has said no to the drawing, and there are no rounds left.",
}


# --- rows and values of the timeline component ------------------------------------------------------------------


def row(event: Event) -> Row | None:
    """An event as the page's script reads it; None for what the page does not show."""
    here = {"segment": event.segment}
    match event:
        case TrajectoryStarted():
            return {
                "is": "start",
                "id": event.trajectory_id,
                "prompt": event.prompt,
                "seed": str(event.seed),
                "rounds": event.rounds,
                "checkpoint": event.checkpoint,
                "contexts": "published contexts" if event.sampling.published_contexts else "",
                "cells": event.image_codes,
            }
        case SegmentStarted():
            return {"is": "segment", "kind": event.kind} | here
        case TextAdded():
            by = {"person": True} if any(token.origin is Origin.PERSON for token in event.tokens) else {}
            return {"is": "text", "text": event.text} | by | here
        case ImageCodesAdded(origin=Origin.PERSON | Origin.TEMPLATE):
            return {"is": "forced", "start": event.start, "count": len(event.codes), "by": event.origin.value} | here
        case FrameAdded() if event.png is not None:
            return frame(event.sha256, event.png, event.share) | here
        case Preview(whole=True):
            return {"is": "picture", "png": data_url(event.png)} | here
        case Preview():
            return {"is": "cells", "start": event.start, "count": event.count, "png": data_url(event.png)} | here
        case Verdict():
            return {"is": "verdict", "answer": event.answer, "p": round(event.p_yes, 4)} | here
        case SegmentFinished():
            return {"is": "done"} | here
        case TrajectoryFinished():
            return ending(event.stop_reason)
        case Failed(error=error):
            return ending(StopReason.FAILED) | ({"text": error} if error == GONE else {})
    return None


def frame(sha256: str, png: bytes, share: float) -> Row:
    """A stage of an image without codes, or of one that was stopped."""
    return {"is": "frame", "sha256": sha256, "png": data_url(png), "share": round(share, 3)}


def ending(reason: StopReason) -> Row:
    """`person` replaces `text` where the last verdict is a person's."""
    by_person = {"person": BY_PERSON[reason]} if reason in BY_PERSON else {}
    return {"is": "end", "reason": reason.value, "text": ENDINGS[reason]} | by_person


def timeline_value(
    run: str, rows: Sequence[Row], fresh: int, whole: Sequence[Row] = (), ended: Trajectory | None = None
) -> Row:
    """What to yield to the component: the rows from `fresh` on, and a few before them that it may have missed.

    The last value of a run carries the `whole` story told briefly, for a page that has seen only a part, and the
    trajectory, to look at more closely and to keep.
    """
    first, left = fresh, RESENT
    while first > 0 and left > (size := len(json.dumps(rows[first - 1]))):
        first, left = first - 1, left - size
    value = {"run": run, "first": first, "rows": list(rows[first:]), "whole": list(whole)}
    return value if ended is None else value | {"trajectory": ended.to_dict()}


def replay_value(trajectory: Trajectory, picture: PictureOf, *, run: str, pace: float, label: str = "") -> Row:
    """A stored trajectory that the page plays by itself, at `pace` times the usual speed; 0 shows it at once."""
    largest = max((len(image.codes) for image in trajectory.images), default=0)
    rows: list[Row] = []
    for made in map(row, replay(trajectory, picture, group=max(2, largest // 32)) if pace else ()):
        rows += [_without_picture(made), *_left_undrawn(made, trajectory)] if made is not None else []
    value = timeline_value(run, rows, 0, in_brief(trajectory, picture), trajectory)
    return value | {"pace": pace, "label": label}


def _without_picture(made: Row) -> Row:
    """Without its own picture: the page cuts cells of a replay from the `whole` pictures that the value holds."""
    return {name: made[name] for name in made if name != "png"} if made["is"] in ("cells", "picture") else made


def _left_undrawn(made: Row, trajectory: Trajectory) -> list[Row]:
    """How far an unfinished image of codes had come, which has no picture."""
    segment = trajectory.segments[made["segment"]] if made["is"] == "segment" else None
    if not isinstance(segment, Image) or segment.sha256 is not None or not segment.codes:
        return []
    return [{"is": "progress", "segment": made["segment"], "count": len(segment.codes)}]


def in_brief(trajectory: Trajectory, picture: PictureOf) -> list[Row]:
    """The rows of a trajectory without its steps: whole texts, whole pictures, and the frames."""
    brief: list[Row] = []
    for made in map(row, replay(trajectory)):
        if made is None:
            continue
        if made["is"] == "text" and brief[-1]["is"] == "text":
            brief[-1]["text"] += made["text"]
        else:
            brief.append(made)
        if made["is"] == "segment":
            brief += _left_undrawn(made, trajectory)
            segment, here = trajectory.segments[made["segment"]], {"segment": made["segment"]}
            brief += [frame(sha256, picture(sha256), 1.0) | here for sha256 in getattr(segment, "frames", ())]
            if (sha256 := getattr(segment, "sha256", None)) is not None:
                brief.append({"is": "picture", "png": data_url(picture(sha256))} | here)
    return brief


def empty_value(text: str) -> Row:
    """Words in place of what was shown."""
    return timeline_value(uuid4().hex, [], 0) | {"notice": text}


def notice_value(text: str, *, anyway: str = "") -> Row:
    """A message beside what is on the page already; `anyway` are the words on a button that has it done all the
    same."""
    return {"notice": text, "anyway": anyway}


# --- static HTML ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Round:
    """One image with the thought before and the reflection after it; any of them may be missing."""

    number: int  # from 1; a source is 0
    segments: tuple[tuple[int, Segment], ...]  # with their index in the trajectory


def rounds_of(trajectory: Trajectory) -> list[Round]:
    """The segments in rounds: a thought, or an image without one, begins the next."""
    groups: list[list[tuple[int, Segment]]] = []
    for index, segment in enumerate(trajectory.segments):
        kinds = {earlier.kind for _, earlier in groups[-1]} if groups else {"reflection"}
        begins = isinstance(segment, Thought | Source) or (isinstance(segment, Image) and kinds != {"thought"})
        if begins or not groups:
            groups.append([])
        groups[-1].append((index, segment))
    sources = sum(isinstance(segment, Source) for segment in trajectory.segments)
    return [Round(number, tuple(group)) for number, group in enumerate(groups, start=1 - min(sources, 1))]


def still(trajectory: Trajectory, picture: PictureOf, *, headed: bool = True) -> str:
    """A trajectory as HTML that does not move. `headed`: whether a drawing of one round says which that is."""
    rounds = rounds_of(trajectory)
    aha = trajectory.aha_segment
    has_source = any(isinstance(segment, Source) for segment in trajectory.segments)
    first = ("Edited" if has_source else "Draft") if headed or len(rounds) > 1 else ""
    items = "".join(_round(r, picture, trajectory.prompt, aha, first) for r in rounds)
    return f'<div class="timeline still"><ol class="rounds">{items}</ol></div>'


def _round(shown: Round, picture: PictureOf, prompt: str, aha: int | None, first: str) -> str:
    parts = "".join(_segment(index, segment, picture, prompt, aha) for index, segment in shown.segments)
    name = "Your image" if shown.number == 0 else first if shown.number == 1 else "Revision"
    number = f'<span class="number">{shown.number}</span>' if shown.number else ""
    head = f'<h3 class="head">{number}<span class="name">{name}</span></h3>' if name else ""
    return f'<li class="round">{head}{parts}</li>'


def _segment(index: int, segment: Segment, picture: PictureOf, prompt: str, aha: int | None) -> str:
    match segment:
        case Thought():
            lines = escape(segment.text.strip().replace("; ", ";\n"))
            return f'<p class="thought{_by(segment)}" dir="auto" data-segment="{index}">{lines}</p>'
        case Reflection():
            mark = '<span class="aha">aha moment</span>' if index == aha else ""
            return (
                f'<p class="verdict {escape(segment.answer)}" data-segment="{index}">{verdict(segment.answer)} '
                f'<span class="p">p(yes) {segment.p_yes:.2f}</span>{mark}</p>'
                f'<p class="reason{_by(segment)}" dir="auto">{escape(segment.reason)}</p>'
            )
        case Image(sha256=None, frames=frames):
            last = f'<img src="{data_url(picture(frames[-1]))}" alt="Unfinished drawing">' if frames else ""
            return f'<div class="picture unfinished" data-segment="{index}">{last}</div>'
        case Image() | Source():
            png = picture(segment.sha256)
            smooth = " smooth" if width_of(png) > SMOOTH else ""
            return (
                f'<div class="picture{smooth}" data-segment="{index}">'
                f'<img src="{data_url(png)}" alt="Drawing of “{escape(prompt)}”"></div>'
            )


def _by(segment: Thought | Reflection) -> str:
    """The class of words that a person wrote."""
    return " by-person" if origin_of(segment) is Origin.PERSON else ""


def escaped(words: str) -> str:
    """Words that a person, a model or an error wrote, as HTML."""
    return escape(words)


def isolated(words: str) -> str:
    """The same within a line, in a direction of its own: Arabic or Hebrew among English."""
    return f"<bdi>{escape(words)}</bdi>"


def sentence(words: str) -> str:
    """Words with a capital at their beginning, to be shown."""
    return words[:1].upper() + words[1:]


def day(at: datetime) -> str:
    """A day in UTC, which gallery.js converts to the browser's time zone."""
    at = at.astimezone(UTC)
    return f'<time datetime="{at:%Y-%m-%dT%H:%M:%SZ}">{at.day} {at:%b %Y} (UTC)</time>'


def verdict(answer: str) -> str:
    """The verdict as a sign and a word, so that no one needs to see its colour."""
    sign, word = ("✓", "Yes") if answer == "yes" else ("✗", "No")
    return f'<span class="sign" aria-hidden="true">{sign}</span><span class="word">{word}</span>'


# --- pictures ---------------------------------------------------------------------------------------------------


def data_url(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def width_of(png: bytes) -> int:
    """In pixels; 0 for what is no picture."""
    try:
        return size_of(png)[0]
    except PictureFileError:
        return 0


def image(png: bytes, alt: str) -> str | None:
    """A small picture as HTML; None for what cannot be decoded."""
    try:
        return f'<img src="{data_url(thumbnail(png))}" alt="{escape(alt)}" loading="lazy">'
    except PictureFileError:
        return None


# --- cards of the gallery ---------------------------------------------------------------------------------------


def cards(
    listed: Sequence[TrajectorySummary],
    picture: Callable[[str], bytes | None],
    address: str = "",
    none: str = "",
    overruled: Collection[str] = (),
) -> str:
    """Trajectories as links to their replay, newest first; `picture` gives None for one that cannot be read.

    `address` is that of this view, which the page's script takes over; `none` is the HTML for an empty list;
    `overruled`: ids of those whose last verdict a person wrote.
    """
    made = "".join(
        _card(summary, picture(summary.cover) if summary.cover else None, by_person=summary.id in overruled)
        for summary in listed
    )
    return f'<div class="gallery" data-address="{escape(address)}">{made or none}</div>'


def _card(summary: TrajectorySummary, png: bytes | None, *, by_person: bool) -> str:
    answer = (
        f'<span class="verdict {summary.answers[-1]}">{verdict(summary.answers[-1])}</span>' if summary.answers else ""
    )
    answer += '<span class="recorded">said by a person</span>' if by_person else ""
    marks = '<span class="aha">aha moment</span>' if summary.aha else ""
    marks += '<span class="recorded">recorded example</span>' if summary.recorded else ""
    marks += '<span class="recorded">goes on from another</span>' if summary.parent_id else ""
    tries = f"{len(summary.answers)} drawings" if len(summary.answers) > 1 else ""
    stopped = "stopped" if summary.stop_reason is StopReason.CANCELLED else ""
    facts = " · ".join(filter(None, (day(summary.created_at), tries, stopped)))
    return (
        f'<a class="card" href="gallery?run={escape(summary.id)}" data-run="{escape(summary.id)}">'
        f"{_cover(summary, png)}"
        f'<span class="prompt" dir="auto">{escape(summary.prompt)}</span>'
        f'<span class="marks">{answer}{marks}</span><span class="facts">{facts}</span></a>'
    )


def _cover(summary: TrajectorySummary, png: bytes | None) -> str:
    if png is None:
        return '<span class="cover none">unfinished</span>'
    if (shown := image(png, f"Last drawing of “{summary.prompt}”")) is None:
        return '<span class="cover none">unreadable picture</span>'
    smooth = " smooth" if width_of(png) > SMOOTH else ""
    return f'<span class="cover{smooth}">{shown}</span>'
