"""What many tests share: a tiny network with random weights, saved in the real format; databases; a browser."""

import gc
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import torch
from argon2 import PasswordHasher

# read when Triton is imported
os.environ.setdefault("TRITON_INTERPRET", "0" if torch.cuda.is_available() else "1")

import postgres_server
import preloaded
import pytest
from browsing import launch, new_page
from playwright.sync_api import Browser, Page, sync_playwright
from tests_support import end_texts_soon
from unsynced import stop_waiting

from annotations.auth import accounts, password_login
from annotations.auth.accounts import add
from annotations.db import upgrade as migrations
from annotations.schema.project import Role
from annotations.store.store import Store, open_store
from model.backends.checkpoint.saving import save_checkpoint
from model.backends.janus import Janus
from model.backends.request import Request
from model.decoding.load_for_inference import open_checkpoint
from model.decoding.rollout import rollout
from model.events import fold
from model.training.embedded.network import new_config, new_network, new_processor, new_tokenizer
from model.trajectory import Trajectory
from studio.annotate.handlers import AnnotateHandlers
from studio.settings import Mode, Settings


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    if not session.config.option.collectonly:
        preloaded.fork_server_in_place()


@pytest.fixture(scope="session")
def thorough(request: pytest.FixtureRequest) -> bool:
    """Whether `--all` was given."""
    return request.config.getoption("--all")


@pytest.fixture(scope="session", autouse=True)
def frozen_imports() -> None:
    """What has been imported is left out of garbage collections, each of which would look through all of it: a quarter
    of the time that collecting the tests takes."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def cheap_hashes() -> Iterator[None]:
    """Passwords are hashed with Argon2 at its least cost; the tests of accounts look at the real one."""
    hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accounts, "HASHER", hasher)
        patch.setattr(password_login, "HASHER", hasher)
        patch.setattr(password_login, "DUMMY_HASH", hasher.hash("an account that is not there"))
        yield


@pytest.fixture(scope="session", autouse=True)
def unsynced_files() -> Iterator[None]:
    """Nothing is waited for until it is on the disk, neither here nor in the servers that tests start."""
    with pytest.MonkeyPatch.context() as patch:
        stop_waiting(patch)
        yield


@pytest.fixture(scope="session", autouse=True)
def copied_databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A new SQLite file is a copy of one that all migrations made, but for its salt: they take a sixth of a second."""
    made, migrate = tmp_path_factory.mktemp("database") / "made.db", migrations._run
    migrations.upgrade(made)

    def migrate_or_copy(file: Path, folder: Path, backup: Path | None) -> None:
        if folder != migrations.MIGRATIONS or file.stat().st_size > 0:
            migrate(file, folder, backup)
            return
        file.write_bytes(made.read_bytes())
        with closing(sqlite3.connect(file)) as connection, connection:
            connection.execute("UPDATE properties SET value = lower(hex(randomblob(16))) WHERE name = 'salt'")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(migrations, "_run", migrate_or_copy)
        yield


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder of the embedded network's kind, small enough for seconds; it draws noise."""
    folder = tmp_path_factory.mktemp("checkpoints") / "tiny"
    network = new_network(new_config(hidden=64, layers=2, vision_layers=1, codec=32), seed=0)
    end_texts_soon(network)
    save_checkpoint(network, new_processor(new_tokenizer()), folder, {"recipe": "random weights"})
    return folder


@pytest.fixture(scope="session")
def tiny(tiny_checkpoint: Path) -> Janus:
    """The tiny checkpoint, opened in float64 so that arithmetic hides nothing."""
    return open_checkpoint(tiny_checkpoint, dtype=torch.float64)


@pytest.fixture(scope="session")
def drawn(tiny: Janus) -> Trajectory:
    """Thought, image and verdict, for two rounds."""
    sampling = replace(tiny.sampling, thinks=True)
    for seed in range(50):
        trajectory = fold(rollout(tiny, [Request("two cars", seed, 2, sampling, id="parent")]))
        if len(trajectory.images) == 2:
            return trajectory
    raise AssertionError("no seed of fifty gave a verdict of no")


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL server; the address of its database `{name}`. One called “studio” has our tables."""
    if reason := postgres_server.why_not():
        pytest.skip(reason)
    with postgres_server.server() as address:
        postgres_server.run(address, "CREATE DATABASE studio")
        open_store(tmp_path_factory.mktemp("fresh"), address.format(name="studio")).close()
        yield address


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """Where a test's store lives: in its folder (None), and once more on a server, as after the first start."""
    if request.param == "sqlite":
        yield None
        return
    address = request.getfixturevalue("postgres").format(name="studio")
    with postgres_server.emptied_afterwards(address):
        yield address


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store in which Ada and Bob are annotators."""
    with open_store(tmp_path / "data") as store:
        for name in ("ada", "bob"):
            add(store, name, Role.ANNOTATOR, "a long enough one")
        yield store


@pytest.fixture
def handlers(store: Store) -> AnnotateHandlers:
    """Where they annotate, in a studio that is open to everybody."""
    return AnnotateHandlers(store, Settings(mode=Mode.PUBLIC))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium, the system's own."""
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """As wide as an ordinary screen."""
    with new_page(browser) as page:
        yield page
