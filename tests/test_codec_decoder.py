"""The codec's decoder made ready for a CPU paints what transformers' paints."""

from copy import deepcopy

import torch
from torch import nn
from transformers import JanusVQVAE, JanusVQVAEConfig
from transformers.models.janus.modeling_janus import JanusVQVAEConvUpsample

from model.backends.codec_decoder import UpsampledConv, painter
from model.backends.janus import Janus


def test_doubling_is_repeating_and_convolving():
    torch.manual_seed(0)
    theirs = JanusVQVAEConvUpsample(6).double()
    mine, hidden = UpsampledConv(theirs), torch.randn(2, 6, 5, 7, dtype=torch.float64)
    torch.testing.assert_close(mine(hidden), theirs(hidden))


@torch.inference_mode()
def test_the_picture_is_the_same(tiny: Janus):
    codec, codes = tiny.network.model.vqmodel, torch.arange(3 * tiny.image_codes).view(3, -1) % tiny.codebook_size
    latents = codec.post_quant_conv(codec.quantize.get_codebook_entry(codes))
    torch.testing.assert_close(painter(codec.decoder)(latents), codec.decoder(latents))


@torch.inference_mode()
def test_its_float32_error_is_of_the_order_of_transformers_own():
    torch.manual_seed(0)
    sizes = {"base_channels": 32, "latent_channels": 32, "channel_multiplier": [1, 1, 2], "num_res_blocks": 1}
    codec = JanusVQVAE(JanusVQVAEConfig(embed_dim=8, num_embeddings=64, num_patches=24, **sizes)).eval()
    for module in codec.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
    latents = codec.post_quant_conv(codec.quantize.get_codebook_entry(torch.arange(576)[None] % 64))
    exact = deepcopy(codec.decoder).double()(latents.double())

    def error(found: torch.Tensor) -> float:
        return (found.double() - exact).square().mean().sqrt().item()

    assert error(painter(codec.decoder)(latents)) < 4 * error(codec.decoder(latents))  # by the processor's kernels
