"""Atomic writing of checkpoint folders, their provenance, and the rule which folders may be replaced."""

import ctypes
import errno
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from transformers import JanusForConditionalGeneration, JanusProcessor

from model.atomic_files import sync, sync_tree
from model.backends.adapters import AdapterError, check_merged
from model.backends.contract import CheckpointError

PROVENANCE = "provenance.json"
OWN_FILES = re.compile(  # what transformers and we write into a checkpoint's folder
    r"provenance\.json|(config|generation_config|processor_config|preprocessor_config)\.json"
    r"|adapter_config\.json|adapter_model\.safetensors"
    r"|model(-\d{5}-of-\d{5})?\.safetensors|model\.safetensors\.index\.json"
    r"|reward_head\.safetensors"
    r"|(tokenizer|tokenizer_config|special_tokens_map|added_tokens|chat_template)\.json|chat_template\.jinja"
)
PIPELINE = "model_index.json"  # of a diffusers pipeline, whose parts are folders
PARTS_FILES = re.compile(
    OWN_FILES.pattern
    + r"|scheduler_config\.json|diffusion_pytorch_model(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?"
    r"|vocab\.json|merges\.txt|spiece\.model"
)
SMALL = 1_000_000_000  # bytes of a checkpoint that is written in files of 9 MB, which any repository takes
Files = Mapping[str, Mapping[str, torch.Tensor]]  # tensors of safetensors files, by file name
AT_FDCWD, RENAME_EXCHANGE = -100, 2  # of Linux's renameat2


class Weights(Protocol):
    """What has tensors by name: a module, or a part of one."""

    def state_dict(self) -> Mapping[str, torch.Tensor]: ...


def save_checkpoint(
    network: JanusForConditionalGeneration,
    processor: JanusProcessor,
    out: Path,
    provenance: dict[str, Any],
    dtype: torch.dtype = torch.float16,
    beside: Files | None = None,
) -> None:
    """Write weights (as `dtype`), config, processor and provenance to `out`, all or nothing; `beside`: tensors of
    further safetensors files, by file name.

    The folder is made beside its place and moved there, so that a full disk or a kill leaves what was there intact.
    Raises CheckpointError, also for weights that are not finite as `dtype`.
    """
    try:
        check_merged(network)
    except AdapterError as error:
        raise CheckpointError(f"{out} was not written: {error}") from error
    check_finite(network, out, dtype)
    with replacing(out) as scratch:
        state = {name: tensor.detach().to(dtype).contiguous() for name, tensor in network.state_dict().items()}
        size = sum(tensor.nbytes for tensor in state.values())
        network.save_pretrained(scratch, state_dict=state, max_shard_size="9MB" if size < SMALL else "2GB")
        processor.save_pretrained(scratch)
        write_tensors(scratch, beside or {})
        write_provenance(scratch, provenance)


def check_finite(network: Weights, out: Path, dtype: torch.dtype = torch.float16) -> None:
    """Raises CheckpointError where a weight is NaN or infinite as `dtype`."""
    bad = [name for name, tensor in network.state_dict().items() if not tensor.detach().to(dtype).isfinite().all()]
    if bad:
        raise CheckpointError(
            f"{out} was not written: {len(bad)} tensors are not finite as {str(dtype).removeprefix('torch.')}, first "
            f"{bad[0]}; what was there before is intact, go on from it with a lower learning rate"
        )


def write_tensors(folder: Path, files: Files) -> None:
    for name, tensors in files.items():
        whole = {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
        save_file(whole, folder / name, metadata={"format": "pt"})


def write_provenance(folder: Path, provenance: dict[str, Any]) -> None:
    (folder / PROVENANCE).write_text(json.dumps(provenance, indent=2, ensure_ascii=False) + "\n", "utf-8")


def check_replaceable(out: Path) -> None:
    """Raises CheckpointError unless `out` is free, an empty folder, or a checkpoint of ours with nothing else in it."""
    if not out.exists():
        return
    if not out.is_dir():
        raise CheckpointError(f"{out} is a file, wanted a folder; choose another one")
    inside = {path.name: path for path in out.iterdir()}
    foreign = sorted(name for name, path in inside.items() if not _is_own(path, pipeline=PIPELINE in inside))
    if foreign:
        raise CheckpointError(f"{out} holds {foreign[0]}, which no training run has written; choose another folder")
    if inside and not _is_ours(out / PROVENANCE):
        raise CheckpointError(f"{out} is not empty and no checkpoint of ours; choose another folder")


def _is_own(path: Path, *, pipeline: bool) -> bool:
    """Whether a file, or of a pipeline a part's folder, is what checkpoints of ours consist of."""
    if path.is_file():
        return bool(OWN_FILES.fullmatch(path.name)) or (pipeline and path.name == PIPELINE)
    return pipeline and all(file.is_file() and PARTS_FILES.fullmatch(file.name) for file in path.iterdir())


def _is_ours(provenance: Path) -> bool:
    try:
        return bool({"recipe", "parent"} & set(json.loads(provenance.read_text("utf-8"))))
    except (OSError, ValueError, TypeError):
        return False


@contextmanager
def replacing(out: Path) -> Iterator[Path]:
    """A folder to fill, which takes the place of `out` when all went well: in one step where the system can.

    Raises CheckpointError for a full disk, and where `out` holds what is not ours.
    """
    out = out.resolve()
    restore(out)
    check_replaceable(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    except OSError as error:
        raise not_saved(out, error) from error
    try:
        yield scratch
        scratch.chmod(0o755)
        sync_tree(scratch)
        check_replaceable(out)
        if not out.exists():
            os.replace(scratch, out)
        elif not exchange(scratch, out):
            _replace_in_two_steps(scratch, out)
        sync(out.parent)
    except (OSError, SafetensorError) as error:
        raise not_saved(out, error) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _replace_in_two_steps(scratch: Path, out: Path) -> None:
    """A kill between the two leaves the earlier folder beside its place, from where `restore` brings it back."""
    old = _aside(out)
    os.replace(out, old)
    os.replace(scratch, out)
    shutil.rmtree(old)


def _aside(out: Path) -> Path:
    return out.parent / f".{out.name}-replaced"


def restore(out: Path) -> None:
    """Bring back a folder that a kill left beside its place, and remove one that has been replaced."""
    out = out.absolute()
    old = _aside(out)
    if not _is_ours(old / PROVENANCE):
        return
    if out.exists():
        shutil.rmtree(old, ignore_errors=True)
    else:
        os.replace(old, out)


def exchange(first: Path, second: Path) -> bool:
    """Exchange two paths of one file system in a single step (Linux's renameat2); False where that cannot be done."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    if rename(AT_FDCWD, os.fsencode(first), AT_FDCWD, os.fsencode(second), RENAME_EXCHANGE) == 0:
        return True
    if (code := ctypes.get_errno()) in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM):
        return False
    raise OSError(code, os.strerror(code), str(second))


def not_saved(path: Path, error: Exception) -> CheckpointError:
    """What to say when a save fails."""
    reason = " ".join(str(error).split())
    return CheckpointError(f"{path} could not be saved: {reason}; what was there before is intact, make room for more")
