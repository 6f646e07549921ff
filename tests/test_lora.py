"""Training with an adapter: only the adapter moves, rollouts read what is trained, folders in peft's format open."""

import contextlib
import json
import random
import re
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from test_trajectory_sequences import rolled_out
from thoroughness import few
from transformers import JanusForConditionalGeneration

from model import checkpoint as command
from model.backends.adapters import adapted_layers, switched_off
from model.backends.checkpoint.adapter_folder import CONFIG, TENSORS
from model.backends.checkpoint.saving import PROVENANCE
from model.backends.contract import CheckpointError
from model.backends.janus import Janus
from model.backends.request import Request
from model.decoding.load_for_inference import open_checkpoint
from model.training import grpo, sft
from model.training.batch import Batch, collate
from model.training.policy import Policy
from model.training.runs.folder import RunStart
from model.training.runs.load_for_training import TARGETS, AdapterOptions, LoadOptions, open_for_training
from model.training.runs.state import read_state
from model.training.training_sequences import TrainingSequence
from model.training.trajectory_sequences import trajectory_sequences
from model.training.world_data.curriculum import MIXTURES
from model.training.world_data.world_prompts import world_prompts
from model.training.world_data.world_sequences import world_sequences

KINDS = ("lora", "dora")
SETTINGS = sft.SftSettings(steps=2, batch=4, learning_rate=1e-2, warmup=1, save_every=1)


def beside(kind: str, **changes: object) -> LoadOptions:
    return replace(LoadOptions(AdapterOptions(kind, rank=4, alpha=8)), **changes)


def sequences(janus: Janus, step: int, count: int = 4) -> list[TrainingSequence]:
    stream = world_sequences(janus, random.Random(step), MIXTURES["all"])
    return [sequence for _, sequence in (next(stream) for _ in range(count))]


def train(
    janus: Janus, parent: Path, out: Path, settings: sft.SftSettings = SETTINGS, until: int = 99, **begins
) -> None:
    """A run of fine-tuning on the world, which is interrupted where the data of step `until` are made."""

    def source(step: int, which: slice) -> list[TrainingSequence]:
        if step == until:
            raise KeyboardInterrupt
        return sequences(janus, step)

    with contextlib.suppress(KeyboardInterrupt):
        sft.train(janus, source, settings, out, {"parent": str(parent), "recipe": "sft"}, RunStart(**begins))


def bases(janus: Janus) -> dict[str, torch.Tensor]:
    """The weights that an adapter leaves alone, under their names without it."""
    state = {name.replace(".base_layer", ""): value.clone() for name, value in janus.network.state_dict().items()}
    return {name: value for name, value in state.items() if ".lora_" not in name}


def log_probs(policy: Policy, batch: Batch) -> torch.Tensor:
    with torch.no_grad():
        return policy(batch).log_probs


@pytest.fixture(scope="module", params=few(KINDS, 0))
def trained(request: pytest.FixtureRequest, tiny_checkpoint: Path, tmp_path_factory) -> tuple[Janus, Path]:
    """The tiny checkpoint with an adapter that two steps have trained, and the folder that was saved."""
    out = tmp_path_factory.mktemp(request.param) / "adapter"
    janus = open_for_training(tiny_checkpoint, beside(request.param))
    train(janus, tiny_checkpoint, out)
    return janus, out


@pytest.fixture
def copied(trained: tuple[Janus, Path], tmp_path: Path) -> Path:
    """A copy of that folder."""
    return Path(shutil.copytree(trained[1], tmp_path / "copied"))


def test_the_adapter_alone_is_trained_and_saved(trained: tuple[Janus, Path], tiny_checkpoint: Path):
    janus, out = trained
    before = open_checkpoint(tiny_checkpoint, dtype=torch.float32).network.state_dict()
    after = bases(janus)
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    assert {path.name for path in out.iterdir()} == {CONFIG, TENSORS, PROVENANCE, "generation_config.json"}
    state = read_state(out.with_name("adapter.state"))["network"]
    assert state and all(".lora_" in name for name in state)
    provenance = json.loads((out / PROVENANCE).read_text())
    assert (provenance["step"], provenance["adapter"]["r"]) == (2, 4)
    assert provenance["base_weights"] == janus.fingerprint


