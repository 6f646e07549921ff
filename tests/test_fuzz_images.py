"""Pictures of every mode, format and size, whole and damaged: each is read as RGB, or refused in words, at once."""

import io
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from fuzzing import FAST
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Picture

from model.images import (
    FORMATS,
    ORIENTATION,
    PictureFileError,
    decode,
    normalized_png,
    read_picture,
    read_rgb,
    size_of,
    thumbnail,
)

MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "I;16", "I", "F")
ORIENTED = ("PNG", "JPEG", "WEBP")  # that say which side is up
SIZES = ((1, 1), (1, 2), (2, 1), (3000, 3), (3, 3000), (257, 255))
SUFFIXES = (".png", ".jpg", ".webp", ".gif", ".bmp", ".tif", ".txt", "")
SIDE = 32  # pixels that the network wants


@dataclass(frozen=True)
class File:
    """A picture as a file, and what is known of it."""

    content: bytes
    format: str
    size: tuple[int, int]  # upright
    suffix: str
    whole: bool


def picture(mode: str, size: tuple[int, int], seed: int) -> Picture.Image:
    """Random pixels."""
    rng, (width, height) = np.random.default_rng(seed), size
    match mode:
        case "I;16":
            return Picture.fromarray(rng.integers(0, 2**16, (height, width), np.uint16))
        case "I":
            return Picture.fromarray(rng.integers(0, 2**16, (height, width), np.int32))
        case "F":
            return Picture.fromarray(rng.random((height, width), np.float32) * 255)
        case _:
            made = Picture.fromarray(rng.integers(0, 256, (height, width, 4), np.uint8), "RGBA")
            if mode == "PA":
                return made.convert("RGB").convert("P").convert("PA")
            return made.convert("RGB").convert(mode) if mode in ("1", "P", "CMYK") else made.convert(mode)


def saved(made: Picture.Image, format: str, orientation: int | None) -> bytes:
    """As a file; in another mode where the format does not take this one."""
    options = {}
    if orientation is not None and format in ORIENTED:
        options["exif"] = Picture.Exif()
        options["exif"][ORIENTATION] = orientation
    for mode in (made.mode, "RGB"):
        buffer = io.BytesIO()
        try:
            (made if mode == made.mode else made.convert(mode)).save(buffer, format, **options)
            return buffer.getvalue()
        except (OSError, ValueError, KeyError):
            continue
    raise AssertionError(f"{format} takes no RGB")


@st.composite
def damages(draw: st.DrawFn, content: bytes) -> bytes:
    """Cut short, with other bytes within, or more of them at the end."""
    match draw(st.sampled_from(("cut", "flipped", "longer"))):
        case "cut":
            return content[: draw(st.integers(0, len(content) - 1))]
        case "flipped":
            changed = bytearray(content)
            near = st.integers(0, min(200, len(content)) - 1)  # headers are there
            for at in draw(st.lists(near | st.integers(0, len(content) - 1), min_size=1, max_size=4)):
                changed[at] ^= draw(st.integers(1, 255))
            return bytes(changed)
        case _:
            return content + draw(st.binary(min_size=1, max_size=200))


@st.composite
def files(draw: st.DrawFn) -> File:
    format = draw(st.sampled_from((*FORMATS, "TIFF")))
    size = draw(st.sampled_from(SIZES) | st.tuples(st.integers(1, 70), st.integers(1, 70)))
    orientation = draw(st.none() | st.integers(1, 8))
    made = picture(draw(st.sampled_from(MODES)), size, draw(st.integers(0, 2**32 - 1)))
    content = saved(made, format, orientation)
    turned = format in ORIENTED and orientation is not None and orientation >= 5
    damaged = draw(damages(content)) if draw(st.booleans()) else content
    suffix = draw(st.sampled_from(SUFFIXES))
    return File(damaged, format, size[::-1] if turned else size, suffix, damaged == content)


def check(file: File, path: Path) -> bool:
    """Whether it was read; all ways to read it say the same."""
    path.write_bytes(file.content)
    sources = (path, file.content, io.BytesIO(file.content))
    began = time.process_time()
    found = [_read(source) for source in sources]
    assert time.process_time() - began < 1, "it took too long"
    assert all((one is None) == (found[0] is None) for one in found), "it depends on how it is given"
    if found[0] is None:
        return False
    assert all(np.array_equal(one, found[0]) for one in found)
    again = decode(normalized_png(file.content))
    shown = read_rgb(file.content)
    assert again.plain and np.array_equal(np.asarray(again.picture), np.asarray(shown))
    assert max(read_rgb(thumbnail(file.content, 64)).size) <= max(64, min(shown.size))
    assert min(size_of(file.content)) > 0
    assert not file.whole or shown.size == file.size
    return True


def _read(source: Path | bytes | io.BytesIO) -> np.ndarray | None:
    """What the network sees; None where it is refused."""
    try:
        seen = read_picture(source, SIDE)
    except PictureFileError as error:
        assert "got" in str(error) and "wanted" in str(error) and error.do
        return None
    assert seen.shape == (SIDE, SIDE, 3) and seen.dtype == np.uint8
    return seen


def test_a_picture_file_becomes_rgb_or_is_refused_in_words(tmp_path: Path, thorough: bool) -> None:
    @settings(FAST, max_examples=8000 if thorough else 300)
    @given(files())
    def holds(file: File) -> None:
        was_read = check(file, tmp_path / f"picture{file.suffix}")
        assert was_read == (file.format in FORMATS) or not file.whole

    holds()


@pytest.mark.parametrize(
    "content", [b"", b"\x00", b"GIF89a", b"BM", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP", b"\xff\xd8\xff"]
)
def test_the_beginning_of_a_picture_alone_is_refused(content: bytes) -> None:
    assert _read(content) is None
