"""Adapter folders in peft's format (adapter_config.json, adapter_model.safetensors), read, checked and written.

Reading needs no peft: an adapter is merged into the tensors of its base while these are read. An adapter is refused if
it cannot be merged this way, is damaged, or was trained on another base.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import JanusForConditionalGeneration

from model.backends.adapters import DEFAULT, Adapter, LowRank, TrainedParameters
from model.backends.checkpoint.checks import AGAIN, described, read_json
from model.backends.checkpoint.deepseek import FLOATS
from model.backends.checkpoint.saving import PROVENANCE, Files, check_finite, replacing, write_provenance, write_tensors
from model.backends.contract import CheckpointError
from model.examples import is_number

CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."  # peft's, of every name
PARTS = (".lora_A.weight", ".lora_B.weight", ".lora_magnitude_vector")
# Entries of peft's config that change what is computed beyond LoRA and DoRA on whole linear layers.
UNREAD = (
    *("fan_in_fan_out", "modules_to_save", "rank_pattern", "alpha_pattern", "lora_bias", "trainable_token_indices"),
    *("layer_replication", "target_parameters", "use_qalora", "use_bdlora", "arrow_config", "kasa_config"),
    *("velora_config", "monteclora_config", "alora_invocation_tokens", "megatron_config"),
)
INITIAL = (True, False, None, "gaussian", "eva", "orthogonal")  # initial weights that leave the base as it is


@dataclass(frozen=True)
class AdapterFolder:
    """One adapter as it lies on the disk."""

    folder: Path
    base: str  # name, path or address of what it was trained beside
    base_weights: str | None  # fingerprint of that; None where another trainer wrote the folder
    changes: Mapping[str, LowRank]  # by the names of weights in transformers' layout

    @property
    def parameters(self) -> int:
        """Numbers in it."""
        return sum(part.numel() for change in self.changes.values() for part in change.parts)

    def check_layers(self, network: torch.nn.Module) -> None:
        """Raises CheckpointError where the base, perhaps without memory for its weights, has other layers or sizes."""
        weights = dict(network.named_parameters())
        for name, change in self.changes.items():
            if name not in weights:
                raise CheckpointError(f"{self.folder} changes {name}, which {self.base} does not have")
            got, expected = (len(change.b), change.a.shape[1]), tuple(weights[name].shape)
            if got != expected:
                got, expected = ("×".join(map(str, shape)) for shape in (got, expected))
                raise CheckpointError(f"{self.folder}: {name}: got a change of {got}, {self.base} has {expected}")

    def merged(self, tensors: Iterator[tuple[str, torch.Tensor]]) -> Iterator[tuple[str, torch.Tensor]]:
        """The base's tensors, with the adapter in them; changes of other layers, which `check_layers` refuses, are left
        out."""
        for name, tensor in tensors:
            yield name, self.changes[name].applied(tensor) if name in self.changes else tensor

    def check_base(self, fingerprint: str) -> None:
        """Raises CheckpointError where the weights are not those that the adapter was trained beside."""
        if self.base_weights not in (None, fingerprint):
            raise CheckpointError(
                f"{self.folder} was trained beside other weights than those of {self.base}: the base has changed, or "
                f"another lies there; put the right one there, or name it in {CONFIG} (base_model_name_or_path)"
            )

    def fingerprint(self, base: str) -> str:
        """Of a base of this fingerprint with the adapter in it."""
        digest = hashlib.sha256(base.encode())
        for name, change in sorted(self.changes.items()):
            for part in change.parts:
                digest.update(described(f"{name} {change.scaling}", part))
        return digest.hexdigest()


def is_adapter(source: str | Path) -> bool:
    """Whether a folder holds an adapter and no checkpoint of its own."""
    return (Path(source) / CONFIG).is_file() and not (Path(source) / "config.json").is_file()


def provenance_in(folder: Path) -> dict[str, Any]:
    """The provenance of a checkpoint or an adapter; empty where it has none."""
    return read_json(folder / PROVENANCE) if (folder / PROVENANCE).is_file() else {}


def read_adapter(folder: Path) -> AdapterFolder:
    """Raises CheckpointError for one that is damaged, or of a kind that cannot be merged."""
    config = read_json(folder / CONFIG)
    _check_config(config, folder / CONFIG)
    provenance = provenance_in(folder)
    changes = _changes(_tensors(folder / TENSORS), config, folder / TENSORS)
    return AdapterFolder(folder, config["base_model_name_or_path"], provenance.get("base_weights"), changes)


def _check_config(config: Mapping[str, Any], path: Path) -> None:
    if (kind := config.get("peft_type")) != "LORA":
        raise CheckpointError(f"{path}: peft_type: got {kind!r}, wanted LORA; merge it by peft's merge_and_unload")
    more = [name for name in UNREAD if config.get(name)]
    more += [] if config.get("bias", "none") == "none" else ["bias"]
    more += [] if config.get("init_lora_weights", True) in INITIAL else ["init_lora_weights"]
    if more:
        raise CheckpointError(f"{path}: {more[0]} is set, which is not read here; merge it by peft's merge_and_unload")
    if not isinstance(config.get("base_model_name_or_path"), str) or not config["base_model_name_or_path"]:
        raise CheckpointError(f"{path}: base_model_name_or_path names no base; write there what it was trained beside")
    for name in ("r", "lora_alpha"):
        if not is_number(value := config.get(name)) or not value > 0:
            raise CheckpointError(f"{path}: {name}: got {value!r:.60}, wanted a number above 0; {AGAIN}")


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    """By name. Raises CheckpointError."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in list(file.keys())}
    except (OSError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{path} is no whole file of an adapter: {reason}; {AGAIN}") from error
    if odd := [name for name, tensor in tensors.items() if tensor.dtype not in FLOATS]:
        expected = ", ".join(map(str, FLOATS))
        raise CheckpointError(f"{path}: {odd[0]}: got values of {tensors[odd[0]].dtype}, wanted {expected}; {AGAIN}")
    if bad := [name for name, tensor in tensors.items() if not tensor.isfinite().all()]:
        raise CheckpointError(f"{path}: {bad[0]}: got values that are infinite or not a number; {AGAIN}")
    return tensors


def _changes(tensors: dict[str, torch.Tensor], config: Mapping[str, Any], path: Path) -> dict[str, LowRank]:
    layers: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        part = next((part for part in PARTS if name.endswith(part)), None)
        if part is None or not name.startswith(PREFIX):
            raise CheckpointError(f"{path}: {name} is no part of a LoRA adapter; merge it by peft's merge_and_unload")
        layers.setdefault(name.removeprefix(PREFIX).removesuffix(part), {})[part] = tensor
    if not layers:
        raise CheckpointError(f"{path} holds no tensor; {AGAIN}")
    return {f"{name}.weight": _change(name, parts, config, path) for name, parts in layers.items()}


def _change(name: str, parts: Mapping[str, torch.Tensor], config: Mapping[str, Any], path: Path) -> LowRank:
    rank, dora = config["r"], bool(config.get("use_dora"))
    if missing := [part for part in PARTS[: 3 if dora else 2] if part not in parts]:
        raise CheckpointError(f"{path} lacks {PREFIX}{name}{missing[0]}; {AGAIN}")
    a, b, magnitude = (parts.get(part) for part in PARTS)
    fits = a.ndim == b.ndim == 2 and len(a) == b.shape[1] == rank
    if not fits or (magnitude is not None and tuple(magnitude.shape) != (len(b),)):
        shapes = ", ".join("×".join(map(str, part.shape)) for part in parts.values())
        raise CheckpointError(f"{path}: {name}: got matrices of {shapes}, which are none of rank {rank}; {AGAIN}")
    scaling = config["lora_alpha"] / (rank**0.5 if config.get("use_rslora") else rank)
    return LowRank(a, b, scaling, magnitude)


def save_adapter(
    network: JanusForConditionalGeneration,
    adapter: Adapter,
    out: Path,
    provenance: Mapping[str, Any],
    beside: Files | None = None,
) -> None:
    """Write the adapter beside a network's weights to `out` in peft's format, with provenance, the network's generation
    config and the files `beside`, all or nothing. Raises CheckpointError, also for weights that are not finite."""
    trained = TrainedParameters(network)
    check_finite(trained, out, torch.float32)
    state = {_saved_name(name): weight for name, weight in trained.state_dict().items()}
    state = {name: weight.to(torch.float32) for name, weight in state.items()}
    with replacing(out) as scratch:
        write_tensors(scratch, {TENSORS: state, **(beside or {})})
        (scratch / CONFIG).write_text(json.dumps(adapter.config, indent=2, sort_keys=True) + "\n", "utf-8")
        network.generation_config.save_pretrained(scratch)
        write_provenance(scratch, {**provenance, "base_weights": adapter.base_weights})


def _saved_name(name: str) -> str:
    """Of a parameter in peft's file: without the adapter's name."""
    kept = name.replace(f".lora_magnitude_vector.{DEFAULT}.weight", ".lora_magnitude_vector")
    return PREFIX + kept.replace(f".{DEFAULT}.weight", ".weight")
