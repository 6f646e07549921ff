"""Image files: bounded decoding to RGB, PNG encoding, grids of cells.

Whatever somebody gives – uploads, imports, training files, what lies in the store – becomes pixels here and nowhere
else, so that what is judged, annotated, exported and trained on is the same: upright, RGB, sRGB, on white, the first
frame. Memory is bounded: at most `MOST_FILE` bytes of a file and `MOST_MEMORY` bytes of its pixels, for one large
picture at a time, given back afterwards.
"""

import contextlib
import ctypes
import io
import math
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image as Picture
from PIL import ImageCms, ImageOps, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from model import png

FORMATS = {
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "BMP": (".bmp", ".dib"),
}
SUFFIXES = tuple(suffix for suffixes in FORMATS.values() for suffix in suffixes)
WANTED = "a PNG, JPEG, WebP, GIF or BMP file"
MOST_FILE = 32 * 2**20  # bytes of a file
MOST_MEMORY = 96 * 2**20  # bytes that decoding may take beside the file
MOST_SIDE = 65_535  # pixels, as JPEG has them at most
MOST_READ = 2**22  # pixels that are handed on; more are averaged in squares while decoding
LARGE = 2**22  # bytes of memory from which pictures wait for one another
STRIP = 2**20  # pixels that are converted at a time
ORIENTATION = 0x0112  # the EXIF tag
TURNS = {
    2: Picture.Transpose.FLIP_LEFT_RIGHT,
    3: Picture.Transpose.ROTATE_180,
    4: Picture.Transpose.FLIP_TOP_BOTTOM,
    5: Picture.Transpose.TRANSPOSE,
    6: Picture.Transpose.ROTATE_270,
    7: Picture.Transpose.TRANSVERSE,
    8: Picture.Transpose.ROTATE_90,
}
BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2}  # per pixel in Pillow's memory; any other mode has 4
WEBP_BYTES = 16  # per pixel: two canvases of libwebp's animation decoder, their copy, and Pillow's image

_large = threading.Lock()  # held by whoever decodes a large picture

Source = Path | bytes | BinaryIO


class PictureFileError(OSError):
    """A file that cannot be read as a picture; says what was got, what was wanted and what to do."""

    def __init__(self, name: str, got: str, wanted: str = WANTED, do: str = "save the picture again") -> None:
        super().__init__(f"{name}: got {got}, wanted {wanted}; {do}")
        self.name, self.got, self.wanted, self.do = name, got, wanted, do


@dataclass(frozen=True, eq=False)
class Decoded:
    """A picture decoded to its end."""

    picture: Picture.Image  # upright RGB on white, at most about `MOST_READ` pixels
    width: int  # pixels, as the file has them
    height: int
    plain: bool  # whether the file is a PNG with exactly these pixels for every reader


def read_picture(source: Source, size: int) -> np.ndarray:
    """A picture as the network sees it, (size, size, 3) uint8: its middle cropped to a square, scaled.

    Raises PictureFileError.
    """
    return fitted(read_rgb(source), size)


def fitted(picture: Picture.Image, size: int) -> np.ndarray:
    """The middle of an RGB picture as the network sees it, (size, size, 3) uint8."""
    return np.asarray(ImageOps.fit(picture, (size, size), Picture.Resampling.BICUBIC))


def read_rgb(source: Source) -> Picture.Image:
    """A picture, fully decoded: upright RGB on white, at most about `MOST_READ` pixels. Raises PictureFileError."""
    return decode(source).picture


def normalized_png(source: Source) -> bytes:
    """A picture as it is stored: a PNG whose pixels are the same for every reader.

    A PNG that is so already stays byte for byte; all others are encoded anew. Raises PictureFileError.
    """
    name = name_of(source)
    content = _content(source, name)
    decoded = decode(content, name)
    return content if decoded.plain else encode_png(decoded.picture)


def size_of(content: bytes) -> tuple[int, int]:
    """(width, height) in pixels, as the header says; nothing is decoded. Raises PictureFileError."""
    with _told("the picture", content), _opened(content) as picture:
        return picture.size


def thumbnail(content: bytes, side: int = 192) -> bytes:
    """A PNG of at most `side` pixels per side; what is small enough stays as it is. Raises PictureFileError."""
    picture = read_rgb(content)
    if max(picture.size) <= side:
        return content
    picture.thumbnail((side, side))
    return encode_png(picture)


def name_of(source: Source) -> str:
    """What a message calls it."""
    name = source.name if isinstance(source, Path) else getattr(source, "name", None)
    return Path(name).name if isinstance(name, str) and name else "the picture"


# --- decoding ---------------------------------------------------------------------------------------------------


