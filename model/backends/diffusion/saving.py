"""Writes a diffusers pipeline as a checkpoint folder, with provenance, all or nothing."""

import copy
from pathlib import Path
from typing import Any

import torch

from model.backends.checkpoint.saving import check_finite, replacing, write_provenance


def save_pipeline(pipeline: Any, out: Path, provenance: dict[str, Any], dtype: torch.dtype = torch.float16) -> None:
    """Write every part of a pipeline (weights as `dtype`) and provenance to `out`; the pipeline stays as it is.

    Raises CheckpointError, also for weights that are not finite as `dtype`.
    """
    parts = {name: part for name, part in pipeline.components.items() if isinstance(part, torch.nn.Module)}
    for part in parts.values():
        check_finite(part, out, dtype)
    written = copy.copy(pipeline)
    for name, part in parts.items():
        setattr(written, name, copy.deepcopy(part).to("cpu", dtype))
    with replacing(out) as scratch:
        written.save_pretrained(scratch)
        write_provenance(scratch, provenance)
