"""Batch judging: a CSV of images and prompts in, a table of verdicts out.

Which image goes with which prompt is said by a CSV with the columns `image` and `prompt`, or else by the names of the
files: “two_red_apples.png” should show two red apples. Knows the generator; nothing of the page.
"""

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from annotations.errors import AnnotationsError, DiskFullError, ImportingError, redact_paths
from annotations.importing import csv_files
from annotations.importing.archives import UnpackedFolder, unpacked
from annotations.importing.formats.folder import KNOWN, NAMES
from annotations.importing.picture_names import Names
from annotations.importing.records import RowError, RowProblem
from model.backends.request import Request, RequestError, Task
from model.events import Failed, SegmentFinished, TrajectoryStarted, Verdict
from model.images import SUFFIXES
from model.reflection_text import split_verdict
from studio.inference.generator import Generator
from studio.inference.request_queue import QueueFull
from studio.inference.served_copies import note

MOST_IMAGES = 2000  # of one batch
AT_ONCE = 4  # so that visitors who draw meanwhile are served as well


class BatchError(ValueError):
    """Files that make no batch; the message says what is wanted."""


@dataclass(frozen=True)
class ImageAndPrompt:
    """An image and what it should show."""

    image: str
    prompt: str
    path: Path | None
    problem: str = ""  # why there is no file
    upload: Path | None = None  # the file that somebody gave: the image itself, or the zip that it was in


@dataclass(frozen=True)
class BatchJudgement:
    """A row of the table; `error` is said where there is no verdict."""

    image: str
    prompt: str
    verdict: str = ""
    p_yes: float | None = None
    reason: str = ""
    error: str = ""
    run: str = ""  # of the trajectory


@contextmanager
def batch(files: Sequence[Path]) -> Iterator[list[ImageAndPrompt]]:
    """What is to be judged of uploaded files, zips among them, as long as the block lasts. Raises BatchError."""
    try:
        with unpacked(files) as places:
            yield [replace(pair, upload=_upload_of(pair, places)) for pair in pairs_of(places)]
    except (DiskFullError, ImportingError) as error:
        raise BatchError(redact_paths(error)) from error


def _upload_of(pair: ImageAndPrompt, places: Sequence[UnpackedFolder]) -> Path | None:
    lies_in = (place for place in places if pair.path is not None and pair.path.is_relative_to(place.folder))
    return next((place.origin(pair.path) for place in lies_in), None)


def pairs_of(places: Sequence[UnpackedFolder]) -> list[ImageAndPrompt]:
    """What is to be judged. Raises BatchError, and ImportingError for a table that cannot be read."""
    inside = [(place, file) for place in places for file in sorted(place.folder.rglob("*")) if file.is_file()]
    tables = [(place, file) for place, file in inside if file.suffix.lower() in (".csv", ".tsv")]
    images = [(place, file) for place, file in inside if file.suffix.lower() in SUFFIXES]
    if len(tables) > len({place for place, _ in tables}) or (len(tables) > 1 and tables[0][0].flattened):
        raise BatchError(f"got {len(tables)} tables, wanted one, or one in each zip")
    pairs: list[ImageAndPrompt] = []
    for place, table in tables:
        theirs = [(p, file) for p, file in images if p == place or place.flattened]
        pairs += _listed(table, [(file.relative_to(p.folder).as_posix(), file) for p, file in theirs], place.flattened)
    if not tables:
        pairs = [ImageAndPrompt(file.name, _said(file), file) for _, file in images]
    if not pairs:
        raise BatchError(
            "got no image; give files such as PNG or JPEG, with a CSV or named after what they should show"
        )
    if len(pairs) > MOST_IMAGES:
        raise BatchError(f"got {len(pairs):,} images; at most {MOST_IMAGES:,} are judged at a time")
    return pairs


def _listed(table: Path, images: Sequence[tuple[str, Path]], flattened: bool) -> list[ImageAndPrompt]:
    rows = [row for _, row in csv_files.read(table, KNOWN)]
    known = [row for row in rows if isinstance(row, dict)]
    image, prompt = (next((name for name in of if known and name in known[0]), None) for of in (NAMES, ("prompt",)))
    if known and not (image and prompt):
        raise BatchError(f"{table.name} has the columns {', '.join(known[0])}; wanted “image” and “prompt”")
    names = Names(images, lambda: [row[image] for row in known], flattened=flattened)
    return [
        ImageAndPrompt("", "", None, str(row)) if isinstance(row, RowError) else _pair(row[image], row[prompt], names)
        for row in rows
    ]


def _pair(image: str, prompt: str, names: Names) -> ImageAndPrompt:
    image, prompt = image.strip(), prompt.strip()
    try:
        path = names.find(image, "image") if image else None
    except RowProblem as problem:
        return ImageAndPrompt(image, prompt, None, redact_paths(problem))
    return ImageAndPrompt(image, prompt, path, "" if path else "no such image was given")


def _said(file: Path) -> str:
    return " ".join(re.sub(r"[_\-]+", " ", file.stem).split())


def judge_all(
    generator: Generator, pairs: Sequence[ImageAndPrompt], *, owner: str
) -> Iterator[tuple[int, BatchJudgement]]:
    """(row, judgement), as they come; every one is stored as a trajectory."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        futures = {pool.submit(judge, generator, pair, owner): row for row, pair in enumerate(pairs)}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            for future in futures:
                future.cancel()


def judge(generator: Generator, pair: ImageAndPrompt, owner: str) -> BatchJudgement:
    """One image; what goes wrong is said in the row."""
    blank = BatchJudgement(pair.image, pair.prompt)
    if pair.path is None:
        return replace(blank, error=pair.problem)
    try:
        generator.backend.check(Request(pair.prompt))
        picture = generator.backend.read_source(pair.path, Task.JUDGE)
        on_start = partial(note, generator.store, file=pair.upload or pair.path)
        events = generator.stream(pair.prompt, 0, 1, owner=owner, task=Task.JUDGE, source=picture, on_start=on_start)
        rows: dict[str, object] = {}
        for event in events:
            match event:
                case TrajectoryStarted():
                    rows["run"] = event.trajectory_id
                case Verdict():
                    rows |= {"verdict": event.answer, "p_yes": round(event.p_yes, 4)}
                case SegmentFinished(text=str(text)):
                    rows["reason"] = split_verdict(text)[1]
                case Failed():
                    rows["error"] = event.error
        return replace(blank, **rows)
    except (RequestError, QueueFull, AnnotationsError, OSError) as error:
        return replace(blank, error=redact_paths(error))
