"""Migrations: on a new file, on a populated one, on one that is not ours, and when they fail."""

import dataclasses
import json
import shutil
import sqlite3
from multiprocessing import get_context
from pathlib import Path

import postgres_server
import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, select, text
from sqlalchemy.orm import Session

from annotations.db.engine import FILE, open_database, open_database_for_reading
from annotations.db.postgres import parse
from annotations.db.process_tables import LiveEventsRow
from annotations.db.tables import Base, PostingRow
from annotations.db.upgrade import MIGRATIONS, revisions, server_revisions, upgrade, upgrade_server
from annotations.errors import DatabaseError, DirectoryError, MigrationError
from annotations.ops import data_repair
from annotations.ops.data_repair import Severity
from annotations.queue.assignment import AnnotatorProgress, claim, progress
from annotations.queue.progress import project_answers
from annotations.schema.annotation import REFLECTIONS, Annotation
from annotations.schema.default_projects import REFLECTIONS_PROJECT, RICH
from annotations.schema.project import Project
from annotations.store import search_index
from annotations.store.listing import Filter
from annotations.store.store import Store, open_store
from model.trajectory import Reflection, Sampling, StopReason, Token, Trajectory

NEXT = """
import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "9999", "{newest}", None, None


def upgrade():
    with op.batch_alter_table("trajectories", recreate="always") as table:
        table.add_column(sa.Column("note", sa.Text, nullable=True))
        table.alter_column("owner", existing_type=sa.Text, nullable=True)
    {then}
"""


NEWEST = ScriptDirectory(str(MIGRATIONS)).get_current_head()


def with_next(folder: Path, then: str = "pass") -> Path:
    """The migrations and one more, which rebuilds the table that all others refer to."""
    migrations = folder / "migrations"
    shutil.copytree(MIGRATIONS, migrations)
    (migrations / "versions" / "9999_next.py").write_text(NEXT.format(then=then, newest=NEWEST))
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
    assert LiveEventsRow.metadata is Base.metadata  # imported here, so that its tables are declared
    open_database(tmp_path).close()
    engine = create_engine(f"sqlite:///{tmp_path / FILE}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


def old(folder: Path, revision: str) -> Path:
    """The migrations up to a revision, as older code had them."""
    migrations = folder / f"migrations-{revision}"
    shutil.copytree(MIGRATIONS, migrations)
    for later in (migrations / "versions").glob("*.py"):
        if later.name[:4] > revision:
            later.unlink()
    return migrations


def populated(tmp_path: Path, revision: str) -> Path:
    """A database that older code has made and that people have worked in."""
    file = tmp_path / FILE
    upgrade(file, old(tmp_path, revision))
    connection = sqlite3.connect(file)
    for number, (id, prompt) in enumerate([("a", "a cat"), ("b", "two dogs"), ("gone", "a car")]):
        reflections = [Reflection("no", 0.1, (Token(1, "No"), Token(2, ", it is red."))) for _ in range(2)]
        thing = Trajectory(prompt, 7, 3, Sampling(), "tiny", tuple(reflections), StopReason.ROUNDS, id=id)
        connection.execute(
            "INSERT INTO trajectories (id, prompt, seed, checkpoint, owner, recorded, stop_reason, aha, answers,"
            " num_reflections, created_at, body)"
            " VALUES (?, ?, '7', 'tiny', 'visitor', 0, 'rounds', 0, 'no no', 2, ?, ?)",
            (id, prompt, f"2026-01-01 00:00:0{3 - number}.000000", json.dumps(thing.to_dict())),
        )
    for id, segment, annotator, status, undoes in SAID:
        connection.execute(
            "INSERT INTO annotations (trajectory_id, segment, kind, annotator, status, answers, seconds,"
            " idempotency_key, undoes, created_at) VALUES (?, ?, 'reflection', ?, ?, '{\"verdict_right\": \"yes\"}',"
            " 1.5, hex(randomblob(16)), ?, '2026-01-02 00:00:00.000000')",
            (id, segment, annotator, status, undoes),
        )
    connection.execute("INSERT INTO deletions (trajectory_id, deleted_by, created_at) VALUES ('gone', 'ann', '2026')")
    connection.execute("DELETE FROM annotations WHERE annotator = 'nobody'")
    connection.commit()
    connection.close()
    return file


SAID = [
    ("a", 0, "ann", "submitted", None),
    ("a", 1, "ann", "submitted", None),  # 2: done
    ("a", 0, "bob", "unfinished", None),  # begun
    ("b", 0, "ann", "submitted", None),
    ("b", 0, "ann", "unfinished", 4),  # taken back
    ("b", 0, "eve", "discarded", None),
    ("b", 1, "eve", "discarded", None),  # skipped
    ("gone", 0, "ann", "submitted", None),
    ("a", 0, "nobody", "submitted", None),  # 9, and removed again
]


@pytest.mark.parametrize("revision", ["0001", "0002"])
def test_an_older_database_keeps_every_row_and_its_work_belongs_to_the_project_reflections(tmp_path, revision):
    file = populated(tmp_path, revision)
    backup = upgrade(file)
    assert revisions(backup)[0] == revision
    assert revisions(file) == (NEWEST, NEWEST)
    for one in (file, backup):
        assert (rows(one, "trajectories"), rows(one, "annotations"), rows(one, "deletions")) == (3, 8, 1)
    connection = sqlite3.connect(file)
    ask = connection.execute
    assert ask("SELECT DISTINCT project_id FROM annotations").fetchall() == [("reflections",)]
    kept = "SELECT id, trajectory_id, segment, annotator, status, undoes FROM annotations ORDER BY id"
    assert ask(kept).fetchall() == [(number, *said) for number, said in enumerate(SAID[:8], start=1)]
    line = "SELECT trajectory_id, state, parts, answers FROM project_items ORDER BY priority, rank, id"
    assert ask(line).fetchall() == [("gone", "hidden", 2, 0), ("b", "open", 2, 0), ("a", "open", 2, 1)]
    leases = "SELECT trajectory_id, annotator, outcome FROM leases JOIN project_items i ON i.id = item_id ORDER BY 1, 2"
    assert ask(leases).fetchall() == [
        ("a", "ann", "submitted"),
        ("a", "bob", "left"),
        ("b", "ann", "left"),
        ("b", "eve", "skipped"),
        ("gone", "ann", "hidden"),
    ]
    assert ask("SELECT count(*) FROM annotations WHERE item_id IS NULL").fetchone() == (0,)
    assert ask("PRAGMA foreign_key_check").fetchall() == []
    with pytest.raises(sqlite3.IntegrityError, match="ck_annotations_status"):
        ask("UPDATE annotations SET status = 'lost'")
    connection.close()
    engine = create_engine(f"sqlite:///{file}")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    engine.dispose()


def rewind(session: Session, revision: str) -> None:
    """Back to a revision from 0019 on; of those after it only 0022 changes a table."""
    session.execute(text("ALTER TABLE invitations DROP COLUMN invitee"))
    session.execute(text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})


