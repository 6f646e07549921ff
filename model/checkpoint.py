"""A checkpoint is a folder in transformers' format: weights, config, processor, provenance. Open and save it.

What this file knows: where the pieces lie and what to say when they do not. `thinks` in config.json says whether the
network writes a thought before it draws; guidance, temperature and top-k stand in generation_config.json.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from safetensors import SafetensorError
from transformers import AutoTokenizer, JanusForConditionalGeneration, JanusProcessor, PreTrainedTokenizerBase

from model.deepseek import LAYOUT, LayoutError, config_of, generation_config, is_original, tensors
from model.janus import Janus
from model.templates import BEGIN_IMAGE, BOS, EOS, IMAGE_PLACEHOLDER, PAD, SPECIAL_TOKENS
from model.trajectory import Sampling

WEIGHTS = Path(__file__).parent / "weights"
EMBEDDED = WEIGHTS / "embedded"
PROVENANCE = "provenance.json"


class CheckpointError(Exception):
    """A folder or Hub id that is no Janus checkpoint this product can open, or one that cannot be written."""


def open_checkpoint(
    source: str | Path = EMBEDDED, *, dtype: torch.dtype | None = None, device: str | None = None
) -> Janus:
    """Open a folder, or a Hub id, in transformers' Janus layout, or a folder in DeepSeek's; ready for inference.

    dtype: float32 on a CPU and bfloat16 on a GPU unless given. Raises CheckpointError.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    dtype = dtype or (torch.float32 if device == "cpu" else torch.bfloat16)
    _check_layout(source)
    try:
        tokenizer = _open_tokenizer(source)
        if is_original(Path(source)):
            network = _open_original(Path(source), tokenizer, dtype)
        else:
            network = JanusForConditionalGeneration.from_pretrained(source, dtype=dtype)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"{source} could not be opened as a Janus checkpoint: {error}") from error
    return Janus(network.to(device).eval(), tokenizer, name_of(source), sampling_of(network))


def _open_tokenizer(source: str | Path) -> PreTrainedTokenizerBase:
    tokenizer = AutoTokenizer.from_pretrained(source)
    known = tokenizer.convert_tokens_to_ids
    missing = [token for token in SPECIAL_TOKENS if known(token) in (None, tokenizer.unk_token_id)]
    if missing:
        raise CheckpointError(f"the tokenizer of {source} lacks Janus's tokens {', '.join(missing)}")
    return tokenizer


def _open_original(
    folder: Path, tokenizer: PreTrainedTokenizerBase, dtype: torch.dtype
) -> JanusForConditionalGeneration:
    """A network whose weights come one by one from the original layout. Raises LayoutError."""
    known = tokenizer.convert_tokens_to_ids
    with init_empty_weights(include_buffers=False):
        network = JanusForConditionalGeneration(config_of(folder, known(IMAGE_PLACEHOLDER)))
    wanted = {name: parameter.shape for name, parameter in network.named_parameters()}
    for name, tensor in tensors(folder):
        if wanted.pop(name, None) != tensor.shape:
            raise LayoutError(f"tensor {name} has shape {tuple(tensor.shape)}, which does not fit config.json")
        module, _, leaf = name.rpartition(".")
        weight = torch.nn.Parameter(tensor.to(dtype, copy=True), requires_grad=False)
        setattr(network.get_submodule(module), leaf, weight)
    if wanted:
        raise LayoutError(f"{len(wanted)} tensors are missing, the first is {next(iter(wanted))}")
    network.generation_config = generation_config(*map(known, (BOS, EOS, PAD, BEGIN_IMAGE)))
    return network


def _check_layout(source: str | Path) -> None:
    path = Path(source)
    if not path.exists():
        if isinstance(source, Path) or source.count("/") != 1 or source.startswith((".", "/", "~")):
            raise CheckpointError(f"there is no checkpoint at {source}; give a folder with config.json, or a Hub id")
        return
    config = path / "config.json"
    if not config.is_file():
        raise CheckpointError(f"{source} holds no config.json, so it is no checkpoint; give the folder that does")
    try:
        kind = json.loads(config.read_text("utf-8")).get("model_type")
    except ValueError as error:
        raise CheckpointError(f"{config} is not JSON: {error}") from error
    if kind not in ("janus", LAYOUT):
        wanted = f"“janus” (transformers' layout) or “{LAYOUT}” (DeepSeek's)"
        raise CheckpointError(f"{source} is a “{kind}” checkpoint; wanted model_type {wanted}")


def name_of(source: str | Path) -> str:
    """What trajectories call a checkpoint: the folder's own name, or the Hub id."""
    return Path(source).resolve().name if Path(source).exists() else str(source)


def sampling_of(network: JanusForConditionalGeneration) -> Sampling:
    """The checkpoint's own settings. Greedy (`do_sample: false`) is temperature 0; a missing guidance is Janus's 5."""
    given = network.generation_config
    sampled = given.do_sample is not False
    return Sampling(
        guidance=5.0 if given.guidance_scale is None else float(given.guidance_scale),
        temperature=float(1.0 if given.temperature is None else given.temperature) if sampled else 0.0,
        top_k=given.top_k or None,
        text_temperature=float(getattr(given, "text_temperature", 1.0) or 0.0),
        text_top_k=getattr(given, "text_top_k", None),
        thinks=bool(getattr(network.config, "thinks", False)),
    )


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
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        state = {name: tensor.detach().to(dtype).contiguous() for name, tensor in network.state_dict().items()}
        network.save_pretrained(scratch, state_dict=state, max_shard_size="9MB")
        processor.save_pretrained(scratch)
        scratch.chmod(0o755)
        (scratch / PROVENANCE).write_text(json.dumps(provenance, indent=2, ensure_ascii=False) + "\n", "utf-8")
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
