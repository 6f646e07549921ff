"""TRL's trainers take the exports as they are, and read the sequences that the own trainer reads."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset, Image, List, load_dataset
from export_store import filled
from thoroughness import few
from transformers import JanusForConditionalGeneration, JanusProcessor
from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer, KTOConfig, KTOTrainer, SFTConfig, SFTTrainer
from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

from annotations.export.exporter import export
from model.backends.janus import Janus
from model.examples import JudgeExample
from model.sequences import Pixels, Text, ids, prompt_pieces
from model.templates import EOS
from model.training.dataset import sequence_of

KINDS = ("judge_sft", "judge_pref", "judge_kto", "thought_sft", "thought_pref", "prompts")
IGNORED = -100  # by the loss


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("trl")
    store, _ = filled(folder / "data")
    for kind in KINDS:
        export(store, kind, folder / kind)
    store.close()
    yield folder


def load(folder: Path, kind: str) -> Dataset:
    return load_dataset(str(folder / kind), kind, split="train", cache_dir=str(folder / "cache"))


@pytest.fixture(scope="module")
def processor(tiny_checkpoint: Path) -> JanusProcessor:
    return JanusProcessor.from_pretrained(tiny_checkpoint)


def own(janus: Janus, row: dict[str, Any]) -> tuple[list[int], list[int]]:
    """Token ids and labels of the own trainer."""
    sequence = sequence_of(janus, JudgeExample.from_row(row))
    ids: list[int] = []
    for piece in sequence.pieces:
        assert isinstance(piece, Text | Pixels)
        ids += piece.ids if isinstance(piece, Text) else [janus.network.config.image_token_id] * janus.image_codes
    labels = [IGNORED] * len(ids)
    for targets in sequence.targets:
        for position, token in zip(targets.positions, targets.tokens, strict=True):
            labels[position + 1] = token
    return ids, labels


@pytest.mark.parametrize("kind", ["judge_sft", "judge_pref", "judge_kto"])
def test_the_shipped_template_gives_trl_the_ids_and_labels_of_the_own_trainer(folder, processor, tiny, kind):
    rows = load(folder, kind)
    stored = rows.cast_column("images", List(Image(decode=False)))
    collate = DataCollatorForVisionLanguageModeling(processor, completion_only_loss=True)
    compared = 0
    for row, raw in zip(rows, stored, strict=True):
        for completion in [name for name in ("completion", "chosen", "rejected") if name in row]:
            batch = collate([{"prompt": row["prompt"], "completion": row[completion], "images": row["images"]}])
            found = batch["input_ids"][0].tolist(), batch["labels"][0].tolist()
            expected = own(tiny, raw | {"completion": raw[completion]})
            assert found == expected
            compared += 1
    assert compared >= 6


def test_a_plan_is_read_by_trl_as_in_a_drawing_but_for_its_end(folder, processor, tiny):
    collate = DataCollatorForVisionLanguageModeling(processor, completion_only_loss=True)
    rows = [row for row in load(folder, "thought_sft") if not row["images"]]
    for row in rows:
        (asked,), (answered,) = row["prompt"], row["completion"]
        batch = collate([{name: row[name] for name in ("prompt", "completion", "images")}])
        expected = [token for piece in prompt_pieces(tiny, asked["content"][0]["text"]) for token in piece.ids]
        expected += ids(tiny, f" {answered['content'][0]['text']}{EOS}")
        assert batch["input_ids"][0].tolist() == expected
    assert len(rows) >= 4


def network(checkpoint: Path) -> JanusForConditionalGeneration:
    return JanusForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32)


def settings(out: Path, **more: Any) -> dict[str, Any]:
    usual = {"output_dir": str(out), "max_steps": 2, "per_device_train_batch_size": 2, "report_to": "none"}
    usual |= {"use_cpu": True, "logging_steps": 1, "learning_rate": 1e-3, "save_strategy": "no", "bf16": False}
    return usual | {"remove_unused_columns": False, "gradient_checkpointing": False} | more


def check(trainer: Any) -> None:
    """It takes two steps, with finite losses, and the network changes."""
    before = {name: value.detach().clone() for name, value in trainer.model.named_parameters()}
    trainer.train()
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    assert len(losses) == 2 and all(torch.isfinite(torch.tensor(losses)))
    assert any(not torch.equal(value, before[name]) for name, value in trainer.model.named_parameters())


@pytest.mark.parametrize("kind", few(["judge_sft", "thought_sft"], 0))
def test_sft_trainer_takes_two_steps(folder, processor, tiny_checkpoint, tmp_path, kind):
    args = SFTConfig(**settings(tmp_path, max_length=None))
    check(SFTTrainer(network(tiny_checkpoint), args, train_dataset=load(folder, kind), processing_class=processor))


@pytest.mark.parametrize("kind", few(["judge_pref", "thought_pref"], 0))
def test_dpo_trainer_takes_two_steps(folder, processor, tiny_checkpoint, tmp_path, kind):
    args = DPOConfig(**settings(tmp_path, max_length=None))
    check(DPOTrainer(network(tiny_checkpoint), args=args, train_dataset=load(folder, kind), processing_class=processor))


def test_kto_trainer_takes_two_steps(folder, processor, tiny_checkpoint, tmp_path):
    args = KTOConfig(**settings(tmp_path, max_length=None))
    rows = load(folder, "judge_kto")
    check(KTOTrainer(network(tiny_checkpoint), args=args, train_dataset=rows, processing_class=processor))


def test_grpo_trainer_takes_two_steps(folder, processor, tiny_checkpoint, tmp_path):
    def reward(completions: list[Any], score: list[float | None], **_: Any) -> list[float]:
        return [len(str(text)) + (value or 0.0) for text, value in zip(completions, score, strict=True)]

    args = GRPOConfig(**settings(tmp_path, num_generations=2, max_completion_length=4))
    model, rows = network(tiny_checkpoint), load(folder, "prompts")
    check(GRPOTrainer(model, reward, args=args, train_dataset=rows, processing_class=processor))
