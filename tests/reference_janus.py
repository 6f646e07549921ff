"""A slow, obvious reference of Janus-Pro-R1 inference, for checking a fast decoder against it.

It follows the paper (arXiv 2506.01480) and the layout of the published `multi_modality` checkpoints, reads their
weights by itself, and shares no code with the product. Nothing is cached and nothing is batched: for every token the
whole sequence of embeddings goes through the whole transformer, and only its last position is used. Every choice is
greedy. Shapes: T tokens, D hidden size, G grid side (an image is G*G codes), H and W pixels.
"""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tokenizers import Tokenizer

USER = "<|User|>: {caption}\n\n<|Assistant|>:"
BOS = "<｜begin▁of▁sentence｜>"
EOS = "<｜end▁of▁sentence｜>"
PAD = "<｜▁pad▁｜>"
BOI = "<begin_of_image>"
CHECK = "<end_of_image>\nLet me think Does this image match the prompt..."
CONNECT = "<｜end▁of▁sentence｜>\nNext, I will draw a new image<begin_of_image>"
REFLECTION_LIMIT = 80
VISION_HEAD_WIDTH = 64


@dataclass
class Result:
    """What one run drew and said; entry i of every list belongs to image i."""

    images: list[list[int]] = field(default_factory=list)  # the sampled codes
    pictures: list[np.ndarray] = field(default_factory=list)  # (H, W, 3) uint8
    verdicts: list[str] = field(default_factory=list)  # "yes" or "no"
    p_yes: list[float] = field(default_factory=list)
    reasons: list[list[int]] = field(default_factory=list)  # token ids from Yes/No on, without EOS


class Context:
    """A growing sequence: embeddings and the RoPE position of each."""

    def __init__(self) -> None:
        self.embeddings: list[torch.Tensor] = []  # of shape (D,)
        self.positions: list[int] = []
        self.next_position = 0

    def add(self, embeddings: torch.Tensor) -> None:
        """Append embeddings (T, D) at the next T positions."""
        for embedding in embeddings:
            self.embeddings.append(embedding)
            self.positions.append(self.next_position)
            self.next_position += 1

    def skip(self) -> None:
        """Leave one position empty."""
        self.next_position += 1

    def copy(self) -> "Context":
        other = Context()
        other.embeddings = list(self.embeddings)
        other.positions = list(self.positions)
        other.next_position = self.next_position
        return other


