"""The store: values in, values out; each method is one transaction, unless its docstring says otherwise.

Coordinates transactions and picture files; no row and no session leaves it. Thread-safe. Raises the errors of
`annotations.errors`.
"""

import hmac
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

from sqlalchemy import select
from sqlalchemy.orm import Session

from annotations.db.engine import (
    Database,
    open_database,
    open_database_for_reading,
    open_server,
    open_server_for_reading,
)
from annotations.db.locks import maintenance_lock
from annotations.db.tables import PropertyRow
from annotations.errors import AnnotationsError, AwayError, NotFoundError
from annotations.pictures import trajectory_pictures
from annotations.pictures.images import PngFile
from annotations.pictures.storage import PictureStorage, open_storage
from annotations.schema.annotation import REFLECTIONS, Annotation, Status
from annotations.schema.project import Project
from annotations.store import (
    completion,
    imported_records,
    items,
    listing,
    projects,
    reordering,
    retention,
    revisions,
    search_index,
    trajectories,
)
from annotations.store.imported_records import ImportBatch, RecordOrigin
from annotations.store.items import NewItem
from annotations.store.listing import EVERYTHING, Cursor, Filter, TrajectorySummary
from annotations.store.statistics import StoreCounts, count
from annotations.store.trajectory_columns import check_storable, pictures_by_position
from model.trajectory import Trajectory

ITEMS_PER_WRITE = 50  # added to a project in one transaction


def open_store(directory: Path, url: str | None = None, pictures: str | None = None) -> "Store":
    """The store in a data folder, created or migrated where needed. With the URL of a PostgreSQL database the folder
    holds only the pictures, unless `pictures` is another folder or URL for them. Raises DatabaseError.
    """
    return Store(open_database(directory) if url is None else open_server(directory, url), pictures=pictures)


def open_store_for_reading(directory: Path, url: str | None = None, pictures: str | None = None) -> "Store":
    """The same beside a running studio; saving into it raises DatabaseError."""
    opened = open_database_for_reading(directory) if url is None else open_server_for_reading(directory, url)
    return Store(opened, pictures=pictures)


def now_utc() -> datetime:
    return datetime.now(UTC)


