"""Parquet rows of an export to training sequences.

Every row is checked before anything is learnt: one that could not be learnt as it stands is refused with its number.
Checked rows lie on disk, not in memory.
"""

import hashlib
import json
import os
import pickle
import re
import tempfile
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import pyarrow as arrow
import pyarrow.parquet as parquet

from model.atomic_files import sha256_of
from model.backends.janus import Janus
from model.backends.request import Task
from model.examples import MOST_CHARACTERS, DrawnExample, JudgeExample, StoredImage, ThoughtExample, sft_example
from model.images import PictureFileError, decode
from model.messages import MessageError, flattened
from model.sequences import Codes, Pixels, Text, escape_special_tokens
from model.training.batch import length
from model.training.training_sequences import JudgedDraft, TrainingSequence, draw, edit, judge, think

MANIFEST = "manifest.json"
SOURCES = "_sources.parquet"  # of an export: which trajectories and revisions made each row
TRAIN = "train"  # the split that is learnt
SPLIT = re.compile(  # in names of files and folders, as `datasets` knows them
    r"(?:split=)?(?P<split>test(?:ing)?|eval(?:uation)?|validation|valid|val|dev)(?![a-z])", re.IGNORECASE
)
AT_ONCE = 64  # rows in memory while a file is read
CACHE = 2**28  # bytes of rows that stay in memory
BUFFER = 2**20  # bytes in memory of every column
NAMED = 10  # bad rows that an error tells of


class DataError(Exception):
    """A training file that cannot be read; says which row and why."""


@dataclass(frozen=True)
class RowBounds:
    """The largest row that is read; longer ones would take minutes a step, or all memory."""

    characters: int = MOST_CHARACTERS
    tokens: int = 8192  # positions, those of images too
    megapixels: float = 50.0  # of one picture


class Row(Protocol):
    """What a method learns from one row: a `TrainingSequence`, or a dataclass of several."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def weight(self) -> float: ...

    @property
    def name(self) -> str: ...


@dataclass(frozen=True)
class RowFormat:
    """Kinds of rows: their names in an export's manifest, from a row to an example, and from that to what is learnt."""

    kinds: tuple[str, ...]
    parse: Callable[[Mapping[str, Any], int], Any]  # row, most characters → example; raises MessageError
    build: Callable[[Any, Any, RowBounds], Row]  # by what is trained, a Janus or a denoiser; raises MessageError


class Rows:
    """Checked rows in a temporary file without a name; each is read, and its images decoded, when it is asked for.

    In memory are 8 bytes per row, and as many rows as `CACHE` holds.
    """

    def __init__(self, build: Callable[[Any], Row]):
        self.build = build
        self._file = tempfile.TemporaryFile()  # noqa: SIM115
        self._ends = array("Q", [0])
        self._cached: dict[int, Row] = {}
        self._room = CACHE

    def append(self, example: Any, name: str) -> None:
        """Raises OSError where there is no room for temporary files."""
        self._file.seek(0, os.SEEK_END)
        pickle.dump((example, name), self._file, pickle.HIGHEST_PROTOCOL)
        self._ends.append(self._file.tell())

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: int) -> Row:
        if index in self._cached:
            return self._cached[index]
        start, end = self._ends[index], self._ends[index + 1]
        self._file.seek(start)
        example, name = pickle.loads(self._file.read(end - start))
        row = replace(self.build(example), name=name)
        if self._room > 0:
            self._cached[index] = row
            self._room -= len(pickle.dumps(row))
        return row


def read_rows(
    trained: Any, folder: Path, row_format: RowFormat, bounds: RowBounds = RowBounds(), *, held_out: bool = False
) -> Rows:
    """All rows under a folder (or of one file) that `data_files` gives, in order, `trained` as `row_format.build` takes
    it. Raises DataError, which names the first ten bad rows and counts the others."""
    rows = Rows(lambda example: row_format.build(trained, example, bounds))
    bad: list[str] = []
    count, learnt = 0, False
    for file in data_files(folder, *row_format.kinds, held_out=held_out):
        for number, row in rows_of(file):
            count += 1
            try:
                example = row_format.parse(row(), bounds.characters)
                built = rows.build(example)
            except (ValueError, KeyError, TypeError) as error:
                bad.append(f"row {number} of {file.name}: {one_line(error)}" if len(bad) < NAMED else "")
                continue
            rows.append(example, f"row {number} of {file.name}")
            learnt |= built.weight > 0
    if bad:
        named = "\n  ".join([*bad[:NAMED], *([f"and {len(bad) - NAMED} more"] if len(bad) > NAMED else [])])
        raise DataError(
            f"{len(bad)} of {count} rows under {folder} cannot be learnt; mend them or leave them out:\n  {named}"
        )
    if not rows:
        raise DataError(f"{folder} holds no examples; the Parquet files in it have no rows")
    if not learnt:
        raise DataError(f"all {count} rows under {folder} have the weight 0, so there is nothing to learn")
    return rows


