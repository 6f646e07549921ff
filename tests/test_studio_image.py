"""One's own image, judged or edited; and many at once: what the handlers yield, without a browser."""

import random
from pathlib import Path

import gradio as gr
import pytest
import torch
from PIL import Image as Picture
from thoroughness import few

from annotations.errors import NotFoundError
from annotations.store.store import open_store
from model.backends.janus import Janus
from model.backends.request import Request
from model.decoding.janus_backend import JanusBackend
from model.decoding.load_for_inference import open_checkpoint
from model.decoding.rollout import rollout
from model.events import fold
from model.trajectory import StopReason
from model.world.edits import edited, read_edit
from model.world.scene import Scene, random_scene, render
from model.world.verifier import read
from studio.image import page as image
from studio.image.judge_many import BatchError, batch
from studio.inference.checkpoints import Checkpoints
from studio.inference.generator import Generator
from studio.inference.live_events import PageVisit, Sessions

VISIT = PageVisit("ada", "tab")


@pytest.fixture
def generator(tiny: Janus, tmp_path: Path):
    with open_store(tmp_path / "data") as store:
        yield Generator(JanusBackend(tiny), store)


def picture(folder: Path, name: str) -> Path:
    path = folder / name
    Picture.fromarray(render(random_scene(random.Random(name), 2))).save(path)
    return path


def ask(generator: Generator, *given, **options):
    return image.ask(image.ImageForm(*given), VISIT, Checkpoints(generator), Sessions(), **options)


def write(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


@pytest.mark.parametrize(
    ("choice", "words", "reason"),
    [("Judge it", "a red cat", StopReason.JUDGED), ("Edit it", "make the cat blue", StopReason.EDITED)],
)
def test_an_image_is_judged_or_edited_and_kept(generator: Generator, tmp_path: Path, choice, words, reason):
    *_, last = ask(generator, str(picture(tmp_path, "a.png")), words, choice)
    kept = generator.store.trajectory(last[0]["trajectory"]["id"])
    assert (kept.prompt, kept.stop_reason) == (words, reason)
    assert generator.store.picture(kept.segments[0].sha256)
    assert generator.store.trajectories()[0].cover  # the gallery shows what was judged, too


@pytest.mark.parametrize(
    ("file", "words", "choice", "said"),
    [
        (None, "a cat", "Judge it", "There is no image yet"),
        ("a.png", " ", "Judge it", "The prompt is empty"),
        ("a.png", "politicians", "Judge it", "politicians"),
        ("a.png", "a cat", "Edit it", "is no instruction"),
        ("broken.png", "a cat", "Judge it", "broken.png: got 8 bytes"),
    ],
)
def test_what_cannot_be_looked_at_is_said_and_nothing_is_kept(generator, tmp_path, file, words, choice, said):
    picture(tmp_path, "a.png")
    write(tmp_path / "broken.png", "nonsense")
    path = file and str(tmp_path / file)
    [(value, *_)] = ask(generator, path, words, choice)
    assert said in value["notice"]
    assert generator.store.trajectories() == []


def test_an_image_unlike_all_it_knows_is_told_so_and_judged_where_somebody_insists(
    generator: Generator, tmp_path: Path
):
    noise = tmp_path / "noise.png"
    Picture.effect_noise((64, 64), 90).convert("RGB").save(noise)
    [(told, *_)] = ask(generator, str(noise), "a red cat", "Judge it")
    assert told["notice"] == image.UNFAMILIAR and told["anyway"] == "Judge it anyway, as a guess"
    *_, (last, *_) = ask(generator, str(noise), "a red cat", "Judge it", insist=True)
    assert last["whole"][-1]["is"] == "end" and "this is a guess" in last["guess"]


def test_a_doubtful_prompt_is_judged_all_the_same_when_somebody_insists(generator: Generator, tmp_path: Path):
    path = str(picture(tmp_path, "a.png"))
    *_, last = ask(generator, path, "politicians", "Judge it", insist=True)
    assert last[0]["guess"] == "The model does not know “politicians”: this is a guess."
    assert generator.store.trajectory(last[0]["trajectory"]["id"]).reflections


def test_a_checkpoint_is_chosen_and_one_that_does_not_draw_here_is_refused(generator: Generator, tmp_path: Path):
    given = (str(picture(tmp_path, "a.png")), "a red cat", "Judge it")
    *_, last = ask(generator, *given, generator.name)
    assert last[0]["trajectory"]["checkpoint"] == generator.name
    [(value, *_)] = ask(generator, *given, "seven")
    assert value["notice"].startswith("seven does not draw here")


def test_many_are_judged_row_by_row_and_what_went_wrong_stands_in_its_row(generator: Generator, tmp_path: Path):
    files = [picture(tmp_path, "one.png"), write(tmp_path / "broken.png", "nonsense")]
    rows = ["image,prompt", "one.png,a red cat", "gone.png,a cat", "broken.png,a cat", "one.png,"]
    files.append(write(tmp_path / "table.csv", "\n".join(rows)))
    table, judged, file = image.ask_for_many([str(file) for file in files], VISIT, generator, gr.Progress())
    assert table.image.tolist() == ["one.png", "gone.png", "broken.png", "one.png"]
    assert len(judged) == 1
    first = judged.iloc[0]
    assert first.verdict == ("yes" if generator.store.trajectory(first.run).reflections[0].answer == "yes" else "no")
    for error, said in zip(table.error, ["", "no such image", "which are no picture", "prompt is empty"], strict=True):
        assert said in error if said else error == ""
    assert Path(file).read_text("utf-8-sig").startswith("image,prompt,verdict,p_yes,reason,error,run\n")


def test_without_a_table_the_names_of_the_files_are_the_prompts(tmp_path: Path):
    with batch([picture(tmp_path, "two_red-apples.png")]) as [pair]:
        pass
    assert (pair.image, pair.prompt) == ("two_red-apples.png", "two red apples")


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        (["image,text\na.png,b"], "has the columns image, text"),
        (["image,prompt\n", "image,prompt\n"], "got 2 tables"),
        (["image,prompt\n"], "got no image"),
        ([""], "is empty, wanted a first line"),
    ],
)
def test_files_that_make_no_batch_are_refused(tmp_path: Path, tables: list[str], said: str):
    files = [write(tmp_path / f"{number}.csv", text) for number, text in enumerate(tables)]
    with pytest.raises(BatchError, match=said), batch(files):
        pass


