"""Painters and critics that do not fit, or fail on the way: what was got, what to do, and what was drawn is kept."""

import json
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import commands
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
from model.decoding.janus_backend import JanusBackend
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


def rewritten(text: str) -> Callable[[Path], object]:
    return lambda file: file.write_text(text)


def cut_short(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


DAMAGED = {  # part of the pair, its file, what happens to it: what is said
    ("flow", "model_index.json", rewritten("<html>")): "model_index.json' is not a valid JSON file",
    ("flow", "transformer/config.json", rewritten("{")): "transformer/config.json' is not a valid JSON file",
    ("flow", "transformer/diffusion_pytorch_model.safetensors", Path.unlink): "no file named diffusion_pytorch_model",
    ("flow", "transformer/diffusion_pytorch_model.safetensors", cut_short): "Unable to load weights from",
    ("flow", "scheduler/scheduler_config.json", Path.unlink): "no file named scheduler_config.json",
    ("critic", "config.json", rewritten("<html>")): "config.json' is not a valid JSON file",
    (
        "critic",
        "config.json",
        rewritten("[1]"),
    ): "holds a list, not an object; give a Janus checkpoint or",
    (
        "critic",
        "model.safetensors",
        cut_short,
    ): "opened as a critic: .*file not fully covered; give a Janus",
    ("critic", "processor_config.json", Path.unlink): "could not be opened as a critic: .*; give a Janus checkpoint",
    (
        "critic",
        "chat_template.jinja",
        Path.unlink,
    ): "has no chat template, by which a critic is asked; give",
}


@pytest.mark.parametrize(("part", "name", "damage"), DAMAGED)
def test_files_that_are_damaged_are_named_before_anything_is_drawn(folders, tmp_path, part, name, damage):
    shutil.copytree(folders[part], tmp_path / part)
    damage(tmp_path / part / name)
    pair = folders | {part: tmp_path / part}
    with pytest.raises(CheckpointError, match=DAMAGED[part, name, damage]) as told:
        open_backend(f"diffusion:{pair['flow']}?steps=2&size=32+{pair['critic']}")
    assert "\n" not in str(told.value) and str(tmp_path / part) in str(told.value)


@pytest.mark.parametrize(
    ("family", "option", "message"),
    [
        ("flow", "size=30", "paints sides of a multiple of 8 pixels; got size=30, give size=32"),
        ("stable_diffusion", "size=100", "paints sides of a multiple of 8 pixels; got size=100, give size=96"),
        ("class_conditional", "size=64", "paints 32 pixels a side only; got size=64, so leave size out"),
        ("flow", "lora=/nowhere", "^lora=/nowhere could not be opened as weights of a LoRA"),
        ("flow", "preview=/nowhere", "^preview=/nowhere could not be opened as an AutoencoderTiny"),
        ("flow", "scheduler=FluxPipeline", "has no scheduler “FluxPipeline”"),
        ("flow", "guidance=nan", "is nan; give one from 0 to 1000"),
        ("flow", "steps=2.5", "is “2.5”; give a number"),
    ],
)
def test_an_option_that_a_pipeline_cannot_follow_is_refused_before_anything_is_drawn(
    folders, tmp_path, family, option, message
):
    folder = folders["flow"] if family == "flow" else getattr(tiny_pipelines, family)(tmp_path / family)
    with pytest.raises(CheckpointError, match=message):
        open_backend(f"diffusion:{folder}?{option}+{folders['critic']}")


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (200, "<html>hello</html>", r"does not say what it draws \(Expecting value.*; is model.serving there\?"),
        (200, "[1]", r"does not say what it draws \(it answers '\[1\]'\); is model.serving there\?"),
        (200, '{"name": "x"}', r"is a service of another version \('image_size'\)"),
        (500, "oops", r"does not say what it draws \(the service answers 500 oops\); is model.serving there\?"),
        (None, "", r"does not say what it draws \(timed out\)|no answer within"),
    ],
)
def test_an_address_at_which_something_else_answers_is_said_to_be_none(monkeypatch, status, body, message):
    monkeypatch.setattr("model.serving.remote_backend.ABOUT", 0.2)
    with answering(status, body) as url, pytest.raises(CheckpointError, match=message) as told:
        open_backend(f"remote:{url}")
    assert str(told.value).startswith(url) and "\n" not in str(told.value)


@contextmanager
def answering(status: int | None, body: str) -> Iterator[str]:
    """The address of a web server that answers this, or, without a status, nothing."""
    closing = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if status is None:
                closing.wait()
                return
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            """Not to the tests' output."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        closing.set()
        server.shutdown()
        server.server_close()
        serving.join()


COMMANDS = {
    "generate": ("a red car", "--checkpoint", "remote:http://127.0.0.1:9"),
    "evaluate": ("--checkpoint", "remote:http://127.0.0.1:9"),
    "prepare": ("--painter", "remote:http://127.0.0.1:9"),
    "training.grpo": ("--rollouts", "http://127.0.0.1:9"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_where_nobody_listens_a_command_ends_in_a_line_and_writes_nothing(tiny_checkpoint, tmp_path, command):
    out = () if command == "evaluate" else ("--out", tmp_path / "out")
    more = ("--checkpoint", tiny_checkpoint) if command == "training.grpo" else ()
    ended = commands.run(f"model.{command}", *COMMANDS[command], *more, *out)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].endswith("([Errno 111] Connection refused); is model.serving there?")
    assert "Traceback" not in ended.stderr and not any(
        file.stat().st_size for file in tmp_path.rglob("*") if file.is_file()
    )


INTERRUPTED = {
    "generate": (("a red apple",), "with --resume the same command makes what is left"),
    "evaluate": (("--prompts", "12"), "with --record FOLDER the same command goes on where it was"),
    "prepare": (("--count", "12", "--painter"), "what is done is kept, and the same command goes on"),
}


@pytest.mark.parametrize("command", INTERRUPTED)
def test_ctrl_c_ends_a_command_in_a_line_that_says_how_to_go_on(tiny_checkpoint, tmp_path, monkeypatch, command):
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(JanusBackend, "rollout", interrupt)
    arguments, advice = INTERRUPTED[command]
    checkpoint = (tiny_checkpoint,) if command == "prepare" else ("--checkpoint", tiny_checkpoint)
    out = () if command == "evaluate" else ("--out", tmp_path / "out")
    ended = commands.run(f"model.{command}", *arguments, *checkpoint, *out)
    assert ended.returncode == 130
    assert ended.stderr.splitlines()[-1] == f"{command}: interrupted; {advice}"
    assert "Traceback" not in ended.stderr


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