def decode(source: Source, name: str = "") -> Decoded:
    """A picture file, read once and to its end; `name` is what messages call it. Raises PictureFileError."""
    name = name or name_of(source)
    with contextlib.ExitStack() as turn:
        if _bytes_of(source) > LARGE:
            turn.enter_context(_alone())
        content = _content(source, name)
        with _told(name, content), _opened(content) as picture:
            mode, full, facts = picture.mode, picture.size, dict(picture.info)
            _check_size(picture, name)
            if _memory(picture) > LARGE and _bytes_of(source) <= LARGE:
                turn.enter_context(_alone())
            picture.load()
            orientation = _orientation(picture)
            made = _rgb(picture, content)
        if orientation in TURNS:
            made = made.transpose(TURNS[orientation])
        changes = orientation in TURNS or "transparency" in facts or "icc_profile" in facts or made.size != full
        is_png = content.startswith(png.SIGNATURE) and png.bit_depth(content) == 8
        return Decoded(made, *full, is_png and mode in ("RGB", "L") and not changes and _usual_gamma(facts))


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """One large picture at a time; its memory goes back to the system."""
    with _large:
        try:
            yield
        finally:
            give_back()


def _find_trim() -> Callable[[int], int] | None:
    """glibc's `malloc_trim`: freed blocks of 16 MB (Pillow's) would otherwise stay with the process."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # another C library
        return None


_trim = _find_trim()


def give_back() -> None:
    """Freed memory, to the system, where its C library can."""
    if _trim is not None:
        _trim(0)


def _bytes_of(source: Source) -> int:
    """How long the file is."""
    if isinstance(source, bytes):
        return len(source)
    if isinstance(source, Path):
        try:
            return source.stat().st_size
        except OSError:
            return 0  # reading it will say why
    at = source.tell()
    end = source.seek(0, io.SEEK_END)
    source.seek(at)
    return end - at


def _content(source: Source, name: str) -> bytes:
    if (size := _bytes_of(source)) > MOST_FILE:
        raise PictureFileError(
            name, f"{size / 2**20:,.0f} MB", f"at most {MOST_FILE / 2**20:.0f} MB", "save it as a JPEG, or smaller"
        )
    if isinstance(source, bytes):
        content = source
    else:
        try:
            content = source.read_bytes() if isinstance(source, Path) else source.read()
        except OSError as error:
            got = f"a file that cannot be read ({error.strerror or error})"
            raise PictureFileError(name, got, do="give the file again") from error
    if not content:
        raise PictureFileError(name, "an empty file", do="give the file again")
    return content


@contextlib.contextmanager
def _told(name: str, content: bytes) -> Iterator[None]:
    """Whatever a decoder raises, as our error."""
    try:
        yield
    except PictureFileError:
        raise
    except UnidentifiedImageError as error:
        got = f"{len(content):,} bytes beginning with {content[:8]!r}, which are no picture that can be read"
        raise PictureFileError(name, got, do="save the picture in one of these formats") from error
    except Picture.DecompressionBombError as error:
        got = "a picture of more pixels than are read"
        raise PictureFileError(name, got, "a smaller one", "make it smaller") from error
    except Exception as error:  # Pillow's decoders raise a dozen kinds for damaged files, from struct.error to EOFError
        got = f"a damaged picture of {len(content):,} bytes ({error})"
        raise PictureFileError(name, got, "a whole one", "save or send it again") from error


def _opened(content: bytes) -> Picture.Image:
    if not content.startswith(png.SIGNATURE):
        return Picture.open(io.BytesIO(content), formats=list(FORMATS))
    return Picture.open(io.BytesIO(png.checked(content)), formats=["PNG"])


def _check_size(picture: Picture.Image, name: str) -> None:
    """Choose how much of a JPEG is decoded, and refuse what would take too much memory before it is unpacked."""
    got = f"{picture.width:,}×{picture.height:,} pixels ({picture.format}, {picture.mode})"
    pixels = math.prod(picture.size)
    if 0 in picture.size or max(picture.size) > MOST_SIDE:
        raise PictureFileError(name, got, f"1 to {MOST_SIDE:,} pixels per side", "make it smaller")
    if pixels > MOST_READ and picture.format in ("JPEG", "MPO"):
        scale = math.sqrt(MOST_READ / pixels)
        picture.draft(None, (math.ceil(picture.width * scale), math.ceil(picture.height * scale)))
    if (memory := _memory(picture) + _coefficients(picture, pixels)) > MOST_MEMORY:
        most = pixels * MOST_MEMORY // memory
        expected = f"at most {most / 1e6:.1f} million pixels of this kind"
        raise PictureFileError(name, got, expected, "make it smaller, or save it as a JPEG")


def _memory(picture: Picture.Image) -> int:
    """Bytes that decoding takes."""
    each = WEBP_BYTES if picture.format == "WEBP" else BYTES.get(picture.mode, 4)
    return math.prod(picture.size) * each


def _coefficients(picture: Picture.Image, pixels: int) -> int:
    """Bytes of what libjpeg must hold of a progressive JPEG of so many pixels: 16 bits for each sample."""
    if not (isinstance(picture, JpegImageFile) and picture.info.get("progressive")):
        return 0
    layers = [(h, v) for _, h, v, _ in picture.layer]
    most = max(h for h, _ in layers) * max(v for _, v in layers)
    return 2 * pixels * sum(h * v for h, v in layers) // most


def _orientation(picture: Picture.Image) -> int:
    try:
        return picture.getexif().get(ORIENTATION, 1)
    except Exception:  # damaged EXIF says nothing, and raises anything
        return 1


def _usual_gamma(facts: Mapping[Any, Any]) -> bool:
    """Whether a PNG's gamma is that of sRGB; PNGs without one are shown so."""
    return abs(facts.get("gamma", 0.45455) - 0.45455) < 1e-3


