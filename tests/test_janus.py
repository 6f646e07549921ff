"""The loaded network: tokens, embeddings, and a codec that finds the codes it was trained on."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import AutoTokenizer, JanusForConditionalGeneration, JanusProcessor

from model.backends.janus import CODE, PIXEL, TEXT, Janus, nearest_codes
from model.sequences import ids, prompt_pieces
from model.templates import BEGIN_IMAGE, BOS, CHECK, CONNECT, ask


def test_codes_are_nearest_in_angle_even_when_rows_are_not_of_unit_norm(tiny: Janus):
    """`JanusVQVAE.encode` leaves the normalisation out while its `decode` normalises; ours must not."""
    codec = tiny.network.model.vqmodel
    pixels = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    rows = codec.quantize.embedding.weight
    kept = rows.detach().clone()
    with torch.inference_mode():
        right = nearest_codes(codec, pixels)
        latents = codec.quant_conv(codec.encoder(pixels))
        try:
            rows.data.mul_(torch.linspace(0.5, 5, len(rows))[:, None])
            assert torch.equal(nearest_codes(codec, pixels), right)
            theirs = codec.encode(pixels).image_tokens.view(2, -1)
        finally:
            rows.data.copy_(kept)
        flat = F.normalize(latents.flatten(2).transpose(1, 2), dim=-1)
        distances = torch.cdist(flat, F.normalize(kept, dim=-1).expand(2, -1, -1))
    assert torch.equal(distances.argmin(-1), right)
    assert not torch.equal(theirs, right)


def test_decoded_pictures_are_truncated_like_janus_does(tiny: Janus):
    codes = torch.arange(64)[None]
    picture = tiny.decode(codes)
    with torch.inference_mode():
        pixels = tiny.network.decode_image_tokens(codes)[0]
    assert picture.shape == (1, 64, 64, 3)
    assert (picture[0] == ((pixels + 1) / 2 * 255).clamp(0, 255).float().numpy().astype(np.uint8)).mean() > 0.999


def test_an_image_of_another_size_is_refused_with_both_sizes(tiny: Janus):
    with pytest.raises(ValueError, match=r"\(32, 32, 3\).*64×64"):
        tiny.embed_pixels([np.zeros((32, 32, 3), np.uint8)])


def test_every_position_is_seen_through_its_own_embedding(tiny: Janus):
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    tokens, codes = torch.tensor([5, 6]), torch.tensor([7, 8, 9])
    row = torch.cat([tokens, codes, torch.zeros(64, dtype=torch.long)])[None]
    kinds = torch.tensor([[TEXT] * 2 + [CODE] * 3 + [PIXEL] * 64])
    with torch.inference_mode():
        found = tiny.embed(row, kinds, [picture])
        assert torch.equal(found[0, :2], tiny.embed_text(tokens))
        assert torch.equal(found[0, 2:5], tiny.embed_codes(codes))
        assert torch.equal(found[0, 5:], tiny.embed_pixels([picture])[0])


def test_any_text_tokenises_and_comes_back(tiny: Janus):
    for text in ("two red apples", "ein Äpfelchen 🍎", "日本\n\t<b>", "No, the car is red, not blue."):
        assert tiny.tokenizer.decode(tiny.tokenize(text)) == text


def test_pieces_of_the_template_tokenise_apart_as_together(tiny: Janus):
    joint = BOS + ask("two red apples") + BEGIN_IMAGE + CHECK + "No, there is no dog." + CONNECT
    parts = [BOS, ask("two red apples"), BEGIN_IMAGE, CHECK, "No, there is no dog.", CONNECT]
    assert tiny.tokenize(joint) == [i for part in parts for i in ids(tiny, part)]


def test_a_special_token_in_a_prompt_is_spelled_out_and_not_obeyed(tiny: Janus):
    found = [i for piece in prompt_pieces(tiny, f"a cat{BEGIN_IMAGE} {BOS}") for i in piece.ids]
    assert found.count(tiny.ids.begin_image) == 0
    assert found.count(tiny.ids.bos) == 1


def test_transformers_opens_the_checkpoint_by_itself(tiny_checkpoint):
    processor = JanusProcessor.from_pretrained(tiny_checkpoint)
    network = JanusForConditionalGeneration.from_pretrained(tiny_checkpoint)
    assert network.config.thinks is True
    messages = [{"role": "user", "content": [{"type": "text", "text": "a cat"}]}]
    text = processor.apply_chat_template(messages, add_generation_prompt=True)
    assert text == BOS + ask("a cat")
    batch = processor(text=[text], generation_mode="image", return_tensors="pt")
    codes = network.generate(**batch, generation_mode="image", do_sample=False, guidance_scale=2.0)
    assert codes.shape == (1, 64)
    assert AutoTokenizer.from_pretrained(tiny_checkpoint).boi_token == BEGIN_IMAGE
