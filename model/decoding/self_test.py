"""Builds the derived decoding weights when a checkpoint is opened and compares them with the plain network.

Shapes: N codes of an image, Q positions, D hidden size.
"""

import torch

from model.backends.contract import CheckpointError
from model.backends.janus import CODE, TEXT, Janus
from model.decoding.kv_cache import CacheWindow
from model.decoding.packed_weights import prepared
from model.templates import BEGIN_IMAGE, BOS, CHECK, ask

CODES = 8  # image codes that the compared sequence holds
SINGLE = 3  # positions at its end that are fed one by one, as decoding does
CORNER = 2  # codes per side of the compared picture
TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-3}  # relative error of logits, embeddings and pixels
HALF = 0.1  # that of shorter floats


@torch.no_grad()  # not inference mode: weights that are laid side by side in it could not be trained any more
def make_ready(janus: Janus) -> None:
    """Make what drawing needs of the weights, and compare it with the plain network on one sequence and one picture.

    Raises CheckpointError where they differ, or where the plain network gives numbers that are not finite.
    """
    janus.prepare()
    ids, kinds, image = sequence(janus)
    inputs = janus.embed(ids, kinds, [])
    plain = janus.network.model.language_model(inputs_embeds=inputs, use_cache=False).last_hidden_state[0]
    made, quick = prepared(janus), decoded(janus, inputs)
    compare(janus, "image codes", janus.image_logits(plain[image]), made.image_logits(quick[image]))
    compare(janus, "the verdict", janus.text_logits(plain[-1:]), janus.text_logits(quick[-1:]))
    if made.codes is not None:
        every = torch.arange(janus.codebook_size, device=janus.device)
        compare(janus, "embeddings of image codes", janus.embed_codes(every), made.codes)
    if janus.uses_decoder_copy:
        codec = janus.network.model.vqmodel
        latents = codec.quantize.get_codebook_entry(spread_over(janus, janus.image_codes))[..., :CORNER, :CORNER]
        latents = codec.post_quant_conv(latents)
        compare(janus, "the picture", codec.decoder(latents), janus.decoder_copy(latents))


def sequence(janus: Janus) -> tuple[torch.Tensor, torch.Tensor, slice]:
    """(1, Q) ids and what they are: a prompt, the beginning of an image, the self-check; where image codes follow."""
    before = janus.tokenize(BOS + ask("a cat") + BEGIN_IMAGE)
    after = janus.tokenize(CHECK)
    ids = [*before, *spread_over(janus, CODES)[0].tolist(), *after]
    kinds = [TEXT] * len(before) + [CODE] * CODES + [TEXT] * len(after)
    return torch.tensor([ids]), torch.tensor([kinds]), slice(len(before) - 1, len(before) + CODES - 1)


def spread_over(janus: Janus, count: int) -> torch.Tensor:
    """(1, count) different codes of the codebook."""
    step = max(1, janus.codebook_size // count)
    return (torch.arange(count, device=janus.device)[None] * step) % janus.codebook_size


def decoded(janus: Janus, inputs: torch.Tensor) -> torch.Tensor:
    """(1, Q, D) inputs → (Q, D) hidden states, as the decoder makes them: a beginning, then position by position."""
    llama, count = prepared(janus).llama, inputs.shape[1]
    slots, start = llama.slots(1, count), count - SINGLE
    parts = [inputs[:, :start], *inputs[:, start:].split(1, 1)]
    return torch.cat([llama(part.clone(), CacheWindow(slots, [0], [part.shape[1]]))[0] for part in parts])


def compare(janus: Janus, what: str, plain: torch.Tensor, made: torch.Tensor) -> None:
    """Raises CheckpointError unless both are finite and close."""
    plain, made = plain.double(), made.double()
    if not torch.isfinite(plain).all():
        raise CheckpointError(f"{janus.name} computes numbers that are not finite for {what}; it cannot draw")
    error, size = (made - plain).norm().item(), plain.norm().item()
    if not error <= TOLERANCE.get(janus.dtype, HALF) * (size + 1e-6):
        raise CheckpointError(
            f"{janus.name} decodes {what} otherwise than the plain network does: off by {error:.3g} of {size:.3g}; "
            "its config may ask for what this decoder does not compute"
        )
