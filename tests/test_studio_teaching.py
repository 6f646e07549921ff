"""“Teach it” without a browser: a real lesson in a process of its own, for one person, kept or dropped."""

import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest
from test_annotations_samples import aha, judged

from annotations.store.store import Store, open_store
from model.backends.janus import Janus
from model.backends.registry import open_backend
from model.decoding.janus_backend import JanusBackend
from model.events import TrajectoryStarted
from studio.inference.checkpoints import Checkpoints
from studio.inference.generator import Generator
from studio.settings import Mode, Settings
from studio.teaching import jobs
from studio.teaching.corrections import corrections_of, count_written
from studio.teaching.jobs import Taught, TeachingError, TeachingJobs
from studio.teaching.section import TeachHandlers
from studio.training.provenance import learners
from studio.training.run_form import runs_dir

VISIT = SimpleNamespace(query_params={}, username=None, session_hash="page", headers={}, cookies={})
PATIENCE = 300.0  # seconds


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "data") as store:
        yield store


def handlers_of(store: Store, tiny: Janus, checkpoint: Path, settings: Settings, **options) -> TeachHandlers:
    checkpoints = Checkpoints(Generator(JanusBackend(tiny), store))
    opener = partial(open_backend, device="cpu")
    lessons = TeachingJobs(store, opener, lambda: {"tiny": str(checkpoint)}, **options)
    return TeachHandlers(lessons, checkpoints, store, settings)


