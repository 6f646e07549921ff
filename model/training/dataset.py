"""An export's Parquet rows → lessons. The only reader of training files; it never sees the database."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
from PIL import Image as Picture
from PIL import UnidentifiedImageError

from model.decoding.request import words_of
from model.examples import JudgeExample
from model.janus import Janus
from model.training.lessons import Draft, Lesson, judge


class DataError(Exception):
    """A training file that cannot be read; says which row and why."""


def read_lessons(janus: Janus, folder: Path) -> list[Lesson]:
    """All judge_sft rows under a folder, in order. Raises DataError."""
    files = sorted(folder.rglob("*.parquet"))
    if not files:
        raise DataError(f"{folder} holds no .parquet file; give the folder that annotations.export wrote")
    lessons = []
    for file in files:
        for number, row in enumerate(parquet.read_table(file).to_pylist()):
            try:
                lessons.append(lesson_of(janus, JudgeExample.from_row(row)))
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(f"{file.name}, row {number}: {error}") from error
    if not lessons:
        raise DataError(f"{folder} holds no examples")
    return lessons


def lesson_of(janus: Janus, example: JudgeExample) -> Lesson:
    pictures = [pixels(png, janus.image_size) for png in example.images]
    drafts = [Draft(said, image=image) for said, image in zip(example.reflections, pictures, strict=False)]
    lesson = judge(janus, words_of(janus, example.prompt), drafts, pictures[-1], example.completion)
    return Lesson(lesson.pieces, example.weight)


def pixels(png: bytes, size: int) -> np.ndarray:
    """PNG bytes → uint8 (size, size, 3); other sizes are resized. Raises ValueError."""
    try:
        picture = Picture.open(io.BytesIO(png)).convert("RGB")
    except UnidentifiedImageError as error:
        raise ValueError("an image's bytes are no picture") from error
    if picture.size != (size, size):
        picture = picture.resize((size, size), Picture.Resampling.BICUBIC)
    return np.asarray(picture)


def manifest_of(folder: Path) -> dict | None:
    """The export's manifest, for the provenance of what is trained on it; None where there is none."""
    path = folder / "manifest.json"
    return json.loads(path.read_text("utf-8")) if path.is_file() else None
