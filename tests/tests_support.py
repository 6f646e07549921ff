"""What tests of the network share: the slow, obvious way from pieces to embeddings."""

import torch

from model.backends.janus import CODE, TEXT, Janus
from model.sequences import Codes, Piece, Text

UNGUARDED = ("--keep", "0", "--evaluate-prompts", "0")  # of a run of a network that draws noise


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
