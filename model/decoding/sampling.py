"""Sampling of a token from logits: the rule of each kind of token, guidance, top-k, temperature; log-probabilities.

Shapes: V vocabulary (text tokens or image codes).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from model.backends.janus import SpecialIds
from model.decoding.kv_cache import to_device
from model.trajectory import Sampling

LEAST_TEMPERATURE = 1e-6  # below it is greedy: logits divided by less overflow, and a subnormal number divides as 0


@dataclass(frozen=True)
class Rule:
    """How one token is drawn."""

    temperature: float = 1.0  # 0 is greedy
    top_k: int | None = None
    guidance: float = 1.0  # classifier-free guidance weight; 1 is off
    allowed: tuple[int, ...] | None = None  # only these tokens
    banned: tuple[int, ...] = ()  # none of these tokens

    @property
    def greedy(self) -> bool:
        return self.temperature < LEAST_TEMPERATURE


def thought_rule(ids: SpecialIds, sampling: Sampling, *, first: bool) -> Rule:
    """A token of a thought, or the beginning of the image that ends it; a thought is never empty."""
    banned = (ids.begin_image, ids.eos) if first else (ids.eos,)
    return Rule(sampling.text_temperature, sampling.text_top_k, banned=banned)


def image_rule(sampling: Sampling) -> Rule:
    """An image code."""
    return Rule(sampling.temperature, sampling.top_k, guidance=sampling.guidance)


def verdict_rule(ids: SpecialIds, sampling: Sampling) -> Rule:
    """The first token of a reflection: Yes or No, nothing else (Janus-Pro-R1)."""
    return Rule(sampling.text_temperature, sampling.text_top_k, allowed=(ids.yes, ids.no))


def reason_rule(ids: SpecialIds, sampling: Sampling) -> Rule:
    """A token of the reason, or the end of the turn."""
    return Rule(sampling.text_temperature, sampling.text_top_k, banned=(ids.begin_image,))


def guided(conditional: torch.Tensor, unconditional: torch.Tensor, scale: float) -> torch.Tensor:
    """Classifier-free guidance: u + s·(c − u) (Janus-Pro-R1, inference code)."""
    return unconditional + scale * (conditional - unconditional)


def restricted(logits: torch.Tensor, rule: Rule) -> torch.Tensor:
    """(…, V) logits with −inf where the rule forbids a token: not allowed, banned, or below the top k."""
    if rule.allowed is not None:
        keep = to_device(rule.allowed, logits.device)
        logits = torch.full_like(logits, -torch.inf).index_copy(-1, keep, logits.index_select(-1, keep))
    if rule.banned:
        logits = logits.index_fill(-1, to_device(rule.banned, logits.device), -torch.inf)
    if rule.top_k is not None and rule.top_k < logits.shape[-1]:
        least = logits.topk(rule.top_k, dim=-1).values[..., -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    return logits


def log_probabilities(logits: torch.Tensor, rule: Rule) -> torch.Tensor:
    """(…, V) log-probabilities of the distribution that `draw` samples from; greedy puts all mass on the best."""
    logits = restricted(logits, rule)
    if rule.greedy:
        best = torch.nn.functional.one_hot(logits.argmax(-1), logits.shape[-1])
        return torch.where(best.bool(), 0.0, -torch.inf).to(logits.dtype)
    return (logits / rule.temperature).log_softmax(-1)


class NonFiniteError(ArithmeticError):
    """The network computed no finite logits for a token."""


def uniform(rule: Rule, generator: torch.Generator) -> float | None:
    """The number in [0, 1) at which `draw` inverts the distribution: one per token, from the request's own generator,
    so that what it draws does not depend on its neighbours. None for greedy rules, which need none.
    """
    if rule.greedy:
        return None
    return torch.rand(1, dtype=torch.float64, generator=generator).item()


def draw(logits: torch.Tensor, rule: Rule, numbers: Sequence[float | None]) -> list[int | NonFiniteError]:
    """A token for every row of (R, V) logits, by inverting its cumulative distribution at one uniform number.

    A row that is not finite is an error in its place, and changes nothing for the others.
    """
    finite = logits.isfinite().all(-1)
    logits = logits.masked_fill(~finite[:, None], 0.0)
    tokens = _best(logits, rule) if rule.greedy else _drawn(logits, rule, numbers)
    error = NonFiniteError("the network computed no finite numbers for this drawing; try another seed or prompt")
    return [token if fine else error for token, fine in zip(tokens, finite.tolist(), strict=True)]


def _best(logits: torch.Tensor, rule: Rule) -> list[int]:
    return restricted(logits, rule).argmax(-1).tolist()


def _drawn(logits: torch.Tensor, rule: Rule, numbers: Sequence[float]) -> list[int]:
    exact = logits.double() if logits.device.type != "mps" else logits.cpu().double()
    cumulative = log_probabilities(exact, rule).exp().cumsum(-1)
    uniforms = to_device(torch.tensor(numbers, dtype=torch.float64)[:, None], cumulative.device)
    tokens = torch.searchsorted(cumulative, uniforms * cumulative[:, -1:], right=True)
    return torch.minimum(tokens, last_possible(cumulative))[:, 0].tolist()


def last_possible(cumulative: torch.Tensor) -> torch.Tensor:
    """(R, 1) the last token with any probability: rounding must not carry a draw past it."""
    return torch.searchsorted(cumulative, cumulative[:, -1:].contiguous())