def test_prompts_that_are_stored_already_get_their_category(tmp_path):
    populated(tmp_path, "0002")
    with open_store(tmp_path) as store:
        for category, prompts in {"single object": ["a cat"], "counting": ["two dogs"], "mixed": []}.items():
            listed = store.trajectories(keep=Filter(category=category))
            assert [one.prompt for one in listed] == prompts  # “a car” is deleted, and stays so


def test_categories_are_what_the_parser_of_today_reads_and_lists_find_them(tmp_path, url):
    prompts = {"asked": "please paint me a picture of two apples", "plain": "a cat", "gone": "can you draw a red car"}
    with open_store(tmp_path, url) as store:
        trajectory = Trajectory("", 7, 1, Sampling(), "tiny", (), StopReason.FAILED)
        for id, prompt in prompts.items():
            store.save(dataclasses.replace(trajectory, id=id, prompt=prompt), {}, owner="visitor")
        store.hide("gone", by="ann")
        with store.database.writing() as session:  # as the parser before politeness read them, and one as no parser did
            session.execute(text("UPDATE trajectories SET category = CASE id WHEN 'plain' THEN 'hard' END"))
            rewind(session, "0019")
            search_index.rebuild(session)
    if url is None:
        assert rows(upgrade(tmp_path / FILE), "trajectories") == 3
    else:
        upgrade_server(parse(url))
        assert server_revisions(parse(url)) == (NEWEST, NEWEST)
    with open_store(tmp_path, url) as store:
        for category, ids in {"counting": ["asked"], "single object": ["plain"], "colours": [], "hard": []}.items():
            assert [listed.id for listed in store.trajectories(keep=Filter(category=category))] == ids
        found = {finding.check: finding.level for finding in data_repair.findings(store.database)}
        assert found["copies"] is found["traits"] is Severity.FINE


OLD_GUIDELINES = (
    "Look at the picture and the prompt. Say whether the model’s **yes or no** is right, how good its reason is, "
    "and write a better reason where you have one."
)


