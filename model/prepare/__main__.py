"""Prepare training data as Janus-Pro-R1 does: `python -m model.prepare --out DATA`

    python -m model.prepare --prompts prompts.txt --painter base rl --images 8 --critic verifier --out DATA
    accelerate launch --num_processes 8 -m model.prepare --prompts prompts.txt --painter diffusion:PIPELINE \\
        --critic MODEL --out DATA

Every painter draws its images of every prompt, a critic scores each by S = P(yes) / (P(yes) + P(no)) and says why, and
what passes the thresholds becomes rows of the three tasks. Images of painter and critic are kept one by one: the same
command again resumes it, and with other thresholds draws nothing.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from model.backends.checkpoint.loading import DTYPES
from model.backends.contract import Backend, CheckpointError, UnavailableError
from model.backends.critic import Critic, VisionLanguageCritic, open_critic
from model.backends.registry import DEFAULT, backend_name, open_backend, painter_source
from model.backends.request import RequestError
from model.distributed.append_log import RecordError
from model.distributed.command_line import ending_in_a_line
from model.distributed.processes import Processes, join_processes
from model.distributed.prompt_file import read_prompt_file
from model.evaluation.recorded import checkpoint_stamp
from model.prepare.drawing import PrepareProgress, draw_missing, score_missing
from model.prepare.embedded_world import VERIFIER, VerifierCritic, training_prompts
from model.prepare.report import REPORT, PrepareTally, summary, table, write_report
from model.prepare.rows import COLUMNS, RowMaker
from model.prepare.scored_images import PainterSettings, PlannedImage, PrepareError
from model.prepare.selection import JudgeBalance, Selection, Thresholds, select
from model.prepare.workspace import Workspace
from model.prepare.writing import write_labels, write_shards

RELEASED = "released"  # beside the kinds of rows: labels in the released format


@dataclass(frozen=True)
class Preparation:
    """What is to be prepared."""

    prompts: Sequence[str]
    images: int  # of every prompt by every painter
    seed: int
    thresholds: Thresholds

    def plans(self, painters: Sequence[PainterSettings]) -> Iterator[PlannedImage]:
        """All images, prompt by prompt."""
        for prompt in self.prompts:
            yield from self.plans_of(painters, prompt)

    def plans_of(self, painters: Sequence[PainterSettings], prompt: str) -> Iterator[PlannedImage]:
        """The images of a prompt."""
        for painter in painters:
            yield from PlannedImage.of(painter, prompt, self.images, self.seed)

    def progress(self, painters: Sequence[PainterSettings], what: str, *, shown: bool) -> PrepareProgress:
        return PrepareProgress(len(self.prompts) * self.images * len(painters), what, shown=shown)


def main() -> None:
    arguments = parser().parse_args()
    processes = join_processes()
    expected = (CheckpointError, PrepareError, RecordError, RequestError, UnavailableError, OSError)
    with ending_in_a_line("prepare", *expected, interrupted="what is done is kept, and the same command goes on"):
        preparation = read_preparation(arguments)
        workspace = Workspace(arguments.out, processes)
        processes.wait()  # until all have opened the logs
        own = replace(preparation, prompts=processes.share(preparation.prompts))
        painters, passes = draw(own, workspace, arguments, processes)
        critic, last = score(own, painters, workspace, arguments, processes)
        processes.wait()
        if processes.is_first:
            workspace.reread()
            write(preparation, painters, critic, workspace, arguments)
        processes.wait()  # a launcher ends all processes when one ends with a failure
    if failed := [each for each in (*passes, last) if each.failed]:
        failures = "; ".join(f"{each.failed} of {each.what} failed, the last one: {each.last_error}" for each in failed)
        sys.exit(f"prepare: {failures}. Records are made of the others; the same command tries these again")


def read_preparation(arguments: argparse.Namespace) -> Preparation:
    """Raises RequestError and OSError for a file of prompts that cannot be read, PrepareError for thresholds."""
    if arguments.prompts is None:
        prompts = training_prompts(arguments.count, arguments.seed)
    else:
        prompts = list(dict.fromkeys(read_prompt_file(arguments.prompts)))
    thresholds = Thresholds(arguments.accepted, arguments.right, arguments.wrong)
    if not 0 <= thresholds.wrong <= thresholds.right <= thresholds.accepted <= 1:
        raise PrepareError("thresholds are numbers from 0 to 1, --wrong ≤ --right ≤ --accepted")
    return Preparation(prompts, arguments.images, arguments.seed, thresholds)


def draw(
    preparation: Preparation, workspace: Workspace, arguments: argparse.Namespace, processes: Processes
) -> tuple[list[PainterSettings], list[PrepareProgress]]:
    """Draw this process's share, one painter in memory at a time."""
    painters, passes = list[PainterSettings](), list[PrepareProgress]()
    for source in dict.fromkeys(map(painter_source, arguments.painter)):
        device = processes.device(arguments.device)
        backend = open_backend(source, device=device, dtype=arguments.dtype)
        painter = painter_of(backend, source, arguments)
        progress = preparation.progress([painter], f"images drawn by {painter.name}", shown=processes.is_first)
        draw_missing(workspace, backend, preparation.plans([painter]), arguments.batch, progress)
        passes.append(progress)
        painters.append(painter)
    return painters, passes


def painter_of(backend: Backend, source: str, arguments: argparse.Namespace) -> PainterSettings:
    """A backend with the settings that it paints with: at once, unless a plan is asked for first."""
    sampling = backend.sampling if arguments.plan_first else backend.domain.first_draft(backend.sampling)
    options = {name: getattr(arguments, name) for name in ("guidance", "temperature")}
    sampling = replace(sampling, **{name: value for name, value in options.items() if value is not None})
    return PainterSettings(backend_name(source), checkpoint_stamp(source), sampling)


