"""Diffusers pipelines of three families and an image-text-to-text model, of random weights, in their own formats."""

import json
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DiTPipeline,
    DiTTransformer2DModel,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
)

WORDS = ("a", "an", "the", "red", "blue", "car", "dog", "two", "three", "apples", "no", "yes", ".", ",", "“", "”")
STEPS = 6


def autoencoder(channels: int = 4, shift: float | None = None) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 8),
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=channels,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        use_quant_conv=False,
        use_post_quant_conv=False,
        shift_factor=shift,
    )


def clip_tokenizer() -> CLIPTokenizer:
    vocab = {word: i for i, word in enumerate(["<|startoftext|>", "<|endoftext|>"])}
    for letter in sorted(set("".join(WORDS)) | set("abcdefghijklmnopqrstuvwxyz")):
        vocab.setdefault(letter, len(vocab))
        vocab.setdefault(f"{letter}</w>", len(vocab))
    return CLIPTokenizer(vocab=vocab, merges=[], model_max_length=77)


def clip(hidden: int = 16) -> CLIPTextModel:
    size = len(clip_tokenizer())
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=size,
            hidden_size=hidden,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            projection_dim=hidden,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=1,
        )  # fmt: skip
    )


def word_tokenizer() -> PreTrainedTokenizerFast:
    special = ["<pad>", "</s>", "<unk>"]
    model = Tokenizer(models.WordLevel({word: i for i, word in enumerate(special + list(WORDS))}, unk_token="<unk>"))
    model.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=model, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=32
    )


def class_conditional(folder: Path) -> Path:
    """A DiT of three classes (with the label of no class it has 1001)."""
    torch.manual_seed(0)
    transformer = DiTTransformer2DModel(
        num_attention_heads=2, attention_head_dim=8, in_channels=4, out_channels=8, num_layers=1, sample_size=16,
        num_embeds_ada_norm=1000, patch_size=4, norm_elementwise_affine=False,
    )  # fmt: skip
    DiTPipeline(transformer, autoencoder(), DDIMScheduler()).save_pretrained(folder)
    index = folder / "model_index.json"  # as of the published ones
    index.write_text(json.dumps(json.loads(index.read_text()) | {"id2label": {"0": "car, motor car", "1": "dog"}}))
    return folder


def stable_diffusion(folder: Path) -> Path:
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        block_out_channels=(8, 8), layers_per_block=1, sample_size=16, cross_attention_dim=16, norm_num_groups=4,
        attention_head_dim=4, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    StableDiffusionPipeline(
        autoencoder(), clip(), clip_tokenizer(), unet, DDIMScheduler(), None, None, requires_safety_checker=False
    ).save_pretrained(folder)
    return folder


def flow(folder: Path) -> Path:
    """A transformer of flow matching whose latents are packed, as FLUX."""
    torch.manual_seed(0)
    transformer = FluxTransformer2DModel(
        patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=16, pooled_projection_dim=16, axes_dims_rope=(4, 4, 8),
    )  # fmt: skip
    words = word_tokenizer()
    t5 = T5EncoderModel(T5Config(vocab_size=len(words), d_model=16, d_ff=16, d_kv=8, num_heads=2, num_layers=1))
    scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=False)
    FluxPipeline(scheduler, autoencoder(4, 0.1), clip(), clip_tokenizer(), t5, words, transformer).save_pretrained(
        folder
    )
    return folder


def vision_language_model(folder: Path, seed: int = 0, spread: float = 0.02) -> Path:
    """A LLaVA, which answers by chance; `spread` of its weights, with which grows what its verdict owes the picture."""
    torch.manual_seed(seed)
    tokenizer = word_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    tokenizer.add_tokens(["Yes", "No", "Edit:"])
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=16,
            patch_size=8, initializer_range=spread,
        ),
        text_config=LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
            pad_token_id=0, eos_token_id=1, initializer_range=spread,
        ),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
        initializer_range=spread,
    )  # fmt: skip
    model = LlavaForConditionalGeneration(config)
    part = "{{ '<image>' if part.type == 'image' else part.text }}"
    template = f"{{% for message in messages %}}{{% for part in message.content %}}{part}{{% endfor %}}{{% endfor %}}"
    processor = LlavaProcessor(
        CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}), tokenizer,
        patch_size=8, vision_feature_select_strategy="default", num_additional_image_tokens=1, chat_template=template,
    )  # fmt: skip
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
