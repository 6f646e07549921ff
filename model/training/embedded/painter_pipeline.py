"""Sizes, first weights and tokenizer of the embedded painter: PixArt-Σ in diffusers' classes, with flow matching.

Its latents are the rows of the embedded Janus network's codebook, one for each 8×8 patch of the world, moved and scaled
by an affine map so that the blank patch is 0 and sprites have unit variance in every channel. The map is absorbed by
the convolutions on both sides of the quantiser, so diffusers' VQModel, which takes the nearest row before it decodes,
paints with the weights of that codec, and what a sampler leaves of the noise does not show. The transformer's own
patches are as large as a sprite, 2×2 latents: it knows objects in 4×4 places, where the world has 7×7 that overlap.
"""

import random
import re
from collections.abc import Iterator

import torch
from diffusers import DPMSolverMultistepScheduler, PixArtSigmaPipeline, PixArtTransformer2DModel, VQModel
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import JanusVQVAE, PreTrainedTokenizerFast, T5Config, T5EncoderModel

from model.world.defects import spoil
from model.world.language import CATEGORIES, reword, write
from model.world.random_scenes import sample_description, sample_scene
from model.world.reasons import write_reason
from model.world.sprites import CELL, CELLS, PATCHES, SIZE, SPRITE
from model.world.verifier import check, read

MOST_TOKENS = 48  # of a prompt and what a critic said of a draft
PAD, EOS, UNKNOWN = "<pad>", "</s>", "<unk>"
STEPS_SHIFT = 3.0  # of the noise levels at which an image is drawn: most of them where its contents are decided

_NAMES = (
    (r"(down|up)\.(\d)\.", r"\1_blocks.\2."),
    (r"\.block\.(\d)\.", r".resnets.\1."),
    (r"(\d)\.attn\.(\d)\.", r"\1.attentions.\2."),
    (r"\.(down|up)sample\.conv", r".\1samplers.0.conv"),
    (r"mid\.block_1", "mid_block.resnets.0"),
    (r"mid\.block_2", "mid_block.resnets.1"),
    (r"mid\.attn_1", "mid_block.attentions.0"),
    ("nin_shortcut", "conv_shortcut"),
    ("norm_out", "conv_norm_out"),
    (r"(attentions\.\d)\.norm", r"\1.group_norm"),
    (r"(attentions\.\d)\.(q|k|v)\.", r"\1.to_\2."),
    (r"(attentions\.\d)\.proj_out", r"\1.to_out.0"),
)


def new_pipeline(
    codec: JanusVQVAE,
    *,
    hidden: int = 128,
    layers: int = 5,
    text_hidden: int = 128,
    text_layers: int = 2,
    seed: int = 0,
) -> PixArtSigmaPipeline:
    """A pipeline with the codec's weights and a random text encoder and transformer. `hidden`: a multiple of 32."""
    torch.manual_seed(seed)
    tokenizer = new_tokenizer()
    text = T5Config(
        vocab_size=len(tokenizer),
        d_model=text_hidden,
        d_kv=32,
        num_heads=text_hidden // 32,
        d_ff=2 * text_hidden,
        num_layers=text_layers,
        dropout_rate=0.0,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    channels = codec.quantize.embedding.weight.shape[1]
    transformer = PixArtTransformer2DModel(
        num_attention_heads=hidden // 32,
        attention_head_dim=32,
        in_channels=channels,
        out_channels=channels,
        num_layers=layers,
        cross_attention_dim=hidden,
        caption_channels=text_hidden,
        sample_size=CELLS,
        patch_size=SPRITE // CELL,
        interpolation_scale=1,
    )
    start_transformer(transformer)
    scheduler = DPMSolverMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=STEPS_SHIFT, solver_order=2
    )
    return PixArtSigmaPipeline(tokenizer, T5EncoderModel(text), new_autoencoder(codec), transformer, scheduler)


