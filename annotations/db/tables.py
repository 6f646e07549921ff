"""SQLAlchemy tables: columns, keys and indexes.

Trajectories and images are written once; annotations and deletions are append-only: an edit, an undo and a
deletion are new rows. What a list needs of a trajectory (answers, cover) is copied out of its body when it is
saved. Times are UTC. Every constraint has a name, because a migration cannot drop one that has none.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, CheckConstraint, Float, ForeignKey, Index, LargeBinary, String, Text, false, text
from sqlalchemy.orm import Mapped, mapped_column

from annotations.db.base import Base


class TrajectoryRow(Base):
    __tablename__ = "trajectories"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    prompt: Mapped[str] = mapped_column(Text)
    seed: Mapped[str] = mapped_column(Text)  # decimal: a seed may be wider than a database's integers
    checkpoint: Mapped[str] = mapped_column(Text)
    owner: Mapped[str] = mapped_column(Text)
    recorded: Mapped[bool]  # an example that is shipped with the studio
    stop_reason: Mapped[str | None] = mapped_column(String(16))
    aha: Mapped[bool]
    answers: Mapped[str] = mapped_column(Text)  # of the reflections, in order: "no yes"
    num_reflections: Mapped[int]  # finished ones, which people can be asked about
    cover: Mapped[str | None] = mapped_column(String(64))  # sha256 of the last image
    parent_id: Mapped[str | None] = mapped_column(String(64), index=True)  # no foreign key: it may live elsewhere
    parent_segment: Mapped[int | None]
    parent_token: Mapped[int | None]
    created_at: Mapped[datetime]
    body: Mapped[dict[str, Any]]  # Trajectory.to_dict()
    category: Mapped[str | None] = mapped_column(String(24))  # of a prompt of the embedded world
    number: Mapped[int]  # its place in lists: higher than those of all before it

    __table_args__ = (Index(None, "number", unique=True),)


class PostingRow(Base):
    """Which trajectories of a block of numbers have a term of `store.search_index`, as a little-endian bitmap."""

    __tablename__ = "traits"

    trait: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)  # UTF-8; both databases order bytes alike
    block: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    bits: Mapped[bytes] = mapped_column(LargeBinary)


class ImageRow(Base):
    __tablename__ = "images"

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    mime: Mapped[str] = mapped_column(String(32))
    width: Mapped[int]  # pixels
    height: Mapped[int]  # pixels
    size: Mapped[int]  # bytes


class TrajectoryImageRow(Base):
    __tablename__ = "trajectory_images"

    trajectory_id: Mapped[str] = mapped_column(ForeignKey("trajectories.id"), primary_key=True)
    segment: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    frame: Mapped[int] = mapped_column(
        primary_key=True, autoincrement=False, default=0
    )  # from 1; 0: the picture itself
    sha256: Mapped[str] = mapped_column(ForeignKey("images.sha256"), index=True)


class AnnotationRow(Base):
    """One revision of one person's answers about one thing in one project; the one with the highest id is current."""

    __tablename__ = "annotations"

    id: Mapped[int] = mapped_column(primary_key=True)
    trajectory_id: Mapped[str] = mapped_column(ForeignKey("trajectories.id"))
    segment: Mapped[int | None]  # None: about all of it, or about a pair
    kind: Mapped[str] = mapped_column(String(16))  # of what it is about
    annotator: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(String(16))
    answers: Mapped[dict[str, Any]]
    seconds: Mapped[float] = mapped_column(Float)  # spent on it
    idempotency_key: Mapped[str] = mapped_column(String(64))
    undoes: Mapped[int | None] = mapped_column(ForeignKey("annotations.id"))
    decision: Mapped[str | None] = mapped_column(String(16))  # a reviewer's: its kind; None for everybody else's
    created_at: Mapped[datetime]
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), server_default="reflections")
    item_id: Mapped[int | None] = mapped_column(ForeignKey("project_items.id"))

    __table_args__ = (
        CheckConstraint("status IN ('unfinished', 'submitted', 'discarded')", name="status"),
        Index(None, "idempotency_key", unique=True),
        Index("ix_annotations_current", "trajectory_id", "segment", "annotator", "project_id", "item_id", "id"),
        Index(None, "annotator", "trajectory_id"),
        Index(None, "item_id", "annotator"),
        {"sqlite_autoincrement": True},
    )


class RestorationRow(Base):
    """A revision was restored in its annotator's name by another person."""

    __tablename__ = "restorations"

    revision_id: Mapped[int] = mapped_column(ForeignKey("annotations.id"), primary_key=True, autoincrement=False)  # new
    restored_id: Mapped[int] = mapped_column(ForeignKey("annotations.id"))
    actor: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime]


