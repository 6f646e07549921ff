"""A Janus network as a policy: one forward pass from a batch to the log-probability of every scored token.

Shapes: N positions of a packed row, D hidden size, A scored tokens, V vocabulary (text tokens or image codes).
"""

import copy
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from model.backends.adapters import TrainedParameters, switched_off
from model.backends.checkpoint.adapter_folder import save_adapter
from model.backends.checkpoint.loading import open_processor
from model.backends.checkpoint.saving import Files, save_checkpoint
from model.backends.janus import Janus
from model.decoding.sampling import guided, log_probabilities
from model.training.batch import Batch, TargetGroup, attend_in_spans
from model.training.loop import Run
from model.training.runs.folder import RunStart
from model.training.runs.state import fingerprint
from model.training.training_sequences import TokenKind

ADAPTER_ENTRIES = ("r", "lora_alpha", "use_dora", "target_modules")  # of adapter_config.json that define a run


class Scores(NamedTuple):
    """Log-probabilities and other measures of every scored token, in the order of the batch."""

    log_probs: torch.Tensor  # (A,) under the token's rule
    untruncated: torch.Tensor  # (A,) without top-k: finite in another network, too
    entropies: torch.Tensor  # (A,) of the distributions; zeros unless the policy computes them
    verdicts_right: torch.Tensor  # () verdicts that are likelier than their opposite
    candidates: torch.Tensor  # (A, K) tokens that the batch asks for, K is 0 where it asks for none
    candidate_log_probs: torch.Tensor  # (A, K) theirs, untruncated


class Policy(torch.nn.Module):
    """Text and codes alike. What trains is the language model, its embeddings and heads; codec and vision tower are
    frozen (Janus-Pro-R1 freezes them, too; training/LOG.md). With an adapter, the adapter alone trains."""

    def __init__(self, janus: Janus, *, entropies: bool = False, adapter_off: bool = False):
        super().__init__()
        self.janus, self.network, self.entropies, self.adapter_off = janus, janus.network, entropies, adapter_off
        make_trainable(janus)
        attend_in_spans(janus)

    def forward(self, batch: Batch) -> Scores:
        """Teacher-force the sequences and read the scored tokens off the hidden states. NaN or infinite logits are
        passed on."""
        with switched_off(self.network) if self.adapter_off else nullcontext():
            return self._scores(batch)

    def _scores(self, batch: Batch) -> Scores:
        deep = any(group.depth < 1 for group in batch.groups)
        states = self._states(batch, batch.ids, every_layer=deep)
        twins = None if batch.unconditional_ids is None else self._states(batch, batch.unconditional_ids)[-1]
        parts = [self._scored(batch, group, states, twins) for group in batch.groups]
        log_probs, untruncated, entropies, verdicts_right, candidates, theirs = zip(*parts, strict=True)
        return Scores(
            torch.cat(log_probs),
            torch.cat(untruncated),
            torch.cat(entropies),
            torch.stack(verdicts_right).sum(),
            torch.cat(candidates),
            torch.cat(theirs),
        )

    def _states(self, batch: Batch, ids: torch.Tensor, *, every_layer: bool = False) -> tuple[torch.Tensor, ...]:
        """(1, N, D) of the last layer, normalised; with `every_layer` also before the first and after each."""
        embedded = self.janus.embed(ids, batch.kinds, batch.images)
        output = self.network.model.language_model(
            inputs_embeds=embedded,
            position_ids=batch.position_ids.to(embedded.device),
            use_cache=False,
            output_hidden_states=every_layer,
            layout=batch.layout,
        )
        return output.hidden_states if every_layer else (output.last_hidden_state,)

    def _scored(
        self, batch: Batch, group: TargetGroup, states: tuple[torch.Tensor, ...], twins: torch.Tensor | None
    ) -> Scores:
        """Scores of one group of tokens; `twins`: (1, N, D) of the unconditional branch."""
        device, chosen = states[-1].device, slice(group.start, group.stop)
        tokens = batch.tokens[chosen].to(device)
        places = batch.places[chosen].to(device)
        layer = round(group.depth * (len(states) - 1)) if group.depth < 1 else len(states) - 1
        hidden = states[layer].flatten(0, 1).index_select(0, places)
        if layer < len(states) - 1:  # the last is normalised already
            hidden = self.network.model.language_model.norm(hidden)
        head = self.janus.image_logits if group.code else self.janus.text_logits
        logits = head(hidden).float()
        if group.code and group.rule.guidance != 1:
            assert twins is not None  # a batch with such a rule has them
            unconditional = head(twins.flatten(0, 1).index_select(0, places)).float()
            logits = guided(logits, unconditional, group.rule.guidance)
        every = log_probabilities(logits, group.rule)
        log_probs = every.gather(-1, tokens[:, None])[:, 0]
        free = replace(group.rule, top_k=None, temperature=group.rule.temperature or 1.0)
        whole = every if free == group.rule else log_probabilities(logits, free)
        untruncated = whole.gather(-1, tokens[:, None])[:, 0]
        if isinstance(batch.candidates, int):
            candidates = whole.topk(min(batch.candidates, whole.shape[-1])).indices
        else:
            candidates = batch.candidates[chosen].to(device)
        entropies = _entropies(every.detach()) if self.entropies else torch.zeros_like(log_probs)
        verdict, ids = batch.of_kind(TokenKind.VERDICT)[chosen].to(device), self.janus.ids
        says_yes = logits[verdict, ids.yes] > logits[verdict, ids.no] if not group.code else verdict[:0]
        right = (says_yes == (tokens[verdict] == ids.yes)).sum()
        return Scores(log_probs, untruncated, entropies, right, candidates, whole.gather(-1, candidates))

    def reference(self) -> "Policy":
        """The policy without its adapter; without one, a frozen copy of the policy as it is now, which shares codec and
        vision tower with it."""
        if self.janus.adapter is not None:
            return Policy(self.janus, adapter_off=True)
        network = copy.deepcopy(self.network, {id(part): part for part in frozen_parts(self.janus)})
        return Policy(replace(self.janus, network=network.requires_grad_(requires_grad=False)))