def prompts_in(folder: Path, *kinds: str) -> Iterator[str]:
    """The user's words of every row that has any, in order."""
    for file in data_files(folder, *kinds):
        for _, row in rows_of(file):
            prompt = row().get("prompt")
            if not isinstance(prompt, str):  # messages
                parts = flattened("prompt", prompt)
                prompt = "".join(part.text for part in parts if part.message == 1 and part.text is not None)
            if words := prompt.strip():
                yield words


def rows_from(janus: Janus, examples: Sequence[Any], row_format: RowFormat) -> Rows:
    """Examples that are in memory, checked. Raises DataError, which names the first bad one."""
    rows = Rows(lambda example: row_format.build(janus, example, RowBounds()))
    for number, example in enumerate(examples, start=1):
        try:
            rows.build(example)
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"example {number} of {len(examples)} cannot be learnt: {one_line(error)}") from error
        rows.append(example, f"example {number}")
    if not any(example.weight > 0 for example in examples):
        raise DataError(f"there is nothing to learn from in {len(examples)} examples")
    return rows


def one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:500] or type(error).__name__


def data_files(folder: Path, *kinds: str, held_out: bool = False) -> list[Path]:
    """The Parquet files of the split train in `folder`, or the file it is, whatever its split; `held_out`: those of its
    other splits, or where there are none, all. The split is what the manifest of an export says, or else the name, as
    `datasets` reads it (`test-00000-of-00001.parquet`, `test/0.parquet`). Names that begin with . or _ are skipped.
    Raises DataError where there are none, and where a manifest beside one contradicts it, or names none of the
    `kinds`."""
    if folder.is_file():
        files = [folder]
    else:
        paths = sorted(path for path in folder.rglob("*.parquet") if path.is_file())
        files = [path for path in paths if not any(p[0] in "._" for p in path.relative_to(folder).parts)]
    if not files:
        raise DataError(f"{folder} holds no .parquet file; give the folder that annotations.export wrote")
    known: dict[Path, str] = {}
    for place in dict.fromkeys(file.parent for file in files):
        known |= _checked(place, [file for file in files if file.parent == place], kinds)
    if folder.is_file():
        return files
    split_of = {file: known.get(file) or _named_split(file.relative_to(folder)) for file in files}
    learnt = [file for file in files if split_of[file] == TRAIN]
    others = [file for file in files if split_of[file] != TRAIN]
    if not learnt and not held_out:
        raise DataError(
            f"{folder} holds only rows of the split {split_of[files[0]]}; give one of its files to learn it"
        )
    return others or learnt if held_out else learnt


def _named_split(path: Path) -> str:
    """The split that a path names; TRAIN where it names none."""
    named = [SPLIT.fullmatch(part) for part in path.parts[:-1]] + [SPLIT.match(path.stem)]
    return next((match["split"].lower() for match in reversed(named) if match), TRAIN)


def rows_of(file: Path) -> Iterator[tuple[int, Callable[[], dict[str, Any]]]]:
    """Number (from 1) and content of each row; the content is called for, and raises ValueError where it is no text.

    Raises DataError for what is no Parquet file, or a damaged one.
    """
    number = 0
    try:
        with parquet.ParquetFile(file, buffer_size=BUFFER) as opened:
            names = opened.schema_arrow.names
            if doubled := next((name for name in names if names.count(name) > 1), None):
                raise DataError(f"{file} has the column {doubled!r} more than once; name each differently")
            for batch in opened.iter_batches(AT_ONCE):
                for at in range(len(batch)):
                    number += 1
                    yield number, lambda batch=batch, at=at: batch.slice(at, 1).to_pylist()[0]
    except (OSError, arrow.ArrowException) as error:
        with file.open("rb") as opened:
            pointer = opened.read(12) == b"version http"
        advice = "it is a pointer of Git LFS; run git lfs pull" if pointer else one_line(error)
        after = f" after row {number}" if number > 0 else ""
        raise DataError(f"{file} cannot be read as Parquet{after}: {advice}") from error


