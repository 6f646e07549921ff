"""What corrections bring, measured: `python -m studio.study --out STUDY --sizes 100 1000 --seeds 1`

From a checkpoint with faults: it draws; annotators simulated by the embedded world's verifier, a stated share of whose
answers is wrong, answer its drawings through a store and a queue of their own; exports; SFT, then DPO, then (where
asked for) GRPO; after each, drawing, verdict, reason, repair and damage on held-out prompts. Beside it a control, in
which the same drawings are confirmed as the checkpoint judged them, and a critic in the place of the annotators, both
with the same number of steps. No person answers anything. What was done lies in --out, and the same command goes on.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from annotations.errors import AnnotationsError
from annotations.store.store import Store, open_store
from model.atomic_files import write_whole
from model.backends.contract import CheckpointError
from model.backends.registry import open_backend
from model.evaluation.simulated_annotators import (
    AgreeingAnnotator,
    SimulatedAnnotator,
    VerifierAnnotator,
    critic_annotator,
)
from studio.study.arms import KINDS, Arm, HeldOut, StudyError, StudyStage, Trainer, in_a_process, measured, run_arm
from studio.study.labelling import DrawingSettings, answer, draw, drawing, export_kinds, open_project
from studio.study.report import Results, lines, plot, to_json

SOURCES = ("corrections", "control", "critic")
EXPORTED = (*KINDS["sft"], *KINDS["dpo"])


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(prog="python -m studio.study", description=__doc__.split("\n")[0])
    add = result.add_argument
    add("--out", type=Path, required=True, help="a folder for everything; the same study goes on there")
    add("--checkpoint", default="sft", help="what is corrected (default: %(default)s)")
    add("--critic", default="rl", help="the checkpoint that labels in the place of annotators (default: %(default)s)")
    add("--sizes", type=int, nargs="+", default=[100, 300, 1000, 3000], help="numbers of answered drawings")
    add("--seeds", type=int, default=3, help="how many, from --first-seed on")
    add("--first-seed", type=int, default=0)
    add("--error-rate", type=float, default=0.05, help="share of the simulated annotators' answers that are wrong")
    add("--hard-share", type=float, default=0.5, help="of the drawings' prompts")
    add("--prompts", type=int, default=2000, help="held-out ones: half GenEval-like, half hard")
    add("--rounds", type=int, default=2, help="images at most, of every drawing")
    add("--stages", nargs="+", choices=tuple(KINDS), default=["sft", "dpo"], help="in this order")
    add("--sources", nargs="+", choices=SOURCES, default=list(SOURCES), help="who answers")
    add("--steps", type=int, default=100, help="of every stage")
    add("--dpo-kinds", nargs="+", choices=KINDS["dpo"], default=list(KINDS["dpo"]), help="what DPO learns from")
    for method in KINDS:
        add(f"--{method}-options", default="", metavar="OPTIONS", help=f"of model.training.{method}, as one text")
    add("--batch", type=int, default=32, help="trajectories drawn at once")
    add("--json", action="store_true", help="print JSON instead of the table")
    return result


def settings_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """What makes a study another one."""
    shared = ("checkpoint", "critic", "error_rate", "hard_share", "prompts", "rounds", "steps", "dpo_kinds")
    options = tuple(f"{method}_options" for method in KINDS)
    return {name: getattr(arguments, name) for name in (*shared, *options)}


def check(arguments: argparse.Namespace) -> None:
    """Raises StudyError for a folder of another study, and for numbers that make none."""
    if min(*arguments.sizes, arguments.seeds, arguments.steps, arguments.prompts - 1) < 1:
        raise StudyError("--sizes, --seeds and --steps are 1 at least, --prompts 2")
    if not 0 <= arguments.error_rate <= 1 or not 0 <= arguments.hard_share <= 1:
        raise StudyError("--error-rate and --hard-share are shares from 0 to 1")
    file, settings = arguments.out / "study.json", settings_of(arguments)
    if not file.exists():
        if arguments.out.exists() and any(arguments.out.iterdir()):
            raise StudyError(f"{arguments.out} is there already and holds no study; choose another --out")
        arguments.out.mkdir(parents=True, exist_ok=True)
        write_whole(file, json.dumps(settings, indent=2), mode=0o644)
    elif (known := {"dpo_kinds": list(KINDS["dpo"])} | json.loads(file.read_text("utf-8"))) != settings:
        other = [name for name in settings if known.get(name) != settings[name]]
        raise StudyError(f"{arguments.out} holds a study with another {', '.join(other)}; choose another --out")


def annotator_of(
    source: str, store: Store, drawings: Sequence[str], arguments: argparse.Namespace, seed: int
) -> SimulatedAnnotator:
    match source:
        case "corrections":
            return VerifierAnnotator(arguments.error_rate, seed)
        case "control":
            return AgreeingAnnotator()
    shown = [drawing(store, trajectory_id) for trajectory_id in drawings]
    return critic_annotator(open_backend(arguments.critic), shown, arguments.batch)


def label(arguments: argparse.Namespace, seed: int, arms: Sequence[Arm]) -> None:
    """Drawings, answers and exports of all arms of one seed. Raises StudyError for a size that has been passed."""
    folder = arguments.out / f"seed-{seed}"
    open_arms = [arm for arm in arms if not (folder / arm.name / "exports" / "done").exists()]
    if not open_arms:
        return
    most = max(arm.size for arm in arms)
    settings = DrawingSettings(most, arguments.hard_share, arguments.rounds, arguments.batch, seed)
    with open_store(folder / "data") as store:
        drawings = draw(store, open_backend(arguments.checkpoint), settings)
        for source in dict.fromkeys(arm.source for arm in open_arms):
            simulated = annotator_of(source, store, drawings, arguments, seed)
            open_project(store, source, drawings)
            for arm in sorted((arm for arm in open_arms if arm.source == source), key=lambda arm: arm.size):
                answered = answer(store, source, simulated, arm.size)
                if answered != arm.size:
                    raise StudyError(
                        f"{answered} drawings of {source} are answered, not {arm.size}; choose another --out"
                    )
                exports = folder / arm.name / "exports"
                made = export_kinds(store, source, EXPORTED, exports)
                summary = f"{simulated.about}; {answered} drawings answered; {', '.join(made)}"
                print(f"seed {seed}, {arm.name}: {summary}", file=sys.stderr, flush=True)
                write_whole(exports / "done", summary + "\n", mode=0o644)


def arms_of(arguments: argparse.Namespace, seed: int) -> list[Arm]:
    """Corrections at every size; the others, whose number of steps is the same, at the largest."""
    sizes = sorted(set(arguments.sizes))
    arms = [Arm("corrections", size, seed) for size in reversed(sizes) if "corrections" in arguments.sources]
    others = [Arm(source, sizes[-1], seed) for source in SOURCES[1:] if source in arguments.sources]
    return [*arms[:1], *others, *arms[1:]]


def run(arguments: argparse.Namespace, train: Trainer = in_a_process) -> Results:
    """Raises StudyError, CheckpointError and AnnotationsError."""
    check(arguments)
    held_out = HeldOut(arguments.prompts, arguments.rounds, arguments.batch)
    stages = [
        StudyStage(
            method,
            arguments.steps,
            tuple(getattr(arguments, f"{method}_options").split()),
            tuple(arguments.dpo_kinds) if method == "dpo" else (),
        )
        for method in arguments.stages
    ]
    results = Results(measured(arguments.checkpoint, held_out, arguments.out / "start.figures.json", {}))
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
        arms = arms_of(arguments, seed)
        label(arguments, seed, arms)
        for arm in arms:
            folder = arguments.out / f"seed-{seed}" / arm.name
            exports = {kind: folder / "exports" / kind for kind in EXPORTED if (folder / "exports" / kind).exists()}
            results.arms[arm] = run_arm(arm, stages, exports, arguments.checkpoint, folder, held_out, train)
            write_report(results, arguments)
    return results


def write_report(results: Results, arguments: argparse.Namespace) -> None:
    """Table, JSON and plot of what is there by now."""
    about = settings_of(arguments) | {"annotators": VerifierAnnotator(arguments.error_rate).about}
    write_whole(arguments.out / "results.json", json.dumps(to_json(results, about), indent=2), mode=0o644)
    write_whole(arguments.out / "results.txt", "\n".join(lines(results)) + "\n", mode=0o644)
    plot(results, arguments.out / "results.png")


def main() -> None:
    arguments = parser().parse_args()
    try:
        results = run(arguments)
    except (StudyError, CheckpointError, AnnotationsError, OSError) as error:
        sys.exit(f"study: {error}")
    if arguments.json:
        print((arguments.out / "results.json").read_text("utf-8"))
        return
    print(f"Annotators are {VerifierAnnotator(arguments.error_rate).about}; no person answered anything.\n")
    print("\n".join(lines(results)))


if __name__ == "__main__":
    main()
