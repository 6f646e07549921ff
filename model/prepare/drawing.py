"""Draws what is missing, and has it judged: a batch in memory at a time, each image kept as soon as it is there."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

from model.backends.contract import Backend
from model.backends.critic import Critic, CriticError, ShownPicture
from model.backends.request import Request
from model.events import Event, Failed, Preview, TrajectoryFinished, advance
from model.prepare.scored_images import DrawnImage, PlannedImage, PrepareError
from model.prepare.workspace import Workspace
from model.trajectory import Image, Trajectory

BATCHES = 4  # of a backend, that are asked for at once

Value = TypeVar("Value")


class PrepareProgress:
    """How many images of a total are done, and why some failed; shown on stderr where that is wanted."""

    def __init__(self, total: int, what: str, *, shown: bool) -> None:
        self.what, self.failed, self.last_error = what, 0, ""
        self._total, self._done, self._shown = total, 0, shown

    def done(self) -> None:
        self._done += 1
        if self._shown:
            end = "\n" if self._done == self._total else ""
            print(f"\r{self._done} of {self._total} {self.what}", end=end, file=sys.stderr, flush=True)

    def fail(self, error: str) -> None:
        """The next run tries it again."""
        self.failed, self.last_error = self.failed + 1, error
        self.done()

    def check(self, failed_before: int, count: int) -> None:
        """Raises PrepareError where all of the last `count` images failed."""
        if count > 0 and self.failed - failed_before == count:
            raise PrepareError(
                f"{count} in a row of {self.what} failed: {self.last_error}; what was done so far is kept"
            )


def draw_missing(
    workspace: Workspace, backend: Backend, plans: Iterable[PlannedImage], batch: int, progress: PrepareProgress
) -> None:
    """Draw, without judging, what the workspace lacks of these. Raises PrepareError where nothing can be drawn."""
    missing = _left(plans, workspace.is_drawn, progress)
    while some := list(islice(missing, batch * BATCHES)):
        failed = progress.failed
        for drawn, png in _drawings(backend, some, batch):
            if isinstance(drawn, DrawnImage):
                workspace.add_drawn(drawn, png)
                progress.done()
            else:
                progress.fail(drawn)
        progress.check(failed, len(some))


def _left(items: Iterable[Value], is_done: Callable[[Value], bool], progress: PrepareProgress) -> Iterator[Value]:
    for item in items:
        if is_done(item):
            progress.done()
        else:
            yield item


def _drawings(backend: Backend, plans: Sequence[PlannedImage], batch: int) -> Iterator[tuple[DrawnImage | str, bytes]]:
    """Each image with its PNG as soon as it is whole, when its trajectory is stopped; for a failed one, why."""
    whole: dict[str, bytes] = {}
    by_id = {f"{number}": plan for number, plan in enumerate(plans)}
    requests = [_request(id, plan, whole) for id, plan in by_id.items()]
    running: dict[str, Trajectory] = {}
    for event in backend.rollout(requests, at_once=batch):
        id = event.trajectory_id
        trajectory = running[id] = advance(running.get(id), event)
        match event:
            case Preview(whole=True):
                whole[id] = event.png
            case Failed() | TrajectoryFinished():
                del running[id]
                yield _drawing(by_id[id], trajectory, event), whole.get(id, b"")


def _request(id: str, plan: PlannedImage, whole: dict[str, bytes]) -> Request:
    sampling = plan.painter.sampling
    return Request(plan.prompt, plan.seed, 1, sampling, None, id=id, stop=lambda: id in whole)


def _drawing(plan: PlannedImage, trajectory: Trajectory, end: Event) -> DrawnImage | str:
    """Up to the first image; what follows it, a few words of a judgement, is left out."""
    for number, segment in enumerate(trajectory.segments):
        if isinstance(segment, Image) and segment.finished and segment.sha256:
            return DrawnImage(plan, trajectory.segments[: number + 1])
    return f"“{plan.prompt[:80]}”: {end.error if isinstance(end, Failed) else 'it ended without an image'}"


def score_missing(
    workspace: Workspace,
    critic: Critic,
    stamp: str,
    plans: Iterable[PlannedImage],
    batch: int,
    progress: PrepareProgress,
) -> None:
    """Have judged what was drawn of these and has no score under this stamp of the critic. Raises PrepareError where
    nothing can be judged."""
    missing = _left(workspace.drawn(plans), lambda drawn: workspace.is_scored(drawn, stamp), progress)
    while some := list(islice(missing, batch)):
        failed = progress.failed
        pictures = [ShownPicture(each.plan.prompt, workspace.picture(each.sha256), each.plan.seed) for each in some]
        for drawn, reflection in zip(some, critic.reflections(pictures), strict=True):
            if isinstance(reflection, CriticError):
                progress.fail(str(reflection))
            else:
                workspace.add_score(drawn, stamp, reflection)
                progress.done()
        progress.check(failed, len(some))
