"""The codec's decoder made ready for a CPU paints what transformers' paints."""

import torch
from transformers.models.janus.modeling_janus import JanusVQVAEConvUpsample

from model.janus import Janus
from model.painter import Doubled, painter


def test_doubling_is_repeating_and_convolving():
    torch.manual_seed(0)
    theirs = JanusVQVAEConvUpsample(6).double()
    mine, hidden = Doubled(theirs), torch.randn(2, 6, 5, 7, dtype=torch.float64)
    torch.testing.assert_close(mine(hidden), theirs(hidden))


@torch.inference_mode()
def test_the_picture_is_the_same(tiny: Janus):
    codec, codes = tiny.network.model.vqmodel, torch.arange(3 * tiny.image_codes).view(3, -1) % tiny.codebook_size
    latents = codec.post_quant_conv(codec.quantize.get_codebook_entry(codes))
    torch.testing.assert_close(painter(codec.decoder)(latents), codec.decoder(latents))
