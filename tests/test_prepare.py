"""Prompts become images, scores and rows of the three tasks; what is done is kept, and nothing is done twice."""

import json
import random
from collections.abc import Iterator
from pathlib import Path

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
import tiny_pipelines
from commands import run
from PIL import Image as Picture
from scene_backend import SceneBackend
from test_export_formats import read_janus

from annotations.importing.importer import bring_in
from annotations.store.store import Store, open_store
from model.backends import registry
from model.backends.contract import Backend
from model.backends.critic import ShownPicture, open_critic
from model.backends.event_writer import EventWriter
from model.backends.janus import Janus
from model.backends.registry import painter_source
from model.backends.request import Request
from model.distributed.processes import Processes
from model.events import Event, Failed, TrajectoryFinished
from model.images import encode_png
from model.prepare.drawing import PrepareProgress, draw_missing, score_missing
from model.prepare.embedded_world import VERIFIER, VerifierCritic, training_prompts
from model.prepare.released_labels import state_of
from model.prepare.scored_images import DrawnImage, PainterSettings, PlannedImage, ScoredImage
from model.prepare.selection import JudgeBalance, Thresholds, select
from model.prepare.workspace import Workspace
from model.training.dataset import SFT_ROWS, read_rows
from model.training.preferences.rows import PREFERENCE_ROWS
from model.trajectory import Image, Reflection, Sampling, StopReason, Token
from model.world.defects import spoil
from model.world.language import parse
from model.world.random_scenes import sample_scene
from model.world.scene import render

PROMPTS = ("a red cat", "two blue dogs", "a moon above a car", "three keys")


