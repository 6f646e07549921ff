"""The folder of a preparation: pictures by their hash, and append-only logs of what was drawn and what was said of it.

Whatever is in the logs stays, so that a run that was killed goes on, other thresholds draw nothing anew, and further
images, prompts, painters or critics add to what is there.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from model.atomic_files import write_whole
from model.distributed.append_log import AppendLog
from model.distributed.processes import ALONE, Processes
from model.images import read_rgb
from model.prepare.released_labels import IMAGES
from model.prepare.scored_images import DrawnImage, PlannedImage, PrepareError, ScoredImage
from model.trajectory import Reflection, segment_from_dict, segment_to_dict

WORK = "work"


class Workspace:
    """The folder, opened by one of several processes."""

    def __init__(self, folder: Path, processes: Processes = ALONE) -> None:
        """Raises PrepareError for a folder with anything else in it, RecordError for a damaged log, OSError."""
        if folder.exists() and not folder.is_dir():
            raise PrepareError(f"{folder} is a file; choose another --out")
        if folder.exists() and any(folder.iterdir()) and not (folder / WORK).is_dir():
            raise PrepareError(f"{folder} holds something else; choose another --out")
        self.folder = folder
        self._drawn = AppendLog(folder / WORK / "drawn.jsonl", processes.index)
        self._scored = AppendLog(folder / WORK / "scored.jsonl", processes.index)

    def reread(self) -> None:
        """See what other processes have added."""
        self._drawn.reread()
        self._scored.reread()

    def is_drawn(self, plan: PlannedImage) -> bool:
        """Whether its line is there, and its picture still is."""
        row = self._drawn.find(plan.key)
        return row is not None and (self.folder / self.picture_name(DrawnImage.from_dict(plan, row).sha256)).exists()

    def add_drawn(self, drawn: DrawnImage, png: bytes) -> None:
        """The picture first: where a line is, its picture is."""
        place = self.folder / self.picture_name(drawn.sha256)
        if not place.exists():
            write_whole(place, png, mode=0o644, settled=False)
        self._drawn.add(drawn.plan.key, drawn.to_dict())

    def drawn(self, plans: Iterable[PlannedImage]) -> Iterator[DrawnImage]:
        """Those that were drawn."""
        for plan in plans:
            if (row := self._drawn.find(plan.key)) is not None:
                yield DrawnImage.from_dict(plan, row)

    def is_scored(self, drawn: DrawnImage, critic: str) -> bool:
        return drawn.score_key(critic) in self._scored

    def add_score(self, drawn: DrawnImage, critic: str, reflection: Reflection) -> None:
        about = {"prompt": drawn.plan.prompt, "sha256": drawn.sha256}
        self._scored.add(drawn.score_key(critic), about | {"reflection": segment_to_dict(reflection)})

    def scored(self, plans: Iterable[PlannedImage], critic: str) -> Iterator[ScoredImage]:
        """Those that were drawn and scored."""
        for drawn in self.drawn(plans):
            row = self._scored.find(drawn.score_key(critic))
            reflection = None if row is None else segment_from_dict(row["reflection"])
            if isinstance(reflection, Reflection):
                yield ScoredImage(drawn, reflection)

    @staticmethod
    def picture_name(sha256: str) -> str:
        """Of a picture, from the folder on."""
        return f"{IMAGES}/{sha256[:2]}/{sha256}.png"

    def png(self, sha256: str) -> bytes:
        """Raises OSError."""
        return (self.folder / self.picture_name(sha256)).read_bytes()

    def picture(self, sha256: str) -> np.ndarray:
        """(H, W, 3) uint8. Raises PrepareError for one that cannot be read."""
        file = self.folder / self.picture_name(sha256)
        try:
            return np.asarray(read_rgb(file))
        except OSError as error:
            advice = "delete it where it is there, and the same command draws it again"
            raise PrepareError(f"the picture {file} is missing or damaged; {advice}") from error
