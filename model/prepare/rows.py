"""Rows of a selection, by kind: columns and types that `model.training` and TRL read, and trajectories for the studio.

Their columns are those of `model.examples`; `checkpoint` is the painter, `p_yes` the critic's.
"""

import json
from collections.abc import Iterator
from typing import Any

import pyarrow as arrow

from model.examples import JudgeExample
from model.prepare.scored_images import ScoredImage
from model.prepare.selection import JudgeBalance, Selection
from model.prepare.workspace import Workspace

PICTURE = arrow.struct([("bytes", arrow.binary()), ("path", arrow.string())])
CODES = arrow.list_(arrow.int64())
MESSAGES = arrow.list_(
    arrow.struct(
        [
            ("role", arrow.string()),
            ("content", arrow.list_(arrow.struct([("type", arrow.string()), ("text", arrow.string())]))),
        ]
    )
)
SCORED = {"checkpoint": arrow.string(), "critic": arrow.string(), "p_yes": arrow.float64()}
DRAWN = {"prompt": arrow.string(), "thought": arrow.string(), "image": PICTURE, "codes": CODES, **SCORED}

COLUMNS: dict[str, dict[str, arrow.DataType]] = {
    "draw_sft": DRAWN,
    "judge_sft": {
        "prompt": MESSAGES,
        "completion": MESSAGES,
        "images": arrow.list_(PICTURE),
        "origin": arrow.string(),
        **SCORED,
    },
    "redraw_sft": {
        **DRAWN,
        "drafts": arrow.list_(PICTURE),
        "draft_codes": arrow.list_(CODES),
        "reflections": arrow.list_(arrow.string()),
        "edit": arrow.string(),
    },
    "image_pref": {
        "prompt": arrow.string(),
        "chosen": PICTURE,
        "rejected": PICTURE,
        "chosen_codes": CODES,
        "rejected_codes": CODES,
        "margin": arrow.float64(),
        "chosen_checkpoint": arrow.string(),
        "rejected_checkpoint": arrow.string(),
        "critic": arrow.string(),
    },
    "ours": {
        "prompt": arrow.string(),
        "checkpoint": arrow.string(),
        "images": arrow.list_(PICTURE),
        "trajectory": arrow.string(),
        "projects": arrow.string(),
        "annotations": arrow.string(),
    },
}
FEATURES = {  # as `datasets` calls those types
    PICTURE: {"_type": "Image"},
    arrow.string(): {"dtype": "string", "_type": "Value"},
    arrow.float64(): {"dtype": "float64", "_type": "Value"},
    arrow.int64(): {"dtype": "int64", "_type": "Value"},
}


class RowMaker:
    """Makes the rows of one kind. Of judge_sft it takes as many of either verdict, by the counts of all prompts."""

    def __init__(self, workspace: Workspace, critic: str, balance: JudgeBalance) -> None:
        self._workspace, self._critic, self._balance = workspace, critic, balance
        self._makers = {
            "draw_sft": self._draw,
            "judge_sft": self._judge,
            "redraw_sft": self._redraw,
            "image_pref": self._pref,
            "ours": self._ours,
        }

    def rows(self, kind: str, selection: Selection) -> Iterator[dict[str, Any]]:
        """Raises OSError for a picture that is not there any more."""
        return self._makers[kind](selection)

    def _draw(self, selection: Selection) -> Iterator[dict[str, Any]]:
        for image in selection.drawn:
            yield self._drawn(image)

    def _judge(self, selection: Selection) -> Iterator[dict[str, Any]]:
        for image in (*selection.right, *selection.wrong):
            if self._balance.take(says_yes=image.says_yes):
                prompt, images = image.drawn.plan.prompt, (self._png(image),)
                example = JudgeExample(prompt, images, (), image.reason, origin="sampled").to_row()
                yield {name: example[name] for name in COLUMNS["judge_sft"] if name in example} | self._scored(image)

    def _redraw(self, selection: Selection) -> Iterator[dict[str, Any]]:
        for draft, revision in selection.pairs:
            yield self._drawn(revision) | {
                "drafts": [self._picture(draft)],
                "draft_codes": [list(draft.drawn.image.codes)],
                "reflections": [draft.reason],
                "edit": draft.reflection.edit,
            }

    def _pref(self, selection: Selection) -> Iterator[dict[str, Any]]:
        for rejected, chosen in selection.pairs:
            yield {
                "prompt": chosen.drawn.plan.prompt,
                "chosen": self._picture(chosen),
                "rejected": self._picture(rejected),
                "chosen_codes": list(chosen.drawn.image.codes),
                "rejected_codes": list(rejected.drawn.image.codes),
                "margin": chosen.score - rejected.score,
                "chosen_checkpoint": chosen.drawn.plan.painter.name,
                "rejected_checkpoint": rejected.drawn.plan.painter.name,
                "critic": self._critic,
            }

    def _ours(self, selection: Selection) -> Iterator[dict[str, Any]]:
        for image in selection.images:
            trajectory = image.trajectory(self._critic)
            yield {
                "prompt": trajectory.prompt,
                "checkpoint": trajectory.checkpoint,
                "images": [self._picture(image)],
                "trajectory": json.dumps(trajectory.to_dict(), ensure_ascii=False),
                "projects": "{}",
                "annotations": "[]",
            }

    def _drawn(self, image: ScoredImage) -> dict[str, Any]:
        return {
            "prompt": image.drawn.plan.prompt,
            "thought": image.drawn.thought,
            "image": self._picture(image),
            "codes": list(image.drawn.image.codes),
            **self._scored(image),
        }

    def _scored(self, image: ScoredImage) -> dict[str, Any]:
        return {"checkpoint": image.drawn.plan.painter.name, "critic": self._critic, "p_yes": image.score}

    def _picture(self, image: ScoredImage) -> dict[str, Any]:
        return {"bytes": self._png(image), "path": None}

    def _png(self, image: ScoredImage) -> bytes:
        return self._workspace.png(image.drawn.sha256)


def schema_of(kind: str) -> arrow.Schema:
    """With the metadata by which `datasets` sees images in it."""
    columns = COLUMNS[kind]
    features = {name: _feature(of_type) for name, of_type in columns.items()}
    return arrow.schema(columns.items(), metadata={"huggingface": json.dumps({"info": {"features": features}})})


def _feature(of_type: arrow.DataType) -> dict[str, Any]:
    if of_type in FEATURES:
        return FEATURES[of_type]
    if arrow.types.is_list(of_type):
        return {"feature": _feature(of_type.value_type), "_type": "List"}
    return {field.name: _feature(field.type) for field in of_type}