class Store:
    """Trajectories, projects, imports and annotations."""

    def __init__(
        self, database: Database, clock: Callable[[], datetime] = now_utc, pictures: str | None = None
    ) -> None:
        """`pictures`: the folder or URL where they are kept, as `open_storage` takes it."""
        self.database = database
        self.clock = clock
        self.closed = threading.Event()  # ends what runs for it in threads
        self.hidden = 0  # number of calls of `hide`, by which caches know that they are outdated
        self.interrupted_imports: list[str] = []  # that were removed here since the last import, by their sources
        self.pictures_at = pictures
        self.picture_files: PictureStorage = open_storage(database.directory, pictures)

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.closed.set()
        self.database.close()

    # Trajectories

    def save(self, trajectory: Trajectory, pictures: Mapping[str, bytes], *, owner: str, recorded: bool = False) -> str:
        """Store a trajectory and its pictures (PNG by sha256); returns its id, a new one where it had none.

        Pictures are on the disk before the trajectory is in the database. Saving the same one again changes
        nothing. Raises TrajectoryError when a picture is missing, PictureError when one is not what its hash
        says, ConflictError when the id stands for another trajectory.
        """
        stored = replace(
            trajectory, id=trajectory.id or uuid4().hex, created_at=trajectory.created_at or self.clock().isoformat()
        )
        check_storable(stored, owner)
        hashes = set(pictures_by_position(stored).values())
        files = [trajectory_pictures.store(self.picture_files, sha256, pictures) for sha256 in hashes]
        try:
            self._save(stored, files, pictures, owner=owner, recorded=recorded)
        except AwayError:  # perhaps after the commit; saving the same trajectory again changes nothing
            self._save(stored, files, pictures, owner=owner, recorded=recorded)
        return stored.id

    def _save(
        self,
        trajectory: Trajectory,
        files: Sequence[PngFile],
        pictures: Mapping[str, bytes],
        *,
        owner: str,
        recorded: bool,
    ) -> None:
        with self.database.writing() as session:
            trajectory_pictures.store_missing(self.picture_files, [file.sha256 for file in files], pictures)
            trajectories.add(session, trajectory, files, owner=owner, recorded=recorded)

    def trajectory(self, trajectory_id: str) -> Trajectory:
        """Raises NotFoundError when there is none or it is hidden."""
        with self.database.reading() as session:
            return trajectories.get(session, trajectory_id)

    def trajectories_by_id(self, ids: Sequence[str]) -> dict[str, Trajectory]:
        """The existing visible trajectories among these ids, by id, all in memory."""
        with self.database.reading() as session:
            return trajectories.get_all(session, ids)

    def visible(self, ids: Sequence[str]) -> set[str]:
        """Which of these ids, any number of them, are of visible trajectories."""
        with self.database.reading() as session:
            return trajectories.visible_ids(session, ids)

    def trajectories(
        self, *, limit: int = 24, before: Cursor | None = None, keep: Filter = EVERYTHING
    ) -> list[TrajectorySummary]:
        """A page of the list, newest first; `before=page[-1].cursor` gives the next."""
        with self.database.reading() as session:
            return listing.page(session, limit=limit, before=before, keep=keep)

    def checkpoints(self) -> list[str]:
        """The names of the checkpoints of visible trajectories."""
        with self.database.reading() as session:
            return search_index.facet_values(session, "checkpoint")

    def categories(self) -> list[str]:
        """The categories of the prompts of visible trajectories."""
        with self.database.reading() as session:
            return search_index.facet_values(session, "category")

    def annotators(self) -> list[str]:
        """The names of all whose annotations count."""
        with self.database.reading() as session:
            return revisions.annotators(session)

    def picture(self, sha256: str) -> bytes:
        """The PNG of a visible trajectory's image. Raises NotFoundError, PictureError when it is damaged."""
        with self.database.reading() as session:
            visible = trajectories.shows_picture(session, sha256)
        if not visible:
            raise NotFoundError(f"there is no picture {sha256[:80]!r}; it may have been deleted")
        return self.picture_files.read(sha256)

    def stored_picture(self, sha256: str) -> bytes:
        """As `picture`, whether it is visible or not: for moderators."""
        return self.picture_files.read(sha256)

    def picture_or_none(self, sha256: str) -> bytes | None:
        """As `picture`; None for one that is deleted, lost or damaged."""
        with suppress(AnnotationsError):
            return self.picture(sha256)
        return None

    def hide(self, trajectory_id: str, by: str) -> None:
        """Hide a trajectory from every list, queue and export. Raises NotFoundError."""
        with self.database.writing() as session:
            trajectories.hide(session, trajectory_id, by=by, now=self.clock())
        self.hidden += 1

    def purge(self, older_than: timedelta = timedelta(days=1)) -> int:
        """Remove trajectories that were hidden at least so long ago, with their pictures; see `retention` for which.

        Several transactions. Returns how many were removed.
        """
        before = self.clock() - older_than
        purged = self.erase(lambda session: retention.purgeable(session, before))
        self.database.truncate_wal()
        return purged

    def erase(self, choose: Callable[[Session], Sequence[str]]) -> int:
        """Remove the trajectories whose ids `choose` returns, until it returns none, and the pictures that no other
        trajectory has. One transaction per call of `choose`. Returns how many were removed.
        """
        erased = 0
        with maintenance_lock(self.database.directory, self.database.url):
            while True:
                with self.database.writing() as session:  # files as well, so that whoever saves one is alone with it
                    if not (ids := choose(session)):
                        return erased
                    for sha256 in retention.purge(session, ids):
                        self.picture_files.remove(sha256)
                erased += len(ids)

    # Projects

    def create_project(self, project: Project) -> Project:
        """Raises ProjectError for an invalid project, ConflictError where its id or its name is taken."""
        with self.database.writing() as session:
            return projects.create(session, project, now=self.clock())

    def change_project(self, project: Project, read: Project | None = None) -> Project:
        """Store a changed project, and bring its items into its order and overlap, in further transactions, which
        `reordering.recover` resumes after a kill. Raises ProjectError, NotFoundError, and ConflictError where it is not
        as it was `read` any more.
        """
        with self.database.writing() as session:
            before = projects.get(session, project.id)
            changed = projects.change(session, project, read)
            if before.order is not changed.order:
                items.begin_generation(session, project.id)
        if (before.order, before.overlap) != (changed.order, changed.overlap):
            reordering.finish(self.database, project.id)
        return changed

    def project(self, project_id: str) -> Project:
        """Raises NotFoundError when there is none."""
        with self.database.reading() as session:
            return projects.get(session, project_id)

    def project_ids(self) -> set[str]:
        """Those of deleted projects as well."""
        with self.database.reading() as session:
            return projects.all_ids(session)

    def projects(self) -> list[Project]:
        """The oldest first."""
        with self.database.reading() as session:
            return projects.get_all(session)

    def add_items(self, project_id: str, new: Sequence[NewItem]) -> list[int]:
        """Add items to a project, in several transactions so that others can write meanwhile; returns the ids of all of
        them, also of those that were in it before. All are checked before the first is added.

        Raises NotFoundError, ProjectError, and AnswerError for invalid gold answers.
        """
        for start in range(0, len(new), items.ITEMS_PER_CHECK):
            with self.database.reading() as session:
                items.check(session, projects.get(session, project_id), new[start : start + items.ITEMS_PER_CHECK])
        ids: list[int] = []
        for start in range(0, len(new), ITEMS_PER_WRITE):
            with self.database.writing() as session:
                project = projects.get(session, project_id)
                ids += [items.add(session, project, item) for item in new[start : start + ITEMS_PER_WRITE]]
        return ids

    # Imports

    def imports(self) -> list[ImportBatch]:
        with self.database.reading() as session:
            return imported_records.batches(session)

    def imported(self, batch: str) -> list[str]:
        """The ids of a batch's visible trajectories, in their order."""
        with self.database.reading() as session:
            return imported_records.members(session, batch)

    def origins(self, trajectory_id: str) -> list[RecordOrigin]:
        """The records that a visible trajectory comes from; none for what was drawn here."""
        with self.database.reading() as session:
            return imported_records.origins(session, trajectory_id)

    def import_parts(self, batch: str) -> Iterator[tuple[str, RecordOrigin]]:
        """The visible parts of a batch with the keys of their records; none is being read while one is yielded."""
        last = 0
        while True:
            with self.database.reading() as session:
                some = imported_records.parts(session, batch, after=last)
            if not some:
                return
            yield from ((key, origin) for _, key, origin in some)
            last = some[-1][0]

    # Annotations

    def annotate(self, annotation: Annotation) -> Annotation:
        """Append a revision; returns it with id and time. The same key again returns the one stored first.

        Raises NotFoundError, AnswerError, LeaseError where others have completed the item, and ConflictError when
        the key stands for something else.
        """
        return self.annotate_all([annotation])[0]

    def annotate_all(self, annotations: Sequence[Annotation]) -> list[Annotation]:
        """Append several revisions, all of them or none."""
        with self.database.writing() as session:
            return completion.record(session, [replace(a, undoes=None) for a in annotations], now=self.clock())

    def undo(
        self,
        trajectory_id: str,
        segment: int | None,
        annotator: str,
        *,
        project: str = REFLECTIONS,
        item: int | None = None,
        key: str = "",
    ) -> Annotation:
        """Append a revision that undoes the annotator's last one, and return it; each call undoes one more.

        Raises NotFoundError when there is nothing left to undo.
        """
        place = {"project": project, "item": item, "key": key}
        with self.database.writing() as session:
            return completion.undo(session, trajectory_id, segment, annotator, **place, now=self.clock())

    def annotations(
        self,
        trajectory_id: str | None = None,
        *,
        annotator: str | None = None,
        status: Status | None = None,
        project: str | None = None,
        item: int | None = None,
        newest: int | None = None,
    ) -> list[Annotation]:
        """The current revisions of visible trajectories, oldest first; only the `newest` ones if that is given."""
        ids = None if trajectory_id is None else [trajectory_id]
        narrowed = {"annotator": annotator, "status": status, "project": project, "item": item, "newest": newest}
        with self.database.reading() as session:
            return revisions.current(session, trajectory_ids=ids, **narrowed)

    def counted(self) -> list[Annotation]:
        """Current, submitted, and not for practice."""
        with self.database.reading() as session:
            return revisions.counted(session)

    def history(
        self, trajectory_id: str, *, segment: int | None = None, annotator: str | None = None
    ) -> list[Annotation]:
        """Every revision, oldest first. Raises NotFoundError."""
        with self.database.reading() as session:
            return revisions.history(session, trajectory_id, segment=segment, annotator=annotator)

    # Counts and secrets

    def counts(self) -> StoreCounts:
        with self.database.reading() as session:
            return count(session)

    def pseudonyms(self, annotators: Iterable[str]) -> dict[str, str]:
        """A stable pseudonym per annotator: HMAC-SHA256 with this database's salt, 12 hexadecimal digits."""
        salt = self._salt()
        return {name: hmac.digest(salt, name.encode(), "sha256").hex()[:12] for name in annotators}

    def receipt(self, trajectory_id: str) -> str:
        """A token given only to the person who made the trajectory, as proof of that."""
        return hmac.digest(self._salt(), f"receipt\0{trajectory_id}".encode(errors="replace"), "sha256").hex()[:32]

    def is_receipt(self, receipt: str, trajectory_id: str) -> bool:
        return hmac.compare_digest(receipt.encode(errors="replace"), self.receipt(trajectory_id).encode())

    def secret(self, purpose: str) -> bytes:
        """A signing key of this database, derived per purpose."""
        return hmac.digest(self._salt(), f"secret\0{purpose}".encode(), "sha256")

    def _salt(self) -> bytes:
        with self.database.reading() as session:
            return session.scalars(select(PropertyRow.value).where(PropertyRow.name == "salt")).one().encode()