def sequence_of(janus: Janus, example: JudgeExample, bounds: RowBounds = RowBounds()) -> TrainingSequence:
    """The sequence of an example. Raises MessageError for an unreadable picture and for a sequence too long."""
    pictures = [pixels(png, janus, bounds, number) for number, png in enumerate(example.images, start=1)]
    drafts = [
        JudgedDraft(escape_special_tokens(text), image=image)
        for text, image in zip(example.reflections, pictures[:-1], strict=True)
    ]
    completion = escape_special_tokens(example.completion)
    sequence = judge(janus, janus.prompts.read(example.prompt, Task.DRAW).text, drafts, pictures[-1], completion)
    verdict = janus.ids.yes if completion.startswith("Yes") else janus.ids.no
    end = sequence.pieces[-1]
    if not isinstance(end, Text) or end.ids[0] != verdict:
        begun = completion[:20]
        raise MessageError(
            f"the tokenizer does not read {begun!r} as a verdict and a reason; write “No, …” or “Yes, …”"
        )
    return _bounded(janus, replace(sequence, weight=example.weight), bounds)


def thought_sequence(janus: Janus, example: ThoughtExample, bounds: RowBounds = RowBounds()) -> TrainingSequence:
    """The sequence of a plan; earlier images are seen through their codes. Raises MessageError."""
    pngs = [*([example.source] if example.source else []), *(each.image for each in example.earlier)]
    codes = [codes_of(janus, png, bounds, number) for number, png in enumerate(pngs, start=1)]
    source = codes.pop(0) if example.source else None
    thoughts = [None if each.thought is None else _plan(each.thought) for each in example.earlier]
    drafts = [
        JudgedDraft(escape_special_tokens(each.reflection), codes=drawn, thought=thought)
        for each, drawn, thought in zip(example.earlier, codes, thoughts, strict=True)
    ]
    prompt = janus.prompts.read(example.prompt, Task.DRAW if source is None else Task.EDIT).text
    sequence = think(janus, prompt, source, drafts, _plan(example.completion))
    return _bounded(janus, replace(sequence, weight=example.weight), bounds)


def _plan(text: str) -> str:
    """As a model writes it after the user's turn."""
    return f" {escape_special_tokens(text.strip())}"


def _bounded(janus: Janus, sequence: TrainingSequence, bounds: RowBounds) -> TrainingSequence:
    if (tokens := length(sequence, janus.image_codes)) > bounds.tokens:
        images = sum(isinstance(piece, Pixels | Codes) for piece in sequence.pieces)
        raise MessageError(
            f"got {tokens:,} tokens with {images} images, wanted at most {bounds.tokens:,}; shorten it, or allow more "
            "by --most-tokens"
        )
    return sequence


def drawn_sequence(janus: Janus, example: DrawnExample, bounds: RowBounds = RowBounds()) -> TrainingSequence:
    """The codes of a drawing, and the thought before it, if any. Raises MessageError."""
    codes, thought = _codes(janus, example.image, bounds), example.thought and _plan(example.thought)
    if example.source is not None:
        instruction = janus.prompts.read(example.prompt, Task.EDIT).text
        sequence = edit(janus, instruction, _codes(janus, example.source, bounds), thought, codes)
    else:
        drafts = [
            JudgedDraft(escape_special_tokens(text), codes=_codes(janus, image, bounds))
            for image, text in example.drafts
        ]
        sequence = draw(janus, janus.prompts.read(example.prompt, Task.DRAW).text, drafts, thought, codes)
    return _bounded(janus, replace(sequence, weight=example.weight), bounds)


def example_sequence(
    janus: Janus, example: JudgeExample | ThoughtExample | DrawnExample, bounds: RowBounds = RowBounds()
) -> TrainingSequence:
    """The sequence of a reflection, a plan or a drawing. Raises MessageError."""
    match example:
        case ThoughtExample():
            return thought_sequence(janus, example, bounds)
        case DrawnExample():
            return drawn_sequence(janus, example, bounds)
    return sequence_of(janus, example, bounds)


