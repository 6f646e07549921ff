"""How quick lists and the queue are when there is much: `python -m annotations.benchmark --trajectories 100000`

Fills a folder (or a PostgreSQL database, with --url) with made-up trajectories of four segments and times what the
gallery and an annotator ask for, in milliseconds, beside a fixed piece of Python and a write that reaches the disk, by
which machines can be compared. The annotator has answered a fifth of everything before. With a million segments

    python -m annotations.benchmark --queue --trajectories 250000

next item and submit are each wanted within 20 ms (95 %), and at most twice as slow as with ten thousand.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import insert, select

from annotations import items, projects, trajectories
from annotations.annotation import REFLECTIONS, Annotation
from annotations.calibration import calibration, milliseconds, spread
from annotations.items import State
from annotations.leases import Outcome
from annotations.project import Use
from annotations.questions import REASON_RATING, VERDICT_RIGHT, YES
from annotations.queue import claim, progress
from annotations.store import Store, open_store
from annotations.submitting import submit
from annotations.tables import ItemRow, LeaseRow, TrajectoryRow
from annotations.trajectories import Filter
from model.trajectory import Image, Reflection, Sampling, StopReason, Token, Trajectory

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
VETERAN = "veteran"
AT_ONCE = 2500  # rows
SEGMENTS = 4  # of a made-up trajectory
FEW = 2_500  # trajectories, beside which many are measured
MOST_MS, SLOWER = 20, 2  # within which 95 % of next items and of submits are wanted; so many times the time with few
WANTED = ("next item", "submit")
WORDS = ("cat", "dog", "car", "moon", "house", "tree", "apple", "star")
COLOURS = ("red", "blue", "green", "yellow", "pink")


def made_up(number: int) -> Trajectory:
    """Two rounds, as large as a real one; one in fifty an aha moment."""
    rng = random.Random(number)
    prompt = f"a {rng.choice(COLOURS)} {rng.choice(WORDS)} above a {rng.choice(COLOURS)} {rng.choice(WORDS)}"
    answers = ("no", "yes") if number % 50 == 0 else ("no", "no")
    segments: list[Image | Reflection] = []
    for answer in answers:
        segments.append(Image(tuple(rng.randrange(1024) for _ in range(64))))
        segments.append(Reflection(answer, 0.5, tuple(Token(i, f" word{i}") for i in range(12))))
    moment = (BEGIN + timedelta(seconds=number)).isoformat()
    ended = StopReason.CONTENT if answers[-1] == "yes" else StopReason.ROUNDS
    id = f"t{number:08d}"
    return Trajectory(prompt, number, 3, Sampling(), "embedded", tuple(segments), ended, id=id, created_at=moment)


def fill(store: Store, count: int, first: int = 0) -> None:
    """Many rows in one statement, each as `Store.save` writes it, which would take four times as long."""
    for start in range(first, count, AT_ONCE):
        made = [made_up(number) for number in range(start, min(start + AT_ONCE, count))]
        known = {"owner": "visitor", "recorded": False}
        rows = [trajectories.copied(t) | known | {"id": t.id, "body": t.to_dict()} for t in made]
        asked = {
            "project_id": REFLECTIONS,
            "use": Use.WORK.value,
            "state": State.OPEN.value,
            "priority": 0,
            "answers": 0,
        }
        with store.database.writing() as session:
            project = projects.get(session, REFLECTIONS)
            ranks = [items.rank_of(project, t, trajectories.moment_of(t).timestamp()) for t in made]
            parts = [items.parts_of(project, t) for t in made]
            session.execute(insert(TrajectoryRow), rows)
            lined = zip(made, ranks, parts, strict=True)
            session.execute(
                insert(ItemRow), [asked | {"trajectory_id": t.id, "rank": r, "parts": n} for t, r, n in lined]
            )


def work(store: Store, turns: int) -> dict[str, list[float]]:
    """The milliseconds of so many next items and submits of one annotator."""
    times: dict[str, list[float]] = {"next item": [], "submit": []}
    for number in range(turns):
        began = time.perf_counter()
        turn = claim(store, REFLECTIONS, VETERAN)
        claimed = time.perf_counter()
        said = {VERDICT_RIGHT: YES, REASON_RATING: 1 + number % 5}
        given = [Annotation(turn.trajectory_id, at, VETERAN, said) for at in (1, 3)]
        ready = time.perf_counter()
        submit(store, turn.item, VETERAN, given)
        times["submit"].append(1000 * (time.perf_counter() - ready))
        times["next item"].append(1000 * (claimed - began))
    return times


def answer_a_fifth(store: Store, count: int) -> None:
    """What one annotator has completed so far, as rows: submitting it all would take hours."""
    with store.database.writing() as session:
        oldest = select(ItemRow.id).where(ItemRow.project_id == REFLECTIONS)
        had = select(LeaseRow.item_id).where(LeaseRow.annotator == VETERAN)
        fifth = set(session.scalars(oldest.order_by(ItemRow.rank, ItemRow.id).limit(count // 5)))
        done = sorted(fifth - set(session.scalars(had)))
        fixed = {"annotator": VETERAN, "project_id": REFLECTIONS, "outcome": Outcome.SUBMITTED.value}
        fixed |= {"taken_at": BEGIN, "renewed_at": BEGIN, "expires_at": BEGIN}
        for start in range(0, len(done), AT_ONCE):
            rows = [fixed | {"item_id": item} for item in done[start : start + AT_ONCE]]
            session.execute(insert(LeaseRow), rows)


def questions(store: Store, count: int) -> dict[str, Callable[[], object]]:
    """What is timed, by name."""
    middle = store.trajectory(f"t{count // 2:08d}")
    place = trajectories.Cursor(trajectories.moment_of(middle), middle.id)
    return {
        "the newest": lambda: store.trajectories(limit=25),
        "a page from the middle": lambda: store.trajectories(limit=25, before=place),
        "aha moments": lambda: store.trajectories(limit=25, keep=Filter(aha=True)),
        "a frequent word": lambda: store.trajectories(limit=25, keep=Filter(search="red cat")),
        "a word that is nowhere": lambda: store.trajectories(limit=25, keep=Filter(search="zebra")),
        "a category": lambda: store.trajectories(limit=25, keep=Filter(category="mixed")),
        "a category that nothing is in": lambda: store.trajectories(limit=25, keep=Filter(category="hard")),
        "annotated (none is)": lambda: store.trajectories(limit=25, keep=Filter(annotated=True)),
        "one trajectory": lambda: store.trajectory(middle.id),
    }


def filled(store: Store, count: int, first: int = 0) -> None:
    """So much in it, a fifth of which the annotator has answered, and the first look past all that behind."""
    fill(store, count, first)
    answer_a_fifth(store, count)
    claim(store, REFLECTIONS, VETERAN)


def waited_for(store: Store, turns: int) -> dict[str, list[float]]:
    """The milliseconds of next items and submits, and of how far one is."""
    return work(store, turns) | {"how far one is": [milliseconds(lambda: progress(store, VETERAN))] * 2}


def compare(store: Store, count: int, turns: int) -> str | None:
    """Print the queue's times beside those with little stored; what is wanted, where that is not so."""
    filled(store, FEW)
    few = waited_for(store, turns)
    filled(store, count, FEW)
    many = waited_for(store, turns)
    print(f"{'':<40}{SEGMENTS * FEW:>16,}{SEGMENTS * count:>16,} segments: median, 95 % within")
    slow = []
    for name in many:
        (half, most), (half_of_few, most_of_few) = spread(many[name]), spread(few[name])
        print(f"{name:<40}{half_of_few:8.1f}{most_of_few:8.1f}{half:8.1f}{most:8.1f}   {half / half_of_few:.2f} ×")
        slow += [name] if name in WANTED and (most > MOST_MS or half > SLOWER * half_of_few) else []
    wanted = f"95 % within {MOST_MS} ms, at most {SLOWER} × the time at {SEGMENTS * FEW:,} segments"
    return f"wanted {wanted}; it was not so of: {', '.join(slow)}" if slow else None


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m annotations.benchmark", description=__doc__.split("\n")[0])
    parser.add_argument("--trajectories", type=int, default=100_000)
    parser.add_argument("--turns", type=int, default=200, help="next items and submits")
    parser.add_argument("--url", help="an empty PostgreSQL database, instead of SQLite")
    parser.add_argument("--queue", action="store_true", help=f"only next item and submit, beside those at {FEW:,}")
    given = parser.parse_args()
    count = given.trajectories
    with tempfile.TemporaryDirectory() as folder:
        for name, figure in calibration(Path(folder)).items():
            print(f"{name:<40}{figure:8.1f}")
        with open_store(Path(folder), given.url) as store:
            if given.queue:
                sys.exit(compare(store, count, given.turns))
            filled(store, count)
            print(f"{count:,} trajectories, {SEGMENTS * count:,} segments; ms, median of five")
            for name, ask in questions(store, count).items():
                print(f"{name:<40}{milliseconds(ask):8.1f}")
            for name, times in work(store, given.turns).items():
                print(f"{name:<40}{spread(times)[0]:8.1f}   95 % within {spread(times)[1]:.1f}")


if __name__ == "__main__":
    main()
