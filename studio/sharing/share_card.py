"""The card (1200×630 pixels) and the animation of a drawing, for previews of its link.

Knows trajectories and how they look; no HTTP. Only what the store shows to everybody is ever drawn.
"""

import io
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from PIL import Image as Picture
from PIL import ImageDraw, ImageFont

from annotations.store.store import Store
from model.images import read_rgb
from model.trajectory import Image, Reflection, Trajectory
from studio.theme import ASSETS

SIZE = (1200, 630)  # pixels, as link previews show them
SIDE = 330  # of a drawing on the card
PAPER, INK, SOFT, YES, NO, MARKER = "#f8f4ea", "#231f18", "#675e4d", "#1f6f43", "#a93722", "#ffd84d"
SERIF, SANS = "newsreader-600", "ibm-plex-sans-600"
FRAME_MS, LAST_MS = 60, 1600  # of the animation; how long each finished image is shown
ANIMATED = 256  # pixels per side
STEPS = 16  # frames in which an image appears
MOST_LETTERS = 90  # of a prompt or a reason on the card


class CardRound(NamedTuple):
    """A drawing and what was said about it."""

    sha256: str
    reflection: Reflection | None


def rounds(trajectory: Trajectory) -> list[CardRound]:
    """The finished images of a trajectory, each with its reflection."""
    made: list[CardRound] = []
    for segment in trajectory.segments:
        if isinstance(segment, Image) and segment.sha256:
            made.append(CardRound(segment.sha256, None))
        elif isinstance(segment, Reflection) and made:
            made[-1] = CardRound(made[-1].sha256, segment)
    return made


def title_of(trajectory: Trajectory) -> str:
    return f"“{_short(trajectory.prompt)}”"


def description_of(trajectory: Trajectory) -> str:
    """What happened, in a sentence or two."""
    reflections = [shown.reflection for shown in rounds(trajectory) if shown.reflection]
    if trajectory.aha and reflections[0].answer == "no":
        return f"An aha moment: the model said no to its draft (“{_short(reflections[0].reason)}”) and drew it again."
    if reflections:
        return f"The model said {reflections[-1].answer} to its drawing: “{_short(reflections[-1].reason)}”"
    return "Watch a model draw, judge its drawing, and draw again"


def card(store: Store, run: str) -> bytes:
    """PNG: the prompt, the first and the last drawing, and what was said of them. Raises AnnotationsError."""
    trajectory = store.trajectory(run)
    sheet = Picture.new("RGB", SIZE, PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((60, 44), _short(f"“{trajectory.prompt}”", 58), INK, _font(SERIF, 44))
    made = rounds(trajectory)
    shown = [made[0], made[-1]] if len(made) > 1 else made
    for number, each in enumerate(shown):
        left = 60 + number * 560
        picture = read_rgb(store.picture(each.sha256)).resize((SIDE, SIDE), Picture.Resampling.NEAREST)
        pen.rectangle((left - 2, 126, left + SIDE + 1, 127 + SIDE + 2), outline=SOFT, width=2)
        sheet.paste(picture, (left, 128))
        if each.reflection:
            _verdict(pen, left, each.reflection)
    if len(shown) > 1:
        pen.line([(460, 292), (546, 292)], INK, 6)
        pen.line([(522, 268), (548, 292), (522, 316)], INK, 6, joint="curve")
    if trajectory.aha:
        pen.rectangle((980, 128, 1140, 172), fill=MARKER)
        pen.text((1060, 150), "aha moment", INK, _font(SANS, 24), anchor="mm")
    pen.text((60, 584), "Aha Studio", SOFT, _font(SERIF, 26))
    return _encoded(sheet, "PNG")


def _verdict(pen: ImageDraw.ImageDraw, left: int, reflection: Reflection) -> None:
    yes = reflection.answer == "yes"
    colour, top = YES if yes else NO, 486
    mark = [(0, 12), (8, 20), (22, 2)] if yes else [(2, 2), (20, 20)]
    pen.line([(left + x, top + y) for x, y in mark], colour, 5)
    if not yes:
        pen.line([(left + 20, top + 2), (left + 2, top + 20)], colour, 5)
    pen.text((left + 34, top - 8), "Yes" if yes else "No", colour, _font(SERIF, 30))
    pen.text((left, top + 36), _short(reflection.reason.capitalize(), 46), INK, _font(SERIF, 24))


def animation(store: Store, run: str) -> bytes:
    """WebP: the images appear patch by patch, one after the other. Raises AnnotationsError."""
    made = rounds(store.trajectory(run))
    frames = [frame for each in made for frame in _appearing(read_rgb(store.picture(each.sha256)))]
    if not frames:
        frames = [Picture.new("RGB", (ANIMATED, ANIMATED), PAPER)]
    times = [LAST_MS if number % STEPS == STEPS - 1 else FRAME_MS for number in range(len(frames))]
    buffer = io.BytesIO()
    frames[0].save(buffer, "WEBP", save_all=True, append_images=frames[1:], duration=times, loop=0, lossless=True)
    return buffer.getvalue()


def _appearing(picture: Picture.Image) -> Iterator[Picture.Image]:
    """`STEPS` frames, from a part of its first rows to the whole."""
    whole = picture.resize((ANIMATED, ANIMATED), Picture.Resampling.NEAREST)
    side, patches = ANIMATED // 8, 64
    sheet = Picture.new("RGB", whole.size, PAPER)
    for step in range(STEPS):
        for patch in range(step * patches // STEPS, (step + 1) * patches // STEPS):
            left, top = patch % 8 * side, patch // 8 * side
            sheet.paste(whole.crop((left, top, left + side, top + side)), (left, top))
        yield sheet.copy()


def _encoded(picture: Picture.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, optimize=True)
    return buffer.getvalue()


@lru_cache(8)
def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(ASSETS / "fonts" / f"{name}.woff2", size)


def _short(text: str, most: int = MOST_LETTERS) -> str:
    words = " ".join(text.split())
    return words if len(words) <= most else words[: most - 1].rstrip() + "…"
