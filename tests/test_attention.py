"""Attention in blocks and spans is attention; a packed row says of every sequence what it says of it alone."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from model.backends.janus import Janus
from model.decoding.load_for_inference import open_checkpoint
from model.sequences import Text
from model.training.batch import (
    BLOCK,
    Layout,
    Span,
    attend_in_spans,
    attention,
    attention_in_spans,
    collate,
    token_counts,
)
from model.training.policy import Policy
from model.training.training_sequences import TrainingSequence, draw, judge
from model.world.scene import Scene, render


@pytest.mark.parametrize("length", [1, 7, BLOCK, BLOCK + 1, 3 * BLOCK - 5])
@pytest.mark.parametrize("before", [0, 9])
def test_blocks_find_what_attention_over_everything_finds_and_send_back_the_same_gradients(length: int, before: int):
    torch.manual_seed(length)
    given = [
        torch.randn(2, 3, count, 8, dtype=torch.float64, requires_grad=True)
        for count in (length, before + length, before + length)
    ]
    there = torch.randn(2, 3, length, 8, dtype=torch.float64)
    seen = torch.ones(length, before + length).tril(before).bool()
    whole = F.scaled_dot_product_attention(*given, attn_mask=seen)
    blocks = attention(*given, 8**-0.5)
    torch.testing.assert_close(blocks, whole)
    for one, other in zip(*(torch.autograd.grad(out, given, there) for out in (blocks, whole)), strict=True):
        torch.testing.assert_close(one, other)


def test_a_span_sees_itself_and_its_prefix():
    layout = Layout((Span(0, 5), Span(5, 8, (0, 5)), Span(8, 12, (0, 5)), Span(12, 15)))
    seen = torch.zeros(15, 15)
    for span in layout.spans:
        own, count = slice(span.start, span.stop), span.stop - span.start
        seen[own, own] = torch.ones(count, count).tril()
        seen[span.start : span.stop, slice(*span.prefix)] = 1
    given = [torch.randn(1, 3, 15, 8, dtype=torch.float64) for _ in range(3)]
    whole = F.scaled_dot_product_attention(*given, attn_mask=seen.bool())
    torch.testing.assert_close(attention_in_spans(*given, 8**-0.5, layout), whole)


def test_a_network_that_attends_in_blocks_says_what_it_said_before(tiny_checkpoint):
    janus = open_checkpoint(tiny_checkpoint, dtype=torch.float64)
    inputs = torch.randn(2, BLOCK + 40, 64, dtype=torch.float64)
    model = janus.network.model.language_model
    with torch.inference_mode():
        before = model(inputs_embeds=inputs, use_cache=False).last_hidden_state
        attend_in_spans(janus)
        torch.testing.assert_close(model(inputs_embeds=inputs, use_cache=False).last_hidden_state, before)


def mixed(janus: Janus) -> list[TrainingSequence]:
    """Two pairs that begin alike, one that does not, and one that is the beginning of another."""
    pictures = [render(Scene(())), render(Scene(()))]
    pictures[1][:8, :8] = 90
    judged = [judge(janus, "two cars", [], pictures[0], words) for words in ("Yes, I see two.", "No, there is one.")]
    drawn = [draw(janus, "a red cat", [], "", [code] * 64) for code in (3, 4)]
    other = judge(janus, "two cars", [], pictures[1], "No, there is one.")
    return [*judged, *drawn, other, drawn[0], drawn[0]]


def test_a_packed_row_scores_every_sequence_as_it_scores_it_alone(tiny: Janus):
    policy, sequences = Policy(tiny), mixed(tiny)
    with torch.no_grad():
        alone = [policy(collate(tiny, [sequence])).log_probs.sum() for sequence in sequences]
        for multiple in (1, 32):
            batch = collate(tiny, sequences, multiple)
            scores = policy(batch).log_probs
            sums = torch.zeros(len(sequences), dtype=scores.dtype).index_add(0, batch.rows, scores)
            torch.testing.assert_close(sums, torch.stack(alone))
            assert batch.ids.shape[1] % multiple == 0


def test_a_packed_row_has_no_pads_and_computes_a_common_beginning_once(tiny: Janus):
    first, second, *_ = mixed(tiny)
    alone = [token_counts(collate(tiny, [each]))[0] for each in (first, second)]
    both = collate(tiny, [first, second])
    every, filled, positions = token_counts(both)
    assert every == sum(alone)
    assert filled == positions < alone[0] + 20
    assert len(both.images) == 1  # which is looked at once


def test_a_beginning_that_is_hidden_from_guidance_in_one_sequence_alone_is_not_shared(tiny: Janus):
    words = Text(tuple(range(10, 40)), cfg_masked=True)
    hidden, shown = (TrainingSequence((piece, Text((7,)))) for piece in (words, replace(words, cfg_masked=False)))
    assert collate(tiny, [hidden, hidden]).ids.shape[1] == 31
    assert collate(tiny, [hidden, shown]).ids.shape[1] == 62
