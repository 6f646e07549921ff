"""Opens the networks of a diffusers pipeline, and refuses those of which tensors are missing.

diffusers and transformers fill up what a file lacks with random weights, and warn.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers

from model.backends.checkpoint.checks import AGAIN
from model.backends.contract import CheckpointError

NAMED = 8  # missing tensors that an error tells of


def open_parts(folder: str, dtype: torch.dtype) -> dict[str, Any]:
    """The networks that the model_index.json of a folder names, by name: all that are classes of diffusers or
    transformers. Raises CheckpointError for missing tensors; OSError and others of these libraries."""
    index = diffusers.DiffusionPipeline.load_config(folder)
    return {name: _open_part(folder, name, kind, dtype) for name, kind in _networks(index)}


def _networks(index: dict[str, Any]) -> Iterator[tuple[str, type]]:
    for name, entry in index.items():
        if not (isinstance(entry, list) and len(entry) == 2 and all(isinstance(each, str) for each in entry)):
            continue
        library, kind = entry
        known = {"diffusers": diffusers, "transformers": transformers}
        module = known.get(library) or getattr(diffusers.pipelines, library, None)  # of a pipeline's own folder
        found = getattr(module, kind, None)
        if isinstance(found, type) and issubclass(found, diffusers.ModelMixin | transformers.PreTrainedModel):
            yield name, found


def _open_part(folder: str, name: str, kind: Any, dtype: torch.dtype) -> Any:
    key = "dtype" if issubclass(kind, transformers.PreTrainedModel) else "torch_dtype"
    part, told = kind.from_pretrained(folder, subfolder=name, output_loading_info=True, **{key: dtype})
    if missing := sorted(told["missing_keys"]):
        more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        raise CheckpointError(
            f"{Path(folder) / name} lacks {len(missing)} tensors: {', '.join(missing[:NAMED])}{more}; {AGAIN}"
        )
    return part
