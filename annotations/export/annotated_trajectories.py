"""Iterates over trajectories with their counting answers, in batches, in a fixed order: the input of every kind."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, exists, func, select
from sqlalchemy.orm import Session

from annotations.db.tables import AnnotationRow, ItemRow, TrajectoryRow
from annotations.db.visibility import is_visible
from annotations.export.query import Query
from annotations.queue.flags import Flag, flags_by_trajectory
from annotations.schema.annotation import Annotation, Status
from annotations.schema.project import Project
from annotations.schema.questions import SKIP_REASON
from annotations.store.revisions import counted, current
from annotations.store.store import Store
from annotations.store.trajectories import MAX_IDS, get_all
from model.trajectory import Trajectory

AT_ONCE = 100  # trajectories read in one transaction
PROMPTS_AT_ONCE = 10_000


@dataclass(frozen=True)
class AnswerGroup:
    """What was submitted about one thing in one project: a segment, a whole trajectory (None), or a pair."""

    project: Project
    item: int | None
    segment: int | None
    people: tuple[Annotation, ...]  # oldest first; one each
    decision: Annotation | None  # the last one of a reviewer
    other: Trajectory | None = None  # the second of a pair
    overruled: tuple[Annotation, ...] = ()  # decisions before the last one


@dataclass(frozen=True)
class AnnotatedTrajectory:
    """A visible trajectory and what counts about it, in the order in which it was first answered."""

    number: int  # its place in the order of all
    trajectory: Trajectory
    category: str | None
    groups: tuple[AnswerGroup, ...]
    parent: Trajectory | None = None  # which it continues, where that is visible
    skipped: tuple[Annotation, ...] = ()  # by whom, with a reason perhaps; where `everything` is read
    flags: tuple[Flag, ...] = ()  # oldest first; where `everything` is read


def count_annotated_trajectories(store: Store, query: Query, *, everything: bool) -> int:
    """How many `subjects` there are, at most."""
    with store.database.reading() as session:
        return session.scalar(_selected(select(func.count()), query, everything)) or 0


def annotated_trajectories(
    store: Store, query: Query, *, everything: bool = False, after: int = 0
) -> Iterator[AnnotatedTrajectory]:
    """Those with numbers above `after`. `everything`: the trajectories too about which nothing was submitted."""
    projects = {project.id: project for project in store.projects()}
    row, chosen = TrajectoryRow, _selected(_columns(), query, everything)
    while True:
        some = _read(store, chosen.where(row.number > after).limit(AT_ONCE), query, projects, everything=everything)
        if not some:
            return
        yield from (annotated for annotated in some if everything or annotated.groups)
        after = some[-1].number


def annotated_trajectories_at(store: Store, query: Query, numbers: Sequence[int]) -> list[AnnotatedTrajectory]:
    """Those with these numbers about which something was submitted."""
    projects = {project.id: project for project in store.projects()}
    chosen = _selected(_columns(), query, False).where(TrajectoryRow.number.in_(numbers))
    return [annotated for annotated in _read(store, chosen, query, projects, everything=False) if annotated.groups]


def prompts(store: Store, query: Query, projects: Sequence[str]) -> Iterator[tuple[int, str]]:
    """By number, the prompts of the trajectories about which something was submitted in these projects."""
    row = TrajectoryRow
    answered = exists().where(AnnotationRow.trajectory_id == row.id, AnnotationRow.project_id.in_(projects))
    chosen = _selected(select(row.number, row.prompt), query, False).where(answered).order_by(row.number)
    after = 0
    while projects:
        with store.database.reading() as session:
            some = session.execute(chosen.where(row.number > after).limit(PROMPTS_AT_ONCE)).all()
        if not some:
            return
        yield from ((number, prompt) for number, prompt in some)
        after = some[-1].number


def _columns() -> Select[*tuple[Any, ...]]:
    row = TrajectoryRow
    return select(row.number, row.id, row.body, row.category).order_by(row.number)


def _read(
    store: Store, chosen: Select[*tuple[Any, ...]], query: Query, projects: dict[str, Project], *, everything: bool
) -> list[AnnotatedTrajectory]:
    """The subjects of the chosen rows in one transaction; `projects` gets those that were made meanwhile."""
    with store.database.reading() as session:
        rows = session.execute(chosen).all()
        ids = [row.id for row in rows]
        submitted = _submitted(session, ids)
        pairs = _seconds(session, ids)
        parents = _parents(session, [row.body for row in rows])
        skipped = _skipped(session, ids) if everything else []
        flags = flags_by_trajectory(session, ids) if everything else {}
    if any(annotation.project not in projects for annotation in submitted):
        projects |= {project.id: project for project in store.projects()}
    flagged = [flag for some in flags.values() for flag in some]
    people = {annotation.annotator for annotation in (*submitted, *skipped)} | {flag.person for flag in flagged}
    named = store.pseudonyms(people)
    by_id: dict[str, list[Annotation]] = defaultdict(list)
    skips: dict[str, list[Annotation]] = defaultdict(list)
    for annotations, ids_of in ((submitted, by_id), (skipped, skips)):
        for annotation in annotations:
            known = annotation.project in projects
            if known and _is_kept(annotation.project, annotation.annotator, annotation.created_at, query, named):
                ids_of[annotation.trajectory_id].append(annotation)
    made = []
    for number, id, body, category in rows:
        trajectory = Trajectory.from_dict(body)
        parent = parents.get(trajectory.parent.trajectory_id) if trajectory.parent else None
        groups = _groups(by_id[id], projects, pairs)
        noted = (flag for flag in flags.get(id, ()) if flag.project in projects)
        kept = (f for f in noted if _is_kept(f.project, f.person, f.created_at, query, named))
        made.append(AnnotatedTrajectory(number, trajectory, category, groups, parent, tuple(skips[id]), tuple(kept)))
    return made


def _selected(columns: Select[*tuple[Any, ...]], query: Query, everything: bool) -> Select[*tuple[Any, ...]]:
    row = TrajectoryRow
    chosen = columns.select_from(row).where(is_visible(row.id))
    if not everything:
        submitted = exists().where(AnnotationRow.trajectory_id == row.id, AnnotationRow.status == "submitted")
        chosen = chosen.where(submitted)
    if query.checkpoints:
        chosen = chosen.where(row.checkpoint.in_(query.checkpoints))
    if query.categories:
        chosen = chosen.where(row.category.in_(query.categories))
    return chosen


def _submitted(session: Session, ids: Sequence[str]) -> list[Annotation]:
    return counted(session, ids) if ids else []


def _seconds(session: Session, ids: Sequence[str]) -> dict[int, Trajectory]:
    """By item, the second trajectory of each pair of which one of these is the first, where it is visible."""
    query = select(ItemRow.id, ItemRow.other_id).where(ItemRow.trajectory_id.in_(ids), ItemRow.other_id.is_not(None))
    pairs = {item: other for item, other in session.execute(query) if other is not None}
    others = sorted(set(pairs.values()))
    second: dict[str, Trajectory] = {}
    for start in range(0, len(others), MAX_IDS):
        second |= get_all(session, others[start : start + MAX_IDS])
    return {item: second[other] for item, other in pairs.items() if other in second}


def _skipped(session: Session, ids: Sequence[str]) -> list[Annotation]:
    """Who will not answer, and who put it off and said why."""
    some = current(session, trajectory_ids=ids) if ids else []
    left = (annotation for annotation in some if annotation.status is not Status.SUBMITTED)
    return [a for a in left if a.status is Status.DISCARDED or SKIP_REASON.name in a.answers]


def _parents(session: Session, bodies: Sequence[Mapping[str, Any]]) -> dict[str, Trajectory]:
    """By id, the visible trajectories that some of these continue."""
    ids = {body["parent"]["trajectory_id"] for body in bodies if body.get("parent")}
    return get_all(session, list(ids)) if ids else {}


def _is_kept(project: str, who: str, when: datetime | None, query: Query, named: dict[str, str]) -> bool:
    return (
        (not query.projects or project in query.projects)
        and (not query.annotators or who in query.annotators or named[who] in query.annotators)
        and (query.since is None or when is not None and when >= query.since)
        and (query.until is None or when is not None and when < query.until)
    )


def _groups(
    annotations: Sequence[Annotation], projects: dict[str, Project], pairs: dict[int, Trajectory]
) -> tuple[AnswerGroup, ...]:
    by_thing: dict[tuple[str, int | None, int | None], list[Annotation]] = defaultdict(list)
    for annotation in annotations:
        by_thing[annotation.project, annotation.item, annotation.segment].append(annotation)
    groups = []
    for (project, item, segment), some in by_thing.items():
        decisions = [annotation for annotation in some if annotation.decision is not None]
        people = tuple(annotation for annotation in some if annotation.decision is None)
        decision, other = (decisions[-1] if decisions else None), pairs.get(item or 0)
        groups.append(AnswerGroup(projects[project], item, segment, people, decision, other, tuple(decisions[:-1])))
    return tuple(groups)