class SeededPainter(SceneBackend):
    """Paints a right scene for an even seed, and one with a defect for an odd one; counts what it paints."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.painted: list[tuple[str, int]] = []
        self.broken: frozenset[str] = frozenset()

    def events(self, request: Request) -> Iterator[Event]:
        write = EventWriter(request)
        self.painted.append((request.prompt, request.seed))
        yield write.start(self.name, request.sampling or self.sampling, 0)
        yield write.begin("image")
        if request.prompt in self.broken:
            yield write(Failed, error="not enough memory for the image")
            return
        yield from write.finish_image(encode_png(Picture.fromarray(picture_of(request.prompt, request.seed))))
        assert request.stop(), "an image that is whole is not judged by its painter"
        yield write(TrajectoryFinished, stop_reason=StopReason.CANCELLED)


def picture_of(prompt: str, seed: int) -> np.ndarray:
    rng, description = random.Random(seed), parse(prompt)
    scene = sample_scene(rng, description)
    return spoil(rng, description, scene)[1] if seed % 2 else render(scene)


@pytest.fixture
def painter(monkeypatch: pytest.MonkeyPatch) -> SeededPainter:
    opened = SeededPainter("scenes")
    monkeypatch.setitem(registry.OPENERS, "scenes", "test_prepare:opened")
    monkeypatch.setattr("test_prepare.OPENED", opened)
    return opened


OPENED: Backend | None = None


def opened(source: str, **_: object) -> Backend:
    assert OPENED is not None
    return OPENED


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    file = tmp_path / "prompts.txt"
    file.write_text("\n".join([*PROMPTS, "", PROMPTS[0]]), "utf-8")
    return file


def prepare(prompts: Path, out: Path, *options: str) -> dict:
    done = run("model.prepare", "--prompts", prompts, "--painter", "scenes:x", "--out", out, "--json", *options)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def rows(folder: Path) -> list[dict]:
    return [row for file in sorted(folder.glob("train-*.parquet")) for row in pq.read_table(file).to_pylist()]


def test_records_of_the_three_tasks_are_learnt_and_read_by_the_released_reader(
    painter, prompts: Path, tmp_path: Path, tiny: Janus, monkeypatch: pytest.MonkeyPatch
):
    told = prepare(prompts, tmp_path / "out", "--images", "4", "--shard", "4")
    out, counts = tmp_path / "out", told["rows"]
    assert len(painter.painted) == len(set(painter.painted)) == 16 and told["prompts"] == 4
    for kind in ("draw_sft", "judge_sft", "redraw_sft"):
        assert len(read_rows(tiny, out / kind, SFT_ROWS)) == counts[kind] == len(rows(out / kind)) > 0
        assert max(pq.read_metadata(file).num_rows for file in (out / kind).glob("*.parquet")) <= 4
    assert len(read_rows(tiny, out / "image_pref", PREFERENCE_ROWS)) == counts["redraw_sft"]
    says_yes = [row["completion"][0]["content"][0]["text"].startswith("Yes") for row in rows(out / "judge_sft")]
    assert says_yes.count(True) == says_yes.count(False)
    assert all(row["reflections"][0].startswith("No") for row in rows(out / "redraw_sft"))
    loaded = datasets.load_dataset(str(out / "redraw_sft"), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded[0]["image"].size == loaded[0]["drafts"][0].size == (64, 64)
    monkeypatch.chdir(out)
    right, checked, redrawn = read_janus()
    assert (len(right), len(checked)) == (counts["draw_sft"], told["painters"]["x"]["images"])
    assert len(redrawn) == told["prompts_with_pairs"] > 0
    report = (out / "report.md").read_text("utf-8")
    assert "accepted from 0.8" in report and (out / "report.png").read_bytes().startswith(b"\x89PNG")


def test_the_studio_imports_labels_and_trajectories(painter, prompts: Path, tmp_path: Path):
    out = tmp_path / "out"
    images = prepare(prompts, out, "--images", "3")["painters"]["x"]["images"]
    with open_store(tmp_path / "data") as store:
        labels = bring_in(store, out / "data" / "t2i_examples" / "labels" / "flux_0.7.jsonl", owner="ada", images=out)
        assert (labels.errors, labels.format, labels.records, labels.trajectories) == ((), "janus_sft", 4, images)
        drawn = bring_in(store, out / "ours", owner="ada")
        assert (drawn.errors, drawn.format, drawn.trajectories) == ((), "ours", images)
        [trajectory] = check_one(store, drawn.batch)
        assert trajectory.checkpoint == "x+verifier" and store.picture(trajectory.images[0].sha256)
        assert bring_in(store, out / "ours", owner="ada").already == images


def check_one(store: Store, batch: str) -> list:
    return [store.trajectory(id) for id in list(store.imported(batch))[:1]]


def test_a_run_that_is_killed_goes_on_and_repeats_and_loses_nothing(
    painter, prompts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    class Killed(BaseException):
        pass

    whole = prepare(prompts, tmp_path / "whole", "--images", "3")
    painter.painted.clear()
    add_drawn, add_score = Workspace.add_drawn, Workspace.add_score
    calls = iter(range(1, 1000))

    def killed_at(place: int, method):
        def wrapped(*arguments) -> None:
            if next(calls) == place:
                raise Killed
            method(*arguments)

        return wrapped

    command = ("model.prepare", "--prompts", prompts, "--painter", "scenes:x", "--out", tmp_path / "out")
    for name, method, place in (("add_drawn", add_drawn, 5), ("add_score", add_score, 9)):
        monkeypatch.setattr(Workspace, name, killed_at(place, method))
        with pytest.raises(Killed):
            run(*command, "--images", "3")
        monkeypatch.setattr(Workspace, name, method)
    log = tmp_path / "out" / "work" / "scored.jsonl"
    log.write_bytes(log.read_bytes()[:-7])
    assert prepare(prompts, tmp_path / "out", "--images", "3") == whole
    again = [each for each in set(painter.painted) if painter.painted.count(each) > 1]
    assert len(again) == 1, "only the image that was just finished when the process was killed"
    for kind in ("draw_sft", "judge_sft", "redraw_sft", "ours"):
        assert rows(tmp_path / "out" / kind) == rows(tmp_path / "whole" / kind)


def test_other_thresholds_draw_nothing_and_more_images_only_those(painter, prompts: Path, tmp_path: Path):
    first = prepare(prompts, tmp_path / "out", "--images", "3")
    painter.painted.clear()
    stricter = prepare(prompts, tmp_path / "out", "--images", "3", "--wrong", "0.1")
    assert not painter.painted and stricter["rows"]["redraw_sft"] < first["rows"]["redraw_sft"]
    more = prepare(prompts, tmp_path / "out", "--images", "4")
    assert len(painter.painted) == 4 and more["painters"]["x"]["images"] > first["painters"]["x"]["images"]


def test_shares_of_two_processes_are_what_one_process_makes(tmp_path: Path):
    backend, prompts = SeededPainter("x"), training_prompts(7, 0)
    painter = PainterSettings("x", "x", Sampling())

    def work(folder: Path, processes: Processes) -> None:
        workspace = Workspace(folder, processes)
        plans = [plan for prompt in processes.share(prompts) for plan in PlannedImage.of(painter, prompt, 3, 0)]
        for pass_ in (
            lambda progress: draw_missing(workspace, backend, plans, 2, progress),
            lambda progress: score_missing(workspace, VerifierCritic(), VERIFIER, plans, 2, progress),
        ):
            pass_(PrepareProgress(len(plans), "images", shown=False))

    work(tmp_path / "one", Processes())
    for index in (1, 0, 0):
        work(tmp_path / "two", Processes(index, 2))
    found = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        plans = [plan for prompt in prompts for plan in PlannedImage.of(painter, prompt, 3, 0)]
        found.append(list(Workspace(folder).scored(plans, VERIFIER)))
    assert found[0] == found[1] and len(found[0]) == 21
    logs = [*(tmp_path / "two" / "work").glob("drawn*.jsonl")]
    assert len(logs) == 2 and sum(len(log.read_text().splitlines()) for log in logs) == 21


def test_what_fails_is_said_and_tried_again_and_the_others_are_written(painter, prompts: Path, tmp_path: Path):
    painter.broken = frozenset(PROMPTS[:1])
    command = ("model.prepare", "--prompts", prompts, "--painter", "scenes:x", "--out", tmp_path / "out")
    done = run(*command, "--images", "2")
    assert done.returncode == 1 and "2 of images drawn by x failed" in done.stderr
    assert "not enough memory for the image" in done.stderr and (tmp_path / "out" / "report.md").is_file()
    painter.broken = frozenset()
    painter.painted.clear()
    prepare(prompts, tmp_path / "out", "--images", "2")
    assert {prompt for prompt, _ in painter.painted} == {PROMPTS[0]}
    painter.broken = frozenset(PROMPTS)
    done = run(*command, "--images", "2", "--seed", "9")
    assert done.returncode == 1 and "8 in a row of images drawn by x failed" in done.stderr


def test_the_verifier_says_what_it_cannot_judge():
    black = np.zeros((64, 64, 3), np.uint8)
    shown = [ShownPicture("a red cat", black), ShownPicture("the sea", black), ShownPicture("a cat", black[:32])]
    judged, strange, small = VerifierCritic().reflections(shown)
    assert (judged.answer, judged.p_yes) == ("no", 0.0) and judged.text.startswith("No, ")
    assert "“the sea” is no prompt of the embedded world" in str(strange) and "give --critic a model" in str(strange)
    assert "reads pictures of 64×64 pixels, got 64×32" in str(small)


def test_what_is_no_folder_of_a_preparation_is_left_alone(prompts: Path, tmp_path: Path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    done = run("model.prepare", "--prompts", prompts, "--painter", "scenes:x", "--out", tmp_path / "mine")
    assert done.returncode == 1 and "holds something else; choose another --out" in done.stderr
    done = run("model.prepare", "--out", tmp_path / "out", "--wrong", "0.9")
    assert done.returncode == 1 and "--wrong ≤ --right ≤ --accepted" in done.stderr


def scored(picture: str, score: float, painter: str = "x") -> ScoredImage:
    plan = PlannedImage(PainterSettings(painter, painter, Sampling()), "a cat", int(1000 * score))
    words = ("Yes", ", there is a cat.") if score >= 0.5 else ("No", ", there is no cat.")
    reflection = Reflection(words[0].lower(), score, tuple(Token(0, word) for word in words))
    return ScoredImage(DrawnImage(plan, (Image((), picture),)), reflection)


def test_thresholds_are_those_of_the_paper():
    images = [scored("a", 0.95), scored("b", 0.8), scored("c", 0.75), scored("d", 0.6), scored("e", 0.3)]
    chosen = select([*images, scored("a", 0.95, "another painter")], Thresholds(), 0)
    assert (len(chosen.images), chosen.equal) == (5, 1)
    assert [each.drawn.sha256 for each in chosen.drawn] == ["a", "b"]
    assert [each.drawn.sha256 for each in chosen.right] == ["a", "b", "c"]
    assert [each.drawn.sha256 for each in chosen.wrong] == ["e"]
    [(draft, revision)] = chosen.pairs
    assert draft.drawn.sha256 == "e" and revision.drawn.sha256 in ("a", "b")
    assert select(images[2:], Thresholds(), 0).pairs == ()
    assert [state_of(says_yes, prob) for says_yes in (True, False) for prob in (0.9, 0.3)] == [4, 3, 1, 0]


def test_as_many_rows_say_yes_as_no_spread_evenly():
    balance = JudgeBalance(right=3, wrong=9)
    assert [balance.take(says_yes=False) for _ in range(9)].count(True) == 3
    assert all(balance.take(says_yes=True) for _ in range(3))


def test_of_a_pair_only_the_painter_paints():
    assert painter_source("diffusion:folder?steps=4+embedded") == "diffusion:folder?steps=4"
    assert painter_source("embedded") == "embedded"


def test_a_vision_language_model_judges_by_a_question_of_its_own(painter, prompts: Path, tmp_path: Path):
    critic, question = tiny_pipelines.vision_language_model(tmp_path / "critic"), tmp_path / "question.txt"
    question.write_text("does it show $prompt", "utf-8")
    first = prepare(prompts, tmp_path / "out", "--images", "1", "--critic", str(critic))
    again = prepare(prompts, tmp_path / "out", "--images", "1", "--critic", f"{critic}?template={question}")
    assert len(painter.painted) == 4 == first["painters"]["x"]["images"] == again["painters"]["x"]["images"]
    scores = [json.loads(line) for line in (tmp_path / "out" / "work" / "scored.jsonl").read_text().splitlines()]
    assert len(scores) == 8 and all(0 < row["reflection"]["p_yes"] < 1 for row in scores)
    [row, *_] = rows(tmp_path / "out" / "ours")
    assert row["checkpoint"] == "x+critic"


def test_janus_judges_a_batch_as_it_judges_each(tiny_checkpoint: Path):
    critic = open_critic(tiny_checkpoint)
    shown = [ShownPicture(prompt, picture_of(prompt, seed), seed) for seed, prompt in enumerate(PROMPTS[:2])]
    together, alone = list(critic.reflections(shown)), [next(critic.reflections([each])) for each in shown]
    assert [(each.answer, each.text) for each in together] == [(each.answer, each.text) for each in alone]
    assert [each.p_yes for each in together] == pytest.approx([each.p_yes for each in alone], abs=1e-5)
