"""Fine-tuning labels of Janus-Pro-R1 as released: one prompt a line, with its scored images. No torch.

    {"promptid": 15, "prompt": "…", "data": [
        {"id": 0, "img_path": "…", "reason": "Yes, …", "prob": 0.85, "state": 4}, …]}

The released reader runs beside `data/`. It takes images of state 4 as right and of states 0 and 1 as wrong. What the
states mean is inferred from the published samples: verdict of the reason, and whether `prob` reaches the threshold.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

LABELS = "data/t2i_examples/labels"
IMAGES = "data/t2i_examples/images"
TRAIN_FILE = f"{LABELS}/flux_0.7.jsonl"  # which the released reader opens
THRESHOLD = 0.7  # of its name
RIGHT, DOUBTFUL_YES, DOUBTFUL_NO, WRONG = 4, 3, 1, 0  # states; 2 is in none of the samples


def state_of(says_yes: bool, prob: float, threshold: float = THRESHOLD) -> int:
    """Of an image whose reason begins with Yes or No, and whose P(yes) is `prob`."""
    if prob >= threshold:
        return RIGHT if says_yes else DOUBTFUL_NO
    return DOUBTFUL_YES if says_yes else WRONG


def label_entry(number: int, img_path: str, reason: str, prob: float, state: int) -> dict[str, Any]:
    """An image in a line's `data`."""
    return {"id": number, "img_path": img_path, "reason": reason, "prob": round(prob, 4), "state": state}


def label_line(prompt: str, data: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A prompt with its images."""
    return {"promptid": prompt_id(prompt), "prompt": prompt, "data": list(data)}


def prompt_id(prompt: str) -> int:
    """A number that stands for a prompt, and that JSON readers keep exactly."""
    return int.from_bytes(hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).digest()[:6])
