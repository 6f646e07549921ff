"""Weights in the decoder's form: packed layers, image head and code embeddings of a small network on a CPU."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from transformers import LlamaModel
from transformers.models.janus.modeling_janus import JanusVQVAEHead

from model.backends.adapters import check_merged
from model.backends.janus import Janus
from model.decoding.cpu.operations import Operations
from model.decoding.llama import Llama, operations_for


@dataclass(frozen=True)
class DecodingWeights:
    """Layers, the head of image codes, and what the network sees of every image code, (K, D), or None."""

    llama: Llama
    image_logits: Callable[[torch.Tensor], torch.Tensor]
    codes: torch.Tensor | None


def prepared(janus: Janus) -> DecodingWeights:
    """Raises AdapterError for a network that computes something else than its weights say."""
    check_merged(janus.network)
    model = janus.network.model
    if not janus.small or janus.device.type != "cpu":
        return DecodingWeights(
            Llama(model.language_model, operations_for(model.language_model)), janus.image_logits, None
        )
    parts = (model.language_model, model.generation_head, model.generation_embeddings, model.generation_aligner)
    return janus.derived.of(prepare, *parts)


def prepare(layers: LlamaModel, head: JanusVQVAEHead, embeddings: nn.Embedding, aligner: nn.Module) -> DecodingWeights:
    """Those of a small network on a CPU, by the quickest operations that work there."""
    return weights_by(operations_for(layers), layers, head, embeddings, aligner)


@torch.no_grad()
def weights_by(
    operations: Operations | None,
    layers: LlamaModel,
    head: JanusVQVAEHead,
    embeddings: nn.Embedding,
    aligner: nn.Module,
) -> DecodingWeights:
    """Weights packed for `operations`; None: layers of torch's own."""
    logits = head if operations is None else ImageHead(head, operations)
    return DecodingWeights(Llama(layers, operations), logits, aligner(embeddings.weight))


class ImageHead:
    """Hidden states (R, D) → logits of image codes (R, K), by the layers' operations."""

    def __init__(self, head: JanusVQVAEHead, operations: Operations):
        self.activation, self.operations = head.activation_fn, operations
        self.matrices = [operations.packed(part.weight.detach()) for part in (head.proj_out, head.vision_head)]
        self.biases = [part.bias.detach() for part in (head.proj_out, head.vision_head)]

    def __call__(self, hidden: torch.Tensor) -> torch.Tensor:
        product, (first, second), biases = self.operations.product, self.matrices, self.biases
        return product(self.activation(product(hidden, first, biases[0])), second, biases[1])
