"""Benchmark of ten corrections of one kind of defect, learnt by `adapters/teaching.py`: gain and forgetting.

    python -m model.training.embedded.correction_benchmark --checkpoint rl --out corrected

The corrections are of pictures that the checkpoint misjudges, written as the verifier would. It prints of every kind:
corrections judged as corrected, held-out pictures of the same kind that it misjudged, fixed pictures judged right and
fixed prompts drawn right before and after (by importance weights: `drift`), and seconds.
"""

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as Picture

from model.backends.checkpoint.loading import EMBEDDED
from model.backends.janus import Janus
from model.decoding.load_for_inference import open_checkpoint
from model.evaluation.bootstrap import Proportion, difference
from model.examples import JudgeExample
from model.images import encode_png
from model.training.adapters.teaching import TeachingSettings, teach, verdicts_right
from model.training.dataset import SFT_ROWS, DataError, rows_from
from model.training.embedded.drift import ParentRollout, compared, parent_rollouts, scored
from model.training.policy import Policy
from model.training.runs.command import add_settings, bounded, run_command
from model.training.training_sequences import TrainingSequence
from model.training.world_data.world_sequences import reflect
from model.world.defects import DEFECTS, spoil, spoil_as
from model.world.language import Description, write
from model.world.random_scenes import sample_scene
from model.world.scene import render
from model.world.splits import GENEVAL, HARD, held_out_prompts, sample_training

TAUGHT = 10  # corrections that are learnt
MOST_SHOWN = 3000  # pictures that are judged in search of a kind's faults
AT_ONCE = 16  # pictures that are made and judged together


@dataclass(frozen=True)
class Fixed:
    """What is not corrected: pictures to judge, with the parent's verdicts, and the parent's drawings."""

    judging: Sequence[TrainingSequence]
    judged: Sequence[bool]
    drawings: Sequence[ParentRollout]


def sequences_of(janus: Janus, examples: Sequence[JudgeExample]) -> list[TrainingSequence]:
    rows = rows_from(janus, examples, SFT_ROWS)
    return [rows[at] for at in range(len(rows))]


def faults(janus: Janus, kind: str, count: int, seed: int) -> list[JudgeExample]:
    """`count` pictures of hard prompts with one defect of a kind that the network accepts, and what is true of them.
    Raises DataError where it accepts too few."""
    rng, known = random.Random(f"lessons {seed} {kind}"), []
    for _ in range(0, MOST_SHOWN, AT_ONCE):
        shown = [_defective(rng, kind) for _ in range(AT_ONCE)]
        right = verdicts_right(janus, sequences_of(janus, shown))
        known += [example for example, judged in zip(shown, right, strict=True) if not judged]
        print(f"\r{kind}: {min(len(known), count)} of {count} faults", end="", file=sys.stderr, flush=True)
        if len(known) >= count:
            print(file=sys.stderr)
            return known[:count]
    raise DataError(f"of {MOST_SHOWN} pictures with the defect “{kind}” only {len(known)} are accepted, not {count}")


def _defective(rng: random.Random, kind: str) -> JudgeExample:
    picture = None
    while picture is None:
        description = sample_training(rng, HARD[0])
        picture = spoil_as(rng, kind, description, sample_scene(rng, description))
    return _example(rng, description, picture)


def _example(rng: random.Random, description: Description, picture: np.ndarray) -> JudgeExample:
    png = encode_png(Picture.fromarray(picture))
    return JudgeExample(write(description), (png,), (), reflect(rng, description, picture), decided=True)


