"""The rows of a training file: the seam between annotations and training.

`annotations.export` writes them, `model.training` reads them; anyone's Parquet file with these columns trains.
The columns are TRL's (`prompt`, `completion`, `images`, in conversational form, images in the prompt only), so the
same file loads in TRL untouched; what else is known of a row stands in columns of its own. No torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from model.templates import CHECK_TEXT, CONNECT_TEXT


@dataclass(frozen=True)
class JudgeExample:
    """One reflection to learn: a prompt, the images drawn for it so far, what should be said of the last one."""

    prompt: str  # what the user asked for
    images: tuple[bytes, ...]  # PNG, drawn one after another
    reflections: tuple[str, ...]  # what was said of all but the last image: “No, …”
    completion: str  # verdict and reason for the last image, beginning with Yes or No
    origin: str = "person"  # who wrote the completion: person or sampled
    weight: float = 1.0
    trajectory_id: str = ""
    segment: int = 0
    annotator: str = ""  # pseudonym
    decided: bool = False  # by a reviewer, in place of what others said
    correction: str | None = None  # the reason as a person wrote it; None for the model's own words

    def to_row(self) -> dict[str, Any]:
        messages = [_message("user", self.prompt), _message("assistant", None), _message("user", CHECK_TEXT)]
        for reflection in self.reflections:
            messages += [_message("assistant", reflection), _message("user", CONNECT_TEXT)]
            messages += [_message("assistant", None), _message("user", CHECK_TEXT)]
        return {
            "prompt": messages,
            "completion": [_message("assistant", self.completion)],
            "images": [{"bytes": png, "path": None} for png in self.images],
            "origin": self.origin,
            "weight": self.weight,
            "trajectory_id": self.trajectory_id,
            "segment": self.segment,
            "annotator": self.annotator,
            "decided": self.decided,
            "correction": self.correction,
        }

    @staticmethod
    def from_row(row: dict[str, Any]) -> JudgeExample:
        """Raises ValueError that names what is missing or does not fit."""
        missing = [column for column in ("prompt", "completion", "images") if row.get(column) is None]
        if missing:
            raise ValueError(f"a judge_sft row needs prompt, completion and images; missing: {', '.join(missing)}")
        texts = [_text(m) for m in row["prompt"]]
        images = tuple(image["bytes"] for image in row["images"])
        if sum(text is None for text in texts) != len(images):
            raise ValueError(f"the prompt has {sum(t is None for t in texts)} images, the row brings {len(images)}")
        completion = _text(row["completion"][0]) or ""
        if not completion.startswith(("Yes", "No")):
            raise ValueError(f"a completion begins with Yes or No, got {completion[:40]!r}")
        return JudgeExample(
            prompt=texts[0] or "",
            images=images,
            reflections=tuple(
                t for m, t in zip(row["prompt"], texts, strict=True) if m["role"] == "assistant" and t is not None
            ),
            completion=completion,
            origin=row.get("origin") or "person",
            weight=1.0 if row.get("weight") is None else float(row["weight"]),
            trajectory_id=row.get("trajectory_id") or "",
            segment=int(row.get("segment") or 0),
            annotator=row.get("annotator") or "",
            decided=bool(row.get("decided")),
            correction=row.get("correction"),
        )


def _message(role: str, text: str | None) -> dict[str, Any]:
    """One message of one part: text, or (text None) a place for the next image."""
    return {"role": role, "content": [{"type": "image" if text is None else "text", "text": text}]}


def _text(message: dict[str, Any]) -> str | None:
    return message["content"][0]["text"]
