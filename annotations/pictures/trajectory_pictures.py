"""Pictures of a trajectory: given with it as PNG bytes by sha256, or stored before with another one.

Reads and writes picture files; no database.
"""

import hashlib
from collections.abc import Iterable, Mapping

from annotations.errors import NotFoundError, PictureError, TrajectoryError
from annotations.pictures import images
from annotations.pictures.images import DescribedPng, PngFile
from annotations.pictures.storage import PictureStorage


def describe(storage: PictureStorage, sha256: str, pngs: Mapping[str, bytes]) -> PngFile:
    """Raises TrajectoryError for a picture that is neither given nor stored, PictureError for a damaged one."""
    if sha256 not in pngs:
        try:
            return images.describe(storage.read(sha256))
        except NotFoundError as error:
            raise TrajectoryError(
                f"the picture {sha256[:12]}… of the trajectory was not given and is not stored; give its PNG"
            ) from error
    png = pngs[sha256]
    if isinstance(png, DescribedPng) and png.file.sha256 == sha256:
        return png.file
    actual = hashlib.sha256(png).hexdigest()
    if actual != sha256:
        raise PictureError(f"the picture given as {sha256[:12]}… is {actual[:12]}…; name it by its own hash")
    return images.describe(png)


def store(storage: PictureStorage, sha256: str, pngs: Mapping[str, bytes]) -> PngFile:
    """Write the picture if it is given; its description. Raises as `describe`."""
    described = describe(storage, sha256, pngs)
    return storage.write(pngs[sha256]) if sha256 in pngs else described


def store_all(storage: PictureStorage, files: Mapping[str, PngFile], pngs: Mapping[str, bytes]) -> None:
    """Write the pictures of trajectories whose rows are stored already; `files`: as `describe` described them.

    Raises PictureError where the disk refuses, TrajectoryError for one that is neither given nor stored.
    """
    storage.write_all({sha256: pngs[sha256] for sha256 in files if sha256 in pngs})
    for sha256 in files:
        if sha256 not in pngs and not storage.has(sha256):
            raise TrajectoryError(f"the picture {sha256[:12]}… was deleted meanwhile; give its PNG")


def store_missing(storage: PictureStorage, hashes: Iterable[str], pngs: Mapping[str, bytes]) -> None:
    """Write once more those pictures that a purge, perhaps of another process, has removed meanwhile.

    Called within a writing transaction, during which no purge runs.
    """
    for sha256 in hashes:
        if not storage.has(sha256):
            store(storage, sha256, pngs)
