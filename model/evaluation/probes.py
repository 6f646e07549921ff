"""Causal probes of thoughts, reasons and verdicts: `python -m model.evaluation.probes`

Four interventions, each against its control, on held-out prompts:

- *The redraw uses the reflection*: drafts rightly judged no are redrawn, drawn afresh, and redrawn after the reason
  of another prompt.
- *The drawing follows the thought*: an object of the model's own thought is moved, recoloured, removed or added by
  hand, and the drawing after it read.
- *The redraw follows a reason written by hand*: a right draft is rejected for a count, colour or relation that the
  prompt does not ask for, and the revision read.
- *The verdict looks at the picture*: an accepted drawing is changed by the renderer in one object, nothing else of the
  context, and judged again.
"""

import argparse
import hashlib
import random
import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL import Image as Picture

from model.backends.contract import CheckpointError
from model.backends.registry import DEFAULT
from model.backends.request import Request
from model.branches import with_reflection, written_thought
from model.decoding.janus_backend import JanusBackend, open_janus
from model.evaluation.bootstrap import Figure, Proportion, difference, interval, points
from model.evaluation.figures import Judged, judge_all
from model.evaluation.finished_rollouts import drawn_pictures
from model.images import encode_png
from model.trajectory import Image, Origin, Reflection, Sampling, Segment
from model.world.defects import otherwise, spoil_as
from model.world.language import CATEGORIES, Description
from model.world.plan import read_items, read_plan, write_items
from model.world.reasons import main_defect, write_reason
from model.world.scene import Item, Scene, free_places
from model.world.splits import GENEVAL, HARD, held_out_prompts
from model.world.sprites import COLOURS, NOUNS
from model.world.verifier import Fact, Reading, accepted, check, read

BATCH = 32

CHANGES = {  # what is done to one object of a thought or of an accepted drawing: the kinds of `defects` that do it
    "recoloured": ("wrong colour",),
    "moved": ("one moved",),
    "removed": ("missing object", "one fewer"),
    "added": ("extra object", "one more"),
}


def drawn(backend: JanusBackend, requests: Sequence[Request]) -> list[Reading]:
    """What the last picture of every request shows."""
    readings = {name: read(pictures[-1]) for name, _, pictures in drawn_pictures(backend, requests, BATCH)}
    return [readings[request.id] for request in requests]


def redraws(backend: JanusBackend, count: int, sampling: Sampling, seed: int = 0) -> dict[str, Figure]:
    """Of drafts rightly judged no: the share right after a redraw, afresh, and after another prompt's reason."""
    prompts = held_out_prompts(count, (*GENEVAL[1:2], *GENEVAL[4:], *HARD), seed)
    first = judge_all(backend, prompts, sampling, 1, BATCH, seed)
    drafts = [draft for draft in first if not draft.first and draft.says == [False]]
    if len(drafts) < 2:
        return {}
    others = drafts[1:] + drafts[:1]
    ways = {
        "after its reflection": [draft.trajectory.segments for draft in drafts],
        "afresh, another seed": [() for _ in drafts],
        "after another's reason": [
            (*draft.trajectory.segments[:-1], other.trajectory.segments[-1])
            for draft, other in zip(drafts, others, strict=True)
        ],
    }
    return {
        name: _right(
            drafts,
            drawn(backend, [_onward(draft, segments, sampling, seed) for draft, segments in pairs(drafts, begun)]),
        )
        for name, begun in ways.items()
    }


def pairs(ones: Sequence[Judged], begun: Sequence[tuple[Segment, ...]]):
    return list(zip(ones, begun, strict=True))


def _onward(draft: Judged, segments: tuple[Segment, ...], sampling: Sampling, seed: int) -> Request:
    rounds = 2 if segments else 1
    number = 100_000 + seed + draft.trajectory.seed
    return Request(draft.trajectory.prompt, number, rounds, sampling, None, prefix=segments)


def _right(ones: Sequence[Judged], readings: Sequence[Reading]) -> Proportion:
    shown = zip(ones, readings, strict=True)
    return Proportion.from_pairs([(accepted(check(rollout.description, reading)), 1) for rollout, reading in shown])