def fixed_pictures(count: int) -> list[JudgeExample]:
    """Of held-out prompts, GenEval-like and hard in turn; every second pair is right, the others have one defect."""
    rng, examples = random.Random("fixed pictures"), []
    prompts = [held_out_prompts(-(-count // 2), categories, 2) for categories in (GENEVAL, HARD)]
    for number in range(count):
        prompt = prompts[number % 2][number // 2]
        scene = sample_scene(rng, prompt)
        examples.append(_example(rng, prompt, spoil(rng, prompt, scene)[1] if number % 4 > 1 else render(scene)))
    return examples


def fixed(janus: Janus, judged: int, drawn: int) -> Fixed:
    """Pictures and held-out prompts, two thirds of these GenEval-like, drawn without a thought."""
    judging = sequences_of(janus, fixed_pictures(judged))
    geneval, hard = held_out_prompts(drawn - drawn // 3, GENEVAL, 1), held_out_prompts(drawn // 3, HARD, 1)
    return Fixed(judging, verdicts_right(janus, judging), parent_rollouts(janus, [*geneval, *hard], 1, thinks=False))


def measured(
    source: str,
    parent: Policy,
    kind: str,
    examples: Sequence[JudgeExample],
    about: Fixed,
    out: Path,
    settings: TeachingSettings,
) -> dict[str, Any]:
    """Learn the first TAUGHT examples; the figures before and after, as plain values."""
    began, busy = time.monotonic(), time.process_time()
    taught = teach(source, examples[:TAUGHT], out / kind.replace(" ", "-"), settings)
    seconds, busy = time.monotonic() - began, time.process_time() - busy
    corrected, others = (
        verdicts_right(taught, sequences_of(taught, part)) for part in (examples[:TAUGHT], examples[TAUGHT:])
    )
    before, after = (
        Proportion.from_pairs([(value, 1) for value in each])
        for each in (about.judged, verdicts_right(taught, about.judging))
    )
    drawn = compared(about.drawings, scored(parent, Policy(taught), about.drawings)).get("first draft")
    return {
        "kind": kind,
        "corrected": [sum(corrected), len(corrected)],
        "held_out": [sum(others), len(others)],
        "judged": [before.value, after.value, difference(after, before)],
        "drawn": drawn and [drawn[0].value, drawn[1].value, difference(drawn[1], drawn[0])],
        "seconds": round(seconds, 1),
        "processor_seconds": round(busy, 1),
    }


def shown(row: dict[str, Any]) -> str:
    """The figures of one kind as a line."""
    cells = [f"{row[name][0]} of {row[name][1]}" for name in ("corrected", "held_out")]
    cells += [change_in_words(row[name]) for name in ("judged", "drawn")]
    took = f"{row['seconds']:6.1f} s, {row['processor_seconds']:.1f} of a core"
    return f"{row['kind']:18}{cells[0]:>10}{cells[1]:>10}  {cells[2]:38}{cells[3]:38}{took}"


def change_in_words(values: Sequence[Any] | None) -> str:
    """Before, after, and the difference with its interval; a dash where too few drawings would be drawn again."""
    if values is None:
        return "–"
    before, after, change = values
    return f"{before:.1%} → {after:.1%} ({{:+.1f}}, {{:+.1f}} to {{:+.1f}})".format(*(100 * each for each in change))


def run(arguments: argparse.Namespace) -> None:
    """Raises CheckpointError, DataError and what `teach` raises."""
    settings = TeachingSettings(**{name: getattr(arguments, name) for name in asdict(TeachingSettings())})
    janus = open_checkpoint(arguments.checkpoint, dtype=torch.float32, device="cpu")
    torch.set_num_threads(1)  # as in `teach`
    if arguments.out.exists():
        raise DataError(f"{arguments.out} is there already; choose another --out")
    about = fixed(janus, arguments.judged, arguments.drawn)
    rows: list[dict[str, Any]] = []
    print(
        f"{'':18}{'corrected':>10}{'held out':>10}  {'fixed pictures judged right':38}{'fixed prompts drawn right':38}"
    )
    for kind in arguments.kinds:
        examples = faults(janus, kind, TAUGHT + arguments.held_out, arguments.seed)
        rows.append(measured(arguments.checkpoint, Policy(janus), kind, examples, about, arguments.out, settings))
        print(shown(rows[-1]), flush=True)
    print(f"median of {len(rows)}: {statistics.median(row['seconds'] for row in rows):.1f} s")
    (arguments.out / "corrections.json").write_text(json.dumps({"settings": asdict(settings), "kinds": rows}, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m model.training.embedded.correction_benchmark", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--checkpoint", default=str(EMBEDDED), help="what is taught")
    kinds = ["wrong colour", "swapped colours", "missing object", "smeared sprite", "one moved"]
    parser.add_argument("--kinds", nargs="+", choices=tuple(DEFECTS), default=kinds, help="defects that it overlooks")
    parser.add_argument("--held-out", type=bounded(int, 1, 1000), default=20, help="further faults of each kind")
    parser.add_argument("--judged", type=bounded(int, 1, 10**5), default=400, help="fixed pictures")
    parser.add_argument("--drawn", type=bounded(int, 1, 10**5), default=120, help="fixed prompts")
    parser.add_argument("--out", type=Path, required=True, help="a new folder for the adapters and corrections.json")
    add_settings(parser, TeachingSettings())
    arguments = parser.parse_args()
    run_command("correction_benchmark", lambda: run(arguments), DataError)


if __name__ == "__main__":
    main()
