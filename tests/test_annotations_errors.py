"""What an error of the database tells anybody: neither where it is nor where files are."""

import logging

import pytest
from sqlalchemy import text

from annotations.errors import DatabaseError, redact_paths
from annotations.store.store import open_store

SAID = [
    'connection to server on socket "/var/run/postgresql/.s.PGSQL.5432" failed: no such file or directory',
    'connection failed: connection to server at "db.internal" (10.1.2.3), port 5432 failed: FATAL: no such role',
    "cannot ask postgresql+psycopg://studio:secret@db.internal/name: refused",
    "sqlite:////srv/secret/annotations.db is locked",
    "[Errno 13] Permission denied: '/srv/secret folder/images/ab.png'",
    "cannot write to /srv/secret (No space left on device); choose another folder",
    "host=/run/secret user=studio",
    "got 'C:\\Users\\secret\\data.db', wanted a folder",
    "unable to open ~/secret/data.db",
]


@pytest.mark.parametrize("said", SAID)
def test_a_message_names_no_socket_no_url_and_no_path(said: str):
    told = redact_paths(said)
    assert "…" in told
    assert not any(word in told for word in ("secret", "internal", "10.1", "postgresql", "/srv", "/run", "Users"))


@pytest.mark.parametrize(
    "said", ["a cat and/or a dog", "1 / 2", "see https://example.org/help/me", "wanted 3:4", "got images/1.png"]
)
def test_other_words_are_left_alone(said: str):
    assert redact_paths(said) == said


def test_a_path_in_an_error_of_the_database_goes_to_the_log_alone(tmp_path, caplog):
    statement = f"ATTACH DATABASE '{tmp_path}/none/other.db' AS other"
    with (
        open_store(tmp_path / "data") as store,
        caplog.at_level(logging.WARNING),
        pytest.raises(DatabaseError) as caught,
        store.database.reading() as session,
    ):
        session.execute(text(statement))
    assert str(tmp_path) not in str(caught.value) and "the database said" in str(caught.value)
    assert "the database said" in caplog.text