# --- pixels -----------------------------------------------------------------------------------------------------


def _rgb(picture: Picture.Image, content: bytes) -> Picture.Image:
    """RGB on white, strip by strip, averaged in squares of `step` pixels where there are too many."""
    _fit_transparency(picture, content)
    width, height = picture.size
    step = math.ceil(math.sqrt(width * height / MOST_READ))
    convert = _converter(picture)
    rows = max(1, STRIP // (width * step)) * step
    made = Picture.new("RGB", (math.ceil(width / step), math.ceil(height / step)))
    for top in range(0, height, rows):
        strip = convert(picture.crop((0, top, width, min(height, top + rows))))
        made.paste(strip.reduce(step) if step > 1 else strip, (0, top // step))
    return made


def _fit_transparency(picture: Picture.Image, content: bytes) -> None:
    """The transparent grey or colour of a PNG at the 8 bits to which Pillow scales pixels, but not this."""
    key = picture.info.get("transparency")
    if not content.startswith(png.SIGNATURE) or key is None or isinstance(key, bytes) or picture.mode == "I;16":
        return
    depth = png.bit_depth(content)
    if depth == 16:
        picture.info["transparency"] = tuple(level >> 8 for level in key) if isinstance(key, tuple) else key >> 8
    elif depth < 8 and isinstance(key, int) and picture.mode in ("1", "L"):
        picture.info["transparency"] = key * 255 // (2**depth - 1)


def _converter(picture: Picture.Image) -> Callable[[Picture.Image], Picture.Image]:
    """What makes a strip RGB on white."""
    key = picture.info.get("transparency")
    if picture.mode.startswith("I"):
        return lambda strip: _from_16_bits(strip, key)
    managed = _colour_management(picture)
    see_through = key is not None or picture.has_transparency_data

    def convert(strip: Picture.Image) -> Picture.Image:
        if not see_through:
            return managed(strip)
        if strip.mode == "1":
            strip = strip.convert("L")
            strip.info["transparency"] = key
        layered = strip.convert("RGBA")
        ground = Picture.new("RGB", strip.size, "white")
        ground.paste(managed(layered.convert("RGB")), mask=layered.getchannel("A"))
        return ground

    return convert


def _from_16_bits(strip: Picture.Image, key: int | None) -> Picture.Image:
    """Grey of 16 bits, scaled to 8; the transparent one is white."""
    values = np.asarray(strip).astype(np.uint32)
    grey = ((values.clip(0, 65_535) * 255 + 32_767) // 65_535).astype(np.uint8)
    if isinstance(key, int):
        grey[values == key] = 255
    return Picture.fromarray(grey).convert("RGB")


def _colour_management(picture: Picture.Image) -> Callable[[Picture.Image], Picture.Image]:
    """What makes opaque pixels sRGB by the file's own colour profile; one that does not fit is ignored."""
    profile = picture.info.get("icc_profile")
    mode = "CMYK" if picture.mode == "CMYK" else "RGB"
    if profile:
        with contextlib.suppress(ImageCms.PyCMSError, OSError, TypeError, ValueError):
            own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if own.profile.xcolor_space.strip() == mode and "sRGB" not in ImageCms.getProfileDescription(own):
                transform = ImageCms.buildTransform(own, ImageCms.createProfile("sRGB"), mode, "RGB")
                return lambda strip: transform.apply(strip.convert(mode))
    return lambda strip: strip.convert("RGB")


# --- pictures of our own ----------------------------------------------------------------------------------------


def crop_cells(content: bytes, codes: int, start: int, count: int) -> bytes:
    """PNG of `count` neighbouring cells of one row, cut from the PNG of a square picture of `codes` cells."""
    side = math.isqrt(codes)
    row, column = divmod(start, side)
    picture = read_rgb(content)
    cell = picture.width // side
    box = (column * cell, row * cell, (column + count) * cell, (row + 1) * cell)
    return encode_png(picture.crop(box))


def encode_png(picture: Picture.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
