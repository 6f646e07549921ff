"""Sources of a project's items: gallery, import, prompts to draw.

Knows the store, the importer and the generators; no page. In a project of pairs, every two drawings of one prompt that
were made in different ways become a pair, unless they are the same picture.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from itertools import combinations

from annotations.errors import AnnotationsError, redact_paths
from annotations.queue.progress import project_counts
from annotations.schema.project import Project
from annotations.schema.question_targets import PAIR
from annotations.store.items import NewItem, parts_of
from annotations.store.listing import MAX_PAGE, Filter
from annotations.store.store import Store
from model.backends.contract import CheckpointError
from model.backends.request import Request, RequestError, Task
from model.events import Event, Failed, TrajectoryFinished, TrajectoryStarted
from model.trajectory import Thought, Trajectory
from studio.inference.checkpoints import Checkpoints
from studio.inference.draw_request import new_seed
from studio.inference.request_queue import QueueFull, QueuePosition

AT_ONCE = 4  # drawings, so that visitors who draw meanwhile are served as well
MOST_PROMPTS = 2000
NAMED = 5  # prompts of what was left out
PATIENCE = 1.0  # seconds until a drawing that found the queue full tries again
WITHOUT_PLAN = ", without a plan"


class FillingError(ValueError):
    """What cannot be put into a project; the message says why, and what to do."""


@dataclass(frozen=True)
class AddedItems:
    """How many items were added, and why others were not."""

    new: int  # items
    already: int = 0  # things that were in it before
    unfit: int = 0  # trajectories without what the project asks about, or without another to be compared with
    alike: int = 0  # pairs of one and the same picture, which are left out
    prompts: tuple[str, ...] = ()  # of the unfit

    def __str__(self) -> str:
        parts = [f"{self.new:,} {'item' if self.new == 1 else 'items'} added"]
        parts += [f"{self.already:,} {'was' if self.already == 1 else 'were'} there already"] if self.already else []
        parts += (
            [f"{self.unfit:,} {'has' if self.unfit == 1 else 'have'} nothing that is asked about here{self._which()}"]
            if self.unfit
            else []
        )
        pairs = f"{self.alike:,} {'pair shows' if self.alike == 1 else 'pairs show'}"
        parts += [f"{pairs} the same picture twice and cannot be compared"] if self.alike else []
        return "; ".join(parts) + "."

    def _which(self) -> str:
        named = [f"“{prompt[:80]}”" for prompt in dict.fromkeys(self.prompts)]
        more = [f"{len(named) - NAMED:,} more"] if len(named) > NAMED else []
        return f" ({', '.join(named[:NAMED] + more)})" if named else ""


def add(store: Store, project: Project, ids: Sequence[str], before: int | None = None) -> AddedItems:
    """Put trajectories into a project, all that fit or none; `before`: how many items it had before an import of them,
    which opens those of the projects that ask about everything. Raises AnnotationsError.
    """
    known, alike = _read(store, ids), 0
    if project.subject == PAIR:
        pairs = pairs_of(known)
        new = [NewItem(first.id, other.id) for first, other in pairs if _last_picture(first) != _last_picture(other)]
        alike = len(pairs) - len(new)
        fit = {trajectory.id for pair in pairs for trajectory in pair}
    else:
        new = [NewItem(trajectory.id) for trajectory in known if parts_of(project, trajectory)]
        fit = {item.trajectory_id for item in new}
    unfit = [trajectory.prompt for trajectory in known if trajectory.id not in fit]
    before = items_of(store, project) if before is None else before
    store.add_items(project.id, new)
    made = items_of(store, project) - before
    return AddedItems(made, len(new) - made, len(unfit), alike, tuple(unfit))


def items_of(store: Store, project: Project) -> int:
    """How many items the project has."""
    return project_counts(store)[project.id].items


def _read(store: Store, ids: Sequence[str]) -> list[Trajectory]:
    known = store.trajectories_by_id(ids)
    return [known[id] for id in ids if id in known]


def pairs_of(known: Iterable[Trajectory]) -> list[tuple[Trajectory, Trajectory]]:
    """Every two that show one prompt and were made in different ways; of each way the first one given."""
    by_prompt: dict[str, dict[str, Trajectory]] = defaultdict(dict)
    for trajectory in known:
        if any(image.sha256 for image in trajectory.images):
            by_prompt[trajectory.prompt].setdefault(way_of(trajectory), trajectory)
    return [pair for ways in by_prompt.values() for pair in combinations(ways.values(), 2)]


def _last_picture(trajectory: Trajectory) -> str:
    return next(image.sha256 for image in reversed(trajectory.images) if image.sha256)


def way_of(trajectory: Trajectory) -> str:
    """Who drew it and how: what is compared in pairs."""
    planned = any(isinstance(segment, Thought) for segment in trajectory.segments)
    return trajectory.checkpoint + ("" if planned else WITHOUT_PLAN)


# From the gallery


def of_gallery(store: Store, keep: Filter, most: int) -> list[str]:
    """The ids of the newest that the gallery would list, at most so many."""
    ids: list[str] = []
    before = None
    while len(ids) < most:
        page = store.trajectories(limit=min(MAX_PAGE, most - len(ids)), before=before, keep=keep)
        if not page:
            break
        ids += [summary.id for summary in page]
        before = page[-1].cursor
    return ids


# From prompts


@dataclass(frozen=True)
class DrawnPrompt:
    """What became of one prompt."""

    prompt: str
    ids: tuple[str, ...] = ()
    error: str = ""


def ways(checkpoints: Checkpoints) -> list[str]:
    """How drawings can be made here: by each checkpoint, and by the first without its plan, where it makes one."""
    first = checkpoints.first
    return [*checkpoints.names, *([first.name + WITHOUT_PLAN] if first.sampling.thinks else [])]


def prompts_of(text: str, checkpoints: Checkpoints, chosen: Sequence[str]) -> list[str]:
    """One prompt a line, each once. Raises FillingError, with every line that cannot be drawn."""
    lines = list(dict.fromkeys(line for raw in text.splitlines() if (line := raw.strip())))
    if not lines:
        raise FillingError("there is no prompt; write one a line")
    if len(lines) > MOST_PROMPTS:
        raise FillingError(f"got {len(lines):,} prompts; at most {MOST_PROMPTS:,} are drawn at a time")
    wrong = [f"“{line[:80]}”: {why}" for line in lines if (why := _doubt(line, checkpoints, chosen))]
    if wrong:
        more = f"\n… and {len(wrong) - 10} more" if len(wrong) > 10 else ""
        raise FillingError("nothing is drawn, because of these prompts:\n" + "\n".join(wrong[:10]) + more)
    return lines


def _doubt(prompt: str, checkpoints: Checkpoints, chosen: Sequence[str]) -> str | None:
    try:
        for way in chosen:
            generator = checkpoints.named(way.removesuffix(WITHOUT_PLAN))
            generator.backend.check(Request(prompt))
            if (doubt := generator.backend.warning(prompt)) is not None:
                return doubt
    except (RequestError, CheckpointError) as error:
        return redact_paths(error)
    return None


def draw_all(
    checkpoints: Checkpoints, prompts: Sequence[str], chosen: Sequence[str], rounds: int, *, owner: str
) -> Iterator[DrawnPrompt]:
    """Every prompt in every way, with one seed for all ways of a prompt; as they come. All are stored."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        made = [pool.submit(_draw, checkpoints, prompt, chosen, rounds, owner) for prompt in prompts]
        try:
            for future in as_completed(made):
                yield future.result()
        finally:
            for future in made:
                future.cancel()


