"""Sizes, initial weights, tokenizer and processor of the embedded network, in transformers' classes.

It knows the wording of the world (the tokenizer is trained on it), not the data engine and not the training loop.
"""

import random
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GenerationConfig,
    JanusConfig,
    JanusForConditionalGeneration,
    JanusImageProcessorPil,
    JanusProcessor,
    JanusVisionConfig,
    JanusVisionModel,
    JanusVQVAE,
    JanusVQVAEConfig,
    LlamaConfig,
    PreTrainedTokenizerFast,
)

from model.templates import (
    ASSISTANT,
    BEGIN_IMAGE,
    BOS,
    CHAT_TEMPLATE,
    CHECK,
    CONNECT,
    END_IMAGE,
    EOS,
    IMAGE_PLACEHOLDER,
    PAD,
    SPECIAL_TOKENS,
    USER,
    ask,
    edit,
)
from model.world.defects import spoil
from model.world.edits import sample_edit, write_edit
from model.world.language import CATEGORIES, write
from model.world.plan import write_plan
from model.world.random_scenes import sample_description, sample_scene
from model.world.reasons import write_reason
from model.world.scene import random_scene, render
from model.world.sprites import PATCHES, SIZE
from model.world.verifier import check, read

PATCH = 8  # pixels per side of an image code
CODEBOOK = 1024
VOCABULARY = 640
# With heads of 32 the second pair turns once in 8 positions, a row of image codes, by which the hand knows its column.
# Llama 3's scaling makes pairs slower than 64 positions 32 times slower: by those an image is compared with its prompt.
ROPE = {
    "rope_type": "llama3",
    "rope_theta": 47.8,
    "factor": 32.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
OWN_FIELDS: dict[str, Any] = {"thinks": True, "embedded_world": True}  # of a config, beyond Janus


def new_config(hidden: int = 224, layers: int = 6, vision_layers: int = 3, codec: int = 64) -> JanusConfig:
    """The sizes of the embedded network; the arguments make smaller ones for tests (`codec`: its base channels)."""
    vision_hidden = -(-hidden // 64) * 32  # about half, in heads of 32
    return JanusConfig(
        text_config=LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=hidden,
            intermediate_size=hidden * 11 // 4,
            num_hidden_layers=layers,
            num_attention_heads=max(hidden // 32, 1),
            max_position_embeddings=1024,
            rope_parameters=ROPE,
            bos_token_id=SPECIAL_TOKENS.index(BOS),
            eos_token_id=SPECIAL_TOKENS.index(EOS),
            pad_token_id=SPECIAL_TOKENS.index(PAD),
            tie_word_embeddings=False,
        ),
        vision_config=JanusVisionConfig(
            hidden_size=vision_hidden,
            num_hidden_layers=vision_layers,
            num_attention_heads=max(vision_hidden // 32, 1),
            image_size=SIZE,
            patch_size=PATCH,
            projection_dim=hidden,
            num_image_tokens=(SIZE // PATCH) ** 2,
        ),
        vq_config=JanusVQVAEConfig(
            embed_dim=16,
            num_embeddings=CODEBOOK,
            latent_channels=64,
            base_channels=codec,
            channel_multiplier=[1, 1, 2, 2],
            num_res_blocks=1,
            projection_dim=hidden,
            image_token_embed_dim=hidden,
        ),
        image_token_id=SPECIAL_TOKENS.index(IMAGE_PLACEHOLDER),
        tie_word_embeddings=False,
        **OWN_FIELDS,
    )


def new_network(config: JanusConfig, seed: int) -> JanusForConditionalGeneration:
    """Random weights, of sizes from which this world is learnt quickly; codec and eye begin with its patches."""
    torch.manual_seed(seed)
    network = JanusForConditionalGeneration(config)
    start_codec(network.model.vqmodel)
    start_layers(network.model.language_model.layers)
    torch.nn.init.normal_(network.model.language_model.embed_tokens.weight, std=0.5)
    start_layers(network.model.vision_model.encoder.layers)
    start_vision(network.model.vision_model)
    start_aligner(network.model.aligner)
    start_aligner(network.model.generation_aligner)
    tokens = SPECIAL_TOKENS.index
    network.generation_config = GenerationConfig(
        bos_token_id=tokens(BOS),
        eos_token_id=tokens(EOS),
        pad_token_id=tokens(PAD),
        do_sample=True,
        temperature=1.0,
        top_k=0,
        guidance_scale=1.0,
        generation_kwargs={"boi_token_id": tokens(BEGIN_IMAGE)},
    )
    return network


def start_codec(codec: JanusVQVAE) -> None:
    """transformers starts convolutions at 0.02, with which the codec hardly learns. Here: variance kept, and every
    residual branch near zero, which halves the loss after 150 steps once more (0.44 → 0.27 at the best rates)."""
    for module in codec.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
            torch.nn.init.zeros_(module.bias)
    for module in codec.modules():
        last = getattr(module, "conv2", None) or getattr(module, "proj_out", None)
        if isinstance(last, torch.nn.Conv2d):
            torch.nn.init.normal_(last.weight, std=1e-3)


def start_layers(layers: Iterable[torch.nn.Module]) -> None:
    """Variance kept within a layer, and over the layers by small last matrices (GPT-2, §2.3).

    At transformers' 0.02, a network this narrow hears a token's own embedding below the sum of all others: half the
    steps to copy the prompt's words into the thought.
    """
    layers = list(layers)
    for layer in layers:
        for name, matrix in layer.named_parameters():
            if matrix.ndim == 2:
                last = name.endswith(("o_proj.weight", "down_proj.weight", "projection_layer.weight", "fc2.weight"))
                scale = (2 * len(layers)) ** -0.5 if last else 1.0
                torch.nn.init.normal_(matrix, std=scale * matrix.shape[1] ** -0.5)


def start_aligner(aligner: torch.nn.Module) -> None:
    """Variance kept: from 0.02 an image code reaches the language model at 0.0003, below RMSNorm's epsilon."""
    for layer in (aligner.fc1, *aligner.hidden_layers):
        torch.nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")


def start_vision(vision: JanusVisionModel) -> None:
    """The understanding encoder sees principal components of the world's patches first, and 2-D sine positions.

    From transformers' start (a random projection, positions of 0.02) the judge was still at chance after 600 steps.
    """
    patches = np.stack([np.frombuffer(patch, np.uint8) for patch in PATCHES]).astype(np.float64) / 127.5 - 1
    mean = patches.mean(0)
    _, sizes, directions = np.linalg.svd(patches - mean, full_matrices=False)
    embedding = vision.embeddings.patch_embedding
    count = min(embedding.out_channels, len(sizes))
    basis = torch.tensor(directions[:count] / np.maximum(sizes[:count], sizes[0] / 100)[:, None] ** 0.5)
    scores = torch.tensor(patches - mean) @ basis.T
    basis = basis * (0.5 / scores.square().mean().sqrt())
    with torch.no_grad():
        pixels_last = basis.view(count, PATCH, PATCH, 3)
        embedding.weight[:count].copy_(pixels_last.permute(0, 3, 1, 2))
        embedding.bias[:count].copy_(-(basis @ torch.tensor(mean)))
        positions = vision.embeddings.position_embedding.weight
        positions.copy_(sine_positions(int(positions.shape[0] ** 0.5), positions.shape[1]))


def sine_positions(side: int, width: int) -> torch.Tensor:
    """(side², width): sines and cosines of row and column at wavelengths from 2·side down to 2, amplitude 0.5."""
    frequencies = torch.linspace(1 / (2 * side), 0.5, width // 4)
    angles = 2 * torch.pi * torch.arange(side)[:, None] * frequencies
    waves = 0.5 * torch.cat([angles.sin(), angles.cos()], -1)  # (side, width // 2)
    rows, columns = waves[:, None].expand(-1, side, -1), waves[None].expand(side, -1, -1)
    return torch.cat([rows, columns], -1).reshape(side * side, -1)


def corpus(seed: int) -> Iterator[str]:
    """Texts as the network will meet them: prompts, thoughts, reasons, the template's own strings."""
    rng = random.Random(seed)
    yield from (CHECK, CONNECT, ask("a cat"), *edit())
    for index in range(4000):
        description = sample_description(rng, CATEGORIES[index % len(CATEGORIES)])
        scene = sample_scene(rng, description)
        yield write(description)
        yield " " + write_plan(scene)
        yield "Yes" + write_reason(description, check(description, read(render(scene))), rng)
        _, wrong = spoil(rng, description, scene)
        facts = check(description, read(wrong))
        yield "No" + write_reason(description, facts, rng)
        yield " yes no extra broken"  # words of auxiliary targets only
        yield write_edit(sample_edit(rng, random_scene(rng, 3)))


@cache
def new_tokenizer(seed: int = 0) -> PreTrainedTokenizerFast:
    """Byte-level BPE with Janus's special tokens; any text tokenises. Training it takes seconds: once per process."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(seed), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        additional_special_tokens=[USER, ASSISTANT],
        extra_special_tokens={"image_token": IMAGE_PLACEHOLDER, "boi_token": BEGIN_IMAGE, "eoi_token": END_IMAGE},
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def new_processor(tokenizer: PreTrainedTokenizerFast) -> JanusProcessor:
    """A processor that `transformers` loads with the checkpoint: images of SIZE pixels in [-1, 1]."""
    images = JanusImageProcessorPil(
        size={"height": SIZE, "width": SIZE}, image_mean=[0.5, 0.5, 0.5], image_std=[0.5, 0.5, 0.5]
    )
    return JanusProcessor(images, tokenizer, chat_template=CHAT_TEMPLATE, num_image_tokens=(SIZE // PATCH) ** 2)