def shipped_and_changed(guidelines: str) -> dict[str, Project]:
    """Projects about reflections: as shipped, with guidelines and with a question of somebody's own."""
    first, *others = REFLECTIONS_PROJECT.questions
    mine = (dataclasses.replace(first, title="Is the model’s yes or no right?"), *others)
    begun = dataclasses.replace(REFLECTIONS_PROJECT, collects=False, guidelines=guidelines)
    return {
        "copy": dataclasses.replace(begun, id="copy", name="Copy"),
        "words": dataclasses.replace(begun, id="words", name="Words", guidelines=guidelines + " Twice."),
        "title": dataclasses.replace(begun, id="title", name="Title", questions=mine),
    }


def before_guidelines(store: Store) -> None:
    """The database as the code before revision 0021 had it."""
    for project in shipped_and_changed(OLD_GUIDELINES).values():
        store.create_project(project)
    with store.database.writing() as session:
        session.execute(text("UPDATE projects SET guidelines = :old WHERE id = 'reflections'"), {"old": OLD_GUIDELINES})
        rewind(session, "0020")


def check_guidelines(store: Store) -> None:
    """Only texts that nobody changed, of projects that are asked in these words, are new."""
    now = REFLECTIONS_PROJECT.guidelines
    wanted = shipped_and_changed(OLD_GUIDELINES)
    wanted["copy"] = dataclasses.replace(wanted["copy"], guidelines=now)
    assert "the picture fits" in now and store.project(REFLECTIONS) == REFLECTIONS_PROJECT
    assert {id: store.project(id) for id in wanted} == wanted


def test_the_guidelines_of_reflections_ask_what_the_form_asks_unless_somebody_changed_them(tmp_path):
    with open_store(tmp_path) as store:
        before_guidelines(store)
    with open_store(tmp_path) as store:
        check_guidelines(store)


def test_the_guidelines_of_reflections_on_a_server_ask_what_the_form_asks(postgres, tmp_path):
    postgres_server.run(postgres, "CREATE DATABASE guidelines")
    address = postgres.format(name="guidelines")
    for step in (before_guidelines, check_guidelines):
        with open_store(tmp_path, parse(address).render_as_string()) as store:
            step(store)
    postgres_server.run(postgres, "DROP DATABASE guidelines WITH (FORCE)")


def test_what_is_stored_already_is_listed_and_found_as_before(tmp_path):
    populated(tmp_path, "0002")
    with open_store(tmp_path) as store:
        assert [one.id for one in store.trajectories()] == ["a", "b"]  # the newest first
        assert [one.id for one in store.trajectories(before=store.trajectories()[0].cursor)] == ["b"]
        for keep, ids in {
            Filter(search="CAT"): ["a"],
            Filter(search="dog"): ["b"],
            Filter(search="car"): [],
            Filter(verdict="no"): ["a", "b"],
            Filter(verdict="yes"): [],
            Filter(annotated=True, owner="visitor", checkpoint="tiny"): ["a", "b"],
            Filter(recorded=True): [],
        }.items():
            assert [one.id for one in store.trajectories(keep=keep)] == ids
        assert store.checkpoints() == ["tiny"]
        new = store.save(dataclasses.replace(store.trajectory("a"), id="new"), {}, owner="visitor")
        assert [one.id for one in store.trajectories(keep=Filter(search="a cat"))] == [new, "a"]


def test_the_migration_gives_the_traits_that_the_store_gives(tmp_path):
    """One database is migrated, into the other the same is saved."""
    (tmp_path / "old").mkdir()
    file = populated(tmp_path / "old", "0002")
    with open_store(tmp_path / "old") as old, open_store(tmp_path / "new") as new:
        with sqlite3.connect(file) as connection:
            bodies = connection.execute("SELECT body FROM trajectories ORDER BY number").fetchall()
        for (body,) in bodies:
            new.save(Trajectory.from_dict(json.loads(body)), {}, owner="visitor")
        for id, segment, annotator, _, _ in SAID[:8]:
            new.annotate(Annotation(id, segment, annotator, {"verdict_right": "yes"}))
        new.hide("gone", by="ann")
        assert traits(old) == traits(new) != []


