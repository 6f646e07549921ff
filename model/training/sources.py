"""Data sources of the training commands: rows of an export, and the embedded world.

A source makes the sequences of any step from the seed and the step alone, so that a resumed run sees what an
uninterrupted one sees.
"""

import argparse
import random
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from model.atomic_files import sha256_of
from model.backends.embedded_world import EMBEDDED_WORLD
from model.backends.janus import Janus
from model.backends.request import RequestError
from model.distributed.prompt_file import read_prompt_file
from model.training.dataset import (
    SFT_ROWS,
    DataError,
    RowBounds,
    RowFormat,
    Rows,
    data_files,
    fingerprint_of,
    manifest_of,
    prompts_in,
    read_rows,
)
from model.training.rollouts import GroupStart, Prompt, branch_starts
from model.training.runs.command import bounded
from model.training.training_sequences import TrainingSequence
from model.training.world_data.curriculum import MIXTURES
from model.training.world_data.drafts import read_drafts
from model.training.world_data.world_prompts import PromptFileError, read_prompts, world_prompts
from model.training.world_data.world_sequences import world_source

MIXTURE_NAMES = tuple(MIXTURES)


class Indexed(Protocol):
    """Rows by index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


SequenceSource = Callable[[int, slice], Sequence[TrainingSequence]]  # step, which of its sequences → those


@dataclass(frozen=True)
class DataFolder:
    """An export, or one Parquet file, and its share of every batch in proportion to others'."""

    path: Path
    weight: float = 1.0

    @staticmethod
    def read(text: str) -> "DataFolder":
        """`FOLDER` or `FOLDER:WEIGHT`, for argparse."""
        folder, colon, weight = text.rpartition(":")
        if not colon or Path(text).exists() or not folder:
            return DataFolder(Path(text))
        return DataFolder(Path(folder), bounded(float, 1e-6, 1e6)(weight))


def add_data(parser: argparse.ArgumentParser, kinds: str, *, required: bool = False) -> None:
    """The option --data of rows of these kinds."""
    text = f"exports of the kind {kinds}: folders of Parquet files, each perhaps with its weight in a batch (A:1 B:0.5)"
    parser.add_argument("--data", type=DataFolder.read, nargs="+", required=required, metavar="FOLDER", help=text)


def add_held_out(parser: argparse.ArgumentParser) -> None:
    """The option --held-out."""
    text = "rows that are not learnt, by which the run is measured: of an export with splits those beside train"
    parser.add_argument("--held-out", type=DataFolder.read, nargs="+", default=[], metavar="FOLDER", help=text)


def add_sources(parser: argparse.ArgumentParser) -> None:
    """The options --data, --world and --drafts."""
    add_data(parser, "judge_sft, thought_sft, draw_sft, redraw_sft or edit_sft")
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
    """The source of `batch` sequences per step, and its provenance. Raises DataError."""
    sources: list[SequenceSource] = []
    about: dict[str, Any] = {}
    each = batch // 2 if arguments.data and arguments.world else batch
    if arguments.data:
        data, about = open_data(janus, arguments.data, SFT_ROWS, bounds)
        sources.append(mixed_source(data, seed, each))
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


def knows_world(janus: Janus) -> bool:
    """Whether a checkpoint was trained for the embedded world's prompts."""
    return janus.domain is EMBEDDED_WORLD


def add_distill_prompts(parser: argparse.ArgumentParser) -> None:
    """The option --distill-prompts."""
    text = "prompts of self-distillation, one per line (default: the embedded world's, or the data's)"
    parser.add_argument("--distill-prompts", "--keep-prompts", type=Path, metavar="FILE", help=text)


def open_distill_prompts(
    janus: Janus, arguments: argparse.Namespace, row_format: RowFormat, count: int, seed: int
) -> list[str]:
    """`count` prompts for self-distillation: a file's lines, the embedded world's where the checkpoint knows it, or
    else those of the data. Raises DataError for a file without any, OSError."""
    rng = random.Random(f"{seed} prompts of self-distillation")
    if arguments.distill_prompts is None and knows_world(janus):
        return world_distill_prompts(janus, count, seed)
    if arguments.distill_prompts is not None:
        try:
            known = read_prompt_file(arguments.distill_prompts)
        except RequestError as error:
            raise DataError(str(error)) from error
    else:
        every = (prompts_in(folder.path, *row_format.kinds) for folder in arguments.data or ())
        known = list(dict.fromkeys(prompt for prompts in every for prompt in prompts))
    return [known[at % len(known)] for at in rng.sample(range(max(count, len(known))), count)] if known else []


