"""The front page: what its handlers yield, without a browser."""

import random
import time
from dataclasses import fields, replace
from math import inf, nan
from pathlib import Path

import gradio as gr
import pytest
from scene_backend import SceneBackend
from studio_samples import aha
from thoroughness import few

from annotations.store.store import Store, open_store, open_store_for_reading
from model.backends.embedded_world import EMBEDDED_WORLD
from model.backends.janus import Janus
from model.backends.request import Request
from model.decoding.janus_backend import JanusBackend
from model.decoding.load_for_inference import open_checkpoint
from model.decoding.rollout import rollout
from model.events import fold
from model.trajectory import Sampling
from studio.draw import page as draw
from studio.inference.branch_request import perturbed_sampling
from studio.inference.checkpoints import Checkpoints
from studio.inference.draw_request import DrawForm
from studio.inference.generator import Generator
from studio.inference.live_events import IDLE, RUNNING, PageVisit, Sessions, forget
from studio.inference.replays import some_aha
from studio.settings import Mode, Settings

VISIT = PageVisit("ada", "tab")


@pytest.fixture
def store(tmp_path: Path):
    with open_store(tmp_path / "data") as store:
        yield store


def wish(prompt: str = "two birds", **changed) -> DrawForm:
    values = {"rounds": 1, "guidance": 1.0, "temperature": 1.0, "seed": 5, "new_seed": False, "thinks": False}
    return DrawForm(prompt, **values | changed)


def values_of(stream) -> list[dict]:
    return [value for value, *_ in stream]


def test_a_drawing_reaches_the_page_without_gaps_and_ends_with_the_whole(tiny: Janus, store: Store):
    seen, values = 0, values_of(draw.ask(wish(), VISIT, Checkpoints(Generator(JanusBackend(tiny), store)), Sessions()))
    for value in values:
        assert value["first"] <= seen
        seen = max(seen, value["first"] + len(value["rows"]))
    assert values[-1]["rows"][-1]["is"] == "end"
    assert values[-1]["whole"][-1]["is"] == "end"
    assert len({value["run"] for value in values}) == 1
    assert len(store.trajectories()) == 1


def test_what_happens_while_a_value_is_sent_goes_together(tiny: Janus, store: Store):
    values = draw.ask(wish(), VISIT, Checkpoints(Generator(JanusBackend(tiny), store)), Sessions())
    next(values), next(values)
    together = 0
    for seconds in (0.5, 1, 2, 4, 8):  # a slow line: the drawing goes on meanwhile, on a busy machine more slowly
        time.sleep(seconds)
        value, *_ = next(values)
        together = max(together, len(value["rows"]) - value["first"])
        if together > 5:
            break
    assert together > 5
    values.close()


def test_another_seed_draws_as_many_images_as_were_redrawn_and_keeps_them(tiny: Janus, store: Store):
    trajectory, pictures = aha()
    checkpoints = Checkpoints(Generator(JanusBackend(tiny), store))
    store.save(replace(trajectory, checkpoint=checkpoints.names[0]), pictures, owner="ada")
    *_, (value, *buttons) = draw.instead(trajectory.id, VISIT, checkpoints, Sessions())
    [drawn] = value["instead"]["drawn"]
    kept = store.trajectory(drawn["id"])
    assert (kept.prompt, kept.rounds, drawn["answer"]) == (trajectory.prompt, 1, kept.segments[-1].answer)
    assert value["instead"]["of"] == trajectory.id and tuple(buttons[:2]) == IDLE


def test_another_seed_of_nothing_is_said_in_words(tiny: Janus, store: Store):
    [(value, *_)] = draw.instead("gone", VISIT, Checkpoints(Generator(JanusBackend(tiny), store)), Sessions())
    assert "there is no trajectory" in value["notice"]


def test_the_buttons_change_places_while_it_draws(tiny: Janus, store: Store):
    yielded = list(draw.ask(wish(), VISIT, Checkpoints(Generator(JanusBackend(tiny), store)), Sessions()))
    assert yielded[0][1:] == (*RUNNING, 5)
    assert yielded[-1][1:3] == IDLE


@pytest.mark.parametrize("prompt", ["", "  ", "a cat " * 2000, "🐈" * 10_000, "🐈" * 150])
def test_a_prompt_that_cannot_be_drawn_is_a_message(tiny: Janus, store: Store, prompt: str):
    (value,) = values_of(draw.ask(wish(prompt), VISIT, Checkpoints(Generator(JanusBackend(tiny), store)), Sessions()))
    assert "prompt" in value["notice"]
    assert not value["anyway"]


