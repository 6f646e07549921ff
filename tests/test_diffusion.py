"""A diffusers pipeline and a critic as a backend: three families of pipelines and two kinds of critics."""

import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import tiny_pipelines
import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from PIL import Image as Picture
from safetensors.torch import load_file, save_file
from test_annotations_samples import judged

from annotations.export.exporter import export
from annotations.export.manifest import PARQUET
from annotations.store.store import Store
from model.backends.contract import CheckpointError, word_tokens
from model.backends.critic import CriticError, open_critic
from model.backends.diffusion.backend import DiffusionBackend
from model.backends.diffusion.painter import Painter, PaintJob, next_batch
from model.backends.registry import backend_name, open_backend
from model.backends.request import Request, RequestError, Task
from model.branches import afresh
from model.events import Failed, FrameAdded, TextAdded, Verdict, fold, replay
from model.images import encode_png, read_rgb
from model.trajectory import Image, StopReason, Trajectory
from studio.inference.generator import Generator

FAMILIES = {"class_conditional": "dog", "stable_diffusion": "a red car", "flow": "a red car"}
PROMPT = "a red car"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pipelines")
    made = {name: getattr(tiny_pipelines, name)(folder / name) for name in FAMILIES}
    return made | {"critic": tiny_pipelines.vision_language_model(folder / "critic")}


@pytest.fixture(scope="module")
def backends(folders: dict[str, Path], tiny_checkpoint: Path) -> dict[str, DiffusionBackend]:
    how = f"?steps={tiny_pipelines.STEPS}&size=32"
    return {name: open_backend(f"diffusion:{folders[name]}{how}+{tiny_checkpoint}") for name in FAMILIES}


def pictures_of(trajectory: Trajectory, events: list) -> list[np.ndarray]:
    pngs = {event.sha256: event.png for event in events if isinstance(event, FrameAdded)}
    return [np.asarray(read_rgb(pngs[frame])) for image in trajectory.images for frame in image.frames]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_pipeline_of_each_family_paints_and_a_critic_judges(backends, family: str):
    backend = backends[family]
    assert (backend.name, backend.image_size, backend.capabilities.codes) == (f"{family}+tiny", 32, 0)
    events = list(backend.events(Request(FAMILIES[family], 3, 2)))
    trajectory = fold(events)
    assert trajectory.error is None and trajectory.checkpoint == f"{family}+tiny"
    assert [segment.kind for segment in trajectory.segments] in (["image", "reflection"], ["image", "reflection"] * 2)
    for image in trajectory.images:
        assert isinstance(image, Image) and image.sha256 and 2 <= len(set(image.frames)) == len(image.frames)
    assert fold(replay(trajectory)) == trajectory
    shares = [event.share for event in events if isinstance(event, FrameAdded) and event.segment == 0]
    assert shares == sorted(shares) and 0 < shares[0] < shares[-1] < 1


@pytest.mark.parametrize("family", FAMILIES)
def test_an_image_is_the_same_alone_and_in_a_batch(backends, family: str):
    requests = [Request(FAMILIES[family], seed, 1) for seed in (1, 2, 3)]
    together = list(backends[family].rollout(requests))
    for request in requests:
        ours = [event for event in together if event.trajectory_id == request.id]
        alone = list(backends[family].events(Request(request.prompt, request.seed, 1)))
        [batched], [single] = (
            [event.png for event in events if getattr(event, "whole", False)] for events in (ours, alone)
        )
        difference = np.asarray(read_rgb(batched)).astype(int) - np.asarray(read_rgb(single))
        assert np.abs(difference).max() <= 1


def test_an_image_of_other_settings_waits_its_turn_and_no_longer():
    waiting = [PaintJob("a cat", 0, guidance) for guidance in (1.0, 2.0, 3.0)]
    painted = []
    for number in range(6):  # and somebody of the first settings comes at every turn
        together, waiting = next_batch(waiting, 2)
        painted.append(together[0].guidance)
        waiting.append(PaintJob("a cat", number, 1.0))
    assert painted[:3] == [1.0, 2.0, 3.0]


def test_the_last_preview_is_close_to_the_picture_and_the_first_is_not(backends):
    events = list(backends["flow"].events(Request(PROMPT, 1, 1)))
    trajectory = fold(events)
    [whole] = [np.asarray(read_rgb(event.png)).astype(int) for event in events if getattr(event, "whole", False)]
    distances = [np.abs(frame - whole).mean() for frame in pictures_of(trajectory, events)]
    assert distances[-1] < distances[0]


def test_who_stops_keeps_what_was_shown(backends):
    asked = itertools.count()
    trajectory = fold(backends["stable_diffusion"].events(Request(PROMPT, 1, 2, stop=lambda: next(asked) > 4)))
    assert trajectory.stop_reason is StopReason.CANCELLED
    [image] = trajectory.images
    assert not image.finished and image.sha256 is None


