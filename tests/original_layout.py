"""Checkpoints in the layout in which DeepSeek and the authors of Janus-Pro-R1 publish theirs, made from ours."""

import json
import re
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

from model.backends.janus import Janus

# transformers' names and the published ones, told the other way round than the product tells them.
PUBLISHED = (
    ("model.language_model.", "language_model.model."),
    ("lm_head.", "language_model.lm_head."),
    ("model.generation_embeddings.", "gen_embed."),
    ("model.generation_aligner.fc1.", "gen_aligner.layers.0."),
    ("model.generation_aligner.hidden_layers.0.", "gen_aligner.layers.2."),
    ("model.aligner.fc1.", "aligner.layers.0."),
    ("model.aligner.hidden_layers.0.", "aligner.layers.2."),
    ("model.generation_head.proj_out.", "gen_head.output_mlp_projector."),
    ("model.generation_head.vision_head.", "gen_head.vision_head."),
    ("model.vision_model.embeddings.patch_embedding.", "vision_model.vision_tower.patch_embed.proj."),
    ("model.vision_model.embeddings.position_embedding.weight", "vision_model.vision_tower.pos_embed"),
    ("model.vision_model.post_layernorm.", "vision_model.vision_tower.norm."),
    ("model.vision_model.encoder.layers.", "vision_model.vision_tower.blocks."),
    ("model.vqmodel.encoder.down.", "gen_vision_model.encoder.conv_blocks."),
    ("model.vqmodel.decoder.up.", "gen_vision_model.decoder.conv_blocks."),
    ("model.vqmodel.", "gen_vision_model."),
)
WITHIN = (
    (".layer_norm", ".norm"),
    (".self_attn.projection_layer.", ".attn.proj."),
    (".mid.block_1.", ".mid.0."),
    (".mid.attn_1.", ".mid.1."),
    (".mid.block_2.", ".mid.2."),
    (".block.", ".res."),
)


def published(janus: Janus) -> dict[str, torch.Tensor]:
    """A network's weights under the names of the original layout, fused and with what it never reads."""
    found, fused = {}, {}
    for name, tensor in janus.network.state_dict().items():
        old = next(prefix + name[len(new) :] for new, prefix in PUBLISHED if name.startswith(new))
        if not name.startswith("model.language_model."):
            for new, inner in WITHIN:
                old = old.replace(new, inner)
        if part := re.fullmatch(r"(vision_model.*)\.self_attn\.([qkv])_proj\.(weight|bias)", old):
            layer, which, kind = part.groups()
            fused.setdefault(f"{layer}.attn.qkv.{kind}", {})[which] = tensor
        else:
            found[old] = tensor[None] if old.endswith("pos_embed") else tensor
    found |= {name: torch.cat([parts[which] for which in "qkv"]) for name, parts in fused.items()}
    found["vision_model.vision_tower.attn_pool.q.weight"] = torch.zeros(3, 3)
    found["gen_vision_model.quantize.codebook_used"] = torch.zeros(7)
    return {name: tensor.contiguous() for name, tensor in found.items()}


def write_original(janus: Janus, source: Path, folder: Path, kind: str) -> Path:
    """A folder in the original layout: config, tokenizer, and two shards with an index."""
    folder.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(source / name, folder / name)
    text = janus.network.config.text_config.to_dict()
    sizes = ("max_position_embeddings", "num_attention_heads", "num_key_value_heads", "hidden_size", "rope_parameters")
    language = {name: text[name] for name in sizes} | {"model_type": "llama", "torch_dtype": "bfloat16"}
    config = {"model_type": "multi_modality", "language_config": language}
    (folder / "config.json").write_text(json.dumps(config))
    weights = published(janus)
    names = sorted(weights)
    halves = (names[: len(names) // 2], names[len(names) // 2 :])
    stem, ending = ("model", "safetensors") if kind == "safetensors" else ("pytorch_model", "bin")
    index = {}
    for number, half in enumerate(halves, 1):
        file = f"{stem}-{number:05d}-of-00002.{ending}"
        part = {name: weights[name].clone() for name in half}
        if kind == "safetensors":
            save_file(part, folder / file)
        else:
            torch.save(part, folder / file)
        index |= dict.fromkeys(half, file)
    (folder / f"{stem}.{ending}.index.json").write_text(json.dumps({"weight_map": index}))
    return folder
