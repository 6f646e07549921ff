"""Many images judged at once: a table in, a table out.

Which image goes with which prompt is said by a CSV with the columns `image` and `prompt`, or else by the names of the
files: “two_red_apples.png” should show two red apples. Knows the generator; nothing of the page.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from annotations.errors import AnnotationsError
from model.decoding.request import PromptError, Task
from model.events import Failed, SegmentFinished, TrajectoryStarted, Verdict
from model.pictures import SUFFIXES, read_picture
from model.wording import split_verdict
from studio.generator import Generator
from studio.serving import TooMany

MOST_IMAGES = 2000  # of one batch
AT_ONCE = 4  # so that visitors who draw meanwhile are served as well


class BatchError(ValueError):
    """Files that make no batch; the message says what is wanted."""


@dataclass(frozen=True)
class Pair:
    """An image and what it should show."""

    image: str
    prompt: str
    path: Path | None  # None: the CSV names a file that was not given


@dataclass(frozen=True)
class Judgement:
    """A row of the table; `error` is said where there is no verdict."""

    image: str
    prompt: str
    verdict: str = ""
    p_yes: float | None = None
    reason: str = ""
    error: str = ""
    run: str = ""  # of the trajectory


def pairs_of(files: Sequence[Path]) -> list[Pair]:
    """What is to be judged. Raises BatchError."""
    tables = [file for file in files if file.suffix.lower() == ".csv"]
    images = {file.name: file for file in files if file.suffix.lower() in SUFFIXES}
    if len(tables) > 1:
        raise BatchError(f"got {len(tables)} CSV files, wanted one")
    found = _listed(tables[0], images) if tables else [Pair(name, _said(file), file) for name, file in images.items()]
    if not found:
        raise BatchError(
            "got no image; give files such as PNG or JPEG, with a CSV or named after what they should show"
        )
    if len(found) > MOST_IMAGES:
        raise BatchError(f"got {len(found):,} images; at most {MOST_IMAGES:,} are judged at a time")
    return found


def _listed(table: Path, images: dict[str, Path]) -> list[Pair]:
    try:
        rows = pd.read_csv(table, dtype=str, keep_default_na=False)
    except (ValueError, UnicodeDecodeError) as error:
        raise BatchError(f"{table.name} cannot be read as a CSV: {error}") from error
    if not {"image", "prompt"} <= set(rows.columns):
        raise BatchError(f"{table.name} has the columns {', '.join(rows.columns)}; wanted “image” and “prompt”")
    return [Pair(row.image, row.prompt, images.get(Path(row.image).name)) for row in rows.itertuples()]


def _said(file: Path) -> str:
    return " ".join(re.sub(r"[_\-]+", " ", file.stem).split())


def judge_all(generator: Generator, pairs: Sequence[Pair], *, owner: str) -> Iterator[tuple[int, Judgement]]:
    """(row, judgement), as they come; every one is stored as a trajectory."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        futures = {pool.submit(judge, generator, pair, owner): row for row, pair in enumerate(pairs)}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            for future in futures:
                future.cancel()


def judge(generator: Generator, pair: Pair, owner: str) -> Judgement:
    """One image; what goes wrong is said in the row."""
    blank = Judgement(pair.image, pair.prompt)
    if pair.path is None:
        return replace(blank, error="no such image was given")
    try:
        generator.check(pair.prompt)
        picture = read_picture(pair.path, generator.janus.image_size)
        events = generator.stream(pair.prompt, 0, 1, owner=owner, task=Task.JUDGE, source=picture)
        found: dict[str, object] = {}
        for event in events:
            match event:
                case TrajectoryStarted():
                    found["run"] = event.trajectory_id
                case Verdict():
                    found |= {"verdict": event.answer, "p_yes": round(event.p_yes, 4)}
                case SegmentFinished(text=str(text)):
                    found["reason"] = split_verdict(text)[1]
                case Failed():
                    found["error"] = event.error
        return replace(blank, **found)
    except (PromptError, TooMany, AnnotationsError, OSError) as error:
        return replace(blank, error=str(error))