def test_a_class_conditional_pipeline_is_asked_for_its_classes_only(backends):
    with pytest.raises(RequestError, match="knows classes, not sentences: car, dog, motor car …"):
        next(backends["class_conditional"].events(Request("a dog on a hill")))


@pytest.mark.parametrize("redraw", ["prompt", "image", "seed"])
def test_a_redraw_is_told_what_the_critic_said_or_begins_at_the_draft(folders, tiny_checkpoint, monkeypatch, redraw):
    how = f"?steps=4&size=32&redraw={redraw}"
    backend = open_backend(f"diffusion:{folders['stable_diffusion']}{how}+{tiny_checkpoint}")
    monkeypatch.setattr(backend.critic, "judge", says_no)
    jobs, paint = [], backend.painter.paint
    monkeypatch.setattr(backend.painter, "paint", lambda job: jobs.append(job) or paint(job))
    trajectory = fold(backend.events(Request(PROMPT, 1, 2)))
    assert len(trajectory.images) == 2 and trajectory.error is None
    assert jobs[0].prompt == PROMPT and jobs[0].draft is None and jobs[0].seed != jobs[1].seed
    assert jobs[1].prompt == (PROMPT if redraw == "seed" else f"{PROMPT}. paint it red")
    assert (jobs[1].draft is not None) == (redraw == "image")


def says_no(write, prompt, picture, seed):
    from_words = "No, the car is blue. Edit: paint it red"
    yield write(Verdict, answer="no", p_yes=0.2)
    yield from (write(TextAdded, tokens=(token,)) for token in word_tokens(from_words))


def test_a_picture_is_judged_without_being_painted(backends):
    source = np.full((32, 32, 3), 128, np.uint8)
    trajectory = fold(backends["flow"].events(Request(PROMPT, 1, 1, task=Task.JUDGE, source=source)))
    assert trajectory.stop_reason is StopReason.JUDGED
    assert [segment.kind for segment in trajectory.segments] == ["source", "reflection"]


def test_a_vision_language_model_is_a_critic(folders):
    critic = open_critic(folders["critic"])
    backend = open_backend(f"diffusion:{folders['flow']}?steps=2&size=32+{folders['critic']}")
    trajectory = fold(backend.events(Request(PROMPT, 1, 1)))
    [reflection] = [segment for segment in trajectory.segments if segment.kind == "reflection"]
    assert trajectory.error is None and reflection.finished and trajectory.checkpoint == "flow+critic"
    assert reflection.answer == ("yes" if reflection.p_yes >= 0.5 else "no")
    assert reflection.text.startswith("Yes" if reflection.answer == "yes" else "No")
    assert 0 < critic.p_yes(PROMPT, np.zeros((40, 30, 3), np.uint8)) < 1


def test_both_kinds_of_critic_say_how_probable_a_yes_is(tiny_checkpoint):
    critic = open_critic(tiny_checkpoint)
    picture = np.zeros((64, 64, 3), np.uint8)
    source = critic.backend.read_source(encode_png(Picture.fromarray(picture)), Task.JUDGE)
    judged_ = fold(critic.backend.events(Request(PROMPT, 0, 1, task=Task.JUDGE, source=source)))
    assert critic.p_yes(PROMPT, picture) == judged_.segments[1].p_yes


def test_a_critic_that_answers_neither_yes_nor_no_ends_the_drawing_and_keeps_the_image(folders, monkeypatch):
    monkeypatch.setattr("model.backends.critic.LEAST_MASS", 0.9)
    backend = open_backend(f"diffusion:{folders['flow']}?steps=2&size=32+{folders['critic']}")
    *_, last = events = list(backend.events(Request(PROMPT, 1, 2)))
    assert isinstance(last, Failed) and "answers neither yes nor no" in last.error
    assert fold(events).images[0].finished
    with pytest.raises(CriticError):
        backend.critic.p_yes(PROMPT, np.zeros((8, 8, 3), np.uint8))


def test_a_critics_question_is_a_file_that_may_be_another(folders, tmp_path):
    question = tmp_path / "question.txt"
    question.write_text("is this $prompt yes or no")
    assert open_critic(f"{folders['critic']}?template={question}").template.template == "is this $prompt yes or no"
    question.write_text("is this good")
    with pytest.raises(CheckpointError, match=r"asks about no prompt; write \$prompt"):
        open_critic(f"{folders['critic']}?template={question}")