def world_distill_prompts(janus: Janus, count: int, seed: int) -> list[str]:
    """`count` prompts of the embedded world for self-distillation; none for a checkpoint that does not know it."""
    return [prompt.text for prompt in world_prompts(seed, count)(0)] if knows_world(janus) else []


def open_branches(janus: Janus, folder: Path, rounds: int) -> tuple[list[GroupStart], dict[str, Any]]:
    """Starts of groups, and their provenance. Raises DataError."""
    try:
        starts = branch_starts(janus, folder, rounds)
    except ValueError as error:
        raise DataError(str(error)) from error
    return starts, {"branches": len(starts), "branches_sha256": fingerprint_of(sorted(folder.rglob("trajectory.json")))}


def open_rows(
    trained: Any, folder: Path, row_format: RowFormat, bounds: RowBounds, *, held_out: bool = False
) -> tuple[Rows, dict[str, Any]]:
    """An export's rows, and their provenance. Raises DataError."""
    rows = read_rows(trained, folder, row_format, bounds, held_out=held_out)
    about = {"data": manifest_of(folder), "examples": len(rows)}
    return rows, about | {"data_sha256": fingerprint_of(data_files(folder, *row_format.kinds, held_out=held_out))}


@dataclass(frozen=True)
class WeightedRows:
    """Rows, and their share of every batch in proportion to others'."""

    rows: Indexed
    weight: float = 1.0


def open_held_out(
    trained: Any, arguments: argparse.Namespace, row_format: RowFormat
) -> tuple[list[WeightedRows], dict[str, Any]]:
    """The rows of --held-out, and their provenance. Raises DataError, also where a file of them is learnt."""
    learnt = [file for each in arguments.data or () for file in data_files(each.path, *row_format.kinds)]
    hashes = {sha256_of(file): file for file in learnt}
    for each in arguments.held_out:
        for file in data_files(each.path, *row_format.kinds, held_out=True):
            if (same := hashes.get(sha256_of(file))) is not None:
                raise DataError(
                    f"--held-out names {file}, whose rows are learnt ({same}); give rows that --data does not have: an "
                    "export with --split, or another one"
                )
    return open_data(trained, arguments.held_out, row_format, RowBounds(), held_out=True)


def open_data(
    trained: Any, folders: Sequence[DataFolder], row_format: RowFormat, bounds: RowBounds, *, held_out: bool = False
) -> tuple[list[WeightedRows], dict[str, Any]]:
    """The rows of every folder, and their provenance: of several folders, lists. Raises DataError, also for a file that
    is there twice: by another path, a link or a copy."""
    known: dict[str, Path] = {}
    for file in (file for each in folders for file in data_files(each.path, *row_format.kinds, held_out=held_out)):
        if (same := known.setdefault(sha256_of(file), file)) is not file:
            raise DataError(
                f"{file} and {same} hold the same rows, which would count twice; give them once, with a weight where "
                "they should count for more (--data FOLDER:2)"
            )
    opened = [open_rows(trained, folder.path, row_format, bounds, held_out=held_out) for folder in folders]
    data = [WeightedRows(rows, folder.weight) for (rows, _), folder in zip(opened, folders, strict=True)]
    if len(opened) == 1:
        return data, opened[0][1]
    about: dict[str, Any] = {name: [each[name] for _, each in opened] for name in ("data", "examples", "data_sha256")}
    return data, about | {"data_weights": [folder.weight for folder in folders]}


def mixed_source(data: Sequence[WeightedRows], seed: int, batch: int) -> Callable[[int, slice], list[Any]]:
    """`batch` rows per step, of every folder its share, rounded, at least one. Raises DataError for a smaller batch."""
    if batch < len(data):
        raise DataError(
            f"a batch of {batch} has no room for a row of each of {len(data)} folders; give a larger --batch"
        )
    total, counts = sum(each.weight for each in data), [1] * len(data)
    for _ in range(batch - len(data)):  # each further row to who lacks most
        lacking = [batch * each.weight / total - count for each, count in zip(data, counts, strict=True)]
        counts[lacking.index(max(lacking))] += 1
    sources = [row_source(each.rows, seed, count) for each, count in zip(data, counts, strict=True)]
    return lambda step, which: [row for source in sources for row in source(step, which)]


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