def score(
    preparation: Preparation,
    painters: Sequence[PainterSettings],
    workspace: Workspace,
    arguments: argparse.Namespace,
    processes: Processes,
) -> tuple[str, PrepareProgress]:
    """Score this process's share; what its scores are filed under, and what failed."""
    critic, stamp = opened_critic(arguments, processes)
    progress = preparation.progress(painters, f"images judged by {critic.name}", shown=processes.is_first)
    score_missing(workspace, critic, stamp, preparation.plans(painters), arguments.batch, progress)
    return stamp, progress


def opened_critic(arguments: argparse.Namespace, processes: Processes) -> tuple[Critic, str]:
    """The critic, and what its scores are filed under. Raises CheckpointError."""
    if arguments.critic == VERIFIER:
        return VerifierCritic(), VERIFIER
    device = processes.device(arguments.device)
    critic = open_critic(arguments.critic, device=device, dtype=arguments.dtype)
    question = critic.template.template if isinstance(critic, VisionLanguageCritic) else ""
    return critic, checkpoint_stamp(arguments.critic.partition("?")[0]) + question


def write(
    preparation: Preparation,
    painters: Sequence[PainterSettings],
    stamp: str,
    workspace: Workspace,
    arguments: argparse.Namespace,
) -> None:
    """All records and the report, in passes over the logs. Raises PrepareError where something else is in the way."""
    name = VERIFIER if arguments.critic == VERIFIER else backend_name(arguments.critic.partition("?")[0])

    def selections() -> Iterator[Selection]:
        for prompt in preparation.prompts:
            scored = list(workspace.scored(preparation.plans_of(painters, prompt), stamp))
            yield select(scored, preparation.thresholds, preparation.seed)

    tally, balance = PrepareTally(), JudgeBalance()
    for selection in selections():
        tally.add(selection, preparation.thresholds)
        balance.add(selection)
    about = {
        "prompts": len(preparation.prompts),
        "images": preparation.images,
        "seed": preparation.seed,
        "thresholds": vars(preparation.thresholds),
        "painters": [painter.name for painter in painters],
        "critic": name,
    }
    maker, rows = RowMaker(workspace, name, balance), dict[str, int]()
    for kind in arguments.kinds:
        if kind == RELEASED:
            rows[kind] = write_labels(arguments.out, selections(), preparation.thresholds)
        else:
            made = (row for selection in selections() for row in maker.rows(kind, selection))
            rows[kind] = write_shards(arguments.out, kind, made, arguments.shard, about)
    write_report(arguments.out, tally, rows, name, preparation.thresholds)
    print_summary(tally, rows, arguments)


def print_summary(tally: PrepareTally, rows: Mapping[str, int], arguments: argparse.Namespace) -> None:
    if arguments.json:
        print(json.dumps(summary(tally, rows), ensure_ascii=False))
    else:
        counts = ", ".join(f"{count} {kind}" for kind, count in rows.items())
        print(table(tally), f"rows: {counts}", f"report: {arguments.out / REPORT}", sep="\n")


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(
        prog="python -m model.prepare", description="Prepare training data: images of prompts, scored, as rows."
    )
    paper = Thresholds()
    result.add_argument("--prompts", type=Path, help="a text file with one prompt per line (default: the world's own)")
    result.add_argument("--count", type=whole, default=200, help="without --prompts: so many of the embedded world's")
    painters = f"what paints: checkpoints, or diffusion:PIPELINE (default: {DEFAULT})"
    result.add_argument("--painter", nargs="+", default=[DEFAULT], metavar="NAME", help=painters)
    result.add_argument("--images", type=whole, default=4, help="of every prompt, by every painter; 18 in the paper")
    critic = "what judges: verifier (of the embedded world), a Janus checkpoint or an image-text-to-text model"
    result.add_argument("--critic", default=VERIFIER, help=f"{critic} (default: {VERIFIER})")
    result.add_argument("--out", type=Path, required=True, help="folder; one of an earlier run is resumed")
    kinds = (RELEASED, *COLUMNS)
    result.add_argument("--kinds", nargs="+", choices=kinds, default=kinds, help="records to write (default: all)")
    result.add_argument("--accepted", type=float, default=paper.accepted, help="least S of an image to be drawn")
    result.add_argument("--right", type=float, default=paper.right, help="least S of an image to be judged yes")
    result.add_argument("--wrong", type=float, default=paper.wrong, help="S below which an image is wrong")
    result.add_argument(
        "--plan-first", action="store_true", help="a plan before every image, where the painter writes one"
    )
    result.add_argument("--guidance", type=float, help="classifier-free guidance weight (default: the painter's)")
    result.add_argument("--temperature", type=float, help="of image codes (default: the painter's)")
    result.add_argument("--seed", type=int, default=0, help="of prompts and images")
    result.add_argument("--batch", type=whole, default=16, help="images at once")
    result.add_argument("--shard", type=whole, default=10_000, help="rows in a Parquet file, at most")
    result.add_argument(
        "--device", help="cpu, cuda, cuda:1, mps (default: the first there is; of several processes each its own)"
    )
    result.add_argument("--dtype", choices=DTYPES, help="(default: float32 on a CPU, bfloat16 elsewhere)")
    result.add_argument("--json", action="store_true", help="print the report as JSON")
    return result


def whole(text: str) -> int:
    """A whole number from 1 on, for argparse."""
    value = int(text) if text.isdecimal() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"got {text}, wanted a whole number from 1 on")
    return value


if __name__ == "__main__":
    main()
