"""The embedded world in the place of a prompt file and a critic: training prompts, and its verifier as a critic."""

import random
from collections.abc import Iterator

import numpy as np

from model.backends.contract import ServingOptions, word_tokens
from model.backends.critic import Critic, CriticError
from model.backends.embedded_world import EMBEDDED_WORLD
from model.backends.event_writer import EventWriter
from model.events import Event, SegmentFinished, TextAdded, Verdict
from model.templates import NO, YES
from model.world.language import Description, parse, write
from model.world.reasons import write_reason
from model.world.scene import SIZE
from model.world.splits import sample_training
from model.world.verifier import Fact, accepted, check, read, score
from model.world.vocabulary import PromptError

VERIFIER = "verifier"


def training_prompts(count: int, seed: int) -> list[str]:
    """Different prompts of the training split, of all categories by their shares."""
    rng, prompts = random.Random(f"prepare {seed}"), dict[str, None]()
    while len(prompts) < count:
        prompts[write(sample_training(rng))] = None
    return list(prompts)


class VerifierCritic(Critic):
    """The verifier: P(yes) is 1 where every fact of the prompt holds, else half the share of those that hold."""

    name, domain = VERIFIER, EMBEDDED_WORLD

    def judge(self, write: EventWriter, prompt: str, picture: np.ndarray, seed: int) -> Iterator[Event]:
        description, facts = self._facts(prompt, picture)
        answer = "yes" if accepted(facts) else "no"
        reason = write_reason(description, facts, random.Random(f"{seed} {prompt}"))
        yield write(Verdict, answer=answer, p_yes=_p_yes(facts))
        text = (YES if answer == "yes" else NO) + reason
        for token in word_tokens(text):
            yield write(TextAdded, tokens=(token,))
        yield write(SegmentFinished, text=text)

    def p_yes(self, prompt: str, picture: np.ndarray) -> float:
        return _p_yes(self._facts(prompt, picture)[1])

    def serve(self, options: ServingOptions) -> None:
        """Nothing to do."""

    def _facts(self, prompt: str, picture: np.ndarray) -> tuple[Description, tuple[Fact, ...]]:
        if picture.shape != (SIZE, SIZE, 3):
            raise CriticError(
                f"the verifier reads pictures of {SIZE}×{SIZE} pixels, got {picture.shape[1]}×{picture.shape[0]}; give "
                "--critic a model"
            )
        try:
            description = parse(EMBEDDED_WORLD.read(prompt).text)
        except PromptError as error:
            raise CriticError(
                f"“{prompt[:80]}” is no prompt of the embedded world ({error}); give --critic a model"
            ) from error
        return description, check(description, read(picture))


def _p_yes(facts: tuple[Fact, ...]) -> float:
    return 1.0 if accepted(facts) else score(facts) / 2