def edited_thoughts(backend: JanusBackend, count: int, sampling: Sampling, seed: int = 0) -> dict[str, Figure]:
    """Of the model's own thoughts with one object changed by hand: the share that is drawn exactly so."""
    rng = random.Random(f"thoughts {seed}")
    prompts = held_out_prompts(2 * count, GENEVAL, seed)
    requests, plans, kinds = [], [], []
    for rollout in judge_all(backend, prompts, replace(sampling, thinks=True), 1, BATCH, seed):
        thought = rollout.trajectory.segments[0].text
        try:
            read_plan(thought)
        except ValueError:
            continue
        kind = tuple(CHANGES)[len(plans) % len(CHANGES)]
        changed = change_plan(rng, read_items(thought), kind)
        if changed is not None and len(plans) < count:
            segments = (written_thought(backend, write_items(changed)),)
            requests.append(Request(rollout.trajectory.prompt, seed + len(plans), 1, sampling, None, prefix=segments))
            plans.append(Scene(tuple(changed)))
            kinds.append(kind)
    kept = [reading == Reading(plan.items) for plan, reading in zip(plans, drawn(backend, requests), strict=True)]
    return by_kind(kept, kinds)


def by_kind(right: Sequence[bool], kinds: Sequence[str]) -> dict[str, Figure]:
    """The share that is right, of all and of every kind."""
    rows: dict[str, Figure] = {"all": Proportion.from_pairs([(holds, 1) for holds in right])}
    for kind in sorted(set(kinds)):
        own = [holds == kind for holds in kinds]
        rows[kind] = Proportion.from_pairs([(holds and mine, mine) for holds, mine in zip(right, own, strict=True)])
    return rows


def edited_reasons(backend: JanusBackend, count: int, sampling: Sampling, seed: int = 0) -> dict[str, Figure]:
    """Of right drafts rejected by hand, since one fact should be another: the share whose revision shows that fact."""
    rng = random.Random(f"reasons {seed}")
    requests, facts = [], []
    for rollout in judge_all(backend, held_out_prompts(2 * count, GENEVAL, seed), sampling, 1, BATCH, seed):
        if not rollout.first or not rollout.says or len(requests) == count:
            continue
        while accepted(found := check(other := otherwise(rng, rollout.description), rollout.readings[0])):
            pass
        last = len(rollout.trajectory.segments) - 1
        branch = with_reflection(backend, rollout.trajectory, last, "no", write_reason(other, found, rng))
        requests.append(_onward(rollout, branch.prefix, sampling, seed))
        facts.append((other, main_defect(found)))
    readings = zip(facts, drawn(backend, requests), strict=True)
    follows = [repaired(other, fact, reading) for (other, fact), reading in readings]
    return by_kind(follows, [fact.kind for _, fact in facts])


def repaired(description: Description, fact: Fact, reading: Reading) -> bool:
    """Whether a false fact is true of another picture."""
    return replace(fact, holds=True, found=fact.found and fact.wanted) in check(description, reading)


def change_plan(rng: random.Random, plan: Sequence[Item], kind: str) -> list[Item] | None:
    """A plan with one object changed, the others in their order; None where that cannot be done."""
    at = rng.randrange(len(plan))
    item, rest = plan[at], [*plan[:at], *plan[at + 1 :]]
    match kind:
        case "recoloured":
            colour = rng.choice([colour for colour in COLOURS if colour != item.colour])
            return [*plan[:at], replace(item, colour=colour), *plan[at + 1 :]]
        case "removed":
            return rest or None
        case "moved":
            column, row = rng.choice([place for place in free_places(rest) if place != (item.column, item.row)])
            return [*plan[:at], replace(item, column=column, row=row), *plan[at + 1 :]]
    places = free_places(plan)
    return [*plan, Item(rng.choice(NOUNS), rng.choice(tuple(COLOURS)), *rng.choice(places))] if places else None