def _draw(checkpoints: Checkpoints, prompt: str, chosen: Sequence[str], rounds: int, owner: str) -> DrawnPrompt:
    seed, ids = new_seed(), []
    try:
        for way in chosen:
            ids.append(_drawn(checkpoints, prompt, way, seed, rounds, owner))
    except (RequestError, CheckpointError, AnnotationsError, FillingError) as error:
        return DrawnPrompt(prompt, tuple(ids), redact_paths(error))
    return DrawnPrompt(prompt, tuple(ids))


def _drawn(checkpoints: Checkpoints, prompt: str, way: str, seed: int, rounds: int, owner: str) -> str:
    """The id of one drawing, once it is finished."""
    generator = checkpoints.named(way.removesuffix(WITHOUT_PLAN))
    sampling = replace(generator.sampling, thinks=generator.sampling.thinks and not way.endswith(WITHOUT_PLAN))
    return _finished(lambda: generator.stream(prompt, seed, rounds, sampling, owner=owner))


def _finished(begin: Callable[[], Iterable[Event | QueuePosition]]) -> str:
    """The id of a trajectory, once it is finished; begun again while the queue is full. Raises FillingError."""
    run, ended = "", False
    while not ended:
        try:
            for event in begin():
                match event:
                    case TrajectoryStarted():
                        run = event.trajectory_id
                    case TrajectoryFinished():
                        ended = True
                    case Failed():
                        raise FillingError(event.error)
            if not ended:
                raise FillingError("stopped before it began")
        except QueueFull:
            time.sleep(PATIENCE)
    return run


# From pictures


def judged(
    checkpoints: Checkpoints,
    store: Store,
    ids: Sequence[str],
    judge: str,
    *,
    owner: str,
    on_progress: Callable[[int, int], None],
) -> list[str]:
    """Trajectories with a verdict on their last picture, in the given order; where one has none, the checkpoint judges
    it in a trajectory of its own. Raises FillingError for a picture that cannot be judged, CheckpointError."""
    generator = checkpoints.named(judge)
    if not generator.backend.capabilities.judge:
        raise FillingError(f"{judge} judges no pictures; choose another")

    def verdict_on(trajectory: Trajectory) -> str:
        if trajectory.reflections or not any(image.sha256 for image in trajectory.images):
            return trajectory.id
        picture = generator.backend.read_source(store.picture(_last_picture(trajectory)), Task.JUDGE)
        return _finished(
            lambda: generator.stream(trajectory.prompt, 0, 1, owner=owner, task=Task.JUDGE, source=picture)
        )

    made = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            for id in pool.map(verdict_on, _read(store, ids)):
                made.append(id)
                on_progress(len(made), len(ids))
        except (RequestError, OSError) as error:
            raise FillingError(f"a picture cannot be judged: {redact_paths(error)}") from error
    return made


def fewest_ways(project: Project) -> int:
    """To draw one prompt: two where they are compared."""
    return 2 if project.subject == PAIR else 1


def check_ways(project: Project, chosen: Sequence[str]) -> None:
    """Raises FillingError for too few ways to draw."""
    least = fewest_ways(project)
    if len(chosen) < least:
        raise FillingError(f"choose {'two ways to draw, which are compared' if least == 2 else 'who draws'}")
