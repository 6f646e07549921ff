r"""Evaluate checkpoints on the embedded world: `python -m model.evaluate --prompts 120`

    python -m model.evaluate --compare sft rl --prompts 300 --hard 160 --edits 100
    python -m model.evaluate --compare sft rl --prompts 0 --hard 200 --four-kinds 80 --facts 20 \
        --rounds 4 --best-of 4 --contexts --record ROLLOUTS

On held-out prompts, the same with the same seeds for every checkpoint; the world's verifier referees what was drawn and
said. Prints tables, or JSON, which `model.evaluation.plots` draws. Intervals are paired bootstraps over prompts, 95 %.
With --record several processes (`accelerate launch`, `torchrun`) draw their shares; the first prints.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from model.backends.contract import Backend, CheckpointError, UnavailableError
from model.backends.registry import DEFAULT, backend_name, open_backend
from model.backends.request import RequestError
from model.distributed.append_log import RecordError
from model.distributed.command_line import ending_in_a_line
from model.distributed.processes import Processes, join_processes
from model.evaluation.budgets import attempt_requests, attempts_of, budget_figures, fact_figures
from model.evaluation.codec_fidelity import fidelity
from model.evaluation.figures import edit_all, edit_figures, figures, held_out_edits, verdict_auroc
from model.evaluation.finished_rollouts import RolloutError
from model.evaluation.judging_contexts import context_figures, context_requests, planned_drafts
from model.evaluation.recorded import RecordedRollouts, checkpoint_stamp, judge_recorded
from model.evaluation.report import Constant, Results, changes, comparisons, record, setting, table, to_json
from model.trajectory import Sampling
from model.world.language import Description
from model.world.splits import GENEVAL, HARD, fact_count, held_out_prompts, never_trained_prompts, prompts_by_facts

BY_FACTS = "by number of facts"


def evaluate(backend: Backend, arguments: argparse.Namespace, recorded: RecordedRollouts | None = None) -> Results:
    """Everything about one checkpoint, by split and with or without the thought."""
    results: Results = {}
    sampling = chosen(backend, arguments)
    thinks = backend.sampling.thinks and not arguments.no_thought
    ways = [replace(sampling, thinks=thinks) for thinks in ((True, False) if thinks else (False,))]
    after_no = arguments.plan_after_no and backend.sampling.thinks
    drawn = [*ways, replace(sampling, thinks=False, thinks_after_no=True)] if after_no else ways
    for split, prompts in test_prompts(arguments).items():
        for way in drawn if prompts else ():
            results |= drawings(backend, split, prompts, way, arguments, recorded)
    edits = held_out_edits(arguments.edits, arguments.seed)
    for way in ways if edits else ():
        done = edit_all(backend, edits, way, arguments.batch, arguments.seed)
        results[setting("edits", way)] = edit_figures(done)
    return results


def test_prompts(arguments: argparse.Namespace) -> dict[str, list[Description]]:
    """The prompts of every split, the same for every checkpoint."""
    seed = arguments.seed
    return {
        "GenEval-like": held_out_prompts(arguments.prompts, GENEVAL, seed),
        "hard": held_out_prompts(arguments.hard, HARD, seed),
        "four kinds": never_trained_prompts(arguments.four_kinds, seed),
        BY_FACTS: prompts_by_facts(arguments.facts, seed),
    }


def drawings(
    backend: Backend,
    split: str,
    prompts: list[Description],
    sampling: Sampling,
    arguments: argparse.Namespace,
    recorded: RecordedRollouts | None,
) -> Results:
    """The figures of one split, drawn in one way; where asked for, also by budget of edits and judge's context."""
    name, drafts = setting(split, sampling), 1 if split == BY_FACTS else arguments.best_of
    requests = attempt_requests(prompts, sampling, arguments.rounds, drafts, arguments.seed)
    judged = judge_recorded(backend, requests, prompts * drafts, arguments.batch, recorded)
    attempts = attempts_of(judged, len(prompts))
    if split == BY_FACTS:
        return {name: fact_figures(attempts, [fact_count(description) for description in prompts])}
    rollouts = [each.rollout for each in attempts]
    results: Results = {name: figures(rollouts) | {"verdict, AUROC": Constant(verdict_auroc(rollouts), len(rollouts))}}
    if drafts > 1:
        results[f"{name}, by budget"] = budget_figures(attempts, arguments.rounds - 1)
    if arguments.contexts and sampling.thinks:
        planned = planned_drafts(attempts)
        asked = judge_recorded(backend, *context_requests(planned, sampling), arguments.batch, recorded)
        results[f"{name}, judged by"] = context_figures(planned, asked, len(prompts))
    return results


def chosen(backend: Backend, arguments: argparse.Namespace) -> Sampling:
    options = {name: getattr(arguments, name) for name in ("guidance", "temperature", "text_temperature")}
    return replace(backend.sampling, **{name: value for name, value in options.items() if value is not None})


