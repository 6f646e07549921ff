"""Agreement of critics with people, measured on the pictures that people judged.

    python -m studio.calibration                                                # the checkpoints' own judges
    python -m studio.calibration verifier critic:MODEL reward_model:FOLDER      # these judge the pictures first

Prints a table (or JSON), and writes the report that `python -m model.training.grpo --calibration FILE` reads. Projects
whose order is the acquisition score are ordered anew by what the critics say.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from annotations.calibration.report import file_of, measure, write
from annotations.db.engine import default_directory, default_pictures, default_url
from annotations.errors import AnnotationsError
from annotations.metrics.calibration import Calibration
from annotations.schema.project import Order
from annotations.store.reordering import rank_anew
from annotations.store.store import Store, open_store
from model.backends.contract import CheckpointError
from model.training.rewards.janus_pro_r1 import RewardError
from model.training.safeguards.critic_agreement import FEWEST
from studio.calibration.scoring import score_all

HEAD = f"{'critic':<34} {'category':<14} {'judged':>6} {'agree':>7} {'kappa':>20} {'error':>6} {'threshold':>9}"


def table(measured: Sequence[Calibration]) -> str:
    """A line for each critic and category; no kappa of fewer pictures than an interval takes."""
    few = any(each.judgements < FEWEST for each in measured)
    return "\n".join([HEAD, *map(_line, measured), *([f"no kappa below {FEWEST} pictures"] if few else [])])


def _line(each: Calibration) -> str:
    enough = each.judgements >= FEWEST
    kappa = enough and each.kappa and f"{each.kappa.value:.2f} ({each.kappa.low:.2f} to {each.kappa.high:.2f})"
    threshold = enough and each.threshold and f"{each.threshold.p_yes:.2f}"
    return (
        f"{'' if each.category else each.critic:<34} {each.category or 'all':<14} {each.judgements:>6} "
        f"{100 * each.accuracy.value:>6.1f}% {kappa or '–':>20} {each.expected_error:>6.3f} {threshold or '–':>9}"
    )


def _run(store: Store, arguments: argparse.Namespace) -> None:
    for critic, done, of in score_all(store, arguments.critics):
        print(f"{critic}: {done} of {of}", file=sys.stderr)
    if arguments.critics:
        rank_anew(store.database, Order.ACQUISITION_SCORE)
    measured = measure(store)
    file = arguments.out or file_of(store)
    write(measured, file, store.clock())
    if arguments.json:
        print(json.dumps([each.to_dict() for each in measured], ensure_ascii=False))
    else:
        print(table(measured) if measured else "People have judged no picture yet that a critic has judged, too.")
        print(f"written to {file}")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m studio.calibration", description=__doc__.split("\n")[0])
    parser.add_argument("critics", nargs="*", metavar="CRITIC", help="rewards that judge the pictures first")
    parser.add_argument("--data", type=Path, help="data folder of the studio (default: its usual place)")
    parser.add_argument("--out", type=Path, help="the report (default: calibration.json in the data folder)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args(argv)
    try:
        with open_store(arguments.data or default_directory(), default_url(), default_pictures()) as store:
            _run(store, arguments)
    except (AnnotationsError, RewardError, CheckpointError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