def read_weights(folder: Path, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """All tensors of a checkpoint folder, under their original names, in `dtype`."""

    def read(path: Path) -> dict[str, torch.Tensor]:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)

    for name in ("model.safetensors", "pytorch_model.bin"):
        if (folder / name).exists():
            files = [name]
        elif (folder / f"{name}.index.json").exists():
            index = json.loads((folder / f"{name}.index.json").read_text(encoding="utf-8"))
            files = sorted(set(index["weight_map"].values()))
        else:
            continue
        weights: dict[str, torch.Tensor] = {}
        for file in files:
            weights.update(read(folder / file))
        return {key: tensor.detach().to(dtype) for key, tensor in weights.items()}
    raise FileNotFoundError(f"no weights in {folder}")


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """RoPE on x (heads, T, width): the first half of the width is paired with the second half."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool) -> torch.Tensor:
    """Softmax attention of q, k, v (heads, T, width) -> (T, heads * width)."""
    scores = q @ k.transpose(1, 2) * q.shape[-1] ** -0.5
    if causal:
        future = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
        scores = scores.masked_fill(future, -math.inf)
    return (scores.softmax(-1) @ v).transpose(0, 1).flatten(1)


def swish(x: torch.Tensor) -> torch.Tensor:
    return x * torch.sigmoid(x)


class Reference:
    """Janus-Pro-R1 from a checkpoint folder in the original layout."""

    def __init__(self, folder: Path, dtype: torch.dtype) -> None:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if config["model_type"] != "multi_modality":
            raise ValueError(f"not an original Janus checkpoint: model_type {config['model_type']!r}")
        language = config["language_config"]
        self.dtype = dtype
        self.weights = read_weights(folder, dtype)
        # What a checkpoint does not spell out has Llama's default.
        self.heads = language.get("num_attention_heads", 32)
        self.kv_heads = language.get("num_key_value_heads") or self.heads
        hidden = self.weights["language_model.model.embed_tokens.weight"].shape[1]
        self.head_dim = language.get("head_dim") or hidden // self.heads
        self.rope = {"rope_theta": language.get("rope_theta", 10000.0)} | (language.get("rope_parameters") or {})
        self.norm_eps = language.get("rms_norm_eps", 1e-6)
        self.grid = math.isqrt(self.weights["vision_model.vision_tower.pos_embed"].shape[1])

        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.eos = self.tokenizer.token_to_id(EOS)
        self.pad = self.tokenizer.token_to_id(PAD)
        self.boi = self.tokenizer.token_to_id(BOI)
        self.yes = self.encode("Yes")[-1]
        self.no = self.encode("No")[-1]

    def encode(self, text: str) -> list[int]:
        """Token ids of one piece of text, nothing added."""
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    # Layers, by the name of their weights.

    def count(self, prefix: str) -> int:
        """How many numbered children `prefix.0`, `prefix.1`, ... there are."""
        names = {key[len(prefix) + 1 :].split(".")[0] for key in self.weights if key.startswith(f"{prefix}.")}
        return sum(name.isdigit() for name in names)

    def linear(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias"))

    def conv(self, name: str, x: torch.Tensor, stride: int = 1, padding: int = 0) -> torch.Tensor:
        return F.conv2d(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"], stride, padding)

    def layer_norm(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(x, x.shape[-1:], self.weights[f"{name}.weight"], self.weights[f"{name}.bias"], 1e-6)

    def group_norm(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return F.group_norm(x, 32, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"], 1e-6)

    def rms_norm(self, name: str, x: torch.Tensor) -> torch.Tensor:
        """In float32 whatever the model's dtype is, then back."""
        wide = x.float()
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.norm_eps)
        return self.weights[f"{name}.weight"] * wide.to(x.dtype)

    def mlp(self, name: str, x: torch.Tensor) -> torch.Tensor:
        """Aligner: `layers.0`, `layers.2`, ... with GELU between; (T, any) -> (T, D)."""
        x = self.linear(f"{name}.layers.0", x)
        for layer in range(1, self.count(f"{name}.layers")):
            x = self.linear(f"{name}.layers.{2 * layer}", F.gelu(x))
        return x

    # The language model.

    def frequencies(self) -> torch.Tensor:
        """Of the rotary embedding, radians per position; scaled as in Llama 3.1 where the config says so."""
        found = []
        for pair in range(self.head_dim // 2):
            frequency = self.rope["rope_theta"] ** (-2 * pair / self.head_dim)
            if self.rope.get("rope_type") == "llama3":
                low, high = self.rope["low_freq_factor"], self.rope["high_freq_factor"]
                turns = self.rope["original_max_position_embeddings"] * frequency / (2 * math.pi)
                kept = min(max((turns - low) / (high - low), 0.0), 1.0)
                frequency *= kept + (1 - kept) / self.rope["factor"]
            found.append(frequency)
        return torch.tensor(found, dtype=torch.float32)

    def transformer(self, context: Context) -> torch.Tensor:
        """Final hidden state (D,) at the last position of the context."""
        x = torch.stack(context.embeddings)
        angles = torch.tensor(context.positions, dtype=torch.float32)[:, None] * self.frequencies()
        angles = torch.cat((angles, angles), dim=-1)  # (T, head_dim)
        cos, sin = angles.cos().to(self.dtype), angles.sin().to(self.dtype)
        for layer in range(self.count("language_model.model.layers")):
            name = f"language_model.model.layers.{layer}"
            y = self.rms_norm(f"{name}.input_layernorm", x)
            q = self.split_heads(self.linear(f"{name}.self_attn.q_proj", y), self.head_dim)
            k = self.split_heads(self.linear(f"{name}.self_attn.k_proj", y), self.head_dim)
            v = self.split_heads(self.linear(f"{name}.self_attn.v_proj", y), self.head_dim)
            q, k = rotate(q, cos, sin), rotate(k, cos, sin)
            k = k.repeat_interleave(self.heads // self.kv_heads, dim=0)
            v = v.repeat_interleave(self.heads // self.kv_heads, dim=0)
            x = x + self.linear(f"{name}.self_attn.o_proj", attend(q, k, v, causal=True))
            y = self.rms_norm(f"{name}.post_attention_layernorm", x)
            y = F.silu(self.linear(f"{name}.mlp.gate_proj", y)) * self.linear(f"{name}.mlp.up_proj", y)
            x = x + self.linear(f"{name}.mlp.down_proj", y)
        return self.rms_norm("language_model.model.norm", x)[-1]

    def split_heads(self, x: torch.Tensor, width: int) -> torch.Tensor:
        """(T, heads * width) -> (heads, T, width)."""
        return x.unflatten(-1, (-1, width)).transpose(0, 1)

    def text_logits(self, context: Context) -> torch.Tensor:
        """(vocabulary,) logits of the next text token."""
        return self.linear("language_model.lm_head", self.transformer(context))

    def image_logits(self, context: Context) -> torch.Tensor:
        """(codebook,) logits of the next image code."""
        x = self.linear("gen_head.output_mlp_projector", self.transformer(context))
        return self.linear("gen_head.vision_head", F.gelu(x))

    # Embeddings: E of text, U of a picture to be understood, G of the codes of a picture.

    def embed_text(self, ids: list[int]) -> torch.Tensor:
        """E: (T, D)."""
        return self.weights["language_model.model.embed_tokens.weight"][ids]

    def embed_codes(self, codes: list[int]) -> torch.Tensor:
        """G: (T, D)."""
        return self.mlp("gen_aligner", self.weights["gen_embed.weight"][codes])

    def embed_picture(self, picture: np.ndarray) -> torch.Tensor:
        """U: (H, W, 3) uint8 -> (G*G, D)."""
        return self.mlp("aligner", self.siglip(self.pixels(picture)))

    def pixels(self, picture: np.ndarray) -> torch.Tensor:
        """(H, W, 3) uint8 -> (1, 3, H, W) in [-1, 1]."""
        return torch.from_numpy(picture).to(self.dtype).permute(2, 0, 1)[None] / 127.5 - 1

    def siglip(self, pixels: torch.Tensor) -> torch.Tensor:
        """(1, 3, H, W) -> (G*G, vision width)."""
        tower = "vision_model.vision_tower"
        patch = self.weights[f"{tower}.patch_embed.proj.weight"].shape[-1]
        x = self.conv(f"{tower}.patch_embed.proj", pixels, stride=patch)[0].flatten(1).T
        x = x + self.weights[f"{tower}.pos_embed"][0]
        width = min(VISION_HEAD_WIDTH, x.shape[-1])
        for layer in range(self.count(f"{tower}.blocks")):
            name = f"{tower}.blocks.{layer}"
            q, k, v = self.linear(f"{name}.attn.qkv", self.layer_norm(f"{name}.norm1", x)).chunk(3, dim=-1)
            q, k, v = self.split_heads(q, width), self.split_heads(k, width), self.split_heads(v, width)
            x = x + self.linear(f"{name}.attn.proj", attend(q, k, v, causal=False))
            y = F.gelu(self.linear(f"{name}.mlp.fc1", self.layer_norm(f"{name}.norm2", x)))
            x = x + self.linear(f"{name}.mlp.fc2", y)
        return self.layer_norm(f"{tower}.norm", x)

    # The VQ autoencoder; x is (1, channels, height, width) throughout.

    def resnet(self, name: str, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(f"{name}.conv1", swish(self.group_norm(f"{name}.norm1", x)), padding=1)
        y = self.conv(f"{name}.conv2", swish(self.group_norm(f"{name}.norm2", y)), padding=1)
        if f"{name}.nin_shortcut.weight" in self.weights:
            x = self.conv(f"{name}.nin_shortcut", x)
        return x + y

    def vq_attention(self, name: str, x: torch.Tensor) -> torch.Tensor:
        """One head as wide as there are channels, over all pixels."""
        y = self.group_norm(f"{name}.norm", x)
        q, k, v = (self.conv(f"{name}.{part}", y).flatten(2).transpose(1, 2) for part in ("q", "k", "v"))
        y = attend(q, k, v, causal=False).T.reshape(x.shape)
        return x + self.conv(f"{name}.proj_out", y)

    def middle(self, name: str, x: torch.Tensor) -> torch.Tensor:
        x = self.resnet(f"{name}.mid.0", x)
        x = self.vq_attention(f"{name}.mid.1", x)
        return self.resnet(f"{name}.mid.2", x)

    def level(self, name: str, x: torch.Tensor) -> torch.Tensor:
        """The blocks of one resolution, each followed by attention where the level has it."""
        attentions = self.count(f"{name}.attn")
        for block in range(self.count(f"{name}.res")):
            x = self.resnet(f"{name}.res.{block}", x)
            if attentions:
                x = self.vq_attention(f"{name}.attn.{block}", x)
        return x

    def vq_encoder(self, x: torch.Tensor) -> torch.Tensor:
        """(1, 3, H, W) -> (1, latent channels, G, G)."""
        name = "gen_vision_model.encoder"
        x = self.conv(f"{name}.conv_in", x, padding=1)
        for level in range(self.count(f"{name}.conv_blocks")):
            x = self.level(f"{name}.conv_blocks.{level}", x)
            if f"{name}.conv_blocks.{level}.downsample.conv.weight" in self.weights:
                x = F.pad(x, (0, 1, 0, 1))  # right and bottom only
                x = self.conv(f"{name}.conv_blocks.{level}.downsample.conv", x, stride=2)
        x = self.middle(name, x)
        return self.conv(f"{name}.conv_out", swish(self.group_norm(f"{name}.norm_out", x)), padding=1)

    def vq_decoder(self, x: torch.Tensor) -> torch.Tensor:
        """(1, latent channels, G, G) -> (1, 3, H, W)."""
        name = "gen_vision_model.decoder"
        x = self.middle(name, self.conv(f"{name}.conv_in", x, padding=1))
        for level in range(self.count(f"{name}.conv_blocks")):
            x = self.level(f"{name}.conv_blocks.{level}", x)
            if f"{name}.conv_blocks.{level}.upsample.conv.weight" in self.weights:
                x = F.interpolate(x, scale_factor=2.0, mode="nearest")
                x = self.conv(f"{name}.conv_blocks.{level}.upsample.conv", x, padding=1)
        return self.conv(f"{name}.conv_out", swish(self.group_norm(f"{name}.norm_out", x)), padding=1)

    def codebook(self) -> torch.Tensor:
        """(codebook, code width), rows of length one."""
        return F.normalize(self.weights["gen_vision_model.quantize.embedding.weight"], dim=-1)

    def decode_picture(self, codes: list[int]) -> np.ndarray:
        """G*G codes -> (H, W, 3) uint8; fractions are cut off, not rounded."""
        z = self.codebook()[codes].T.unflatten(1, (self.grid, self.grid))[None]
        x = self.vq_decoder(self.conv("gen_vision_model.post_quant_conv", z))
        return ((x[0] + 1) * 127.5).clamp(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous().numpy()

    def encode_picture(self, picture: np.ndarray) -> list[int]:
        """(H, W, 3) uint8 -> G*G codes: the nearest codebook rows, all vectors scaled to length one."""
        z = self.conv("gen_vision_model.quant_conv", self.vq_encoder(self.pixels(picture)))
        rows = self.codebook()
        vectors = F.normalize(z[0].flatten(1).T, dim=-1)
        return [int((rows - vector).pow(2).sum(-1).argmin()) for vector in vectors]

    # The loop of drawing, judging and drawing again.

    def draw(self, conditional: Context, unconditional: Context, guidance: float) -> list[int]:
        """The codes of one image after these contexts, which are left as they are."""
        conditional, unconditional = conditional.copy(), unconditional.copy()
        codes: list[int] = []
        for _ in range(self.grid * self.grid):
            c, u = self.image_logits(conditional), self.image_logits(unconditional)
            codes.append(int((u + guidance * (c - u)).argmax()))
            conditional.add(self.embed_codes(codes[-1:]))
            unconditional.add(self.embed_codes(codes[-1:]))
        return codes

    def reflect(self, context: Context) -> tuple[list[int], float, bool]:
        """The reflection after a context that is left as it is: ids without EOS, P(Yes), whether it reached EOS."""
        context = context.copy()
        first = self.text_logits(context)[[self.yes, self.no]]
        p_yes = float(first.softmax(-1)[0])
        ids = [self.yes if first[0] >= first[1] else self.no]
        while len(ids) < REFLECTION_LIMIT:
            context.add(self.embed_text(ids[-1:]))
            logits = self.text_logits(context)
            logits[self.boi] = -math.inf
            chosen = int(logits.argmax())
            if chosen == self.eos:
                return ids, p_yes, True
            ids.append(chosen)
        return ids, p_yes, False

    def run(self, prompt: str, *, guidance: float, images: int, reencode: bool, gap: bool) -> Result:
        """Draw and judge until the verdict is "yes" or `images` images have been drawn and judged.

        `reencode`: a rejected image stands in the context of the next drawing as the codes of its picture, not as the
        sampled ones. `gap`: there, the EOS that ended a reflection leaves an empty position.
        """
        start, user = self.encode(BOS), self.encode(USER.format(caption=prompt))
        begin, check, connect = self.encode(BOI), self.encode(CHECK), self.encode(CONNECT)
        judging, conditional, unconditional = Context(), Context(), Context()
        judging.add(self.embed_text(start + user + begin))
        conditional.add(self.embed_text(start + user + begin))
        unconditional.add(self.embed_text(start + [self.pad] * len(user) + begin))

        result = Result()
        while True:
            codes = self.draw(conditional, unconditional, guidance)
            picture = self.decode_picture(codes)
            judging.add(self.embed_picture(picture))
            judging.add(self.embed_text(check))
            reason, p_yes, ended = self.reflect(judging)

            result.images.append(codes)
            result.pictures.append(picture)
            result.verdicts.append("yes" if reason[0] == self.yes else "no")
            result.p_yes.append(p_yes)
            result.reasons.append(reason)
            if result.verdicts[-1] == "yes" or len(result.images) == images:
                return result

            judging.add(self.embed_text(reason + connect))
            shown = self.encode_picture(picture) if reencode else codes
            for branch in (conditional, unconditional):
                branch.add(self.embed_codes(shown))
                branch.add(self.embed_text(check + reason))
                if gap and ended:
                    branch.skip()
                branch.add(self.embed_text(connect))
