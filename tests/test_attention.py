"""Attention in blocks is attention."""

import pytest
import torch
import torch.nn.functional as F

from model.backends.checkpoint.loading import open_checkpoint
from model.training.attention import BLOCK, attend_in_blocks, attention


@pytest.mark.parametrize("length", [1, 7, BLOCK, BLOCK + 1, 3 * BLOCK - 5])
def test_blocks_find_what_attention_over_everything_finds_and_send_back_the_same_gradients(length: int):
    torch.manual_seed(length)
    given = [torch.randn(2, 3, length, 8, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    there = torch.randn(2, 3, length, 8, dtype=torch.float64)
    whole = F.scaled_dot_product_attention(*given, is_causal=True)
    blocks = attention(*given, 8**-0.5)
    torch.testing.assert_close(blocks, whole)
    for one, other in zip(*(torch.autograd.grad(out, given, there) for out in (blocks, whole)), strict=True):
        torch.testing.assert_close(one, other)


def test_a_network_that_attends_in_blocks_says_what_it_said_before(tiny_checkpoint):
    janus = open_checkpoint(tiny_checkpoint, dtype=torch.float64)
    inputs = torch.randn(2, BLOCK + 40, 64, dtype=torch.float64)
    model = janus.network.model.language_model
    with torch.inference_mode():
        before = model(inputs_embeds=inputs, use_cache=False).last_hidden_state
        attend_in_blocks(janus)
        torch.testing.assert_close(model(inputs_embeds=inputs, use_cache=False).last_hidden_state, before)
