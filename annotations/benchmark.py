"""Benchmarks of the gallery's list, of the queue and of imports at scale.

Fills a folder (or a PostgreSQL database, with --url) with made-up trajectories of four segments and times what the
gallery asks for, beside the same with a thousand, a fixed piece of Python and a write that reaches the disk, by which
machines can be compared. Each answer is wanted within 200 ms, and at most twice as slow as with a thousand. What an
annotator waits for, who has answered a fifth of everything before, is timed with a million segments by

    python -m annotations.benchmark --queue --trajectories 250000

where next item and submit are each wanted within 20 ms (95 %), and at most twice as slow as with ten thousand. How
quick an import is, and how long it makes others wait, is timed with as many rows, some of which have a picture, by

    python -m annotations.benchmark --import 5000 [--pictures 500]

What is too slow is said at the end, and the command fails. The index behind the list is compared with SQLite FTS5, or
PostgreSQL GIN with --url, by

    python -m annotations.benchmark --index

and what an export of so many rows of preferences takes, beside `datasets` itself, killed and resumed as well, by

    python -m annotations.benchmark --export 1000000
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from sqlalchemy import insert, select

from annotations.db.tables import ItemRow, LeaseRow
from annotations.ops import export_benchmark, import_benchmark, index_benchmark
from annotations.ops.machine_speed import calibration, milliseconds, spread
from annotations.ops.synthetic import BEGIN, FILTERS, SEGMENTS, made_up
from annotations.queue.assignment import claim, progress
from annotations.queue.submission import submit
from annotations.schema.annotation import REFLECTIONS, Annotation
from annotations.schema.questions import REASON_RATING, VERDICT_RIGHT, YES
from annotations.store import search_index, trajectories
from annotations.store.leases import LeaseOutcome
from annotations.store.listing import Cursor
from annotations.store.store import Store, open_store
from annotations.store.trajectory_columns import prepare

VETERAN = "veteran"
AT_ONCE = 2500  # rows
PAGE = 25  # trajectories
SLOWER = 2  # so many times the time with few trajectories is still good
TIMES = 101  # that each question is asked; fewer, and the medians of two quick ones differ by chance


def fill(store: Store, count: int, first: int = 0) -> None:
    """Write many trajectories per transaction, with the rows that `Store.save` writes, in a quarter of its time."""
    for start in range(first, count, AT_ONCE):
        some = range(start, min(start + AT_ONCE, count))
        prepared = [prepare(made_up(number), owner="visitor") for number in some]
        with store.database.writing() as session:
            trajectories.insert_rows(session, prepared, [], visible=True)


def work(store: Store, turns: int) -> dict[str, list[float]]:
    """The milliseconds of so many next items and submits of one annotator."""
    times: dict[str, list[float]] = {"next item": [], "submit": []}
    for number in range(turns):
        began = time.perf_counter()
        turn = claim(store, REFLECTIONS, VETERAN)
        claimed = time.perf_counter()
        answers = {VERDICT_RIGHT: YES, REASON_RATING: 1 + number % 5}
        annotations = [Annotation(turn.trajectory_id, at, VETERAN, answers) for at in (1, 3)]
        ready = time.perf_counter()
        submit(store, turn.item, VETERAN, annotations)
        times["submit"].append(1000 * (time.perf_counter() - ready))
        times["next item"].append(1000 * (claimed - began))
    return times


def answer_a_fifth(store: Store) -> None:
    """What one annotator has completed so far, as rows: submitting it all would take hours."""
    with store.database.writing() as session:
        count = search_index.count(session, search_index.VISIBLE)
        oldest = select(ItemRow.id).where(ItemRow.project_id == REFLECTIONS)
        had = select(LeaseRow.item_id).where(LeaseRow.annotator == VETERAN)
        fifth = set(session.scalars(oldest.order_by(ItemRow.rank, ItemRow.id).limit(count // 5)))
        done = sorted(fifth - set(session.scalars(had)))
        fixed = {"annotator": VETERAN, "project_id": REFLECTIONS, "outcome": LeaseOutcome.SUBMITTED.value}
        fixed |= {"taken_at": BEGIN, "renewed_at": BEGIN, "expires_at": BEGIN}
        for start in range(0, len(done), AT_ONCE):
            rows = [fixed | {"item_id": item} for item in done[start : start + AT_ONCE]]
            session.execute(insert(LeaseRow), rows)


def asked(store: Store, times: int) -> dict[str, list[float]]:
    """The milliseconds of so many answers of each kind that the gallery waits for."""
    middle = Cursor(store.trajectories(limit=1)[0].number // 2)
    questions: dict[str, Callable[[], object]] = {
        "the newest": lambda: store.trajectories(limit=PAGE),
        "a page from the middle": lambda: store.trajectories(limit=PAGE, before=middle),
        "the checkpoints": store.checkpoints,
    }
    for name, keep in FILTERS.items():
        questions[name] = partial(store.trajectories, limit=PAGE, keep=keep)
    return {name: milliseconds(ask, times) for name, ask in questions.items()} | saved(store, times)


def saved(store: Store, times: int) -> dict[str, list[float]]:
    """The milliseconds of so many drawings, kept without their pictures, and hidden again."""
    taken = []
    for made in map(made_up, range(times)):
        new = replace(made, id="")
        began = time.perf_counter()
        id = store.save(new, {}, owner="visitor")
        taken.append(1000 * (time.perf_counter() - began))
        store.hide(id, by="visitor")
    return {"a drawing is saved": taken}


def waited_for(store: Store, turns: int) -> dict[str, list[float]]:
    """The milliseconds of next items and submits, and of how far one is, after a fifth of everything is answered and
    the first look past all that is behind.
    """
    answer_a_fifth(store)
    claim(store, REFLECTIONS, VETERAN)
    return work(store, turns) | {"how far one is": milliseconds(lambda: progress(store, VETERAN), 5)}


@dataclass(frozen=True)
class BenchmarkCase:
    """What is timed with few trajectories and with many, and how quick it has to be."""

    few: int  # trajectories
    half_ms: float  # within which the median is wanted
    most_ms: float  # within which 95 % of the times are
    times: Callable[[Store, int], dict[str, list[float]]]  # of each thing, in milliseconds
    wanted: tuple[str, ...] | None = None  # the names of what has to be quick; None: all


GALLERY = BenchmarkCase(1_000, 200, 1_000, asked)
QUEUE = BenchmarkCase(2_500, 20, 20, waited_for, ("next item", "submit"))


def compare(store: Store, part: BenchmarkCase, count: int, times: int) -> str | None:
    """Print the times with many trajectories beside those with few; what is too slow, where something is."""
    fill(store, part.few)
    few = part.times(store, times)
    fill(store, count, part.few)
    many = part.times(store, times)
    print(f"{'ms: median, 95 % within':<40}{part.few:>16,}{count:>16,} trajectories of {SEGMENTS} segments")
    slow = []
    for name in many:
        (half, most), (half_of_few, most_of_few) = spread(many[name]), spread(few[name])
        print(f"{name:<40}{half_of_few:8.1f}{most_of_few:8.1f}{half:8.1f}{most:8.1f}   {half / half_of_few:.2f} ×")
        good = half <= min(part.half_ms, SLOWER * half_of_few) and most <= part.most_ms
        slow += [] if good or (part.wanted and name not in part.wanted) else [name]
    limits = (
        f"a median of {part.half_ms} ms, at most {SLOWER} × that with {part.few:,}, and 95 % within {part.most_ms} ms"
    )
    return f"wanted {limits}; it was not so of: {', '.join(slow)}" if slow else None


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m annotations.benchmark", description=__doc__.split("\n")[0])
    parser.add_argument("--trajectories", type=int, default=100_000)
    parser.add_argument("--times", type=int, default=TIMES, help="that each thing is timed")
    parser.add_argument("--url", help="an empty PostgreSQL database, instead of SQLite")
    parser.add_argument("--queue", action="store_true", help="next item and submit, instead of the gallery")
    parser.add_argument("--import", type=int, metavar="ROWS", dest="rows", help="an import, instead of the gallery")
    parser.add_argument("--pictures", type=int, default=0, metavar="ROWS", help="of --import that have a picture")
    parser.add_argument("--index", action="store_true", help="the search index beside the database's full-text index")
    parser.add_argument("--export", type=int, metavar="ROWS", help="an export of so many rows of preferences")
    arguments = parser.parse_args()
    if (
        arguments.rows is None
        and arguments.pictures
        or arguments.rows is not None
        and not 0 <= arguments.pictures <= arguments.rows > 0
    ):
        parser.error(
            f"got {arguments.pictures} pictures in an import of {arguments.rows} rows; give more rows by --import"
        )
    part = QUEUE if arguments.queue else GALLERY
    if arguments.export is not None and arguments.export < 1:
        parser.error(f"got {arguments.export} rows to export; wanted one or more")
    if arguments.rows is None and arguments.export is None and arguments.trajectories <= part.few:
        parser.error(
            f"got {arguments.trajectories} trajectories, wanted more than the {part.few} they are compared with"
        )
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "data"
        folder.mkdir()
        for name, figure in calibration(folder).items():
            print(f"{name:<40}{figure:8.1f}")
        with open_store(folder, arguments.url) as store:
            if arguments.export is not None:
                sys.exit(export_benchmark.measure(store, arguments.export, arguments.url))
            if arguments.index:
                sys.exit(index_benchmark.measure(store, arguments.trajectories, arguments.times))
            if arguments.rows is not None:
                sys.exit(import_benchmark.measure(store, folder, arguments.rows, arguments.pictures))
            sys.exit(compare(store, part, arguments.trajectories, arguments.times))


if __name__ == "__main__":
    main()
