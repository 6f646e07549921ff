"""What tests of the network share: the slow, obvious way from pieces to embeddings."""

import torch
from transformers import JanusForConditionalGeneration

from model.backends.janus import CODE, TEXT, Janus
from model.sequences import Codes, Piece, Text
from model.templates import BEGIN_IMAGE, EOS, SPECIAL_TOKENS

UNGUARDED = ("--distill", "0", "--evaluate-prompts", "0")  # of a run of a network that draws noise


@torch.no_grad()
def end_texts_soon(network: JanusForConditionalGeneration) -> None:
    """Makes a random network end its texts after some twenty tokens instead of at their limits, which most drawings'
    time went into: the logits of what ends a text have a mean and a standard deviation of about 2."""
    network.model.language_model.embed_tokens.weight[:, 0] = 0.5  # what every token has in common
    random = torch.Generator().manual_seed(0)
    for token in (EOS, BEGIN_IMAGE):
        row = network.lm_head.weight[SPECIAL_TOKENS.index(token)]
        row.normal_(0, 2 / len(row) ** 0.5, generator=random)
        row[0] = 2


def embed_pieces(janus: Janus, pieces: list[Piece]) -> torch.Tensor:
    """(1, T, D) embeddings of a stream, one piece after the other."""
    parts = []
    for piece in pieces:
        if isinstance(piece, Text):
            ids, kind = torch.tensor([piece.ids]), TEXT
        elif isinstance(piece, Codes):
            ids, kind = torch.tensor([piece.codes]), CODE
        else:
            parts.append(janus.embed_pixels([piece.image]))
            continue
        parts.append(janus.embed(ids, torch.full_like(ids, kind), []))
    return torch.cat(parts, 1)