def test_a_word_outside_the_world_is_a_question_and_can_be_drawn_anyway(tiny: Janus, store: Store):
    checkpoints = Checkpoints(Generator(JanusBackend(tiny), store))
    (value,) = values_of(draw.ask(wish("a zebra"), VISIT, checkpoints, Sessions()))
    assert value["anyway"]
    assert "zebra" in value["notice"]
    values = values_of(draw.ask(wish("a zebra"), VISIT, checkpoints, Sessions(), insist=True))
    assert values[-1]["rows"][-1]["is"] == "end"


def test_what_cannot_be_stored_is_said(tiny: Janus, store: Store):
    values = values_of(
        draw.ask(wish(), PageVisit("\0", "tab"), Checkpoints(Generator(JanusBackend(tiny), store)), Sessions())
    )
    assert "cannot be stored" in values[-1]["notice"]


def test_stop_ends_the_drawing_of_its_own_page_only(tiny: Janus, store: Store):
    sessions = Sessions()
    stream = draw.ask(wish(rounds=4), VISIT, Checkpoints(Generator(JanusBackend(tiny), store)), sessions)
    next(stream)
    sessions.ask("another tab")
    next(stream)
    sessions.ask("tab")
    assert values_of(stream)[-1]["rows"][-1]["reason"] == "cancelled"


def test_values_past_the_sliders_are_brought_back(tiny: Janus):
    wild = wish(rounds=99, guidance=1000, temperature=-3, seed=-5)
    assert wild.most_rounds() == 4
    assert (wild.sampling(tiny.sampling).guidance, wild.sampling(tiny.sampling).temperature) == (10, 0)
    assert wild.chosen_seed() == 0


@pytest.mark.parametrize("changed", [{"guidance": nan}, {"temperature": inf}, {"rounds": None}, {"seed": nan}])
def test_a_setting_that_is_no_number_is_a_message(tiny: Janus, store: Store, changed: dict):
    [name] = changed
    (value,) = values_of(
        draw.ask(wish(**changed), VISIT, Checkpoints(Generator(JanusBackend(tiny), store)), Sessions())
    )
    assert f"{name} is {changed[name]}; give a number from" in value["notice"].replace("number of rounds", "rounds")


def test_a_new_seed_is_drawn_and_shown_and_an_old_one_repeats_the_drawing(tiny: Janus, store: Store):
    checkpoints = Checkpoints(Generator(JanusBackend(tiny), store))
    first = list(draw.ask(wish(new_seed=True), VISIT, checkpoints, Sessions()))
    again = list(draw.ask(wish(seed=first[0][3]), VISIT, checkpoints, Sessions()))
    assert first[-1][0]["whole"][1:] == again[-1][0]["whole"][1:]


def test_the_page_opens_with_the_recorded_aha_moment(tiny: Janus, store: Store):
    checkpoints = Checkpoints(Generator(JanusBackend(tiny), store))
    assert draw.opened(checkpoints, Settings(), None)[0] == {}
    store.save(*aha(), owner="us", recorded=True)
    value, *widgets = draw.opened(checkpoints, Settings(), None)
    assert value["label"] == "Recorded example"
    assert value["rows"]
    assert len(widgets) == draw.WIDGETS
    again = draw.opened(checkpoints, Settings(), None)[0]
    assert again["rows"] is value["rows"] and again["run"] != value["run"]
    store.hide(aha()[0].id, by="us")
    assert draw.opened(checkpoints, Settings(), None)[0] == {}


def test_a_link_replays_a_trajectory_and_loads_its_settings(tiny: Janus, store: Store):
    checkpoints = Checkpoints(Generator(JanusBackend(tiny), store))
    trajectory, pictures = aha()
    run = store.save(trajectory, pictures, owner="us")
    value, *widgets, menu, numbers_of = draw.opened(checkpoints, Settings(), run)
    assert value["trajectory"]["prompt"] == trajectory.prompt
    how = trajectory.sampling
    wanted = [trajectory.prompt, trajectory.rounds, how.guidance, how.temperature, trajectory.seed, False, how.thinks]
    assert widgets == wanted
    assert (menu["value"], menu["choices"]) == (tiny.name, [tiny.name])  # its own checkpoint does not draw here
    assert numbers_of == tiny.name
    value, *widgets = draw.opened(checkpoints, Settings(), "nothing-of-the-kind")
    assert "cannot be shown" in value["notice"]
    assert len(widgets) == draw.WIDGETS


