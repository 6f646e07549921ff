"""The format `umm_reflection`: trajectories of UMM-Reflection, with their images in the rows.

Its reader wants one <think> block per step with each field once, images at every step but the last, the loss on the
last image alone, and texts without lines that look like fields.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

from datasets import Features, List, Value

from annotations.export.formats.rounds import Files, Round, RoundsKind
from annotations.export.kind import Context
from model.trajectory import Trajectory

TAGS = re.compile(r"^[ \t]*\[[A-Z_ -]+\]|</?think>", re.MULTILINE | re.IGNORECASE)
RESERVED = "its text has a line that begins with a name in brackets, which the format reads as a field"
THINK = """\
<think>
[CURRENT_ROUND] Round#{round}
[SCORE] {score}/10
[ACTION] {action}
[THINKING] {thinking}
[SOURCE_IMAGE] {source}
[EDIT] {edit}
</think>"""
TEXTS = ("uid", "run", "task", "category", "trajectory_subtype", "user_prompt", "system_prompt")
TEXTS += ("system_prompt_version", "meta_path", "final_image_name")
TEXT_LISTS = ("think_list", "step_action_list", "step_role_list", "step_source_image_list", "step_image_name_list")
TEXT_LISTS += ("step_image_sha256",)
NUMBERS = ("n_steps", "n_images", "source_image_step_index", "final_loss_step_index")


class UmmReflection(RoundsKind):
    name = "umm_reflection"
    title = "Trajectories of UMM-Reflection"
    purpose = (
        "The columns of UMM-Reflection’s trajectories, one per row: `uid`, `task`, `user_prompt`, and lists with an "
        "entry per step: `think_list` (a block of score, action, thinking and edit), `step_action_list`, "
        "`step_role_list`, `step_image_list` (PNG) and their names, hashes and sizes, `step_need_loss`. The first step "
        "plans, each later one judges the image before it, the last one is done. The score is the model’s own "
        "probability of a yes, in tenths. What is said is what people corrected or called right; a trajectory in which "
        "nobody said what to change is left out. Imported ones that nobody has answered are as they came."
    )
    features = Features(
        {name: Value("string") for name in TEXTS}
        | {name: List(Value("string")) for name in TEXT_LISTS}
        | {name: Value("int64") for name in NUMBERS}
        | {"step_round_list": List(Value("int64")), "step_image_size_bytes": List(Value("int64"))}
        | {"step_image_list": List(Value("binary")), "step_need_loss": List(Value("bool"))}
    )

    def values(self, trajectory: Trajectory, rounds: Sequence[Round]) -> dict[str, Any] | str:
        texts = [trajectory.prompt, *(text for r in rounds for text in (r.reason, r.edit, r.thought))]
        if any(TAGS.search(text) for text in texts):
            return RESERVED
        last = len(rounds)  # the step that is done; one image is drawn at each before it
        edits = [trajectory.prompt, *(r.edit or "None" for r in rounds)]
        thinking = [rounds[0].thought or trajectory.prompt, *(r.reason for r in rounds)]
        scores = [0, *(round(10 * r.p_yes) for r in rounds)]
        sources = ["None", *(f"Image #{number}" for number in range(last))]
        actions = ["edit"] * last + ["done"]
        return dict.fromkeys(TEXTS, "") | {
            "uid": trajectory.id,
            "run": trajectory.checkpoint,
            "task": "t2i",
            "trajectory_subtype": "multi_round" if last > 1 else "single_round",
            "user_prompt": trajectory.prompt,
            "think_list": [
                THINK.format(round=n, score=scores[n], action=a, thinking=thinking[n], source=sources[n], edit=edits[n])
                for n, a in enumerate(actions)
            ],
            "step_action_list": actions,
            "step_role_list": ["plan", *["edit"] * (last - 1), "done"],
            "step_round_list": list(range(last + 1)),
            "step_source_image_list": sources,
            "step_image_name_list": [*(f"img_{number}.png" for number in range(last)), ""],
            "step_need_loss": [number == last - 1 for number in range(last + 1)],
            "n_steps": last + 1,
            "n_images": last,
            "source_image_step_index": -1,
            "final_loss_step_index": last - 1,
            "final_image_name": f"img_{last - 1}.png",
        }

    def with_pictures(
        self, values: dict[str, Any], pictures: Sequence[bytes], files: Files
    ) -> tuple[dict[str, Any], Files]:
        images = {
            "step_image_list": [*pictures, None],
            "step_image_sha256": [*(hashlib.sha256(picture).hexdigest() for picture in pictures), ""],
            "step_image_size_bytes": [*map(len, pictures), 0],
        }
        return values | images, {}

    def restored(
        self, trajectory: Trajectory, record: dict[str, Any], context: Context
    ) -> tuple[dict[str, Any], Files]:
        return record, {}
