"""Painters and critics that do not fit, or fail on the way: what was got, what to do, and what was drawn is kept."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import diffusers.pipelines.pipeline_utils as pipelines
import httpx
import pytest
import tiny_pipelines
import torch
from diffusers import DiffusionPipeline
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError
from test_diffusion import says_no
from transformers import LlamaConfig, LlamaForCausalLM

from annotations.store.store import Store
from model.backends.checkpoint import hub
from model.backends.contract import CheckpointError, UnavailableError
from model.backends.critic import open_critic
from model.backends.diffusion.backend import DiffusionBackend
from model.backends.diffusion.painter import Painter
from model.backends.registry import open_backend
from model.events import Failed
from model.trajectory import StopReason
from studio.inference.generator import Generator

PROMPT = "a red car"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pairs")
    small = LlamaConfig(vocab_size=32, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    LlamaForCausalLM(small).save_pretrained(folder / "writer")
    flow = tiny_pipelines.flow(folder / "flow")
    shutil.copytree(flow, folder / "foreign")
    index = json.loads((flow / "model_index.json").read_text())
    index["tokenizer"] = ["a_package_that_nobody_has", "Tokenizer"]
    (folder / "foreign" / "model_index.json").write_text(json.dumps(index))
    critic = tiny_pipelines.vision_language_model(folder / "critic")
    return {"flow": flow, "foreign": folder / "foreign", "writer": folder / "writer", "critic": critic}


@pytest.fixture
def backend(folders: dict[str, Path]) -> DiffusionBackend:
    return open_backend(f"diffusion:{folders['flow']}?steps=2&size=32+{folders['critic']}")


def refuses(kind: type[Exception]) -> Callable[..., None]:
    def refuse(*_: object, **__: object) -> None:
        request = httpx.Request("GET", "http://localhost/lab/secret")
        raise kind("401 Client Error", response=httpx.Response(401, request=request))

    return refuse


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (GatedRepoError, r"^lab/secret is gated: got no token .*; accept its terms .*, then run hf auth login"),
        (RepositoryNotFoundError, r"^lab/secret could not be opened as .*: the Hub has none of this name"),
    ],
)
def test_an_id_that_the_hub_does_not_give_is_said_to_be_so(folders, monkeypatch, kind, message):
    monkeypatch.setattr(hub, "snapshot_download", refuses(kind))
    monkeypatch.setattr(pipelines, "model_info", refuses(kind))
    for source in ("diffusion:lab/secret+embedded", f"diffusion:{folders['flow']}+lab/secret", "lab/secret"):
        with pytest.raises(CheckpointError, match=message) as told:
            open_backend(source)
        assert "\n" not in str(told.value)


def test_a_model_that_reads_text_only_is_no_critic(folders):
    expected = "is a llama, which reads text only; a critic has to look at pictures: give a Janus checkpoint or"
    with pytest.raises(CheckpointError, match=expected):
        open_backend(f"diffusion:{folders['flow']}+{folders['writer']}")
    with pytest.raises(CheckpointError, match=expected):
        open_critic(folders["writer"])


def test_a_pipeline_that_needs_another_package_names_it(folders, monkeypatch):
    with pytest.raises(CheckpointError, match=r"a_package_that_nobody_has is not one of .*; give the folder or Hub id"):
        open_backend(f"diffusion:{folders['foreign']}+embedded")
    missing = ModuleNotFoundError("No module named 'sentencepiece'", name="sentencepiece")
    monkeypatch.setattr(DiffusionPipeline, "from_pretrained", raises(missing))
    with pytest.raises(CheckpointError, match=r"needs a package that .*; pip install sentencepiece, and start again"):
        open_backend(f"diffusion:{folders['flow']}+embedded")


def raises(error: Exception) -> Callable[..., Iterator[None]]:
    def fail(*_: object, **__: object) -> Iterator[None]:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "critic has not enough memory to look at the picture; give a"),
        (
            RuntimeError("sizes differ"),
            r"critic could not judge the picture \(RuntimeError: sizes differ\); give another",
        ),
    ],
)
def test_a_critic_that_fails_ends_the_drawing_and_what_it_should_judge_is_kept(
    backend, store: Store, monkeypatch, error, message
):
    monkeypatch.setattr(backend.critic, "_logits", raises(error))
    check_kept(Generator(backend, store), store, message, images=1)
    monkeypatch.undo()
    assert list(Generator(backend, store).stream(PROMPT, 2, 1, owner="ada"))[-1].stop_reason is not None


def test_a_critic_that_answers_neither_yes_nor_no_is_said_to(backend, store: Store, monkeypatch):
    monkeypatch.setattr("model.backends.critic.LEAST_MASS", 0.9)
    check_kept(
        Generator(backend, store), store, r"critic answers neither yes nor no .*; give another question", images=1
    )


def test_a_critic_on_another_machine_that_is_away_is_said_to_be(folders, tiny_checkpoint, store: Store, monkeypatch):
    backend = open_backend(f"diffusion:{folders['flow']}?steps=2&size=32+{tiny_checkpoint}")
    monkeypatch.setattr(backend.critic.backend, "events", raises(UnavailableError("no answer; try again in a minute")))
    check_kept(Generator(backend, store), store, "tiny could not judge the picture: no answer; try again", images=1)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), r"not enough memory for the image; lower its size or batch"),
        (ImportError("install ftfy"), r"the pipeline failed \(ImportError: install ftfy\); change its options"),
    ],
)
def test_a_painter_that_fails_at_the_redraw_keeps_the_draft_and_what_was_said_of_it(
    backend, store: Store, monkeypatch, error, message
):
    painted = Painter._painted
    calls: list[object] = []

    def fails_later(painter: Painter, jobs: list) -> list:
        calls.append(jobs)
        if len(calls) > 1:
            raise error
        return painted(painter, jobs)

    monkeypatch.setattr(Painter, "_painted", fails_later)
    monkeypatch.setattr(backend.critic, "judge", says_no)
    kept = check_kept(Generator(backend, store), store, message, images=2)
    assert kept.reflections[0].reason == "the car is blue." and not kept.images[1].finished


def check_kept(generator: Generator, store: Store, message: str, images: int):
    """The last event is a failure, and the store has what came before it."""
    *_, last = list(generator.stream(PROMPT, 1, 2, owner="ada"))
    assert isinstance(last, Failed)
    kept = store.trajectory(last.trajectory_id)
    assert kept.stop_reason is StopReason.FAILED and len(kept.images) == images
    assert kept.images[0].finished and store.picture(kept.images[0].sha256).startswith(b"\x89PNG")
    assert re.search(message, kept.error)
    return kept
