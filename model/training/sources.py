"""Data sources of the training commands: rows of an export, and the embedded world.

A source makes the sequences of any step from the seed and the step alone, so that a resumed run sees what an
uninterrupted one sees.
"""

import argparse
import random
from array import array
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from model.backends.janus import Janus
from model.training.dataset import (
    JUDGE_ROWS,
    DataError,
    RowBounds,
    RowFormat,
    Rows,
    data_files,
    fingerprint_of,
    manifest_of,
    read_rows,
)
from model.training.embedded.curriculum import MIXTURES
from model.training.embedded.own_drafts import read_drafts
from model.training.embedded.world_prompts import PromptFileError, read_prompts, world_prompts
from model.training.embedded.world_sequences import world_source
from model.training.rollouts import Prompt
from model.training.training_sequences import TrainingSequence

MIXTURE_NAMES = tuple(MIXTURES)


class Indexed(Protocol):
    """Rows by index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


SequenceSource = Callable[[int, slice], Sequence[TrainingSequence]]  # step, which of its sequences → those


def add_sources(parser: argparse.ArgumentParser) -> None:
    """The options --data, --world and --drafts."""
    parser.add_argument("--data", type=Path, help="an export: a folder of Parquet files")
    world = "sequences of the embedded world; with --data, half of every batch"
    parser.add_argument("--world", action="store_true", help=world)
    drafts = "with --world: files of a model's own drafts (model.training.embedded.own_drafts)"
    parser.add_argument("--drafts", type=Path, nargs="+", default=[], metavar="FILE", help=drafts)


def check_sources(arguments: argparse.Namespace, batch: int) -> None:
    """Raises DataError for options that name no source, or contradict each other."""
    if not (arguments.data or arguments.world):
        raise DataError("nothing to learn from; give --data EXPORT, --world, or both")
    if arguments.drafts and not arguments.world:
        raise DataError("--drafts belong to the embedded world; give --world with them")
    if arguments.data and arguments.world and batch < 2:
        raise DataError(f"--batch {batch} cannot be halved between --data and --world; give 2 or more")


def open_sources(
    janus: Janus, arguments: argparse.Namespace, batch: int, mixture: str, seed: int, bounds: RowBounds
) -> tuple[SequenceSource, dict[str, Any]]:
    """The source of `batch` sequences per step, and what provenance says of it. Raises DataError."""
    sources: list[SequenceSource] = []
    about: dict[str, Any] = {}
    each = batch // 2 if arguments.data and arguments.world else batch
    if arguments.data:
        rows, about = open_rows(janus, arguments.data, JUDGE_ROWS, bounds)
        sources.append(row_source(rows, seed, each))
    if arguments.world:
        drafts = [draft for file in arguments.drafts for draft in read_drafts(file)]
        sources.append(world_source(janus, mixture, seed, each, drafts))
        about |= {"world": True, "drafts": len(drafts), "drafts_sha256": fingerprint_of(arguments.drafts)}

    def both(step: int, which: slice) -> list[TrainingSequence]:
        return [sequence for source in sources for sequence in source(step, which)]

    return both, about


def open_rehearsal(janus: Janus, seed: int, count: int, files: Sequence[Path]) -> tuple[SequenceSource, dict[str, Any]]:
    """`count` sequences per step of supervised fine-tuning beside reinforcement learning. Raises DataError."""
    drafts = [draft for file in files for draft in read_drafts(file)]
    about = {"drafts": len(drafts), "drafts_sha256": fingerprint_of(files)}
    return world_source(janus, "rehearsal", seed, count, drafts), about


def open_prompts(file: Path | None, seed: int, count: int) -> tuple[Callable[[int], list[Prompt]], dict[str, Any]]:
    """`count` prompts per step: a file's, or the embedded world's. Raises DataError."""
    try:
        known = read_prompts(file) if file else ()
    except PromptFileError as error:
        raise DataError(str(error)) from error
    return world_prompts(seed, count, known), {"prompts_sha256": fingerprint_of([file] if file and known else [])}


def open_rows(janus: Janus, folder: Path, row_format: RowFormat, bounds: RowBounds) -> tuple[Rows, dict[str, Any]]:
    """An export's rows, and what provenance says of them. Raises DataError."""
    rows = read_rows(janus, folder, row_format, bounds)
    about = {"data": manifest_of(folder), "examples": len(rows)}
    return rows, about | {"data_sha256": fingerprint_of(data_files(folder, row_format.kind))}


def row_source(rows: Indexed, seed: int, batch: int) -> Callable[[int, slice], list[Any]]:
    """`batch` rows per step, shuffled anew in every epoch."""

    size = min(batch, len(rows))

    @lru_cache(maxsize=2)
    def order(epoch: int) -> "array[int]":
        return array("Q", random.Random(f"{seed} {epoch}").sample(range(len(rows)), len(rows)))

    def items(step: int, which: slice) -> list[Any]:
        epoch, start = divmod(step * size, len(rows))
        chosen = order(epoch)[start : start + size]
        if len(chosen) < size:
            chosen += order(epoch + 1)[: size - len(chosen)]
        return [rows[index] for index in chosen[which]]

    return items
