"""Janus as a backend: the decoding engine behind the backend contract."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from model.backends.checkpoint.parameters import replace_parameters
from model.backends.contract import Backend, Capabilities, ServingOptions
from model.backends.janus import Janus
from model.backends.memory import most_at_once, most_positions
from model.backends.request import Request, Task
from model.decoding.detokenize import TextReader
from model.decoding.engine import Engine
from model.decoding.engine_thread import EngineThread
from model.decoding.load_for_inference import open_checkpoint
from model.decoding.prepared_request import prepare
from model.decoding.rollout import rollout
from model.events import Event
from model.images import Source, read_rgb
from model.trajectory import Origin, Token

STEP_SECONDS = 0.01  # of a step on a data centre's GPU, besides reading the weights
BYTES_PER_SECOND = 5e11  # at which weights are read: about half of what such GPUs can


def open_janus(
    source: str | Path, *, device: str | None = None, dtype: str | None = None, published_contexts: bool | None = None
) -> "JanusBackend":
    """As `open_checkpoint`, to draw with; for a small network torch is given one thread. Raises CheckpointError."""
    janus = open_checkpoint(source, device=device, dtype=dtype, published_contexts=published_contexts)
    if janus.small:
        torch.set_num_threads(1)
    return JanusBackend(janus)


class JanusBackend(Backend):
    """A loaded network. Once it serves, a thread decodes all requests as one batch; before, each has its own engine."""

    def __init__(self, janus: Janus) -> None:
        self.janus = janus
        self.name, self.image_size = janus.name, janus.image_size
        self.sampling, self.domain = janus.sampling, janus.domain
        self.capabilities = Capabilities(thought=True, codes=janus.image_codes, codebook=janus.codebook_size)
        self._thread: EngineThread | None = None

    def check(self, request: Request) -> None:
        prepare(self.janus, request)

    def events(self, request: Request) -> Iterator[Event]:
        return self.rollout([request], at_once=1) if self._thread is None else self._thread.events(request)

    def rollout(self, requests: Sequence[Request], *, at_once: int = 16) -> Iterator[Event]:
        return rollout(self.janus, requests, at_once=at_once)

    def serve(self, options: ServingOptions) -> int:
        threads = 1 if self.janus.small else min(options.threads, os.cpu_count() or 1)
        torch.set_num_threads(threads)
        self._thread = EngineThread(lambda: self._new_engine(options), options.busy)
        return self._thread.at_once

    def _new_engine(self, options: ServingOptions) -> Engine:
        positions = most_positions(self.janus.image_codes, options.rounds)
        at_once = most_at_once(self.janus, positions, options.at_once, options.memory_share)
        return Engine(self.janus, at_once=at_once, capacity=positions)

    def load_weights(self, weights: bytes) -> None:
        replace_parameters(self.janus, weights)
        if self._thread is not None:
            self._thread.renew()

    def warning(self, prompt: str, task: Task = Task.DRAW) -> str | None:
        return self.janus.prompts.read(prompt, task).warning

    def read_source(self, file: Source, task: Task) -> np.ndarray:
        """To be judged made a square as the checkpoint's processor does; to be edited its middle, as the published code
        does. Raises OSError for what is no picture."""
        if task is Task.JUDGE:
            return self.janus.preprocessing.square(read_rgb(file), self.image_size)
        return super().read_source(file, task)

    def tokens(self, text: str) -> tuple[Token, ...]:
        reader = TextReader(self.janus.tokenizer)
        return tuple(Token(id, reader.add(id), Origin.PERSON) for id in self.janus.tokenize(text))

    def seconds(self, request: Request) -> float:
        """As many steps as its rounds can take."""
        layers = self.janus.network.model.language_model
        weights = sum(weight.numel() * weight.element_size() for weight in layers.parameters())
        return prepare(self.janus, request).positions * (STEP_SECONDS + weights / BYTES_PER_SECOND)