def decided_before(directory: Path) -> None:
    """What code before revision 0010 stored of an item that two people and a reviewer have answered."""
    trajectory = Trajectory("a cat", 7, 3, Sampling(), "tiny", id="t", stop_reason=StopReason.ROUNDS)
    questions = [question.to_dict() for question in RICH.questions]
    with sqlite3.connect(directory / FILE) as connection:
        connection.execute(
            "INSERT INTO trajectories (id, prompt, seed, checkpoint, owner, recorded, aha, answers, num_reflections,"
            " created_at, body, number) VALUES ('t', 'a cat', '7', 'tiny', 'v', 0, 0, '', 0, '2026-01-01', ?, 1)",
            (json.dumps(trajectory.to_dict()),),
        )
        connection.execute(
            "INSERT INTO projects (id, name, questions, subject, guidelines, gold_share, practice, role, people,"
            " skipping, \"order\", collects, created_at) VALUES ('p', 'P', ?, 'image', '', 0, 0, 'annotator', '[]',"
            " 'others', 'oldest', 0, '2026-01-01')",
            (json.dumps(questions),),
        )
        connection.execute(
            "INSERT INTO project_items (id, project_id, trajectory_id, use, state, priority, rank, parts, answers)"
            " VALUES (1, 'p', 't', 'work', 'full', 0, 0, 4, 2)"
        )
        for who, outcome in (("ann", "submitted"), ("bob", "submitted"), ("rev", "extra")):
            connection.execute(
                "INSERT INTO leases (item_id, annotator, project_id, taken_at, renewed_at, expires_at, outcome)"
                " VALUES (1, ?, 'p', '2026', '2026', '2026', ?)",
                (who, outcome),
            )
        for number, (who, segment, status, answers) in enumerate(REVIEWED):
            connection.execute(
                "INSERT INTO annotations (trajectory_id, segment, kind, annotator, status, answers, seconds,"
                " idempotency_key, created_at, project_id, item_id) VALUES ('t', ?, 'image', ?, ?, ?, 1, ?,"
                " '2026-01-02 00:00:00', 'p', 1)",
                (segment, who, status, json.dumps(answers), str(number)),
            )


REVIEWED = [
    ("ann", 0, "submitted", {"alignment": 4, "comment": "Fine."}),
    ("bob", 0, "submitted", {"alignment": 2}),
    ("ann", 1, "submitted", {"tags": ["a", "b"]}),
    ("ann", 2, "submitted", {"alignment": 3}),
    ("rev", 0, "unfinished", {"alignment": 4}),
    ("rev", 0, "submitted", {"alignment": 5}),
    ("rev", 0, "submitted", {"alignment": 4}),
    ("rev", 1, "submitted", {"tags": ["b", "a"]}),
    ("rev", 2, "submitted", {"alignment": 3, "comment": "Rather dark."}),
]
DECISIONS = [None] * 5 + ["rejected", "accepted", "accepted", "rewritten"]


def test_a_decision_of_an_older_database_says_what_it_is_as_it_was_inferred(tmp_path):
    upgrade(tmp_path / FILE, old(tmp_path, "0009"))
    decided_before(tmp_path)
    with open_store(tmp_path) as store:
        assert [a.decision for a in store.history("t")] == DECISIONS
        told = project_answers(store, "p")
    assert {a.annotator for a in told.submitted} == {"ann", "bob"}
    assert [(a.segment, a.decision) for a in told.decisions] == [(0, "accepted"), (1, "accepted"), (2, "rewritten")]


def traits(store: Store) -> list[tuple]:
    with store.database.reading() as session:
        return sorted(map(tuple, session.execute(select(PostingRow.trait, PostingRow.block, PostingRow.bits))))


def test_after_the_migration_ids_go_on_and_people_find_what_they_left(tmp_path):
    populated(tmp_path, "0002")
    with open_store(tmp_path) as store:
        assert store.project("reflections") == REFLECTIONS_PROJECT
        assert claim(store, REFLECTIONS, "ann").trajectory_id == "b"
        assert {claim(store, REFLECTIONS, name).trajectory_id for name in ("bob", "eve")} == {"a"}
        assert (progress(store, "ann"), progress(store, "new")) == (AnnotatorProgress(1, 1), AnnotatorProgress(0, 2))
        made = store.annotate(Annotation("b", 0, "ann", {"verdict_right": "no"}))
        assert made.id == 10  # no id comes twice, though the ninth was removed
        assert store.undo("a", 1, "ann").undoes == 2


def test_migrating_twice_changes_nothing_and_makes_no_backup(tmp_path):
    populate(tmp_path)
    before = (tmp_path / FILE).read_bytes()
    assert upgrade(tmp_path / FILE) is None
    assert (tmp_path / FILE).read_bytes() == before
    assert not (tmp_path / "backups").exists()


