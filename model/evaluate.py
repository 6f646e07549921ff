"""Measure a checkpoint on the embedded world: `python -m model.evaluate --prompts 120`

The world's verifier referees what the model drew and said; the model never sees it. Prints a table, or JSON.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image as Picture

from model.checkpoint import EMBEDDED, CheckpointError, open_checkpoint
from model.decoding.grammar import Request
from model.decoding.rollout import rollout
from model.events import Failed, Preview, TrajectoryFinished, advance
from model.janus import Janus
from model.trajectory import Reflection, Sampling, Thought, Trajectory
from model.world.language import CATEGORIES, Description, category_of, sample_description, write
from model.world.plan import read_plan
from model.world.reasons import claim_holds, read_reason
from model.world.scene import random_scene, render
from model.world.verifier import Reading, accepted, check, read

GENEVAL = CATEGORIES[:6]  # the six categories of GenEval; the others are ours


@dataclass(frozen=True)
class Judged:
    """One trajectory and what the verifier reads in each of its pictures."""

    description: Description
    trajectory: Trajectory
    readings: tuple[Reading, ...]

    def accepted(self, image: int) -> bool:
        return accepted(check(self.description, self.readings[image]))


@dataclass(frozen=True)
class Report:
    """All shares in 0…1; None where there was nothing to count."""

    prompts: int
    first: float  # first drafts the verifier accepts
    final: float  # last images the verifier accepts
    by_category: dict[str, float]  # first drafts
    faithful: float | None  # objects of a thought that its drawing shows in their place
    balanced_accuracy: float | None  # of verdicts, over all images
    flagged: float | None  # of wrong images, those judged no
    passed: float | None  # of right images, those judged yes
    reasons_true: tuple[int, int]  # of the reasons for “no”: how many name a true defect, of how many
    images: float  # per trajectory


def descriptions(count: int, categories: Sequence[str], seed: int) -> list[Description]:
    """The same test prompts for every checkpoint, categories in turn."""
    rng = random.Random(f"evaluation {seed}")
    return [sample_description(rng, categories[i % len(categories)]) for i in range(count)]


def judge_all(
    janus: Janus, wanted: Sequence[Description], sampling: Sampling, rounds: int, batch: int, seed: int
) -> list[Judged]:
    """Roll out every description once; the i-th has seed `seed + i`."""
    requests = [
        Request(write(description), seed + i, rounds, sampling, preview_every=None, id=str(i))
        for i, description in enumerate(wanted)
    ]
    running: dict[str, Trajectory] = {}
    readings: dict[str, list[Reading]] = {request.id: [] for request in requests}
    ended = 0
    for event in rollout(janus, requests, at_once=batch):
        running[event.trajectory_id] = advance(running.get(event.trajectory_id), event)
        match event:
            case Preview(whole=True):
                picture = np.asarray(Picture.open(io.BytesIO(event.png)).convert("RGB"))
                readings[event.trajectory_id].append(read(picture))
            case TrajectoryFinished() | Failed():
                ended += 1
                print(f"\r{ended} of {len(requests)}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return [Judged(d, running[str(i)], tuple(readings[str(i)])) for i, d in enumerate(wanted)]


def report(judged: Sequence[Judged]) -> Report:
    verdicts = [
        (one.accepted(i), reflection.answer == "yes")
        for one in judged
        for i, reflection in enumerate(one.trajectory.reflections)
    ]
    passed = share(says for right, says in verdicts if right)
    flagged = share(not says for right, says in verdicts if not right)
    categories = dict.fromkeys(category_of(one.description) for one in judged)
    return Report(
        prompts=len(judged),
        first=share(one.accepted(0) for one in judged) or 0.0,
        final=share(one.accepted(-1) for one in judged) or 0.0,
        by_category={
            name: share(one.accepted(0) for one in judged if category_of(one.description) == name) or 0.0
            for name in categories
        },
        faithful=share(kept for one in judged for kept in objects_kept(one)),
        balanced_accuracy=None if passed is None or flagged is None else (passed + flagged) / 2,
        flagged=flagged,
        passed=passed,
        reasons_true=reasons_true(judged),
        images=sum(len(one.readings) for one in judged) / max(1, len(judged)),
    )


def share(values) -> float | None:
    known = list(values)
    return sum(known) / len(known) if known else None


def objects_kept(one: Judged) -> list[bool]:
    """For every object of every thought: whether the drawing after it shows it where the thought says."""
    kept: list[bool] = []
    thoughts = [s for s in one.trajectory.segments if isinstance(s, Thought)]
    for thought, reading in zip(thoughts, one.readings, strict=False):
        try:
            planned = read_plan(thought.text).items
        except ValueError:
            kept.append(False)
            continue
        kept += [item in reading.items for item in planned]
    return kept


def reasons_true(judged: Sequence[Judged]) -> tuple[int, int]:
    """Reasons for “no” that name a defect the verifier finds too, and how many were given."""
    true, given = 0, 0
    for one in judged:
        for reading, reflection in zip(one.readings, one.trajectory.reflections, strict=False):
            if reflection.answer == "no":
                given += 1
                true += reason_is_true(one.description, reading, reflection)
    return true, given


def reason_is_true(description: Description, reading: Reading, reflection: Reflection) -> bool:
    said = "".join(token.text for token in reflection.tokens[1:])
    claim = read_reason(said)
    return claim is not None and claim_holds(claim, description, reading)


def read_back(janus: Janus, count: int, batch: int = 25) -> dict[str, float]:
    """Of random scenes, after encode → decode: the share the verifier reads identically, PSNR in dB."""
    rng, right, errors = random.Random("read back"), 0, []
    for start in range(0, count, batch):
        scenes = [random_scene(rng, rng.randint(1, 6)) for _ in range(min(batch, count - start))]
        images = np.stack([render(scene) for scene in scenes])
        drawn = janus.decode(janus.encode(images))
        right += sum(read(image) == Reading(scene.items) for image, scene in zip(drawn, scenes, strict=True))
        errors += ((drawn.astype(float) - images) ** 2).mean((1, 2, 3)).tolist()
    return {"read_back": right / count, "psnr_db": float(10 * np.log10(255**2 / max(np.mean(errors), 1e-9)))}


def table(reports: dict[str, Report]) -> str:
    """Columns are settings, rows are figures."""
    rows: list[tuple[str, list[str]]] = [
        ("prompts", [str(r.prompts) for r in reports.values()]),
        ("first draft", [percent(r.first) for r in reports.values()]),
    ]
    for category in next(iter(reports.values())).by_category:
        rows.append((f"  {category}", [percent(r.by_category[category]) for r in reports.values()]))
    rows += [
        ("final image", [percent(r.final) for r in reports.values()]),
        ("drawing follows thought", [percent(r.faithful) for r in reports.values()]),
        ("verdict, balanced", [percent(r.balanced_accuracy) for r in reports.values()]),
        ("  wrong images flagged", [percent(r.flagged) for r in reports.values()]),
        ("  right images passed", [percent(r.passed) for r in reports.values()]),
        ("reasons for no, true", ["{} of {}".format(*r.reasons_true) for r in reports.values()]),
        ("images per prompt", [f"{r.images:.2f}" for r in reports.values()]),
    ]
    lines = [f"{'':26}" + "".join(f"{name:>18}" for name in reports)]
    lines += [f"{name:26}" + "".join(f"{value:>18}" for value in values) for name, values in rows]
    return "\n".join(lines)


def percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m model.evaluate", description=__doc__.split("\n")[0])
    parser.add_argument("--checkpoint", default=str(EMBEDDED), help="a folder (default: embedded)")
    parser.add_argument("--prompts", type=int, default=120, help="how many, spread over the categories")
    parser.add_argument("--mixed", action="store_true", help="with the seventh category, combinations")
    parser.add_argument("--rounds", type=int, default=3, help="images at most")
    parser.add_argument("--batch", type=int, default=16, help="trajectories at once")
    parser.add_argument("--seed", type=int, default=0, help="of the prompts and of the drawings")
    parser.add_argument("--temperature", type=float, help="of image codes (default: the checkpoint's)")
    parser.add_argument("--text-temperature", type=float, help="of thoughts and reflections")
    parser.add_argument("--codec", type=int, metavar="N", help="only: how well the codec keeps N random scenes")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args()
    try:
        janus = open_checkpoint(arguments.checkpoint)
    except CheckpointError as error:
        sys.exit(f"evaluate: {error}")
    if arguments.codec:
        kept = read_back(janus, arguments.codec)
        shown = f"{kept['read_back']:.2%} of {arguments.codec} scenes read back identically, {kept['psnr_db']:.1f} dB"
        print(json.dumps(kept) if arguments.json else shown)
        return
    given = {"temperature": arguments.temperature, "text_temperature": arguments.text_temperature}
    sampling = replace(janus.sampling, **{key: value for key, value in given.items() if value is not None})
    wanted = descriptions(arguments.prompts, CATEGORIES if arguments.mixed else GENEVAL, arguments.seed)
    reports = {}
    for name, thinks in (("with the thought", True), ("without", False)):
        chosen = replace(sampling, thinks=thinks)
        judged = judge_all(janus, wanted, chosen, arguments.rounds, arguments.batch, arguments.seed)
        reports[name] = report(judged)
    if arguments.json:
        print(json.dumps({name: vars(one) for name, one in reports.items()}, indent=2))
    else:
        print(table(reports))


if __name__ == "__main__":
    main()