@pytest.fixture
def handlers(
    store: Store, tiny: Janus, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[TeachHandlers]:
    handlers = handlers_of(store, tiny, tiny_checkpoint, Settings())
    yield handlers
    handlers.jobs.leave("page")
    handlers.jobs.drop("name me")


def correct(store: Store, count: int = 2, who: str = "me") -> None:
    for number in range(count):
        trajectory, pictures = aha(number)
        id = store.save(trajectory, pictures, owner="me")
        store.annotate(judged(id, 2, who, verdict_right="no", reason_correction="there are two."))


def taught(handlers: TeachHandlers):
    """What is shown once a lesson has ended."""
    end = time.monotonic() + PATIENCE
    while (view := handlers.look(VISIT)).timer.active:
        assert time.monotonic() < end
        time.sleep(0.1)
    return view


def test_of_a_diffusion_pair_its_critic_is_taught(handlers, store):
    trajectory, pictures = aha(7)
    id = store.save(replace(trajectory, checkpoint="painter+tiny"), pictures, owner="me")
    store.annotate(judged(id, 2, "me", verdict_right="no", reason_correction="there are two."))
    assert handlers.teach(VISIT).cancel["visible"]
    assert handlers.jobs.running("name me").parent == "tiny"
    handlers.cancel(VISIT)


@pytest.mark.thorough
def test_a_lesson_draws_for_whoever_taught_it_and_becomes_a_checkpoint(handlers, store):
    correct(store)
    assert handlers.start(VISIT).teach["value"] == "Teach it: 2 corrections"
    assert handlers.teach(VISIT).cancel["visible"]
    view = taught(handlers)
    assert view.keep["visible"] and "It has learnt 2 corrections" in view.shown, view.shown
    assert view.shown.count("<img") >= 2
    mine, theirs = handlers.checkpoints_of(VISIT), handlers.jobs.checkpoints_for("name somebody", handlers.checkpoints)
    assert mine.named("tiny").name.startswith("tiny-taught-") and theirs.named("tiny").name == "tiny"
    events = [*mine.named("tiny").stream("two cars", 0, 1, owner="me")]
    begun = next(event for event in events if isinstance(event, TrajectoryStarted))
    assert begun.checkpoint.startswith("tiny-taught-")
    assert "Kept as" in handlers.keep(VISIT).shown
    [name] = [name for name in handlers.checkpoints.names if name != "tiny"]
    assert handlers.checkpoints.named(name).name == name and handlers.checkpoints_of(VISIT).named("tiny").name == "tiny"
    revisions = [annotation.id for annotation in store.annotations()]
    assert learners(runs_dir(store), revisions) == {id: [name] for id in revisions}


def test_a_lesson_ends_with_its_page_and_when_it_takes_too_long(handlers, store, monkeypatch):
    correct(store)
    handlers.teach(VISIT)
    folder = handlers.jobs.running("name me").folder
    assert "another lesson is under way" in handlers.teach(VISIT).shown.lower()
    handlers.jobs.leave("another page")
    assert handlers.jobs.running("name me") is not None
    handlers.jobs.leave("page")
    assert handlers.jobs.running("name me") is None and not folder.exists()
    handlers.jobs.limit = 0.0
    handlers.teach(VISIT)
    assert "It took longer" in taught(handlers).shown


def test_a_lesson_that_is_killed_says_so_and_another_may_begin(handlers, store):
    correct(store)
    handlers.teach(VISIT)
    running = handlers.jobs.running("name me")
    running.process.kill()
    assert "ended from outside by SIGKILL: the system ends so what needs more memory" in taught(handlers).shown
    assert not running.folder.exists() and handlers.teach(VISIT).cancel["visible"]


def test_a_lesson_ends_with_the_studio_however_that_ends(handlers, store):
    correct(store)
    handlers.teach(VISIT)
    process = handlers.jobs.running("name me").process
    process.stdin.close()  # as the system does for a process that is killed
    assert process.wait(PATIENCE) == 1


def test_what_was_taught_is_kept_whole_or_stays_to_be_kept(tmp_path: Path):
    lesson, place = tmp_path / "lesson", tmp_path / "runs"
    (lesson / "mine").mkdir(parents=True)
    (lesson / "mine" / "provenance.json").write_text('{"step": 3}')
    (lesson / "mine.jsonl").write_text('{"step": 2}')
    taught = Taught(SimpleNamespace(name="mine"), "tiny", lesson, (), {})
    with pytest.raises(OSError):
        jobs._as_run(taught, place, "me")  # there are no sources, which is found out late
    assert (lesson / "mine" / "provenance.json").is_file() and list(place.iterdir()) == []
    (lesson / "_sources.parquet").write_bytes(b"rows")
    run = jobs._as_run(taught, place, "me")
    assert run.is_complete and run.has_checkpoint and run.metrics.is_file()
    (lesson / "mine").mkdir()
    with pytest.raises(TeachingError, match="there is a run mine already"):
        jobs._as_run(taught, place, "me")
    assert [folder.name for folder in place.iterdir()] == ["mine"]


def test_what_a_failed_lesson_said_is_shown(handlers, store, tmp_path):
    correct(store)
    handlers.jobs.sources = lambda: {"tiny": str(tmp_path / "none")}
    handlers.teach(VISIT)
    assert "there is no checkpoint" in taught(handlers).shown


def test_only_a_persons_own_corrections_count(store):
    correct(store, 1, "me")
    assert count_written(corrections_of(store, "me")) == 1
    assert corrections_of(store, "somebody") == [] and corrections_of(store, None) == []
    trajectory, pictures = aha(7)
    id = store.save(trajectory, pictures, owner="me")
    store.annotate(judged(id, 2, "me", verdict_right="yes", reason_rating=5))
    assert count_written(corrections_of(store, "me")) == 1 and len(corrections_of(store, "me")) == 2


def test_visitors_teach_only_where_a_setting_says_so(store, tiny, tiny_checkpoint):
    handlers = handlers_of(store, tiny, tiny_checkpoint, Settings(mode=Mode.PUBLIC))
    assert all(part == gr.skip() for part in handlers.start(VISIT))
    with pytest.raises(gr.Error, match="annotators"):
        handlers.teach(VISIT)
    with pytest.raises(gr.Error, match="admins"):
        handlers.keep(VISIT)
    open_to_all = handlers_of(store, tiny, tiny_checkpoint, Settings(mode=Mode.PUBLIC, visitors_teach=True))
    assert "nothing to teach" in open_to_all.teach(VISIT).shown
    with pytest.raises(gr.Error, match="admins"):
        open_to_all.keep(VISIT)


def test_memory_holds_so_many_taught_checkpoints(handlers, store, monkeypatch):
    for person in range(jobs.MOST_TAUGHT):
        folder = store.database.directory / f"{person}"
        folder.mkdir()
        handlers.jobs._taught[f"name {person}"] = SimpleNamespace(folder=folder)
    handlers.jobs._remember("name me", SimpleNamespace(folder=store.database.directory))
    assert list(handlers.jobs._taught) == ["name 1", "name 2", "name 3", "name me"]
    handlers.jobs._taught.clear()