def _entropies(log_probs: torch.Tensor) -> torch.Tensor:
    """(…, V) → (…)."""
    return -(log_probs.exp() * log_probs.masked_fill(log_probs == -torch.inf, 0.0)).sum(-1)


def make_trainable(janus: Janus) -> None:
    """Freeze codec and vision tower (with an adapter all weights are frozen already). Layers of Janus behave the same
    in training mode, except that gradient checkpointing is active in it alone."""
    for part in frozen_parts(janus) if janus.adapter is None else ():
        part.requires_grad_(requires_grad=False)
    janus.network.eval()
    layers = janus.network.model.language_model.layers
    layers.train(any(layer.gradient_checkpointing for layer in layers))


def frozen_parts(janus: Janus) -> tuple[torch.nn.Module, ...]:
    """What no policy trains: the codec, whose codes are targets, and the vision tower with its aligner."""
    model = janus.network.model
    return model.vqmodel, model.vision_model, model.aligner


def layer_matrices(janus: Janus) -> list[torch.nn.Parameter]:
    """The matrices within the layers of both transformers: those that Muon trains."""
    model = janus.network.model
    layers = [*model.language_model.layers, *model.vision_model.encoder.layers]
    return [parameter for layer in layers for parameter in layer.parameters() if parameter.ndim == 2]


def network_run(
    janus: Janus, module: torch.nn.Module, out: Path, provenance: Mapping[str, Any], start: RunStart, **options: Any
) -> Run:
    """A run that trains a module of a network and saves all of it, or of an adapter the adapter alone; `options` are
    further fields of `Run`."""
    if janus.adapter is None:
        provenance = {**provenance, "parent_weights": fingerprint(janus.network)}
    else:
        chosen = {name: janus.adapter.config[name] for name in ADAPTER_ENTRIES}
        provenance = {**provenance, "parent_weights": janus.adapter.base_weights, "adapter": chosen}
        options["trained"] = TrainedParameters(module)

    def save(about: dict[str, Any]) -> None:
        write_checkpoint(janus, out, about)

    options["fsdp_units"] = janus.network.model.language_model.layers
    return Run(module, janus.network, out, provenance, save, layer_matrices(janus), start, **options)


def write_checkpoint(janus: Janus, out: Path, provenance: dict[str, Any], beside: Files | None = None) -> None:
    """Save the adapter, or the network with the processor of its parent; `beside`: tensors of further safetensors
    files, by name."""
    if janus.adapter is not None:
        save_adapter(janus.network, janus.adapter, out, provenance, beside)
        return
    save_checkpoint(janus.network, open_processor(provenance["parent"]), out, provenance, beside=beside)
