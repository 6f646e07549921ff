"""PNG files by content hash, `images/ab/abcdef….png`, verified on reading.

No database, no trajectories. Files are written atomically: to a temporary name, synced, and renamed.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from annotations.errors import NotFoundError, PictureError, UnwrittenError
from model.atomic_files import sync, write_whole
from model.images import PictureFileError, decode

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MIME = "image/png"


@dataclass(frozen=True)
class PngFile:
    """Hash and size of a PNG file."""

    sha256: str
    width: int  # pixels
    height: int  # pixels
    size: int  # bytes
    mime: str = MIME


class DescribedPng(bytes):
    """A PNG together with its description, so that it is decoded and hashed once."""

    file: PngFile


def describe(png: bytes) -> PngFile:
    """Hash and size of a PNG, decoded to its end. Raises PictureError for what is none, is cut short or damaged."""
    if not png.startswith(SIGNATURE):
        raise PictureError(f"got {len(png)} bytes beginning with {png[:8]!r}, wanted a PNG; encode the picture as PNG")
    try:
        decoded = decode(png)
    except PictureFileError as error:
        raise PictureError(f"got a PNG that cannot be read: {error}") from error
    return PngFile(hashlib.sha256(png).hexdigest(), decoded.width, decoded.height, len(png))


def path_of(folder: Path, sha256: str) -> Path:
    """Raises NotFoundError for anything but a SHA-256 in hex, so that no request can name another path."""
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise NotFoundError(f"there is no picture {sha256[:80]!r}; a picture is named by 64 hexadecimal digits")
    return folder / sha256[:2] / f"{sha256}.png"


def write(folder: Path, png: bytes) -> PngFile:
    """Store a PNG; storing it again changes nothing. Raises PictureError for no PNG, or where writing fails."""
    described = describe(png)
    path = path_of(folder, described.sha256)
    try:
        if not (path.is_file() and path.read_bytes() == png):
            write_whole(path, png)
            sync(path.parent.parent)  # its folder may be new
        else:
            sync(path.parent)  # a concurrent `put_all` may not have done so yet
    except OSError as error:
        raise UnwrittenError(
            f"picture {described.sha256[:12]}… could not be written ({error.strerror}); look at the disk"
        ) from error
    return described


def put_all(folder: Path, pngs: Mapping[str, bytes]) -> None:
    """Store many PNGs by their hashes; syncs each folder once instead of once per file. Raises PictureError."""
    folders: set[Path] = set()
    try:
        for sha256, png in pngs.items():
            path = path_of(folder, sha256)
            if not (path.is_file() and path.read_bytes() == png):
                folders |= set() if path.parent.is_dir() else {folder}
                write_whole(path, png, settled=False)
            folders.add(path.parent)
        for changed in folders:
            sync(changed)
    except OSError as error:
        raise UnwrittenError(f"pictures could not be written to {folder}: {error}; look at the disk") from error


def read(folder: Path, sha256: str) -> bytes:
    """The PNG of a hash. Raises NotFoundError when it is missing, PictureError when it is damaged."""
    path = path_of(folder, sha256)
    try:
        png = path.read_bytes()
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no picture {sha256[:12]}…; restore it from a backup") from error
    except OSError as error:
        raise PictureError(f"picture {sha256[:12]}… could not be read: {error.strerror}; look at the disk") from error
    if hashlib.sha256(png).hexdigest() != sha256:
        raise PictureError(f"picture {sha256[:12]}… is damaged: its content has another hash; restore it from a backup")
    return png
