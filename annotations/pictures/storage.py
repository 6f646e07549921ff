"""Storage of PNG files by content hash: the contract, and a folder; `open_storage` chooses by the address.

No database, no trajectories.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

from annotations.errors import DirectoryError
from annotations.pictures import images
from annotations.pictures.images import PngFile
from annotations.pictures.object_storage import ObjectStorage

FOLDER = "images"  # in the data folder, where no address is given
CACHE = "picture-cache"  # in the data folder, of pictures in an object store


class PictureStorage(Protocol):
    """PNG files by the SHA-256 of their content. A picture is there whole or not at all. Thread-safe."""

    def has(self, sha256: str) -> bool: ...

    def content(self, sha256: str) -> bytes:
        """The bytes as they are, not verified. Raises FileNotFoundError."""

    def read(self, sha256: str) -> bytes:
        """Raises NotFoundError when it is missing, PictureError when it is damaged."""

    def write(self, png: bytes) -> PngFile:
        """Store a PNG; storing it again changes nothing. Raises PictureError for no PNG, or where writing fails."""

    def write_all(self, pngs: Mapping[str, bytes]) -> None:
        """Store many PNGs by their hashes. Raises PictureError."""

    def remove(self, sha256: str) -> None:
        """Nothing where it is not there."""

    def hashes(self) -> Iterator[str]:
        """Of all pictures; slow."""


class FolderStorage:
    """A folder on this machine, or mounted by several."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def has(self, sha256: str) -> bool:
        return images.path_of(self.folder, sha256).is_file()

    def content(self, sha256: str) -> bytes:
        return images.path_of(self.folder, sha256).read_bytes()

    def read(self, sha256: str) -> bytes:
        return images.read(self.folder, sha256)

    def write(self, png: bytes) -> PngFile:
        return images.write(self.folder, png)

    def write_all(self, pngs: Mapping[str, bytes]) -> None:
        images.put_all(self.folder, pngs)

    def remove(self, sha256: str) -> None:
        images.path_of(self.folder, sha256).unlink(missing_ok=True)

    def hashes(self) -> Iterator[str]:
        return (file.stem for file in self.folder.glob("??/*.png"))


def open_storage(directory: Path, address: str | None = None) -> PictureStorage:
    """The pictures of a data folder: in its folder `images`, in the folder `address`, or in the object store at the URL
    `address` (such as s3://BUCKET/PREFIX), then with a cache in the data folder. Raises DirectoryError for a URL that
    cannot be opened.
    """
    if address is None:
        return FolderStorage(directory / FOLDER)
    if "://" not in address:
        return FolderStorage(Path(address).expanduser().absolute())
    try:
        shared = ObjectStorage(address, directory / CACHE)
    except (ImportError, ValueError, OSError) as error:
        raise DirectoryError(
            f"pictures cannot be kept at {address.partition('?')[0]}: {error}; wanted a folder, or a URL such as "
            "s3://BUCKET/PREFIX (pip install s3fs)"
        ) from error
    return shared if shared.local is None else FolderStorage(shared.local)