@torch.no_grad()
def start_transformer(transformer: PixArtTransformer2DModel) -> None:
    """Variance kept within a layer; every residual branch begins closed, as in DiT (Peebles and Xie, 2023, §3.2)."""
    for module in transformer.modules():
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.normal_(module.weight, std=module.in_features**-0.5)
            if module.bias is not None:
                torch.nn.init.zeros_(module.bias)
    torch.nn.init.zeros_(transformer.adaln_single.linear.weight)
    torch.nn.init.zeros_(transformer.proj_out.weight)
    for block in transformer.transformer_blocks:
        torch.nn.init.zeros_(block.scale_shift_table[2])
        torch.nn.init.zeros_(block.scale_shift_table[5])
        torch.nn.init.zeros_(block.attn2.to_out[0].weight)


def new_tokenizer() -> PreTrainedTokenizerFast:
    """A token a word, of the words with which the world is asked for and faults are named; others are unknown."""
    words = sorted({word for text in _texts() for word in re.findall(r"\w+|[^\w\s]", text.lower())})
    numbers = {word: number for number, word in enumerate((PAD, EOS, UNKNOWN, *words))}
    tokenizer = Tokenizer(models.WordLevel(numbers, UNKNOWN))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(f"$A {EOS}", special_tokens=[(EOS, numbers[EOS])])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=EOS,
        unk_token=UNKNOWN,
        padding_side="right",
        model_max_length=MOST_TOKENS,
    )


def _texts() -> Iterator[str]:
    """Prompts and reasons in which every word occurs."""
    rng = random.Random(0)
    for number in range(1000):
        description = sample_description(rng, CATEGORIES[number % len(CATEGORIES)])
        yield reword(rng, write(description))
        _, wrong = spoil(rng, description, sample_scene(rng, description))
        yield write_reason(description, check(description, read(wrong)), rng)


@torch.no_grad()
def new_autoencoder(codec: JanusVQVAE) -> VQModel:
    """The codec as diffusers' VQModel, its latents in the coordinates of `latent_rows`."""
    rows, centre, matrix = _coordinates(codec.quantize.embedding.weight[: len(PATCHES)].float())
    widths = tuple(codec.config.base_channels * each for each in codec.config.channel_multiplier)
    levels = len(widths)
    config = {
        "down_block_types": ("DownEncoderBlock2D",) * (levels - 1) + ("AttnDownEncoderBlock2D",),
        "up_block_types": ("AttnUpDecoderBlock2D",) + ("UpDecoderBlock2D",) * (levels - 1),
        "block_out_channels": widths,
        "layers_per_block": codec.config.num_res_blocks,
        "latent_channels": codec.config.latent_channels,
        "vq_embed_dim": rows.shape[1],
        "num_vq_embeddings": len(rows),
        "sample_size": SIZE,
        "scaling_factor": 1.0,
    }
    autoencoder = VQModel(**config)
    weights = {_renamed(name): value.detach().float() for name, value in codec.state_dict().items()}
    linear = {name for name in autoencoder.state_dict() if re.search(r"\.to_\w+(\.0)?\.weight", name)}
    weights |= {name: weights[name][..., 0, 0] for name in linear}  # convolutions of one pixel there
    weights["quantize.embedding.weight"] = rows
    back = torch.linalg.inv(matrix).T  # a row in these coordinates → the codec's own, less the centre
    after, before = weights["post_quant_conv.weight"][..., 0, 0], weights["quant_conv.weight"][..., 0, 0]
    weights["post_quant_conv.bias"] += after @ centre
    weights["post_quant_conv.weight"] = (after @ back)[..., None, None]
    weights["quant_conv.bias"] = matrix.T @ (weights["quant_conv.bias"] - centre)
    weights["quant_conv.weight"] = (matrix.T @ before)[..., None, None]
    autoencoder.load_state_dict(weights)
    return autoencoder


def _renamed(name: str) -> str:
    """A parameter of transformers' JanusVQVAE as diffusers' VQModel calls it."""
    for pattern, replacement in _NAMES:
        name = re.sub(pattern, replacement, name)
    return name


def _coordinates(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(z, centre, matrix) with z = (rows − centre) @ matrix: row 0 at 0, the covariance of the others half whitened."""
    centre = rows[0]
    values, directions = torch.linalg.eigh(torch.cov(rows[1:].T))
    matrix = directions @ torch.diag(values**-0.25) @ directions.T
    matrix = matrix / ((rows[1:] - centre) @ matrix).std()
    return (rows - centre) @ matrix, centre, matrix
