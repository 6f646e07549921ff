"""Ablation of the judge's context: the same drafts judged by the prompt, by prompt and plan, and by the plan alone.

In its rollouts a checkpoint judges by the prompt; the plan (the thought before the draft) is left out, so that it looks
at the image. Here the plan stands in the user's turn behind the prompt, or in its place. No training has such turns.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from model.backends.request import Request
from model.evaluation.bootstrap import Figure, Mean, Proportion
from model.evaluation.budgets import Attempts
from model.evaluation.figures import Judged
from model.trajectory import Image, Sampling, Thought
from model.world.language import Description

CONTEXTS = {"prompt and thought": "{prompt}: {thought}", "thought alone": "{thought}"}


@dataclass(frozen=True)
class PlannedDraft:
    """The first image of a rollout, and the plan before it."""

    number: int  # of the prompt
    judged: Judged
    thought: str
    image: Image


def planned_drafts(attempts: Sequence[Attempts]) -> list[PlannedDraft]:
    """The first image of every rollout that began with a plan."""
    drafts = []
    for number, each in enumerate(attempts):
        for judged in (each.rollout, *each.afresh):
            match judged.trajectory.segments[:2]:
                case (Thought() as thought, Image() as image) if plan := _printable(thought.text):
                    drafts.append(PlannedDraft(number, judged, plan, image))
    return drafts


def _printable(text: str) -> str:
    """A plan as it can stand in a prompt."""
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()


def context_requests(drafts: Sequence[PlannedDraft], sampling: Sampling) -> tuple[list[Request], list[Description]]:
    """Requests to judge every draft in each of CONTEXTS, and the description of each."""
    plain = replace(sampling, thinks=False, thinks_after_no=False)
    requests = []
    for template in CONTEXTS.values():
        for draft in drafts:
            trajectory = draft.judged.trajectory
            text = template.format(prompt=trajectory.prompt, thought=draft.thought)
            requests.append(Request(text, trajectory.seed, 1, plain, None, prefix=(draft.image,)))
    return requests, [draft.judged.description for draft in drafts] * len(CONTEXTS)


def context_figures(drafts: Sequence[PlannedDraft], judged: Sequence[Judged], prompts: int) -> dict[str, Figure]:
    """Of every context the verdicts (P(yes) ≥ ½) that are right; `judged`: the rollouts of `context_requests`."""
    verdicts = {"prompt": [draft.judged for draft in drafts]}
    for number, name in enumerate(CONTEXTS):
        verdicts[name] = list(judged[number * len(drafts) : (number + 1) * len(drafts)])
    rows: dict[str, Figure] = {}
    for name, rollouts in verdicts.items():
        rows |= {f"{name}: {row}": figure for row, figure in _verdict_figures(drafts, rollouts, prompts).items()}
    return rows


def _verdict_figures(drafts: Sequence[PlannedDraft], rollouts: Sequence[Judged], prompts: int) -> Mapping[str, Figure]:
    counts = {right: [[0, 0] for _ in range(prompts)] for right in (True, False)}
    for draft, rollout in zip(drafts, rollouts, strict=True):
        right = draft.judged.first
        cell = counts[right][draft.number]
        cell[0] += (rollout.trajectory.reflections[0].p_yes >= 0.5) == right
        cell[1] += 1
    flagged, passed = (Proportion.from_pairs([(a, b) for a, b in counts[right]]) for right in (False, True))
    return {"verdict, balanced": Mean((flagged, passed)), "wrong flagged": flagged, "right passed": passed}