def test_the_last_picture_of_a_trajectory_is_taken_over(generator: Generator):
    list(generator.stream("two cats", 1, 2, owner="ada"))
    [listed] = generator.store.trajectories()
    path, prompt = image.last_image(generator.store, listed.id)
    assert (Path(path).read_bytes(), prompt) == (generator.store.picture(listed.cover), "two cats")
    with pytest.raises(NotFoundError):
        image.last_image(generator.store, "nobody")


def test_an_example_clears_the_result_and_says_so_where_it_replaces_somebodys_image(tmp_path: Path):
    first, second = image.EXAMPLES[:2]
    path, value = image.try_example(first, str(picture(tmp_path, "own.png")))
    assert path == image.picture_of(first) and value["rows"] == []
    assert "taken the place of yours. Press “Judge it”." in value["notice"]
    _, value = image.try_example(second, path)
    assert "yours" not in value["notice"]


@pytest.mark.parametrize(
    ("example", "said"), few(zip(image.EXAMPLES, ("three", "yellow", None, None), strict=True), 0, 2)
)
def test_what_there_is_to_try_goes_as_it_should_with_the_embedded_network(
    example: image.ImageExample, said, tmp_path: Path
):
    janus = open_checkpoint("embedded")
    task = image.TASKS[example.choice]
    source = JanusBackend(janus).read_source(Path(image.picture_of(example)), task)
    wanted = Request(example.words, 3, 1, task=task, source=source)
    trajectory = fold(rollout(janus, [wanted]))
    if said:
        assert trajectory.reflections[0].answer == "no"
        assert said in trajectory.reflections[0].text
    else:
        [after] = janus.decode(torch.tensor([trajectory.images[-1].codes]))
        assert edited(read_edit(example.words), Scene(read(source).items), read(after))
