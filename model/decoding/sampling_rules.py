"""The sampling rule of each kind of token; the rollout and the training objectives use the same."""

from __future__ import annotations

from model.backends.janus import SpecialIds
from model.decoding.sampling import Rule
from model.trajectory import Sampling


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