def test_rebuilding_a_parent_table_keeps_its_children_and_leaves_a_backup(tmp_path):
    populate(tmp_path)
    backup = upgrade(tmp_path / FILE, with_next(tmp_path))
    assert revisions(tmp_path / FILE, tmp_path / "migrations") == ("9999", "9999")
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
    with pytest.raises(MigrationError, match="4 rows lost the row they refer to"):
        upgrade(tmp_path / FILE, with_next(tmp_path, then))
    assert rows(tmp_path / FILE, "trajectories") == 1


def test_a_copy_that_is_cut_short_has_no_name_of_a_backup_and_is_gone_after_the_next(tmp_path, monkeypatch):
    populate(tmp_path)
    file, migrations = tmp_path / FILE, with_next(tmp_path)

    def cut(_: Path, made: Path) -> None:
        made.write_bytes(b"SQLite format 3")
        raise KeyboardInterrupt  # as a kill does, which cleans nothing up

    with monkeypatch.context() as patched:
        patched.setattr("annotations.db.upgrade._copy", cut)
        with pytest.raises(KeyboardInterrupt):
            upgrade(file, migrations)
    assert not list(tmp_path.glob("backups/*.db"))
    backup = upgrade(file, migrations)
    assert list(tmp_path.glob("backups/*")) == [backup]
    assert backup.stat().st_mode & 0o777 == 0o600


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
    with pytest.raises(MigrationError, match=f"revision 9999, the newest known here is {NEWEST}.*update"):
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


@pytest.mark.parametrize("revision", ["0001", "0002", "0005"])
def test_an_older_database_on_a_server_keeps_every_row_too(postgres, tmp_path, revision):
    name = f"older_{revision}"
    postgres_server.run(postgres, f"CREATE DATABASE {name}")
    address = parse(postgres.format(name=name))
    upgrade_server(address, old(tmp_path, revision))
    with psycopg.connect(address.set(drivername="postgresql").render_as_string(), autocommit=True) as connection:
        for id, prompt in (("a", "a cat"), ("b", "two dogs"), ("gone", "a car")):
            reflections = [Reflection("no", 0.1, (Token(1, "No"), Token(2, ", it is red."))) for _ in range(2)]
            thing = Trajectory(prompt, 7, 3, Sampling(), "tiny", tuple(reflections), StopReason.ROUNDS, id=id)
            connection.execute(
                "INSERT INTO trajectories (id, prompt, seed, checkpoint, owner, recorded, stop_reason, aha, answers,"
                " num_reflections, created_at, body)"
                " VALUES (%s, %s, '7', 'tiny', 'visitor', false, 'rounds', false, 'no no', 2, now(), %s)",
                (id, prompt, json.dumps(thing.to_dict())),
            )
        for id, segment, annotator, status, undoes in SAID[:8]:
            connection.execute(
                "INSERT INTO annotations (trajectory_id, segment, kind, annotator, status, answers, seconds,"
                " idempotency_key, undoes, created_at)"
                " VALUES (%s, %s, 'reflection', %s, %s, %s, 1.5, md5(random()::text), %s, now())",
                (id, segment, annotator, status, '{"verdict_right": "yes"}', undoes),
            )
        connection.execute(
            "INSERT INTO deletions (trajectory_id, deleted_by, created_at) VALUES ('gone', 'ann', now())"
        )
        upgrade_server(address)
        assert server_revisions(address) == (NEWEST, NEWEST)
        kept = "SELECT id, trajectory_id, segment, annotator, status, undoes FROM annotations ORDER BY id"
        assert connection.execute(kept).fetchall() == [(n, *said) for n, said in enumerate(SAID[:8], start=1)]
        assert connection.execute("SELECT DISTINCT project_id FROM annotations").fetchall() == [("reflections",)]
        orphans = "SELECT count(*) FROM annotations WHERE item_id IS NULL"
        assert connection.execute(orphans).fetchone() == (8 if revision == "0005" else 0,)  # made without its queue
    with open_store(tmp_path / "data", address.render_as_string()) as store:
        assert [one.id for one in store.trajectories(keep=Filter(search="two DOG", annotated=True))] == ["b"]
        assert store.trajectories(keep=Filter(search="car")) == []  # deleted
        assert len(store.annotations()) == 6  # of what is not deleted, those that are not replaced
        assert store.annotate(Annotation("b", 0, "ann", {"verdict_right": "no"})).id == 9
    engine = create_engine(address)
    with engine.connect() as connection:
        differ = compare_metadata(MigrationContext.configure(connection), Base.metadata)
    engine.dispose()
    assert differ == []
    postgres_server.run(postgres, f"DROP DATABASE {name} WITH (FORCE)")
