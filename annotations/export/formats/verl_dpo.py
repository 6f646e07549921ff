"""The format `verl_dpo`: verl-omni's offline pairs for diffusion DPO, with images beside the Parquet files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from datasets import Features, List, Value

from annotations.export.annotated_trajectories import AnnotatedTrajectory
from annotations.export.formats.external_rows import (
    ANNOTATED,
    IMPORTED,
    Restored,
    hashes_of,
    image_files,
    row_of,
    rows_of_pairs,
)
from annotations.export.kind import Context, Excluded, ExportKind, ExportRow
from annotations.export.labels.pair import Pair
from annotations.export.labels.pairs import is_compared
from annotations.schema.questions import Question
from model.trajectory import Trajectory

MESSAGE = List({"role": Value("string"), "content": Value("string")})
NEGATIVE = " "  # the negative prompt of the published script


class VerlDpo(ExportKind):
    """One row per pair and criterion."""

    name = "verl_dpo"
    title = "Pairs for DPO in verl-omni"
    purpose = (
        "verl-omni’s offline DPO pairs: `prompt` and `negative_prompt` (messages), `img_win` and `img_lose` (paths "
        "below `images/`), `win_score` and `lose_score` (a half, more and less by half the margin of votes or of "
        "mean ratings), `data_source`, `reward_model` and `extra_info`. Latents and embeddings of prompts belong to a "
        "checkpoint; its script adds them. Imported pairs that nobody else has answered are as they came, with images "
        "in the place of theirs."
    )
    counted = (ANNOTATED, IMPORTED)
    advice = "compare two drawings, choose the best of several, or rate two of a prompt"
    forms = ("preference", "best", "ranking", "rating")
    tasks = ("text-to-image",)
    features = Features(
        {
            "data_source": Value("string"),
            "prompt": MESSAGE,
            "negative_prompt": MESSAGE,
            "img_win": Value("string"),
            "img_lose": Value("string"),
            "win_score": Value("float64"),
            "lose_score": Value("float64"),
            "reward_model": {"style": Value("string"), "ground_truth": Value("string")},
            "extra_info": {
                "split": Value("string"),
                "index": Value("int64"),
                "raw_prompt": Value("string"),
                "raw_negative_prompt": Value("string"),
            },
        }
    )

    def reads(self, question: Question) -> bool:
        return is_compared(question)

    def rows(self, annotated: AnnotatedTrajectory, context: Context) -> Iterator[ExportRow | Excluded]:
        def of_record(record: dict[str, Any], other: Trajectory) -> Restored:
            paths, files = image_files(hashes_of(annotated.trajectory, other), context)
            return record | dict(zip(("img_win", "img_lose"), paths, strict=True)), files

        return rows_of_pairs(self, annotated, context, of_record, lambda pair: _row(annotated, pair, context))


def _row(annotated: AnnotatedTrajectory, pair: Pair, context: Context) -> ExportRow:
    paths, files = image_files([pair.chosen.sha256, pair.rejected.sha256], context)
    prompt = pair.chosen.trajectory.prompt
    values: dict[str, Any] = {
        "data_source": "aha-studio",
        "prompt": [{"role": "user", "content": prompt}],
        "negative_prompt": [{"role": "user", "content": NEGATIVE}],
        "img_win": paths[0],
        "img_lose": paths[1],
        "win_score": 0.5 + pair.margin / 2,
        "lose_score": 0.5 - pair.margin / 2,
        "reward_model": {"style": pair.criterion, "ground_truth": prompt},
        "extra_info": {
            "split": "",
            "index": annotated.number,
            "raw_prompt": prompt,
            "raw_negative_prompt": NEGATIVE,
        },
    }
    row = row_of(annotated, values, context, pair.people, answers=pair.answers, files=files)
    return replace(row, trajectories=pair.trajectories)
