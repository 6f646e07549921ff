"""Synthetic trajectories of realistic size, for benchmarks."""

import base64
import hashlib
import json
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Picture

from annotations.store.listing import Filter
from model.images import encode_png
from model.trajectory import Image, Reflection, Sampling, StopReason, Token, Trajectory

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
SEGMENTS = 4  # of a made-up trajectory
SIDE, CELL = 8, 8  # codes of a row, pixels of a code
ABOVE, BELOW = ("cat", "dog", "car", "star"), ("moon", "house", "tree", "apple")
RARE = (3, 33, 333)  # numbers of the trajectories whose prompts have the word “fish”
OTHER_CHECKPOINT = 500  # trajectories drawn by another checkpoint
COLOURS = ("red", "blue", "green", "yellow", "pink")
FILTERS = {  # of lists of these trajectories, by what they find
    "aha moments": Filter(aha=True),
    "last verdict yes": Filter(verdict="yes"),
    "last verdict no": Filter(verdict="no"),
    "annotated (none is)": Filter(annotated=True),
    "not annotated (all are not)": Filter(annotated=False),
    "a category": Filter(category="mixed"),
    "a category that nothing is in": Filter(category="hard"),
    "a checkpoint": Filter(checkpoint="embedded"),
    "a checkpoint that drew nothing lately": Filter(checkpoint="base"),
    "two frequent words": Filter(search="red cat"),
    "how a frequent word begins": Filter(search="ca"),
    "how very many words begin": Filter(search="k"),
    "a rare word, all old": Filter(search="fish"),
    "a word that is nowhere": Filter(search="zebra"),
    "two frequent words, never together": Filter(search="cat dog"),
    "a word and filters, never together": Filter(search="cat", aha=True, checkpoint="base", category="hard"),
}


def made_up(number: int) -> Trajectory:
    """Two rounds of realistic size; one in fifty is an aha moment, every other one has a random word in its prompt."""
    rng = random.Random(number)
    below = "fish" if number in RARE else rng.choice(BELOW)
    prompt = f"a {rng.choice(COLOURS)} {rng.choice(ABOVE)} above a {rng.choice(COLOURS)} {below}"
    if number % 2:
        prompt += " in " + "".join(rng.choice("bklmnprst") + rng.choice("aeiou") for _ in range(3))
    answers = ("no", "yes") if number % 50 == 0 else ("no", "no")
    segments: list[Image | Reflection] = []
    for answer in answers:
        segments.append(Image(tuple(rng.randrange(1024) for _ in range(64))))
        segments.append(Reflection(answer, 0.5, tuple(Token(i, f" word{i}") for i in range(12))))
    moment = (BEGIN + timedelta(seconds=number)).isoformat()
    ended = StopReason.CONTENT if answers[-1] == "yes" else StopReason.ROUNDS
    id = f"t{number:08d}"
    checkpoint = "base" if number < OTHER_CHECKPOINT else "embedded"
    return Trajectory(prompt, number, 3, Sampling(), checkpoint, tuple(segments), ended, id=id, created_at=moment)


def picture(number: int) -> bytes:
    """A PNG of 64×64 pixels, another one for each number."""
    cells = np.random.default_rng(number).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    return encode_png(Picture.fromarray(cells.repeat(CELL, axis=0).repeat(CELL, axis=1)))


def write_rows(file: Path, rows: int, pictures: int = 0) -> None:
    """Write `rows` trajectories as JSON Lines of the format `ours`, the first `pictures` of them with a picture."""
    with file.open("w", encoding="utf-8") as opened:
        for number in range(rows):
            row = made_up(number)
            opened.write(json.dumps(_with_picture(row, number) if number < pictures else row.to_dict()) + "\n")


def _with_picture(trajectory: Trajectory, number: int) -> dict[str, Any]:
    png = picture(number)
    sha256 = hashlib.sha256(png).hexdigest()
    first, *others = trajectory.segments
    assert isinstance(first, Image)
    shown = replace(trajectory, segments=(replace(first, sha256=sha256), *others))
    return {"trajectory": shown.to_dict(), "pictures": {sha256: base64.b64encode(png).decode()}}
