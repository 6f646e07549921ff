"""PNG files in an object store by fsspec (S3, GCS, Azure, …), shared by several studios, with a bounded local cache.

An object is put as a whole, as these stores promise; what is read is verified against its hash.
"""

import hashlib
import itertools
import logging
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from annotations.errors import NotFoundError, PictureError, UnwrittenError
from annotations.pictures import images
from annotations.pictures.images import PngFile
from model.atomic_files import write_whole

log = logging.getLogger(__name__)

CACHE_BYTES = 1_000_000_000  # that the cache may hold
CACHE_SECONDS = 86_400  # that a picture stays in it: a purge by another studio comes a day after a deletion
TRIMMED_EVERY = 500  # pictures that are added to the cache
UPLOADS = 8  # at the same time, of `write_all`


class ObjectStorage:
    """Pictures below a URL. `local`: the folder, where the URL names one on this machine, which needs no cache."""

    def __init__(self, url: str, cache: Path) -> None:
        self._files, self._root = url_to_fs(url, use_listings_cache=False)
        self._cache = cache
        self._added = itertools.count(1)
        self.local = Path(self._root) if isinstance(self._files, LocalFileSystem) else None

    def has(self, sha256: str) -> bool:
        return self._files.exists(self._path(sha256))

    def content(self, sha256: str) -> bytes:
        return self._files.cat_file(self._path(sha256))

    def read(self, sha256: str) -> bytes:
        cached = images.path_of(self._cache, sha256)
        try:
            png = cached.read_bytes()
            if hashlib.sha256(png).hexdigest() == sha256:
                return png
        except OSError:
            pass
        png = self._download(sha256)
        self._keep(sha256, png)
        return png

    def write(self, png: bytes) -> PngFile:
        described = images.describe(png)
        self._upload(described.sha256, png)
        return described

    def write_all(self, pngs: Mapping[str, bytes]) -> None:
        with ThreadPoolExecutor(UPLOADS) as pool:
            list(pool.map(self._upload, pngs.keys(), pngs.values()))

    def remove(self, sha256: str) -> None:
        images.path_of(self._cache, sha256).unlink(missing_ok=True)
        try:
            self._files.rm_file(self._path(sha256))
        except FileNotFoundError:
            pass
        except OSError as error:
            raise PictureError(f"picture {sha256[:12]}… could not be removed: {error}") from error

    def hashes(self) -> Iterator[str]:
        paths = self._files.find(self._root) if self._files.exists(self._root) else []
        names = (str(path).rpartition("/")[2] for path in paths)
        return (name.removesuffix(".png") for name in names if name.endswith(".png"))

    def _path(self, sha256: str) -> str:
        return f"{self._root}/{images.path_of(Path(), sha256).as_posix()}"

    def _upload(self, sha256: str, png: bytes) -> None:
        path = self._path(sha256)
        try:
            if not self._files.exists(path) or self._files.size(path) != len(png):
                self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
                self._files.pipe_file(path, png)
        except OSError as error:
            raise UnwrittenError(
                f"picture {sha256[:12]}… could not be stored: {error}; look whether the object store can be reached"
            ) from error
        self._keep(sha256, png)

    def _download(self, sha256: str) -> bytes:
        try:
            png = self._files.cat_file(self._path(sha256))
        except FileNotFoundError as error:
            raise NotFoundError(f"there is no picture {sha256[:12]}…; restore it from a backup") from error
        except OSError as error:
            raise PictureError(f"picture {sha256[:12]}… could not be read: {error}; try again in a moment") from error
        if hashlib.sha256(png).hexdigest() != sha256:
            raise PictureError(
                f"picture {sha256[:12]}… is damaged: its content has another hash; restore it from a backup"
            )
        return png

    def _keep(self, sha256: str, png: bytes) -> None:
        """Put it into the cache; a full disk only makes later reads slower."""
        try:
            write_whole(images.path_of(self._cache, sha256), png, settled=False)
            if next(self._added) % TRIMMED_EVERY == 1:
                trim(self._cache)
        except OSError as error:
            log.warning("the cache of pictures cannot be written: %s", error)


def trim(cache: Path, most: int = CACHE_BYTES, now: float | None = None) -> int:
    """Remove cached pictures that are too old, and the oldest of those that take too much room; how many that were."""
    now, used, removed = time.time() if now is None else now, 0, 0
    newest_first = sorted(((file.stat(), file) for file in cache.glob("??/*.png")), key=lambda pair: -pair[0].st_mtime)
    for stat, file in newest_first:
        used += stat.st_size
        if used > most or now - stat.st_mtime > CACHE_SECONDS:
            file.unlink(missing_ok=True)
            removed += 1
    return removed
