"""The format `visual_reflection_v1`: verl-omni's canonical trajectories, with images beside them.

Its validator wants one step per image, `continue` with an edit at all but the last and `stop` without at the last, no
line of a text that begins with one of its headers, and an id that is the hash of the content.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from typing import Any

from datasets import Features, List, Value

from annotations.export.formats.external_rows import IMAGES, hashes_of, image_files
from annotations.export.formats.rounds import Files, Round, RoundsKind
from annotations.export.kind import Context
from model.trajectory import Trajectory

SCHEMA = "visual_reflection_v1"
HEADER = re.compile(r"^(Reflection|Action|Edit):", re.MULTILINE)
RESERVED = "its text has a line that begins with Reflection:, Action: or Edit:, which the format reads as a header"


class VisualReflection(RoundsKind):
    name = SCHEMA
    title = "Trajectories of verl-omni"
    purpose = (
        "verl-omni’s `visual_reflection_v1`: `trajectory_id`, `manifest_id`, `source_dataset`, `source_record_id`, "
        "`pipeline_variant`, `prompt`, `images` (uri and SHA-256, files below `images/`) and `steps` (reflection, "
        "action, edit), one per image; the last one stops. What is said is what people corrected or called right; a "
        "trajectory in which nobody said what to change is left out. Imported ones that nobody has answered are as "
        "they came, with images in the place of theirs."
    )
    layout = "jsonl"
    features = Features(
        {
            **{name: Value("string") for name in ("trajectory_id", "manifest_id", "source_dataset")},
            **{name: Value("string") for name in ("source_record_id", "pipeline_variant", "prompt")},
            "images": List({"uri": Value("string"), "sha256": Value("string")}),
            "steps": List({name: Value("string") for name in ("reflection", "action", "edit")}),
        }
    )

    def values(self, trajectory: Trajectory, rounds: Sequence[Round]) -> dict[str, Any] | str:
        steps = [
            {"reflection": _plain(r.reason), "action": "stop" if r.accepted else "continue", "edit": _plain(r.edit)}
            for r in rounds
        ]
        if any(HEADER.search(text) for step in steps for text in (step["reflection"], step["edit"])):
            return RESERVED
        return _identified(
            {
                "manifest_id": "aha-studio",
                "source_dataset": "aha-studio",
                "source_record_id": trajectory.id,
                "pipeline_variant": "prompt_k_turn",
                "prompt": _plain(trajectory.prompt),
                "images": _images([r.sha256 for r in rounds]),
                "steps": steps,
            }
        )

    def restored(
        self, trajectory: Trajectory, record: dict[str, Any], context: Context
    ) -> tuple[dict[str, Any], Files]:
        hashes = hashes_of(trajectory)
        rest = {name: value for name, value in record.items() if name != "trajectory_id"}
        return _identified(rest | {"images": _images(hashes)}), image_files(hashes, context)[1]


def _images(hashes: Sequence[str]) -> list[dict[str, str]]:
    return [{"uri": f"{IMAGES}/{sha256}.png", "sha256": sha256} for sha256 in hashes]


def _identified(values: dict[str, Any]) -> dict[str, Any]:
    """With the id that follows from the content."""
    text = json.dumps(values, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(f"{SCHEMA}\0{text}".encode("utf-8", "surrogatepass")).hexdigest()
    return {"trajectory_id": f"traj_{digest}"} | values


def _plain(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()
