"""Learns one person's corrections: `python -m studio.teaching.worker FOLDER`, in a process of its own.

Reads `request.json` and `rows.parquet`; writes `progress.json` as it goes, the checkpoint, and `result.json`: how the
corrections are judged before and after, what else changed on fixed prompts, and drawings of the corrections' prompts,
before and after, with the same seeds.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image as Picture

from model.atomic_files import write_whole
from model.backends.contract import CheckpointError
from model.backends.embedded_world import EMBEDDED_WORLD
from model.backends.janus import Janus
from model.backends.request import Request
from model.decoding.janus_backend import JanusBackend
from model.decoding.load_for_inference import open_checkpoint
from model.evaluation.finished_rollouts import drawn_pictures
from model.images import encode_png
from model.training.adapters.teaching import TeachingSettings, teach, verdicts_right
from model.training.dataset import SFT_ROWS, DataError, read_rows
from model.training.embedded import fixed_scenes
from model.training.optimization import TrainingError
from model.training.training_sequences import TrainingSequence
from model.trajectory import Reflection

SHOWN = 4  # prompts of corrections that are drawn
AT_ONCE = 16


class Worker:
    """One lesson, in its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.request: dict[str, Any] = json.loads((folder / "request.json").read_text("utf-8"))
        self.began = time.monotonic()

    def say(self, phase: str, share: float) -> None:
        """How far it is, for whoever waits."""
        write_whole(
            self.folder / "progress.json", json.dumps({"phase": phase, "share": round(share, 3)}), settled=False
        )

    def work(self) -> None:
        """Raises CheckpointError, DataError and TrainingError."""
        source, file = self.request["checkpoint"], self.folder / "rows.parquet"
        self.say("opening the checkpoint", 0.02)
        janus = open_checkpoint(source, dtype=torch.float32, device="cpu")
        if janus.small:
            torch.set_num_threads(1)
        rows = read_rows(janus, file, SFT_ROWS)
        learnt: list[TrainingSequence] = [rows[at] for at in range(len(rows))]
        self.say("looking at it before", 0.08)
        before = self.measured(janus, learnt)
        settings = TeachingSettings()

        def progress(step: int) -> None:
            self.say("learning", 0.2 + 0.6 * step / settings.steps)

        janus = teach(source, file, self.folder / self.request["name"], settings, progress)
        self.say("looking at it after", 0.8)
        after = self.measured(janus, learnt)
        result = {"before": before, "after": after, "seconds": round(time.monotonic() - self.began, 1)}
        write_whole(self.folder / "result.json", json.dumps(result))

    def measured(self, janus: Janus, learnt: Sequence[TrainingSequence]) -> dict[str, Any]:
        """Of the corrections and of fixed prompts, what is right; and drawings of the corrections' prompts."""
        taught = verdicts_right(janus, learnt)
        shown = [
            Request(prompt, seed, 1, replace(janus.sampling, thinks=thinks), id=f"{number:02}")
            for number, (prompt, seed, thinks) in enumerate(self.request["prompts"][:SHOWN])
        ]
        values: dict[str, Any] = {"corrections": [sum(taught), len(taught)], "drawings": drawings(janus, shown)}
        if janus.domain is EMBEDDED_WORLD:
            values |= fixed_scenes.measured(janus)
        return values


def drawings(janus: Janus, requests: Sequence[Request]) -> list[dict[str, Any]]:
    """Each first drawing, and what the network says of it."""
    made: dict[str, dict[str, Any]] = {}
    for id, trajectory, pictures in drawn_pictures(JanusBackend(janus), requests, AT_ONCE, progress=False):
        reflection = next((s for s in trajectory.segments if isinstance(s, Reflection)), None)
        png = base64.b64encode(encode_png(Picture.fromarray(pictures[0]))).decode() if pictures else ""
        made[id] = {"prompt": trajectory.prompt, "png": png}
        made[id] |= {"answer": reflection.answer, "reason": reflection.reason} if reflection else {}
    return [made[request.id] for request in requests if request.id in made]


def end_with_parent() -> None:
    """End this process once the studio is gone, which holds the other end of its standard input."""

    def wait() -> None:
        while os.read(sys.stdin.fileno(), 1):
            pass
        os._exit(1)

    threading.Thread(target=wait, name="parent", daemon=True).start()


def main() -> None:
    end_with_parent()
    try:
        Worker(Path(sys.argv[1])).work()
    except (CheckpointError, DataError, TrainingError, OSError) as error:
        sys.exit(f"teach: {error}")


if __name__ == "__main__":
    main()