def test_where_there_is_no_memory_for_a_batch_its_images_are_painted_apart(backends, monkeypatch):
    sizes, painted = [], Painter._painted

    def short_of_memory(self, jobs):
        sizes.append(len(jobs))
        if len(jobs) > 1:
            raise torch.OutOfMemoryError
        return painted(self, jobs)

    backend = backends["flow"]
    monkeypatch.setattr(Painter, "_painted", short_of_memory)
    requests = [Request(PROMPT, seed, 1) for seed in (1, 2, 3)]
    events = list(backend.rollout(requests))
    assert max(sizes) > 1 and sum(getattr(event, "whole", False) for event in events) == 3
    monkeypatch.setattr(Painter, "_painted", lambda self, jobs: (_ for _ in ()).throw(torch.OutOfMemoryError))
    assert "not enough memory for the image; lower its size" in fold(backend.events(Request(PROMPT, 1, 1))).error


def test_what_is_no_pair_is_refused_with_what_to_do(folders, tmp_path):
    unconditional = tmp_path / "unconditional"
    unet = UNet2DModel(
        8,
        block_out_channels=(8, 8),
        down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2,
        norm_num_groups=4,
    )
    DDPMPipeline(unet, DDPMScheduler()).save_pretrained(unconditional)
    flow = folders["flow"]
    broken, unscaled = (shutil.copytree(flow, tmp_path / name) for name in ("broken", "unscaled"))
    weights = next((broken / "transformer").glob("*.safetensors"))
    tensors = load_file(weights)
    save_file(tensors | {name: tensor * torch.nan for name, tensor in [*tensors.items()][:1]}, weights)
    config = unscaled / "vae" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"scaling_factor": 0}))
    for source, message in {
        f"{broken}+embedded": "safetensors: .*: got values that are infinite or not a number",
        f"{unscaled}+embedded": "vae: scaling_factor: got 0, wanted a number other than 0",
        f"{unconditional}+embedded": "paints without a prompt",
        f"{tmp_path / 'nothing'}+embedded": "could not be opened as a diffusers pipeline",
        "+embedded": "give a pipeline and a critic",
        f"{flow}?steps=many+embedded": "steps of .* is “many”; give a number",
        f"{flow}?steps=0+embedded": "give one from 1 to 1000",
        f"{flow}?stps=4+embedded": "has no option “stps”; there are steps, guidance",
        f"{flow}?redraw=hope+embedded": "choose prompt, image, seed",
        f"{flow}?scheduler=Nothing+embedded": "no scheduler “Nothing”",
        f"{flow}+{flow / 'text_encoder'}": "could not be opened as a critic",
        f"{flow}+{tmp_path}": "could not be opened as a critic",
        f"{folders['class_conditional']}?redraw=image+embedded": "cannot begin at a draft",
    }.items():
        with pytest.raises(CheckpointError, match=message):
            open_backend(f"diffusion:{source}")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_network_of_a_pipeline_that_lacks_a_tensor_is_refused_by_its_name(folders, tmp_path: Path, family: str):
    """diffusers and transformers open it with random weights in their places."""
    parts = sorted({file.parent.name for file in folders[family].rglob("*.safetensors")})
    assert ("vae" in parts) and ("text_encoder" in parts) == (family != "class_conditional")
    for part in parts:
        cut = shutil.copytree(folders[family], tmp_path / part)
        [weights] = (cut / part).glob("*.safetensors")
        tensors = load_file(weights)
        removed = sorted(tensors)[len(tensors) // 2]
        save_file({name: tensor for name, tensor in tensors.items() if name != removed}, weights, {"format": "pt"})
        with pytest.raises(CheckpointError, match=f"{part} lacks 1 tensors: {removed}; download it again"):
            open_backend(f"diffusion:{cut}+embedded")


def test_it_is_named_by_both_and_not_by_its_options(folders):
    assert backend_name(f"diffusion:{folders['flow']}?steps=4+embedded") == "flow+embedded"
    assert backend_name("diffusion:owner/painter+owner/critic?template=x.txt") == "owner/painter+owner/critic"


def test_it_is_stored_replayed_branched_annotated_and_exported(backends, store: Store, tmp_path: Path):
    generator = Generator(backends["stable_diffusion"], store)
    trajectory = fold(generator.stream(PROMPT, 3, 1, owner="ada"))
    assert store.trajectory(trajectory.id) == trajectory
    played = list(replay(store.trajectory(trajectory.id), store.picture))
    assert sum(isinstance(event, FrameAdded) for event in played) == len(trajectory.images[0].frames)
    again = fold(generator.stream(PROMPT, 9, 1, owner="ada", branch=afresh(trajectory, 0)))
    assert again.images[0].sha256 != trajectory.images[0].sha256 and store.trajectory(again.id).parent
    store.annotate(judged(trajectory.id, 1, "ada", verdict_right="no", reason_correction="the car is blue"))
    export(store, "judge_sft", tmp_path / "out")
    [row] = pq.read_table(tmp_path / "out" / PARQUET).to_pylist()
    assert [image["bytes"] for image in row["images"]] == [store.picture(trajectory.images[0].sha256)]
