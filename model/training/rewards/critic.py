"""Reward `critic:MODEL`: how probable “Yes” is when a vision-language model is asked whether an image fits its prompt.

Any image-text-to-text model of transformers, by its folder or Hub id: P(Yes) / (P(Yes) + P(No)) of its first word, as
in VQAScore (Lin et al., 2024). `checklist` asks about each fact of the prompt by itself.
"""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import torch
from PIL import Image as Picture
from transformers import AutoModelForImageTextToText, AutoProcessor, PreTrainedModel, ProcessorMixin

from model.backends.checkpoint.loading import default_device
from model.training.rewards.janus_pro_r1 import RewardError
from model.training.rewards.registry import Assessment, Reward
from model.trajectory import Trajectory

WHICH = "MODEL"
ANSWERS = {"Yes": ("Yes", " Yes", "yes"), "No": ("No", " No", "no")}
BETWEEN_FACTS = re.compile(r"\s*[,;]\s*(?:and\s+)?|\s+(?:and|with)\s+")


class Critic:
    """A model and its processor."""

    def __init__(self, model: PreTrainedModel, processor: ProcessorMixin):
        self.model, self.processor = model, processor
        self.answers = [self._first_ids(words) for words in ANSWERS.values()]

    def _first_ids(self, words: Sequence[str]) -> list[int]:
        """The tokens that a word, as a model may spell it, begins with."""
        every = (self.processor.tokenizer.encode(word, add_special_tokens=False) for word in words)
        return sorted({ids[0] for ids in every if len(ids) == 1})

    @torch.inference_mode()
    def p_yes(self, picture: np.ndarray, question: str) -> float:
        """Of one question on a picture (H, W, 3) uint8."""
        content = [{"type": "image", "image": Picture.fromarray(picture)}, {"type": "text", "text": question}]
        inputs = self.processor.apply_chat_template(
            [{"role": "user", "content": content}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )
        logits = self.model(**inputs.to(self.model.device, self.model.dtype)).logits[0, -1].float()
        yes, no = (logits[ids].logsumexp(0) for ids in self.answers)
        return float((yes - no).sigmoid())


@lru_cache(maxsize=2)
def open_critic(source: str) -> Critic:
    """Raises RewardError for what is no such model."""
    try:
        processor = AutoProcessor.from_pretrained(source)
        model = AutoModelForImageTextToText.from_pretrained(source, dtype="auto")
    except (OSError, ValueError, ImportError) as error:
        reason = " ".join(str(error).split())[:300]
        raise RewardError(f"{source} could not be opened as an image-text-to-text model: {reason}") from error
    critic = Critic(model.to(default_device()).eval().requires_grad_(requires_grad=False), processor)
    if not all(critic.answers):
        raise RewardError(f"the critic {source} has no token for Yes or for No; choose another model")
    return critic


def whole(prompt: str) -> list[str]:
    """One question about the prompt as it stands."""
    return [f"Does this image show exactly “{prompt.strip()}”? Answer Yes or No."]


def facts(prompt: str) -> list[str]:
    """A question about each part of a prompt, as commas, “and” and “with” divide it."""
    parts = [part for part in BETWEEN_FACTS.split(prompt.strip().rstrip(".")) if part]
    return [f"Does this image show {part}? Answer Yes or No." for part in parts]


def asking(source: str, questions: Callable[[str], list[str]]) -> Reward:
    """The mean of P(Yes) over the questions of a prompt. Raises RewardError."""
    critic = open_critic(source)

    def assess(trajectory: Trajectory, pictures: Sequence[np.ndarray]) -> Assessment:
        asked = questions(trajectory.prompt)
        return Assessment(tuple(sum(critic.p_yes(each, q) for q in asked) / len(asked) for each in pictures))

    return assess


def opened(source: str) -> Reward:
    return asking(source, whole)
