"""Opens a checkpoint ready to draw: loaded, its derived decoding weights made and compared with the plain network."""

from dataclasses import replace
from pathlib import Path

import torch

from model.backends.checkpoint.checks import check_finite
from model.backends.checkpoint.loading import (
    EMBEDDED,
    check_layout,
    check_room,
    default_device,
    dtype_of,
    image_processor,
    name_of,
    one_line,
    open_config,
    open_network,
    open_tokenizer,
    path_of,
    sampling_of,
    spread,
    unstacked,
)
from model.backends.derived_modules import PATCHING
from model.backends.janus import Janus
from model.backends.memory import sizes_of
from model.backends.preprocessing import Preprocessing
from model.decoding.self_test import make_ready


def open_checkpoint(
    source: str | Path = EMBEDDED,
    *,
    dtype: torch.dtype | str | None = None,
    device: str | None = None,
    published_contexts: bool | None = None,
) -> Janus:
    """Open a folder, a Hub id, or a shipped checkpoint by its name, in transformers' Janus layout, a folder in
    DeepSeek's, or an adapter in peft's format, which is merged into the weights of its base; ready for inference.

    dtype (or its name): float32 on a CPU and bfloat16 elsewhere unless given. device: the first GPU, Apple's, or the
    CPU unless given; “auto” spreads the layers over all there are (accelerate). `published_contexts`: whether it draws
    in the contexts of Janus-Pro-R1's published code, also once it is saved, unless it is asked for otherwise; None:
    where it is of DeepSeek's layout or was converted from it. Raises CheckpointError, with the numbers where the
    network does not fit.
    """
    source = path_of(source)
    device = device or default_device()
    dtype = dtype_of(dtype or ("float32" if device == "cpu" else "bfloat16"))
    check_layout(source)
    with PATCHING, one_line(f"{source} could not be opened as a Janus checkpoint"):
        base, adapters = unstacked(source)
        tokenizer = open_tokenizer(base)
        config = open_config(base, tokenizer)
        if device != "auto":
            check_room(source, sizes_of(config).weights(dtype), dtype, device)
        network, fingerprint = open_network(base, config, tokenizer, dtype, adapters)
        network = spread(network, dtype) if device == "auto" else network.to(device)
        check_finite(network, source)
        sampling = sampling_of(network)
        preprocessing = Preprocessing.of(image_processor(base))
        if published_contexts is not None:
            network.generation_config.published_contexts = published_contexts
            sampling = replace(sampling, published_contexts=published_contexts)
        janus = Janus(network.eval(), tokenizer, name_of(source), sampling, preprocessing, fingerprint)
        make_ready(janus)
    return janus
