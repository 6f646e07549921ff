"""How quick lists are when there is much to list: `python -m annotations.benchmark --trajectories 100000`

Fills a folder with made-up trajectories and times what the gallery asks for: median of five, in milliseconds, beside
the time of a fixed piece of Python, by which machines can be compared.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from annotations import trajectories
from annotations.store import Store, open_store
from annotations.trajectories import Filter
from model.trajectory import Image, Reflection, Sampling, StopReason, Token, Trajectory

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
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


def fill(store: Store, count: int) -> None:
    for start in range(0, count, 5000):
        with store.database.writing() as session:
            for number in range(start, min(start + 5000, count)):
                trajectories.add(session, made_up(number), (), owner="visitor", recorded=False)


def milliseconds(work: Callable[[], object]) -> float:
    times = []
    for _ in range(5):
        began = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times)


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


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m annotations.benchmark", description=__doc__.split("\n")[0])
    parser.add_argument("--trajectories", type=int, default=100_000)
    count = parser.parse_args().trajectories
    with tempfile.TemporaryDirectory() as folder, open_store(Path(folder)) as store:
        fill(store, count)
        print(f"{count:,} trajectories; median of five, ms")
        print(f"{'this machine: sum of a million numbers':<40}{milliseconds(lambda: sum(range(1_000_000))):8.1f}")
        for name, work in questions(store, count).items():
            print(f"{name:<40}{milliseconds(work):8.1f}")


if __name__ == "__main__":
    main()