def named(sources: Sequence[str]) -> dict[str, str]:
    """Checkpoints (of the shipped ones, folders, or Hub ids) by what to call them."""
    by_name: dict[str, str] = {}
    for source in sources:
        short = Path(backend_name(source)).name
        by_name[short if short not in by_name else f"{source} ({len(by_name) + 1})"] = source
    return by_name


def recorded_at(folder: Path | None, name: str, source: str, processes: Processes) -> RecordedRollouts | None:
    """Where the rollouts of a checkpoint are kept. Raises RecordError and OSError."""
    file = f"{name.replace('/', '_')}.jsonl"
    return None if folder is None else RecordedRollouts(folder / file, checkpoint_stamp(source), processes)


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(prog="python -m model.evaluate", description=__doc__.split("\n")[0])
    result.add_argument("--checkpoint", default=DEFAULT, help="a folder or Hub id (default: embedded)")
    result.add_argument("--compare", nargs="+", metavar="CHECKPOINT", help="several, side by side")
    result.add_argument("--prompts", type=int, default=120, help="GenEval-like ones, spread over the six categories")
    result.add_argument("--hard", type=int, default=0, help="hard ones: three to six objects, related")
    result.add_argument("--four-kinds", type=int, default=0, help="of four kinds of objects; training has three")
    result.add_argument("--facts", type=int, default=0, help="as many prompts of every number of facts, 2 to 10")
    result.add_argument(
        "--best-of", type=int, default=1, metavar="N", help="independent drafts, against as many images by reflection"
    )
    result.add_argument(
        "--contexts", action="store_true", help="judge planned drafts by prompt and thought, and by the thought alone"
    )
    result.add_argument(
        "--plan-after-no",
        action="store_true",
        help="also as Draw does it at once: the first draft without a plan, redraws with one",
    )
    result.add_argument("--record", type=Path, metavar="FOLDER", help="keep rollouts there; the same again goes on")
    result.add_argument("--no-thought", action="store_true", help="only without a thought first")
    result.add_argument("--edits", type=int, default=0, help="edits of given pictures")
    result.add_argument("--rounds", type=int, default=3, help="images at most")
    result.add_argument("--batch", type=int, default=32, help="trajectories at once")
    result.add_argument("--seed", type=int, default=0, help="of the prompts and of the drawings")
    result.add_argument("--guidance", type=float, help="classifier-free guidance weight (default: the checkpoint's)")
    result.add_argument("--temperature", type=float, help="of image codes (default: the checkpoint's)")
    result.add_argument("--text-temperature", type=float, help="of thoughts and reflections")
    result.add_argument("--codec", type=int, metavar="N", help="only: how well the codec keeps N random scenes")
    result.add_argument("--json", action="store_true", help="print JSON instead of tables")
    return result


def print_fidelity(codecs: dict[str, dict[str, float]], arguments: argparse.Namespace) -> None:
    for name, codec in codecs.items():
        share = f"{codec['read_back']:.2%} of {arguments.codec} scenes read back identically"
        print(json.dumps(codec) if arguments.json else f"{name}: {share}, {codec['psnr_db']:.1f} dB")


def main() -> None:
    arguments = parser().parse_args()
    counts = ("prompts", "hard", "four_kinds", "facts", "edits", "codec")
    if not any(getattr(arguments, name) for name in counts):
        options = ", ".join(f"--{name.replace('_', '-')}" for name in counts)
        sys.exit(f"evaluate: nothing to measure; give one of {options} a number")
    processes = join_processes()
    if processes.count > 1 and (arguments.record is None or arguments.edits or arguments.codec):
        sys.exit("evaluate: several processes share drawings by --record FOLDER; measure --edits and --codec in one")
    going_on = f"with --record {arguments.record or 'FOLDER'} the same command goes on where it was"
    expected = (CheckpointError, RecordError, RequestError, RolloutError, UnavailableError, OSError)
    with ending_in_a_line("evaluate", *expected, interrupted=going_on):
        sources = named(arguments.compare or [arguments.checkpoint])
        if arguments.codec:
            print_fidelity(fidelity(sources, arguments.codec), arguments)
            return
        backends = {name: open_backend(source, device=processes.device()) for name, source in sources.items()}
        records = {name: recorded_at(arguments.record, name, source, processes) for name, source in sources.items()}
        results = {name: evaluate(backend, arguments, records[name]) for name, backend in backends.items()}
    if processes.is_first:
        print_results(results, arguments)


def print_results(results: dict[str, Results], arguments: argparse.Namespace) -> None:
    if arguments.json:
        print(json.dumps(to_json(results), indent=2))
    else:
        summary = [record(results)] if arguments.prompts else []
        print(*filter(None, (table(results), comparisons(results), changes(results), *summary)), sep="\n\n")


if __name__ == "__main__":
    main()