JUDGE_ROWS = RowFormat(("judge_sft",), JudgeExample.from_row, sequence_of)
SFT_ROWS = RowFormat(("judge_sft", "thought_sft", "draw_sft", "redraw_sft", "edit_sft"), sft_example, example_sequence)


def _codes(janus: Janus, image: StoredImage, bounds: RowBounds) -> tuple[int, ...]:
    """The stored codes, else those of the picture. Raises MessageError where they are of another codec, as far as that
    can be told."""
    codes = image.codes or codes_of(janus, image.png, bounds)
    if len(codes) != janus.image_codes or not all(0 <= code < janus.codebook_size for code in codes):
        raise MessageError(
            f"got {len(codes)} image codes up to {max(codes)}, wanted {janus.image_codes} below {janus.codebook_size}, "
            "as the checkpoint has them; leave the codes out to have the picture encoded"
        )
    return codes


def codes_of(janus: Janus, png: bytes, bounds: RowBounds, number: int = 1) -> tuple[int, ...]:
    """The image codes of a picture, by the checkpoint's codec. Raises MessageError."""
    return tuple(janus.encode([pixels(png, janus, bounds, number)])[0].tolist())


def pixels(png: bytes, janus: Janus, bounds: RowBounds = RowBounds(), number: int = 1) -> np.ndarray:
    """A picture's bytes → uint8 (H, W, 3), read as it was when it was judged. Raises MessageError."""
    try:
        decoded = decode(png)
    except PictureFileError as error:
        raise MessageError(f"image {number} is no picture that can be read ({one_line(error)}); replace it") from error
    if (megapixels := decoded.width * decoded.height / 1e6) > bounds.megapixels:
        raise MessageError(
            f"image {number} has {megapixels:.1f} million pixels, wanted at most {bounds.megapixels:g}; make it smaller"
        )
    return janus.preprocessing.square(decoded.picture, janus.image_size)


def manifest_of(folder: Path) -> dict[str, Any] | None:
    """The export's manifest, for provenance, or None where there is none. Raises DataError for a damaged one."""
    path = (folder.parent if folder.is_file() else folder) / MANIFEST
    if not path.exists():
        return None
    try:
        manifest = json.loads(path.read_text("utf-8"))
        if not isinstance(manifest, dict):
            raise ValueError("it is no object")
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is damaged: {one_line(error)}; export the data again") from error
    return manifest


def _checked(folder: Path, files: list[Path], expected: tuple[str, ...]) -> dict[Path, str]:
    """The split of each file by the manifest beside them; nothing where there is none.

    Raises DataError unless they are what it was written with.
    """
    manifest = manifest_of(folder)
    if manifest is None or not {"file", "files", "sha256"} & manifest.keys():  # none of ours
        return {}
    if (kind := manifest.get("kind")) not in expected:
        raise DataError(f"{folder} holds rows of the kind {kind}, wanted {' or '.join(expected)}; export that kind")
    listed = _listed(manifest)
    for file in files:
        if file.name not in listed:
            raise DataError(f"{file} is not in the manifest beside it; move it away, or remove {MANIFEST}")
    hashes = {name: sha256 for name, (_, sha256) in listed.items()}
    if sources := manifest.get("sources"):
        hashes[SOURCES] = sources
    for name, sha256 in hashes.items():
        if not (folder / name).is_file():
            raise DataError(
                f"{folder / name} is missing, which {MANIFEST} lists; copy the whole folder, or export again"
            )
        if sha256_of(folder / name) != sha256:
            raise DataError(
                f"{folder / name} is not the file that {MANIFEST} was written with: its SHA-256 differs; export it "
                "again"
            )
    return {file: listed[file.name][0] for file in files}


def _listed(manifest: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Split and SHA-256 of each file of an export; those of earlier versions have one file. Raises DataError."""
    try:
        if "files" not in manifest:
            return {str(manifest["file"]): (TRAIN, str(manifest["sha256"]))}
        return {file["name"]: (file["split"], file["sha256"]) for file in manifest["files"]}
    except (KeyError, TypeError) as error:
        raise DataError(f"{MANIFEST} is damaged: it lacks {error}; export the data again") from error


def fingerprint_of(files: Sequence[Path]) -> str:
    """One SHA-256 for the contents of several files, in order."""
    return hashlib.sha256("".join(sha256_of(file) for file in files).encode()).hexdigest()
