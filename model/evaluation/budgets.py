"""Reflection with a budget of edits (0: the first draft) against as many independent drafts of the same prompt.

Of b edits at most b + 1 images are drawn, fewer where the model says yes before. Independent drafts are chosen among by
the checkpoint's own P(yes), by the verifier (the ceiling), or drawn until one is judged yes. Pure functions of
trajectories that were made once: the first draft of the rollout is the first of the independent ones.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from model.backends.request import Request
from model.evaluation.bootstrap import Figure, Proportion, difference
from model.evaluation.figures import Judged, drawing_requests
from model.trajectory import Sampling
from model.world.language import Description

SEED_STEP = 1_000_003  # between the seeds of a prompt's independent drafts


@dataclass(frozen=True)
class IndependentDraft:
    """A first image, and what its checkpoint said of it."""

    right: bool
    p_yes: float
    passed: bool


@dataclass(frozen=True)
class Attempts:
    """What was drawn for one prompt: a rollout with revisions, and further rollouts of one image each."""

    rollout: Judged
    afresh: tuple[Judged, ...] = ()

    @property
    def drafts(self) -> list[IndependentDraft]:
        """The first image of every rollout."""
        first = [(judged, judged.trajectory.reflections[0]) for judged in (self.rollout, *self.afresh)]
        return [
            IndependentDraft(judged.first, reflection.p_yes, reflection.answer == "yes") for judged, reflection in first
        ]

    def after(self, edits: int) -> bool:
        """Whether the last image is right where at most so many edits are allowed."""
        right = self.rollout.right
        return right[min(edits, len(right) - 1)]


def attempt_requests(
    descriptions: Sequence[Description], sampling: Sampling, rounds: int, drafts: int, seed: int
) -> list[Request]:
    """Of every description a rollout; then of every one the second independent draft, the third, … up to `drafts`."""
    requests, afresh = drawing_requests(descriptions, sampling, rounds, seed), replace(sampling, thinks_after_no=False)
    for number in range(1, drafts):
        requests += drawing_requests(descriptions, afresh, 1, seed + number * SEED_STEP)
    return requests


def attempts_of(judged: Sequence[Judged], prompts: int) -> list[Attempts]:
    """The rollouts of `attempt_requests`, by prompt."""
    return [Attempts(judged[i], tuple(judged[i + prompts :: prompts])) for i in range(prompts)]


def best(drafts: Sequence[IndependentDraft]) -> bool:
    """Whether the draft of the highest P(yes) is right; of equal ones the first."""
    return max(drafts, key=lambda draft: draft.p_yes).right


def until_yes(drafts: Sequence[IndependentDraft]) -> Sequence[IndependentDraft]:
    """The drafts up to the first that was judged yes: those that are drawn where it ends the search."""
    return drafts[: next((i for i, draft in enumerate(drafts, 1) if draft.passed), len(drafts))]


def first_passed(drafts: Sequence[IndependentDraft]) -> bool:
    """Whether the first draft that was judged yes is right; where none was, that of the highest P(yes)."""
    drawn = until_yes(drafts)
    return drawn[-1].right if drawn[-1].passed else best(drawn)


def budget_figures(attempts: Sequence[Attempts], edits: int) -> dict[str, Figure]:
    """For every budget from 0 to `edits`: reflection, repair (of wrong first drafts), damage (of right ones), and what
    as many images bring that are drawn independently, where there are so many."""

    rows = {"edits 0: final image": _share(attempts, lambda each: (each.after(0), 1))}
    for budget in range(1, edits + 1):
        rows |= {f"edits {budget}: {name}": row for name, row in _reflection(attempts, budget).items()}
        if all(budget <= len(each.afresh) for each in attempts):
            rows |= {f"edits {budget}: {name}": row for name, row in _independent(attempts, budget + 1).items()}
    return rows


def _reflection(attempts: Sequence[Attempts], budget: int) -> dict[str, Figure]:
    return {
        "final image": _share(attempts, lambda each: (each.after(budget), 1)),
        "repaired": _share(
            attempts, lambda each: (not each.rollout.first and each.after(budget), not each.rollout.first)
        ),
        "damaged": _share(attempts, lambda each: (each.rollout.first and not each.after(budget), each.rollout.first)),
        "images": _share(attempts, lambda each: (min(budget + 1, len(each.rollout.readings)), 1)),
    }


def _independent(attempts: Sequence[Attempts], images: int) -> dict[str, Figure]:
    return {
        "best of as many, own verdict": _share(attempts, lambda each: (best(each.drafts[:images]), 1)),
        "best of as many, verifier": _share(
            attempts, lambda each: (any(draft.right for draft in each.drafts[:images]), 1)
        ),
        "afresh until yes": _share(attempts, lambda each: (first_passed(each.drafts[:images]), 1)),
        "images until yes": _share(attempts, lambda each: (len(until_yes(each.drafts[:images])), 1)),
    }


def _share(attempts: Sequence[Attempts], pair: Callable[[Attempts], tuple[float, float]]) -> Proportion:
    return Proportion.from_pairs([pair(each) for each in attempts])


def budget_differences(rows: Mapping[str, Figure]) -> Iterator[tuple[str, tuple[float, float, float] | None]]:
    """(what, paired difference): at every budget reflection over independent drafts."""
    for row, reflected in rows.items():
        budget, _, series = row.partition(": ")
        if series == "final image":
            for other in ("best of as many, own verdict", "afresh until yes"):
                if independent := rows.get(f"{budget}: {other}"):
                    yield f"{budget}: reflection − {other}", difference(reflected, independent)


def fact_figures(attempts: Sequence[Attempts], facts: Sequence[int]) -> dict[str, Figure]:
    """By number of facts of the prompt: first drafts and final images that are right, and right verdicts on drafts."""
    rows: dict[str, Figure] = {}
    for count in sorted(set(facts)):
        own = [(each, number == count) for each, number in zip(attempts, facts, strict=True)]
        series = {
            "first draft": [(mine and each.rollout.first, mine) for each, mine in own],
            "final image": [(mine and each.rollout.final, mine) for each, mine in own],
            "verdict on the first draft": [
                (mine and each.drafts[0].right == each.drafts[0].passed, mine) for each, mine in own
            ],
        }
        rows |= {f"facts {count}: {name}": Proportion.from_pairs(pairs) for name, pairs in series.items()}
    return rows