def changed_pictures(backend: JanusBackend, each: int, sampling: Sampling, seed: int = 0) -> dict[str, Figure]:
    """Of accepted drawings, changed in one object: the share flagged, by change; and of the unchanged, those passed."""
    rng = random.Random(f"pictures {seed}")
    right = [
        rollout
        for rollout in judge_all(backend, held_out_prompts(8 * each, CATEGORIES, seed), sampling, 1, BATCH, seed)
        if rollout.first
    ]
    rows: dict[str, Figure] = {}
    for name, kinds in CHANGES.items():
        cases = []
        for rollout in right:
            scene = Scene(rollout.readings[0].items)
            image = spoil_as(rng, rng.choice(kinds), rollout.description, scene)
            if image is not None and len(cases) < each:
                cases.append((rollout, image))
        rows[name] = Proportion.from_pairs([(not yes, 1) for yes in verdicts(backend, cases, sampling)])
    unchanged = [(rollout, None) for rollout in right[:each]]
    return rows | {
        "unchanged, passed": Proportion.from_pairs([(yes, 1) for yes in verdicts(backend, unchanged, sampling)])
    }


def verdicts(
    backend: JanusBackend, cases: Sequence[tuple[Judged, np.ndarray | None]], sampling: Sampling
) -> list[bool]:
    """Whether each picture (None: as it was drawn) is judged yes for its trajectory's prompt."""
    requests = []
    for number, (rollout, picture) in enumerate(cases):
        image = next(s for s in rollout.trajectory.segments if isinstance(s, Image))
        pngs = {}
        if picture is not None:
            png = encode_png(Picture.fromarray(picture))
            codes = tuple(backend.janus.encode([picture])[0].tolist())
            image = Image(codes, hashlib.sha256(png).hexdigest(), (Origin.TEMPLATE,) * len(codes))
            pngs = {image.sha256: png}
        plain = replace(sampling, thinks=False)
        requests.append(
            Request(rollout.trajectory.prompt, number, 1, plain, None, prefix=(image,), pictures=pngs, id=str(number))
        )
    ended = {name: trajectory for name, trajectory, _ in drawn_pictures(backend, requests, BATCH)}
    reflections = [ended[str(number)].segments[-1] for number in range(len(cases))]
    return [isinstance(rollout, Reflection) and rollout.answer == "yes" for rollout in reflections]


def shown(title: str, rows: dict[str, Figure]) -> str:
    lines = [title]
    for name, figure in rows.items():
        if figure.value is None:
            lines.append(f"  {name:28} –")
        else:
            low, high = interval(figure)
            lines.append(f"  {name:28} {figure.value:6.1%}  {low:.1%} to {high:.1%}  of {figure.of.sum():.0f}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m model.evaluation.probes", description=__doc__.split("\n")[0])
    parser.add_argument("--checkpoint", default=DEFAULT, help="of the shipped ones, a folder, or a Hub id")
    parser.add_argument("--drafts", type=int, default=600, help="prompts drawn to find wrong drafts")
    parser.add_argument("--thoughts", type=int, default=50, help="thoughts edited by hand")
    parser.add_argument("--reasons", type=int, default=50, help="reasons written by hand")
    parser.add_argument("--changes", type=int, default=100, help="pictures changed, of each kind")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    try:
        backend = open_janus(arguments.checkpoint)
    except CheckpointError as error:
        sys.exit(f"probes: {error}")
    for thinks in (False, True) if backend.sampling.thinks else (False,):
        rows = redraws(backend, arguments.drafts, replace(backend.sampling, thinks=thinks), arguments.seed)
        print(
            shown(f"Drafts rightly judged no, {'with' if thinks else 'without'} thoughts, right when drawn again", rows)
        )
        for other in list(rows)[1:]:
            gain = difference(rows["after its reflection"], rows[other])
            print(f"  after its reflection − {other}: {points(gain)}")
    if backend.sampling.thinks:
        rows = edited_thoughts(backend, arguments.thoughts, backend.sampling, arguments.seed)
        print(shown("Thoughts edited by hand, drawn exactly so", rows))
    rows = edited_reasons(backend, arguments.reasons, backend.sampling, arguments.seed)
    print(shown("Reasons written by hand, shown by the revision", rows))
    rows = changed_pictures(backend, arguments.changes, backend.sampling, arguments.seed)
    print(shown("Pictures changed in one object, flagged", rows))


if __name__ == "__main__":
    main()
