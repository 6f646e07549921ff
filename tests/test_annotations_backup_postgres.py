"""Backups of a PostgreSQL database with its pictures, by command and by the studio itself, and back again."""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import postgres_server
import preloaded
import pytest
from running_app import Server
from test_annotations_backup import saved, whole
from test_annotations_samples import judged

from annotations.auth import accounts
from annotations.backup import DUMP, MANIFEST, make, restore
from annotations.db.engine import FILE
from annotations.errors import BackupError
from annotations.ops.postgres_dump import is_empty
from annotations.schema.project import Role
from annotations.store.store import Store, open_store


@pytest.fixture
def server(postgres: str) -> Iterator[str]:
    """The address of a database with our tables, emptied afterwards."""
    address = postgres.format(name="studio")
    with postgres_server.emptied_afterwards(address):
        yield address


@pytest.fixture
def empty(postgres: str) -> Iterator[str]:
    """The address of a database without tables."""
    name = f"empty_{uuid4().hex[:8]}"
    postgres_server.run(postgres, f"CREATE DATABASE {name}")
    yield postgres.format(name=name)
    postgres_server.run(postgres, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def store(tmp_path: Path, server: str) -> Iterator[Store]:
    with open_store(tmp_path / "data", server) as store:
        yield store


def test_what_was_backed_up_comes_back_whole_on_another_database(store, server, empty, tmp_path):
    target = str(tmp_path / "target")
    store.annotate(judged(saved(store, 1), verdict_right="yes"))
    accounts.add(store, "ada", Role.REVIEWER, "a long enough one")
    make(tmp_path / "data", target, server)
    saved(store, 2)
    made = make(tmp_path / "data", target, server)
    assert len(made.databases) == len(made.pictures) == 2 and made.databases[-1].endswith(DUMP)
    assert restore(target, tmp_path / "again", empty)
    with open_store(tmp_path / "again", empty) as again:
        assert whole(store, again)
        assert [one.to_dict() for one in accounts.people(again)] == [one.to_dict() for one in accounts.people(store)]
        assert again.pseudonyms(["ada"]) == store.pseudonyms(["ada"])
        made = again.annotate(judged(again.trajectories()[0].id, annotator="new", verdict_right="no"))
        assert made.id == store.annotations()[-1].id + 1  # ids go on


def test_a_backup_made_while_others_write_is_of_one_moment(store, server, empty, tmp_path):
    stop, written = threading.Event(), []

    def write() -> None:
        while not stop.is_set():
            run = saved(store, len(written))
            store.annotate(judged(run, verdict_right="yes"))
            written.append(run)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(3):
            while len(written) < 5 * (number + 1):
                time.sleep(0.01)
            make(tmp_path / "data", str(tmp_path / "target"), server)
    finally:
        stop.set()
        writer.join()
    restore(str(tmp_path / "target"), tmp_path / "again", empty)
    with open_store(tmp_path / "again", empty) as again:
        listed = again.trajectories(limit=500)
        assert len(listed) >= 15
        assert all(again.picture(image.sha256) for one in listed for image in again.trajectory(one.id).images)
        said = {annotation.trajectory_id for annotation in again.annotations()}
        assert said <= {one.id for one in listed} and len(said) >= len(listed) - 1


def test_what_cannot_be_restored_is_said_and_changes_nothing(store, server, empty, tmp_path):
    target = tmp_path / "target"
    saved(store, 1)
    made = make(tmp_path / "data", str(target), server)
    with pytest.raises(BackupError, match="may be newer"):
        restore(str(target), tmp_path / "again", server)
    with pytest.raises(BackupError, match="of PostgreSQL; name one with --database"):
        restore(str(target), tmp_path / "again")
    assert not (tmp_path / "again" / FILE).exists()
    with pytest.raises(BackupError, match="no tables of a studio"):
        make(tmp_path / "data", str(tmp_path / "other"), empty)
    copy = target / made.databases[-1]
    copy.write_bytes(copy.read_bytes()[:3000])
    with pytest.raises(BackupError, match="pg_restore of"):
        restore(str(target), tmp_path / "again", empty)
    assert is_empty(empty)


def test_an_error_tells_no_password(tmp_path):
    with pytest.raises(BackupError, match="cannot be asked") as caught:
        make(tmp_path, str(tmp_path / "target"), "postgresql+psycopg://me:topsecret@127.0.0.1:9/nothing")
    assert "topsecret" not in str(caught.value)


def test_the_command_makes_and_restores(store, server, empty, tmp_path):
    saved(store, 1)
    for do, data, url in (("make", "data", server), ("restore", "again", empty)):
        command = ["-m", "annotations.backup", do, tmp_path / "target", "--data", tmp_path / data]
        done = preloaded.run(*command, environment=dict(os.environ) | {"AHA_STUDIO_DATABASE": url})
        assert done.stdout.startswith("backup of 20"), done.stderr
    with open_store(tmp_path / "again", empty) as again:
        assert whole(store, again)


def test_the_studio_on_a_server_backs_up_by_itself_and_starts_from_its_backup(
    store, server, empty, tmp_path, tiny_checkpoint
):
    target = tmp_path / "target"
    saved(store, 1)
    runs = {"data": server, "again": empty}
    for data, url in runs.items():
        more = {"AHA_STUDIO_DATABASE": url, "AHA_STUDIO_BACKUP": str(target)}
        app = Server(tmp_path / data, tiny_checkpoint, tmp_path / f"{data}.log", more=more)
        try:
            app.start()
            until = time.monotonic() + 120
            while not (target / MANIFEST).exists():
                assert time.monotonic() < until, app.log.read_text()
                time.sleep(0.2)
        finally:
            app.stop()
    with open_store(tmp_path / "again", empty) as again:
        assert whole(store, again)