@torch.no_grad()
def test_peft_and_this_code_read_the_folder_alike(trained: tuple[Janus, Path], tiny_checkpoint: Path, tmp_path: Path):
    janus, out = trained
    inputs = janus.embed(torch.arange(12)[None], torch.ones(1, 12, dtype=torch.long), [])

    def hidden(network: JanusForConditionalGeneration) -> torch.Tensor:
        return network.model.language_model(inputs_embeds=inputs).last_hidden_state

    expected = hidden(janus.network)
    plain = JanusForConditionalGeneration.from_pretrained(tiny_checkpoint, dtype=torch.float32)
    assert (hidden(plain) - expected).abs().max() > 1e-3
    torch.testing.assert_close(hidden(open_checkpoint(out).network), expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(hidden(PeftModel.from_pretrained(plain, out).base_model.model), expected)
    command.merge(out, tmp_path / "merged")
    whole = JanusForConditionalGeneration.from_pretrained(tmp_path / "merged", dtype=torch.float32)
    torch.testing.assert_close(hidden(whole), expected, atol=2e-2, rtol=2e-2)  # in float16, as its base
    assert open_checkpoint(tmp_path / "merged").name == "merged"


@torch.no_grad()
def test_a_rollout_draws_from_the_distributions_that_are_trained(trained: tuple[Janus, Path], monkeypatch):
    janus, _ = trained
    before = bases(janus)
    request = Request("two red apples", 3, 2, replace(janus.sampling, thinks=True, guidance=3.0, top_k=50))
    trajectory, pictures, drawn = rolled_out(janus, request, monkeypatch)
    streams = [each for each in trajectory_sequences(janus, trajectory, pictures) if each.target_count]
    batch, drawn = collate(janus, streams), torch.tensor(drawn).sort().values
    policy = Policy(janus)
    torch.testing.assert_close(log_probs(policy, batch).sort().values, drawn, atol=1e-4, rtol=0)
    assert (log_probs(policy.reference(), batch).sort().values - drawn).abs().max() > 1e-3
    after = bases(janus)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_reference_is_the_base_and_shares_its_weights(trained: tuple[Janus, Path], tiny_checkpoint: Path):
    janus, _ = trained
    policy, plain = Policy(janus), Policy(open_checkpoint(tiny_checkpoint, dtype=torch.float32))
    reference, batch = policy.reference(), collate(janus, sequences(janus, 5))
    assert reference.network is policy.network
    torch.testing.assert_close(log_probs(reference, batch), log_probs(plain, batch))
    assert (log_probs(policy, batch) - log_probs(reference, batch)).abs().max() > 1e-3
    with switched_off(janus.network):
        assert any(weight.requires_grad for weight in policy.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_a_fresh_adapter_changes_nothing(kind: str, tiny_checkpoint: Path):
    plain = Policy(open_checkpoint(tiny_checkpoint, dtype=torch.float32))
    for load_options in (beside(kind), beside(kind, adapter=AdapterOptions(kind, targets=tuple(TARGETS)))):
        janus = open_for_training(tiny_checkpoint, load_options)
        batch = collate(janus, sequences(janus, 1))
        torch.testing.assert_close(log_probs(Policy(janus), batch), log_probs(plain, batch), atol=1e-5, rtol=1e-5)
    for pattern in TARGETS.values():
        assert any(re.fullmatch(pattern, name) for name in adapted_layers(janus.network)), pattern


@pytest.mark.parametrize("kind", few(KINDS, 1))
def test_a_resumed_run_ends_with_the_same_adapter(kind: str, tiny_checkpoint: Path, tmp_path: Path):
    settings = replace(SETTINGS, steps=3)
    for name, stops in (("whole", (99,)), ("cut", (2, 99))):
        for stop in stops:
            janus = open_for_training(tiny_checkpoint, beside(kind))
            train(janus, tiny_checkpoint, tmp_path / name, settings, stop, resume=stop != stops[0])
    whole, cut = (load_file(tmp_path / name / TENSORS) for name in ("whole", "cut"))
    assert whole.keys() == cut.keys() and all(torch.equal(whole[name], cut[name]) for name in whole)
    other = open_for_training(tiny_checkpoint, LoadOptions(AdapterOptions(kind, rank=2, alpha=8)))
    with pytest.raises(CheckpointError, match="adapter: .*'r': 4.* then, .*'r': 2.* now"):
        train(other, tiny_checkpoint, tmp_path / "cut", settings, resume=True)


def test_grpo_rolls_out_with_the_adapter_and_stays_near_its_base(tiny_checkpoint: Path, tmp_path: Path):
    settings = grpo.GrpoSettings(steps=3, prompts=2, group=4, rounds=2, learning_rate=1e-2, warmup=1)
    janus = open_for_training(tiny_checkpoint, beside("lora"))
    before = bases(janus)
    grpo.train(janus, settings, tmp_path / "out", {"parent": str(tiny_checkpoint)}, world_prompts(0, 2))
    after = bases(janus)
    assert all(torch.equal(before[name], after[name]) for name in before)
    first, *later = (json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines())
    assert abs(first["kl"]) < 1e-6 < max(row["kl"] for row in later)
    assert open_checkpoint(tmp_path / "out").name == "out"


def test_a_base_in_bfloat16_is_trained_by_an_adapter_in_float32(tiny_checkpoint: Path, tmp_path: Path):
    janus = open_for_training(tiny_checkpoint, beside("dora", base_precision="bf16"))
    dtypes = {weight.requires_grad: weight.dtype for weight in janus.network.parameters()}
    assert dtypes == {True: torch.float32, False: torch.bfloat16}
    before = bases(janus)
    train(janus, tiny_checkpoint, tmp_path / "out")
    assert all(torch.equal(value, before[name]) for name, value in bases(janus).items())
    first, last = (json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines())
    assert last["gradient_norm"] > 0 and open_checkpoint(tmp_path / "out").name == "out"
    with pytest.raises(CheckpointError, match="frozen weights; give --adapter"):
        open_for_training(tiny_checkpoint, LoadOptions(base_precision="bf16"))


@pytest.mark.parametrize("adapter", [None, AdapterOptions("lora", 4)])
def test_checkpointing_leaves_the_gradients_as_they_are(tiny_checkpoint: Path, adapter: AdapterOptions | None):
    found = []
    for checkpointing in (False, True):
        janus = open_for_training(tiny_checkpoint, LoadOptions(adapter, checkpointing=checkpointing))
        policy, calls = Policy(janus), Counter()
        mlp = janus.network.model.language_model.layers[0].mlp
        hook = mlp.register_forward_pre_hook(lambda *_, calls=calls: calls.update(["mlp"]))
        for name, weight in policy.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=0.1, generator=torch.Generator().manual_seed(len(name)))
        policy(collate(janus, sequences(janus, 2))).log_probs.sum().backward()
        hook.remove()
        found.append({name: weight.grad for name, weight in policy.named_parameters() if weight.grad is not None})
        assert calls["mlp"] == 1 + checkpointing
    assert found[0].keys() == found[1].keys() and sum(float(each.abs().sum()) for each in found[0].values()) > 0
    for name in found[0]:
        torch.testing.assert_close(found[0][name], found[1][name])


def test_an_adapter_on_an_adapter_opens_with_both(trained: tuple[Janus, Path], tmp_path: Path):
    _, first = trained
    janus = open_for_training(first, beside("lora"))
    train(janus, first, tmp_path / "second")
    batch = collate(janus, sequences(janus, 7))
    opened = open_checkpoint(tmp_path / "second", dtype=torch.float32)
    expected = log_probs(Policy(janus), batch)
    torch.testing.assert_close(log_probs(Policy(opened), batch), expected, atol=1e-4, rtol=1e-4)
    assert (log_probs(Policy(janus).reference(), batch) - expected).abs().max() > 1e-3


def test_a_base_is_found_beside_the_adapter_and_another_one_is_refused(copied: Path, tiny_checkpoint: Path):
    config = json.loads((copied / CONFIG).read_text())
    (copied / CONFIG).write_text(json.dumps(config | {"base_model_name_or_path": "/elsewhere/base"}))
    with pytest.raises(CheckpointError, match="its base /elsewhere/base is not there; put it there, or beside"):
        open_checkpoint(copied)
    base = shutil.copytree(tiny_checkpoint, copied.with_name("base"))
    assert open_checkpoint(copied).name == "copied"
    file = sorted(base.glob("model*.safetensors"))[0]
    save_file({name: tensor + 0.5 for name, tensor in load_file(file).items()}, file, {"format": "pt"})
    with pytest.raises(CheckpointError, match="trained beside other weights than those of /elsewhere/base"):
        open_checkpoint(copied)


def rewritten(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        tensors = load_file(folder / TENSORS)
        change(tensors)
        save_file(tensors, folder / TENSORS)

    return write


def configured(**entries: object) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        config = json.loads((folder / CONFIG).read_text())
        (folder / CONFIG).write_text(json.dumps(config | entries))

    return write


def cut(folder: Path) -> None:
    whole = (folder / TENSORS).read_bytes()
    (folder / TENSORS).write_bytes(whole[: len(whole) // 2])


FIRST = "base_model.model.model.language_model.layers.0.self_attn.q_proj"
OTHER = "base_model.model.model.language_model.layers.99.self_attn.q_proj"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (cut, "is no whole file of an adapter"),
        (lambda folder: (folder / TENSORS).unlink(), "is no whole file of an adapter"),
        (lambda folder: (folder / CONFIG).write_text("{"), "is not JSON"),
        (rewritten(lambda t: t[f"{FIRST}.lora_A.weight"].fill_(float("nan"))), "lora_A.* infinite or not a number"),
        (rewritten(lambda t: t.pop(f"{FIRST}.lora_B.weight")), r"lacks .*q_proj\.lora_B\.weight"),
        (rewritten(lambda t: t.update({f"{FIRST}.lora_B.weight": torch.ones(3, 4)})), "change of 3×64|none of rank"),
        (rewritten(lambda t: t.update({f"{FIRST}.lora_B.weight": torch.ones(64, 5)})), "none of rank 4"),
        (rewritten(lambda t: t.update({"base_model.model.score.weight": torch.ones(2)})), "no part of a LoRA adapter"),
        (rewritten(lambda t: t.update({f"{OTHER}.lora_{x}.weight": torch.ones(4, 4) for x in "AB"})), "does not have"),
        (rewritten(lambda t: t.update({f"{FIRST}.lora_A.weight": torch.ones(4, 9)})), "a change of 64×9, .* has 64×64"),
        (configured(peft_type="LOHA"), "got 'LOHA', wanted LORA"),
        (configured(modules_to_save=["lm_head"]), "modules_to_save is set"),
        (configured(r=0), "r: got 0, wanted a number above 0"),
        (configured(lora_alpha=float("inf")), "lora_alpha: got inf, wanted a number above 0"),
        (configured(base_model_name_or_path=None), "names no base"),
    ],
)  # fmt: skip
def test_a_damaged_or_unknown_adapter_is_refused(copied: Path, damage: Callable[[Path], None], said: str):
    damage(copied)
    for opening in (open_checkpoint, command.inspect):
        with pytest.raises(CheckpointError, match=said):
            opening(copied)


def test_the_command_trains_inspects_and_merges_an_adapter(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def run(main: Callable[[], None], *arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["command", *map(str, arguments)])
        main()
        return capsys.readouterr().out

    out, options = tmp_path / "out", ["--adapter", "lora", "--rank", 2, "--adapter-targets", "layers", "image_head"]
    options += ["--checkpointing", "--steps", 1, "--batch", 2]
    options += ["--distill-rollouts", 2, "--distill-batch", 1, "--evaluate-prompts", 2]
    run(sft.main, "--world", "--checkpoint", tiny_checkpoint, "--out", out, *options)
    config = json.loads((out / CONFIG).read_text())
    assert (config["r"], config["lora_alpha"]) == (2, 32) and config["base_model_name_or_path"] == str(tiny_checkpoint)
    assert "with the adapter out, beside" in run(command.main, "inspect", out)
    run(command.main, "merge", out, tmp_path / "whole")
    about = json.loads((tmp_path / "whole" / PROVENANCE).read_text())
    assert (about["recipe"], about["adapters"][0]["recipe"]) == ("merge", "sft")
    with pytest.raises(SystemExit, match="is no adapter; there is nothing to merge"):
        run(command.main, "merge", tiny_checkpoint, tmp_path / "x")