def test_an_aha_moment_is_shown_on_request_where_there_is_one(store: Store):
    assert "no aha moment" in some_aha(store, Settings(), random.Random(0))["notice"]
    store.save(*aha(), owner="us")
    assert some_aha(store, Settings(), random.Random(0))["rows"]


def test_the_handlers_name_the_person_and_the_page():
    request = gr.Request(session_hash="s1")
    assert PageVisit.of(request, Settings(annotator="ada")) == PageVisit("ada", "s1")


def test_a_drawing_is_deleted_by_the_browser_that_asked_for_it_or_at_the_machine(tiny, store):
    first, second = (
        list(draw.ask(wish(), VISIT, Checkpoints(Generator(JanusBackend(tiny), store)), Sessions()))[-1][0]
        for _ in range(2)
    )

    def check(mode: Mode, run: str, receipt: str | None, *, deleted: bool) -> None:
        shown = forget(gr.EventData(None, {"run": run, "receipt": receipt}), VISIT, store, Settings(mode=mode))
        assert shown["notice"].startswith("It is deleted" if deleted else "Only the browser"), receipt
        assert (run in {listed.id for listed in store.trajectories()}) is not deleted, receipt

    for receipt in (second["receipt"], None, "\ud800"):
        check(Mode.PUBLIC, first["run"], receipt, deleted=False)
    check(Mode.PUBLIC, first["run"], first["receipt"], deleted=True)
    check(Mode.LOCAL, second["run"], None, deleted=True)


def test_a_receipt_is_given_from_the_first_moment_and_holds_after_a_restart(tiny, store, tmp_path):
    stream = draw.ask(wish(), VISIT, Checkpoints(Generator(JanusBackend(tiny), store)), Sessions())
    value, *_ = next(stream)
    stream.close()  # the visitor leaves before the end
    with open_store_for_reading(tmp_path / "data") as again:
        assert again.is_receipt(value["receipt"], value["run"])
    with open_store(tmp_path / "elsewhere") as other:
        assert not other.is_receipt(value["receipt"], value["run"])


def test_each_value_of_the_form_comes_from_the_widget_of_its_name():
    assert draw.DrawWidgets._fields == tuple(field.name for field in fields(DrawForm))


def test_what_goes_on_from_a_changed_object_is_planned_first_only_where_its_parent_was():
    own = Sampling(temperature=0.7, thinks=True)
    child = perturbed_sampling(own, EMBEDDED_WORLD.first_draft(own))
    assert child == replace(own, thinks=False, thinks_after_no=True)
    assert perturbed_sampling(own, own) == own
    assert perturbed_sampling(Sampling(), child) == Sampling()


def test_a_form_sent_while_its_checkpoint_is_loading_draws_with_its_own_numbers(tiny: Janus, store: Store):
    own = Sampling(guidance=3.0, temperature=0.5)

    def open_scenes(name: str) -> SceneBackend:
        backend = SceneBackend(name)
        backend.sampling = own
        return backend

    first = Generator(JanusBackend(tiny), store)
    before = wish("a red cat", thinks=True, checkpoint="scenes", numbers_of=first.name)
    by_hand = replace(before, guidance=2.0, numbers_of="scenes")
    expectations = (before, own), (by_hand, Sampling(guidance=2.0, temperature=1.0))
    for asked, expected in expectations:
        list(draw.ask(asked, VISIT, Checkpoints(first, ["scenes"], opener=open_scenes), Sessions()))
        drawn = store.trajectory(store.trajectories()[0].id)
        assert (drawn.checkpoint, drawn.error, drawn.sampling.thinks) == ("scenes", None, False)
        assert (drawn.sampling.guidance, drawn.sampling.temperature) == (expected.guidance, expected.temperature)


@pytest.mark.parametrize("example", few(draw.EXAMPLES, 0, 4))
def test_an_example_ends_in_an_aha_moment_with_the_embedded_network(example: draw.DrawExample):
    backend = JanusBackend(open_checkpoint("embedded"))
    sampling = backend.sampling if example.thinks else backend.domain.first_draft(backend.sampling)
    request = Request(example.prompt, example.seed, Settings().rounds, sampling, None)
    assert fold(rollout(backend.janus, [request])).aha
