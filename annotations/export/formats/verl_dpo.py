"""The format `verl_dpo`: verl-omni's offline pairs for diffusion DPO, with images beside the Parquet files."""

from __future__ import annotations

from typing import Any

from datasets import Features, List, Value

from annotations.export.annotated_trajectories import AnnotatedTrajectory
from annotations.export.formats.external_rows import PairsKind, RowContent, hashes_of, image_files
from annotations.export.kind import Context
from annotations.export.labels.pair import Pair
from model.trajectory import Trajectory

MESSAGE = List({"role": Value("string"), "content": Value("string")})
NEGATIVE = " "  # the negative prompt of the published script


class VerlDpo(PairsKind):
    name = "verl_dpo"
    title = "Pairs for DPO in verl-omni"
    purpose = (
        "verl-omni’s offline DPO pairs: `prompt` and `negative_prompt` (messages), `img_win` and `img_lose` (paths "
        "below `images/`), `win_score` and `lose_score` (a half, more and less by half the margin of votes or of "
        "mean ratings), `data_source`, `reward_model` and `extra_info`. Latents and embeddings of prompts belong to a "
        "checkpoint; its script adds them. Imported pairs that nobody else has answered are as they came, with images "
        "in the place of theirs."
    )
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

    def values(self, annotated: AnnotatedTrajectory, pair: Pair, context: Context) -> RowContent:
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
        return values, files

    def restored(self, first: Trajectory, second: Trajectory, record: dict[str, Any], context: Context) -> RowContent:
        paths, files = image_files(hashes_of(first, second), context)
        return record | dict(zip(("img_win", "img_lose"), paths, strict=True)), files
