"""Example trajectories of the shipped checkpoint for the first start.

    python -m model.generate --prompts FILE --out DIR
    python -m annotations.ops.example_trajectories DIR

collects what the first command wrote into `example_trajectories.jsonl`, one trajectory with its pictures a line. They
are marked as recorded wherever they are shown.
"""

import argparse
import base64
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from annotations.store.store import Store
from model.atomic_files import write_whole
from model.trajectory import Trajectory

FILE = Path(__file__).parent / "example_trajectories.jsonl"
OWNER = "recorded"


def fill_if_empty(store: Store, file: Path = FILE) -> int:
    """Put the recorded trajectories into a store that has none yet; returns how many."""
    if not file.is_file() or store.trajectories(limit=1):
        return 0
    count = 0
    for trajectory, pictures in read(file):
        store.save(trajectory, pictures, owner=OWNER, recorded=True)
        count += 1
    return count


def read(file: Path = FILE) -> Iterator[tuple[Trajectory, dict[str, bytes]]]:
    """Every trajectory of a file, and its pictures by hash."""
    for line in file.read_text("utf-8").splitlines():
        row = json.loads(line)
        pictures = {sha256: base64.b64decode(png) for sha256, png in row["pictures"].items()}
        yield Trajectory.from_dict(row["trajectory"]), pictures


def collect(folder: Path, file: Path = FILE) -> int:
    """Write the trajectories below a folder, as `model.generate` leaves them, into a file; returns how many."""
    lines = []
    for path in sorted(folder.rglob("trajectory.json")):
        row = json.loads(path.read_text("utf-8"))
        images = [image.sha256 for image in Trajectory.from_dict(row).images if image.sha256]
        pictures = {
            sha256: base64.b64encode((path.parent / f"image-{number}.png").read_bytes()).decode("ascii")
            for number, sha256 in enumerate(images, start=1)
        }
        lines.append(json.dumps({"trajectory": row, "pictures": pictures}, ensure_ascii=False))
    write_whole(file, "".join(f"{line}\n" for line in lines), mode=0o644)
    return len(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m annotations.ops.example_trajectories", description=__doc__.split("\n")[0]
    )
    parser.add_argument("folder", type=Path, help="what `python -m model.generate --prompts …` wrote")
    arguments = parser.parse_args()
    if not any(arguments.folder.rglob("trajectory.json")):
        sys.exit(f"recorded: {arguments.folder} holds no trajectory.json; give the --out folder of model.generate")
    print(f"{collect(arguments.folder)} trajectories in {FILE}")


if __name__ == "__main__":
    main()
