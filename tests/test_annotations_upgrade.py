"""Migrations: on a new file, on a populated one, on one that is not ours, and when they fail."""

import shutil
import sqlite3
from multiprocessing import get_context
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from annotations.annotation import Annotation
from annotations.database import FILE, open_database, open_database_for_reading
from annotations.errors import DatabaseError, DirectoryError, MigrationError
from annotations.store import open_store
from annotations.tables import Base
from annotations.upgrade import MIGRATIONS, revisions, upgrade
from model.trajectory import Reflection, Sampling, StopReason, Token, Trajectory

NEWEST = ScriptDirectory(str(MIGRATIONS)).get_current_head()
NEXT = f"{int(NEWEST) + 1:04d}"
NEXT_REVISION = """
import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "{next}", "{newest}", None, None


def upgrade():
    with op.batch_alter_table("trajectories", recreate="always") as table:
        table.add_column(sa.Column("note", sa.Text, nullable=True))
        table.alter_column("owner", existing_type=sa.Text, nullable=True)
    {then}
"""


def with_next(folder: Path, then: str = "pass") -> Path:
    """The migrations and one more, which rebuilds the table that all others refer to."""
    migrations = folder / "migrations"
    shutil.copytree(MIGRATIONS, migrations)
    (migrations / "versions" / f"{NEXT}_next.py").write_text(NEXT_REVISION.format(then=then, next=NEXT, newest=NEWEST))
    return migrations


def populate(directory: Path) -> str:
    reflection = Reflection("no", 0.1, (Token(1, "No"), Token(2, ", it is red.")))
    trajectory = Trajectory("a cat", 7, 3, Sampling(), "tiny", segments=(reflection,), stop_reason=StopReason.ROUNDS)
    with open_store(directory) as store:
        trajectory_id = store.save(trajectory, {}, owner="visitor")
        for annotator in ("ann", "bob"):
            store.annotate(Annotation(trajectory_id, 0, annotator, {"verdict_right": "yes"}))
        store.hide(trajectory_id, by="ann")
    return trajectory_id


def rows(file: Path, table: str) -> int:
    connection = sqlite3.connect(file)
    try:
        return connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    finally:
        connection.close()


def test_the_migrations_make_exactly_the_tables_that_the_code_declares(tmp_path):
    open_database(tmp_path).close()
    engine = create_engine(f"sqlite:///{tmp_path / FILE}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


def test_a_database_of_the_first_revision_keeps_all_it_has(tmp_path):
    first = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, first)
    for later in sorted((first / "versions").glob("*.py"))[1:]:
        later.unlink()
    populate(tmp_path)  # then taken back to the first tables
    connection = sqlite3.connect(tmp_path / FILE)
    for table in ("import_files", "imports"):
        connection.execute(f"DROP TABLE {table}")
    connection.execute("DROP INDEX ix_trajectories_listing")
    connection.execute("CREATE INDEX ix_trajectories_created_at_id ON trajectories (created_at, id)")
    connection.execute("UPDATE alembic_version SET version_num = '0001'")
    connection.commit()
    connection.close()
    assert revisions(tmp_path / FILE, first) == ("0001", "0001")
    backup = upgrade(tmp_path / FILE)
    assert revisions(backup) == ("0001", NEWEST)
    for file in (tmp_path / FILE, backup):
        assert (rows(file, "trajectories"), rows(file, "annotations"), rows(file, "deletions")) == (1, 2, 1)
    engine = create_engine(f"sqlite:///{tmp_path / FILE}")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    engine.dispose()


def test_migrating_twice_changes_nothing_and_makes_no_backup(tmp_path):
    populate(tmp_path)
    before = (tmp_path / FILE).read_bytes()
    assert upgrade(tmp_path / FILE) is None
    assert (tmp_path / FILE).read_bytes() == before
    assert not (tmp_path / "backups").exists()


def test_rebuilding_a_parent_table_keeps_its_children_and_leaves_a_backup(tmp_path):
    populate(tmp_path)
    backup = upgrade(tmp_path / FILE, with_next(tmp_path))
    assert revisions(tmp_path / FILE, tmp_path / "migrations") == (NEXT, NEXT)
    for file in (tmp_path / FILE, backup):
        assert (rows(file, "trajectories"), rows(file, "annotations"), rows(file, "deletions")) == (1, 2, 1)
    assert revisions(backup) == (NEWEST, NEWEST)


@pytest.mark.parametrize("then", ["raise sa.exc.InvalidRequestError('halfway')", "1 / 0"])
def test_a_migration_that_fails_leaves_the_database_as_it_was(tmp_path, then):
    trajectory_id = populate(tmp_path)
    with pytest.raises(MigrationError, match=r"was not migrated.*it is unchanged.*copy in"):
        upgrade(tmp_path / FILE, with_next(tmp_path, then))
    assert revisions(tmp_path / FILE) == (NEWEST, NEWEST)
    with open_store(tmp_path) as store:
        assert trajectory_id not in {listed.id for listed in store.trajectories()}
        assert rows(tmp_path / FILE, "annotations") == 2


def test_a_migration_that_orphans_rows_is_taken_back(tmp_path):
    populate(tmp_path)
    then = 'op.execute("DELETE FROM trajectories")'
    with pytest.raises(MigrationError, match="3 rows lost the row they refer to"):
        upgrade(tmp_path / FILE, with_next(tmp_path, then))
    assert rows(tmp_path / FILE, "trajectories") == 1


def test_processes_that_start_together_migrate_once(tmp_path):
    populate(tmp_path)
    migrations = with_next(tmp_path)
    with get_context("spawn").Pool(4) as pool:
        backups = pool.starmap(upgrade, [(tmp_path / FILE, migrations)] * 4)
    assert sum(backup is not None for backup in backups) == 1
    assert rows(tmp_path / FILE, "annotations") == 2


def test_a_database_of_newer_code_is_refused(tmp_path):
    populate(tmp_path)
    upgrade(tmp_path / FILE, with_next(tmp_path))
    with pytest.raises(MigrationError, match=rf"revision {NEXT}, the newest known here is {NEWEST}.*update"):
        open_database(tmp_path)


def test_a_database_of_something_else_is_refused_and_left_alone(tmp_path):
    connection = sqlite3.connect(tmp_path / FILE)
    connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.close()
    with pytest.raises(MigrationError, match="database of something else: it has the tables recipes"):
        open_database(tmp_path)
    assert rows(tmp_path / FILE, "recipes") == 0


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path):
    (tmp_path / FILE).write_bytes(b"not a database at all" * 100)
    with pytest.raises(DatabaseError, match="is no database"):
        open_database(tmp_path)
    assert (tmp_path / FILE).read_bytes().startswith(b"not a database")


def test_reading_only_neither_makes_nor_migrates(tmp_path):
    with pytest.raises(DirectoryError, match=r"there is no studio\.db"):
        open_database_for_reading(tmp_path)
    assert list(tmp_path.iterdir()) == []
    sqlite3.connect(tmp_path / FILE).close()
    with pytest.raises(DatabaseError, match="start the studio once"):
        open_database_for_reading(tmp_path)
