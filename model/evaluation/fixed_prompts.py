"""Evaluates a checkpoint on fixed prompts while it trains: figures by setting and row, and a few pictures.

Of a checkpoint of the embedded world the figures are those of `model.evaluate`, refereed by the verifier, on prompts of
the training split, so that nothing is chosen on the test; half are GenEval-like, of the six categories in turn, half
hard; each is drawn with and without a thought, always from the same seed. Of any other checkpoint pictures are drawn
and nobody referees them.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from model.backends.janus import Janus
from model.backends.request import Request
from model.decoding.janus_backend import JanusBackend
from model.evaluation.bootstrap import Figure
from model.evaluation.figures import Judged, figures
from model.evaluation.finished_rollouts import drawn_pictures
from model.trajectory import Sampling
from model.world.language import parse, write
from model.world.splits import GENEVAL, HARD, sample_training
from model.world.verifier import read

SEED = 20_000  # of prompts and drawings; not a run's own, so that runs compare
ROUNDS = 2  # images at most
AT_ONCE = 32  # trajectories of one batch
SAMPLES = 4  # prompts of a setting whose pictures are kept

# Rows by which a checkpoint is better: 1 where higher is, −1 where lower is.
DIRECTIONS = {
    "first draft": 1,
    "final image": 1,
    "verdict, balanced": 1,
    "reasons for no, true": 1,
    "flagged drafts repaired": 1,
    "right drafts damaged": -1,
    "held-out loss": -1,
    "held-out verdicts right": 1,
}


Figures = Mapping[str, Mapping[str, Figure]]  # setting → row → figure


@dataclass(frozen=True)
class FixedPrompts:
    """Prompts of one setting; the i-th is drawn from SEED + i."""

    setting: str
    prompts: tuple[str, ...]
    thinks: bool
    refereed: bool  # by the verifier

    def requests(self, sampling: Sampling) -> list[Request]:
        chosen = replace(sampling, thinks=self.thinks)
        return [Request(text, SEED + i, ROUNDS, chosen, None, id=str(i)) for i, text in enumerate(self.prompts)]


@dataclass(frozen=True)
class Sample:
    """The pictures of one fixed prompt, and what the checkpoint said of each."""

    setting: str
    number: int  # of the prompt within its setting
    prompt: str
    pictures: tuple[np.ndarray, ...]  # (H, W, 3) uint8
    said: tuple[str, ...]  # “No, there is no cat.”
    right: tuple[bool, ...] | None = None  # whether each is what was asked for, where that is known


@dataclass
class Drawn:
    """What a process drew: judged trajectories by number, and samples."""

    judged: dict[str, dict[int, Judged]] = field(default_factory=dict)  # by setting
    samples: list[Sample] = field(default_factory=list)

    def add(self, other: "Drawn") -> None:
        for setting, judged in other.judged.items():
            self.judged.setdefault(setting, {}).update(judged)
        self.samples += other.samples

    def figures(self) -> dict[str, dict[str, Figure]]:
        """Of every refereed setting the rows that have a direction."""
        every = {name: figures([rows[i] for i in sorted(rows)]) for name, rows in self.judged.items() if rows}
        return {name: {row: rows[row] for row in DIRECTIONS if row in rows} for name, rows in every.items()}


def world_prompts(count: int, *, thinks: bool) -> list[FixedPrompts]:
    """`count` prompts of the embedded world, each without a thought and, where the checkpoint thinks, with one."""
    rng = random.Random(f"fixed prompts {SEED}")
    families = {"GenEval-like": (GENEVAL, count - count // 2), "hard": (HARD, count // 2)}
    fixed = []
    for family, (categories, number) in families.items():
        texts = tuple(write(sample_training(rng, categories[i % len(categories)])) for i in range(number))
        ways = {"without the thought": False} | ({"thinking first": True} if thinks else {})
        fixed += [FixedPrompts(f"{family}, {way}", texts, first, True) for way, first in ways.items() if texts]
    return fixed


def draw_fixed(janus: Janus, fixed: Sequence[FixedPrompts], which: slice) -> Drawn:
    """The drawings of `which` of every setting's prompts."""
    drawn = Drawn()
    for prompts in fixed:
        judged = drawn.judged.setdefault(prompts.setting, {}) if prompts.refereed else {}
        for number, assessed, sample in _rollouts(janus, prompts, which):
            if assessed is not None:
                judged[number] = assessed
            if number < SAMPLES:
                drawn.samples.append(sample)
    return drawn


def _rollouts(janus: Janus, fixed: FixedPrompts, which: slice) -> Iterator[tuple[int, Judged | None, Sample]]:
    requests = fixed.requests(janus.sampling)[which]
    for id, trajectory, pictures in drawn_pictures(JanusBackend(janus), requests, AT_ONCE, progress=False):
        number, prompt = int(id), trajectory.prompt
        reflections = tuple("".join(token.text for token in each.tokens) for each in trajectory.reflections)
        judged = Judged(parse(prompt), trajectory, tuple(map(read, pictures))) if fixed.refereed else None
        right = tuple(judged.right) if judged else None
        yield number, judged, Sample(fixed.setting, number, prompt, tuple(pictures), reflections, right)
