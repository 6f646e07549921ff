"""Which scored images become rows of the paper's three training tasks (arXiv 2506.01480, section 3.1 and appendix B.1).

Task I learns to draw an image, task II to judge one, task III to draw again after a rejected one. S is the critic's
P(yes); its verdict has to agree.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from model.prepare.scored_images import ScoredImage, different


@dataclass(frozen=True)
class Thresholds:
    """Of S; the defaults are the paper's."""

    accepted: float = 0.8  # at least, to be drawn (task I) and to be drawn after another (task III)
    right: float = 0.7  # at least, to be judged yes (task II)
    wrong: float = 0.5  # below, to be judged no (task II) and to be drawn again (task III)

    def is_accepted(self, image: ScoredImage) -> bool:
        return image.says_yes and image.score >= self.accepted

    def is_right(self, image: ScoredImage) -> bool:
        return image.says_yes and image.score >= self.right

    def is_wrong(self, image: ScoredImage) -> bool:
        return not image.says_yes and image.score < self.wrong


@dataclass(frozen=True)
class Selection:
    """The images of one prompt by what they teach."""

    images: tuple[ScoredImage, ...]  # all that differ
    equal: int  # further ones, whose picture is among these
    drawn: tuple[ScoredImage, ...]  # task I
    right: tuple[ScoredImage, ...]  # task II, yes
    wrong: tuple[ScoredImage, ...]  # task II, no
    pairs: tuple[tuple[ScoredImage, ScoredImage], ...]  # task III: a wrong image, and an accepted one after it


def select(images: Sequence[ScoredImage], thresholds: Thresholds, seed: int) -> Selection:
    """Every wrong image is paired with one of the accepted ones by chance."""
    distinct = different(images)
    accepted = [each for each in distinct if thresholds.is_accepted(each)]
    wrong = [each for each in distinct if thresholds.is_wrong(each)]
    rng = random.Random(f"{seed} {distinct[0].drawn.plan.prompt}") if distinct else random.Random(seed)
    return Selection(
        images=tuple(distinct),
        equal=len(images) - len(distinct),
        drawn=tuple(accepted),
        right=tuple(each for each in distinct if thresholds.is_right(each)),
        wrong=tuple(wrong),
        pairs=tuple((each, rng.choice(accepted)) for each in wrong) if accepted else (),
    )


@dataclass
class JudgeBalance:
    """How many of each verdict there are, so that as many rows say yes as no (task II, 1 : 1)."""

    right: int = 0
    wrong: int = 0
    _taken: dict[bool, float] = field(default_factory=lambda: {True: 0.0, False: 0.0})

    def add(self, selection: Selection) -> None:
        self.right += len(selection.right)
        self.wrong += len(selection.wrong)

    def take(self, *, says_yes: bool) -> bool:
        """Whether the next image with this verdict is taken: of the more frequent one evenly spread ones."""
        of_verdict = self.right if says_yes else self.wrong
        before = self._taken[says_yes]
        self._taken[says_yes] = after = before + min(self.right, self.wrong) / of_verdict
        return int(after + 1e-9) > int(before + 1e-9)
