"""Hugging Face Hub checkpoints by `owner/name` or `owner/name@revision`, pinned to a commit.

Knows addresses and the Hub's cache; nothing of what is in a checkpoint.
"""

import re
from pathlib import Path

from huggingface_hub import snapshot_download

ADDRESS = re.compile(r"([\w-][\w.-]*/[\w-][\w.-]*)(?:@([\w.][\w./-]*))?")  # a commit, tag or branch behind @
COMMIT = re.compile(r"[0-9a-f]{40}")
UNREAD = ("*.gguf", "*.onnx", "*.msgpack", "*.h5", "*.ot")  # weights for others


def is_address(source: str | Path) -> bool:
    """Whether this may be a checkpoint of the Hub: a folder of that name comes first."""
    return isinstance(source, str) and ADDRESS.fullmatch(source) is not None and not Path(source).exists()


def fetched(source: str) -> Path:
    """The folder of a checkpoint of the Hub, of one commit. Raises OSError and ValueError."""
    name, revision = ADDRESS.fullmatch(source).groups()
    return Path(snapshot_download(name, revision=revision, ignore_patterns=list(UNREAD)))


def pinned(folder: Path) -> str | None:
    """`owner/name@commit` for a folder of the Hub's cache; None for every other."""
    repository = folder.parent.parent.name
    if not (COMMIT.fullmatch(folder.name) and folder.parent.name == "snapshots" and repository.startswith("models--")):
        return None
    return f"{repository.removeprefix('models--').replace('--', '/', 1)}@{folder.name}"
