"""The Triton kernel of single-token decode steps: attention over cache slots.

torch's attention, given one query, reads what a mask hides, and its mask costs as many launches as all the rest of a
layer. Here every row reads the positions of its own slot and no more, so that one recorded step serves streams of any
length in any slots.

Shapes: R rows, H heads of keys, G queries that share one, C capacity, W width of a head, S slots.
"""

from collections.abc import Callable

import torch
import triton
import triton.language as tl

from model.decoding.kv_cache import Tables

BYTES = 16_384  # of keys, and of values, read at once
WARPS = 8  # that attend


def attend(
    stored: torch.Tensor, rotary: Tables, slots: torch.Tensor, positions: torch.Tensor, projected: torch.Tensor
) -> torch.Tensor:
    """(R, 1, (G + 2)·H·W) queries, keys and values → what the queries find, (R, 1, G·H·W).

    stored: a layer's cache, (S, H, 2, C + 1, W); rotary: cosines and signed sines, (R, 1, 1, W); slots and positions,
    (R,) and (R, 1), say where keys and values go. Who writes to the bin, position C, finds nothing of use.
    """
    rows, heads, width = len(projected), stored.shape[1], stored.shape[-1]
    queries = projected.shape[-1] // width - 2 * heads
    attended = projected.new_empty(rows, 1, queries * width)
    tensors = (projected, *rotary, stored, slots, positions, attended)
    constants = (heads, queries // heads, width, BYTES // (width * stored.itemsize))
    with torch.cuda.device_of(stored):
        exact = tl.float64 if stored.dtype == torch.float64 else tl.float32
        launch: Callable[..., None] = turn_keep_and_attend[rows, queries]
        launch(*tensors, stored.shape[3] - 1, *constants, exact, num_warps=WARPS)
    return attended


@triton.jit(do_not_specialize=["capacity"], do_not_specialize_on_alignment=["slots", "positions"])
def turn_keep_and_attend(
    projected, cosines, sines, stored, slots, positions, found, capacity,
    H: tl.constexpr, G: tl.constexpr, W: tl.constexpr, BLOCK: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """One query head of one row. The softmax is computed while reading (Milakov and Gimelshein, arXiv 1805.02867): each
    lane of a block keeps a maximum, a total and a sum of its own, which come together at the end."""
    row, query = tl.program_id(0), tl.program_id(1)
    head = query // G
    at, slot = tl.load(positions + row).to(tl.int32), tl.load(slots + row)
    across = tl.arange(0, W)
    across_half = (across + W // 2) % W
    cosine = tl.load(cosines + row * W + across).to(EXACT)
    sine = tl.load(sines + row * W + across).to(EXACT)

    asked = projected + (row * (G + 2) * H + query) * W
    q = (tl.load(asked + across).to(EXACT) * cosine + tl.load(asked + across_half).to(EXACT) * sine) * W**-0.5
    new = projected + (row * (G + 2) * H + G * H + head) * W
    k = tl.load(new + across).to(EXACT) * cosine + tl.load(new + across_half).to(EXACT) * sine
    v = tl.load(new + H * W + across)
    keys = stored + (slot * H + head) * 2 * (capacity + 1) * W
    values = keys + (capacity + 1) * W
    k = k.to(stored.dtype.element_ty)
    if query % G == 0:
        tl.store(keys + at * W + across, k)
        tl.store(values + at * W + across, v)

    lane = tl.arange(0, BLOCK)
    first = (lane == 0).to(EXACT)  # the new position is the first lane's
    most = tl.sum(q * k.to(EXACT), 0) + tl.zeros([BLOCK], EXACT)
    total, sums = first, first[:, None] * v.to(EXACT)[None, :]
    for start in tl.range(0, tl.where(at == capacity, 0, at), BLOCK, num_stages=3):
        before = start + lane
        places = before[:, None] * W + across[None, :]
        seen = before < at
        scores = tl.sum(q[None, :] * tl.load(keys + places, seen[:, None], 0.0).to(EXACT), 1)
        scores = tl.where(seen, scores, float("-inf"))
        higher = tl.maximum(most, scores)
        kept, shares = tl.exp(most - higher), tl.exp(scores - higher)
        sums = sums * kept[:, None] + shares[:, None] * tl.load(values + places, seen[:, None], 0.0).to(EXACT)
        total = total * kept + shares
        most = higher
    weights = tl.exp(most - tl.max(most, 0))
    sums = tl.sum(sums * weights[:, None], 0) / tl.sum(total * weights, 0)
    tl.store(found + (row * G * H + query) * W + across, sums)
