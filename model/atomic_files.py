"""Atomic file writes: a temporary file beside the target, fsync, rename; readers see the old or the new content. Hashes
of files.

Knows the file system only. Whatever is read again later (state, manifests, settings, pictures) is written here.
"""

import hashlib
import os
import tempfile
from pathlib import Path


def write_whole(path: Path, content: bytes | str, *, mode: int = 0o600, settled: bool = True) -> None:
    """Write beside the place, sync, and rename; text is UTF-8. Raises OSError, with what was there left as it was.

    Not `settled`: its name is on the disk only after its folder was synced, which is left to the caller.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".partial")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
        move_whole(Path(name), path, mode=mode, settled=settled)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def move_whole(made: Path, path: Path, *, mode: int | None = None, settled: bool = True) -> None:
    """Put a finished file of the same file system in its place, once it is on the disk."""
    if mode is not None:
        made.chmod(mode)
    sync(made)
    os.replace(made, path)
    if settled:
        sync(path.parent)


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's entries, are on the disk."""
    if path.is_dir() and os.name == "nt":  # which opens no folders, and needs no such thing
        return
    opened = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def sync_tree(folder: Path) -> None:
    """The same for everything in a folder, and for the folder."""
    for path in sorted(folder.rglob("*"), reverse=True):
        sync(path)
    sync(folder)


def sha256_of(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