class CriticScoreRow(Base):
    """A critic's p_yes of the picture of a segment; the newest of a critic counts."""

    __tablename__ = "critic_scores"

    id: Mapped[int] = mapped_column(primary_key=True)
    trajectory_id: Mapped[str] = mapped_column(ForeignKey("trajectories.id"), index=True)
    segment: Mapped[int]
    critic: Mapped[str] = mapped_column(Text)
    p_yes: Mapped[float] = mapped_column(Float)
    created_at: Mapped[datetime]

    __table_args__ = ({"sqlite_autoincrement": True},)


class PersonRow(Base):
    __tablename__ = "people"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    role: Mapped[str] = mapped_column(String(16))
    password_hash: Mapped[str | None] = mapped_column(Text)  # None: signs in elsewhere
    hub_id: Mapped[str | None] = mapped_column(String(64))  # there, where names can change
    created_at: Mapped[datetime]
    deactivated_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint("role IN ('visitor', 'guest', 'annotator', 'reviewer', 'admin')", name="role"),
        Index(None, "hub_id", unique=True),
    )


class SessionRow(Base):
    """A login session of one browser."""

    __tablename__ = "sessions"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)  # sha256 of the cookie's token
    person: Mapped[str] = mapped_column(String(64), ForeignKey("people.name"), index=True)
    begun_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]  # signed out, or signed out everywhere by another password


class ProjectRow(Base):
    __tablename__ = "projects"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(Text, unique=True)
    questions: Mapped[list[Any]]
    subject: Mapped[str] = mapped_column(String(16))
    guidelines: Mapped[str] = mapped_column(Text)
    overlap: Mapped[int | None]  # None: as many as come
    gold_share: Mapped[float] = mapped_column(Float)
    practice: Mapped[int]
    role: Mapped[str] = mapped_column(String(16))
    people: Mapped[list[Any]]
    skipping: Mapped[str] = mapped_column(String(16))
    order: Mapped[str] = mapped_column(String(16))
    collects: Mapped[bool]
    hides_verdict: Mapped[bool] = mapped_column(server_default=false())
    reasons: Mapped[list[Any]] = mapped_column(server_default="[]")  # stock reasons
    examples: Mapped[list[Any]] = mapped_column(server_default="[]")  # pictures of the guidelines
    created_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]
    archived_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]  # nobody sees it or its answers any more


class ItemRow(Base):
    """A trajectory, or a pair of them, in a project: what an annotator answers at a time."""

    __tablename__ = "project_items"

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    trajectory_id: Mapped[str] = mapped_column(ForeignKey("trajectories.id"), index=True)
    other_id: Mapped[str | None] = mapped_column(ForeignKey("trajectories.id"), index=True)  # the second of a pair
    use: Mapped[str] = mapped_column(String(16))
    state: Mapped[str] = mapped_column(String(16))
    priority: Mapped[int]  # lower comes first
    rank: Mapped[float] = mapped_column(Float)  # within the priority, by the project's order
    parts: Mapped[int]  # how many things an answer is required about
    answers: Mapped[int]  # how many people have completed it; never more than the overlap
    gold: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True))  # the right answers, where they are known

    __table_args__ = (
        CheckConstraint("use IN ('work', 'gold', 'practice')", name="use"),
        CheckConstraint("state IN ('open', 'full', 'closed', 'hidden')", name="state"),
        Index("ix_project_items_line", "project_id", "use", "state", "priority", "rank", "id"),
        Index(
            "ix_project_items_single",
            "project_id",
            "trajectory_id",
            unique=True,
            sqlite_where=text("other_id IS NULL"),
            postgresql_where=text("other_id IS NULL"),
        ),
        Index("ix_project_items_pair", "project_id", "trajectory_id", "other_id", unique=True),
        {"sqlite_autoincrement": True},
    )


