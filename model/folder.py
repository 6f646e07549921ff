"""A checkpoint's folder is written whole or not at all, and says where it comes from."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import JanusForConditionalGeneration, JanusProcessor

PROVENANCE = "provenance.json"


class CheckpointError(Exception):
    """A folder or Hub id that is no Janus checkpoint this product can open, or one that cannot be written."""


def save_checkpoint(
    network: JanusForConditionalGeneration,
    processor: JanusProcessor,
    out: Path,
    provenance: dict[str, Any],
    dtype: torch.dtype = torch.float16,
) -> None:
    """Write weights (as `dtype`), config, processor and provenance to `out`, all or nothing.

    The folder is made beside its place and moved there, so that a full disk or a kill leaves what was there intact.
    Raises CheckpointError.
    """
    with replacing(out) as scratch:
        state = {name: tensor.detach().to(dtype).contiguous() for name, tensor in network.state_dict().items()}
        network.save_pretrained(scratch, state_dict=state, max_shard_size="9MB")
        processor.save_pretrained(scratch)
        write_provenance(scratch, provenance)


def write_provenance(folder: Path, provenance: dict[str, Any]) -> None:
    (folder / PROVENANCE).write_text(json.dumps(provenance, indent=2, ensure_ascii=False) + "\n", "utf-8")


@contextmanager
def replacing(out: Path) -> Iterator[Path]:
    """A folder to fill, which takes the place of `out` when all went well. Raises CheckpointError for a full disk."""
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        yield scratch
        scratch.chmod(0o755)
        if out.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{out.name}-old-", dir=out.parent))
            os.replace(out, old / out.name)
            os.replace(scratch, out)
            shutil.rmtree(old)
        else:
            os.replace(scratch, out)
    except (OSError, SafetensorError) as error:
        raise not_saved(out, error) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def not_saved(path: Path, error: Exception) -> CheckpointError:
    """What to say when a save fails."""
    reason = " ".join(str(error).split())
    return CheckpointError(f"{path} could not be saved: {reason}; what was there before is intact, make room for more")