class LeaseRow(Base):
    """An annotator's lease of an item, and how it ended; a renewed lease is the same row."""

    __tablename__ = "leases"

    item_id: Mapped[int] = mapped_column(ForeignKey("project_items.id"), primary_key=True, autoincrement=False)
    annotator: Mapped[str] = mapped_column(String(200), primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    taken_at: Mapped[datetime]
    renewed_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    outcome: Mapped[str | None] = mapped_column(String(16))  # None while it is held

    __table_args__ = (
        CheckConstraint(
            "outcome IN ('left', 'lapsed', 'postponed', 'submitted', 'extra', 'skipped', 'hidden')", name="outcome"
        ),
        Index(None, "outcome", "expires_at"),
        Index(None, "project_id", "annotator", "outcome"),
    )


class QueueCursorRow(Base):
    """The position in a project's order before which an annotator has nothing left to do: a cache for `next_item`."""

    __tablename__ = "places"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    annotator: Mapped[str] = mapped_column(String(200), primary_key=True)
    priority: Mapped[int]
    rank: Mapped[float] = mapped_column(Float)
    item_id: Mapped[int]


class FlagRow(Base):
    """A note about an item for its reviewers, or a reviewer's answer to one."""

    __tablename__ = "flags"

    id: Mapped[int] = mapped_column(primary_key=True)
    item_id: Mapped[int] = mapped_column(ForeignKey("project_items.id"))
    trajectory_id: Mapped[str] = mapped_column(ForeignKey("trajectories.id"), index=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), index=True)
    person: Mapped[str] = mapped_column(Text)
    note: Mapped[str] = mapped_column(Text)
    answers_id: Mapped[int | None] = mapped_column(ForeignKey("flags.id"), index=True)  # the note that it answers
    created_at: Mapped[datetime]

    __table_args__ = ({"sqlite_autoincrement": True},)


class ReturnRow(Base):
    """A reviewer sent somebody's answers about an item back, with a note."""

    __tablename__ = "returns"

    id: Mapped[int] = mapped_column(primary_key=True)
    item_id: Mapped[int] = mapped_column(ForeignKey("project_items.id"), index=True)
    annotator: Mapped[str] = mapped_column(Text)  # whose answers they were
    reviewer: Mapped[str] = mapped_column(Text)
    note: Mapped[str] = mapped_column(Text)
    to_others: Mapped[bool]  # whether somebody else is asked
    created_at: Mapped[datetime]

    __table_args__ = ({"sqlite_autoincrement": True},)


class DeletionRow(Base):
    """A trajectory was deleted by a person, or, with what `restores` it, hidden so that it can be shown again."""

    __tablename__ = "deletions"

    id: Mapped[int] = mapped_column(primary_key=True)
    trajectory_id: Mapped[str] = mapped_column(ForeignKey("trajectories.id"), index=True)
    deleted_by: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime]
    restores: Mapped[str | None] = mapped_column(Text)  # JSON of `moderation.withholding`; None: deleted

    __table_args__ = ({"sqlite_autoincrement": True},)


class ImportRow(Base):
    """One image of an imported record: the fields of the record that a trajectory has no place for."""

    __tablename__ = "imports"

    id: Mapped[int] = mapped_column(primary_key=True)
    trajectory_id: Mapped[str] = mapped_column(ForeignKey("trajectories.id"), index=True)
    batch: Mapped[str] = mapped_column(String(32), index=True)  # of the import
    source: Mapped[str] = mapped_column(Text)  # the name of the file or folder
    format: Mapped[str] = mapped_column(String(16))
    key: Mapped[str] = mapped_column(String(64))  # hash of the record's content, by which it is imported once
    part: Mapped[int]  # of the record, from 0
    row: Mapped[int]  # of the file, from 1
    together: Mapped[str | None] = mapped_column(Text, index=True)  # images of one prompt or pair share it
    record: Mapped[dict[str, Any]]  # see annotations.db.record_json
    imported_by: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime]

    __table_args__ = (Index(None, "key", "part", unique=True), {"sqlite_autoincrement": True})


class ImportFileRow(Base):
    """Values of a record that JSON cannot hold: bytes, and long lists."""

    __tablename__ = "import_files"

    import_id: Mapped[int] = mapped_column(ForeignKey("imports.id"), primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(Text, primary_key=True)
    content: Mapped[bytes] = mapped_column(LargeBinary)


class ImportRunRow(Base):
    """An import that is running or was interrupted; deleted once it is published completely or removed."""

    __tablename__ = "import_runs"

    batch: Mapped[str] = mapped_column(String(32), primary_key=True)
    source: Mapped[str] = mapped_column(Text)  # the name of the file or folder
    started_by: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(16))
    done: Mapped[int]  # records of the current step
    total: Mapped[int]
    begun_at: Mapped[datetime]
    renewed_at: Mapped[datetime]  # last heartbeat

    __table_args__ = (CheckConstraint("state IN ('checking', 'storing', 'cancelled', 'published')", name="state"),)


class StagedRow(Base):
    """A trajectory of an import run, invisible until the run is published."""

    __tablename__ = "staged_trajectories"

    trajectory_id: Mapped[str] = mapped_column(ForeignKey("trajectories.id"), primary_key=True)
    batch: Mapped[str] = mapped_column(ForeignKey("import_runs.batch"), index=True)


class PropertyRow(Base):
    """Properties of the database, such as the salt of its pseudonyms."""

    __tablename__ = "properties"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[str] = mapped_column(Text)
