"""Columns and types of training rows: the contract between export and training.

`annotations.export` writes them, `model.training` reads them; anyone's Parquet file with these columns trains.
The columns are TRL's (`prompt`, `completion`, `images`, in conversational form, images in the prompt only), so the
same file loads in TRL untouched; what else is known of a row stands in columns of its own. No torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from model.messages import Part, RowError, flattened, shown
from model.numbers import is_number
from model.reflection_text import first_verdict
from model.templates import CHECK_TEXT, CONNECT_TEXT

MOST_CHARACTERS = 20_000  # of a row's texts together
MOST_WEIGHT = 100.0
COLUMNS = ("prompt", "completion", "images")
ABOUT = {"origin": str, "trajectory_id": str, "segment": int, "annotator": str, "decided": bool, "correction": str}
UNREAD = ("tools", "chat_template_kwargs")  # columns by which TRL changes what the template renders


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
    def from_row(row: Mapping[str, Any], most_characters: int = MOST_CHARACTERS) -> JudgeExample:
        """Raises RowError (a ValueError) for whatever could not be learnt as it stands: got, wanted, what to do."""
        missing = [column for column in COLUMNS if row.get(column) is None]
        if missing:
            raise RowError(f"a judge_sft row needs prompt, completion and images; missing: {', '.join(missing)}")
        for column in UNREAD:
            if row.get(column):
                raise RowError(f"got {column}, which the trainer does not read; leave the column out")
        parts = flattened("prompt", row["prompt"])
        images = _images(row["images"])
        places = sum(part.text is None for part in parts)
        if places != len(images):
            raise RowError(f"the prompt has {places} images, the row brings {len(images)}; give one for each place")
        prompt, reflections = _conversation(parts)
        completion = _completion(row["completion"])
        characters = sum(map(len, (prompt, completion, *reflections)))
        if characters > most_characters:
            raise RowError(
                f"got {characters:,} characters of text, wanted at most {most_characters:,}; shorten it, or allow more "
                "by --most-characters"
            )
        return JudgeExample(prompt, images, reflections, completion, **_about(row))


@dataclass(frozen=True)
class PreferenceExample:
    """Two reflections on the same images, of which people hold one better."""

    chosen: JudgeExample
    rejected: JudgeExample
    margin: float | None = None  # of the votes for the chosen one

    @property
    def weight(self) -> float:
        return self.chosen.weight

    @staticmethod
    def from_row(row: Mapping[str, Any], most_characters: int = MOST_CHARACTERS) -> PreferenceExample:
        """Raises RowError for whatever could not be learnt as it stands."""
        missing = [column for column in ("chosen", "rejected") if row.get(column) is None]
        if missing:
            raise RowError(f"a judge_pref row needs prompt, chosen, rejected and images; missing: {', '.join(missing)}")
        chosen, rejected = (
            JudgeExample.from_row({**row, "completion": row[name]}, most_characters) for name in ("chosen", "rejected")
        )
        if chosen.completion.strip() == rejected.completion.strip():
            raise RowError(f"chosen and rejected are both {shown(chosen.completion)}; wanted two that differ")
        margin = row.get("margin")
        if margin is not None and not is_number(margin):
            raise RowError(f"the margin is {shown(margin)}, wanted a number; mend or leave it out")
        return PreferenceExample(chosen, rejected, margin)


def _message(role: str, text: str | None) -> dict[str, Any]:
    """One message of one part: text, or (text None) a place for the next image."""
    return {"role": role, "content": [{"type": "image" if text is None else "text", "text": text}]}


def _images(value: Any) -> tuple[bytes, ...]:
    if not isinstance(value, list):
        raise RowError(f"images is {shown(value)}, wanted a list of pictures, each with its bytes")
    for number, image in enumerate(value, start=1):
        if not isinstance(image, dict) or not isinstance(image.get("bytes"), bytes) or not image["bytes"]:
            path = image.get("path") if isinstance(image, dict) else None
            got = f"only the path {shown(path)}" if path else shown(image)
            raise RowError(f"image {number} is {got}, wanted bytes; put the file's bytes into the row")
    return tuple(image["bytes"] for image in value)


def _conversation(parts: list[Part]) -> tuple[str, tuple[str, ...]]:
    """The user's words, and what was said between the images.

    A picture in the user's own turn, before or after all of its words, is the first one to be judged. Afterwards the
    template's fixed words of the user may stand where the template has them, or be left out.
    """
    first = [part for part in parts if part.message == 1]
    if first[0].role != "user":
        raise RowError(f"message 1 is the {first[0].role}'s, wanted the user's, with what is to be drawn")
    words = [at for at, part in enumerate(first) if part.text is not None]
    if words and words != list(range(words[0], words[-1] + 1)):
        raise RowError("message 1 has a picture between its words, wanted the picture before or after them")
    prompt = "".join(part.text for part in first if part.text is not None)
    if not prompt.strip():
        raise RowError("message 1 has no words, wanted what is to be drawn; write the prompt there")
    rest = [part for part in first if part.text is None] + [part for part in parts if part.message > 1]
    return prompt, tuple(_reflections(rest))


def _reflections(parts: list[Part]) -> list[str]:
    """What the assistant said of every image but the last. Raises RowError for any other order of things."""
    texts: list[str] = []
    state = "begun"  # then: image, checked, reflected, invited
    expected = {
        "begun": "an image",
        "image": f"“{CHECK_TEXT}” or what was said of the image",
        "checked": "what was said of the image",
        "reflected": f"“{CONNECT_TEXT}” or the next image",
        "invited": "the next image",
    }
    last = None
    for part in parts:
        got = "image" if part.text is None else part.role
        text = part.text or ""
        words = text.strip()
        own = part.role == "assistant" or (part.message == 1 and state == "begun")
        if got == "image" and state in ("begun", "reflected", "invited") and own:
            state = "image"
        elif got == "user" and state == "image" and words == CHECK_TEXT:
            state = "checked"
        elif got == "user" and state == "reflected" and words == CONNECT_TEXT:
            state = "invited"
        elif got == "assistant" and state in ("image", "checked"):
            _check_verdict(f"message {part.message}", text)
            texts.append(text)
            state = "reflected"
        elif got == "assistant" and state == "reflected" and last is not None and last.message == part.message:
            texts[-1] += text
        else:
            is_ = f"an image of the {part.role}'s" if got == "image" else f"the {part.role}'s {shown(text)}"
            raise RowError(
                f"message {part.message} is {is_}, wanted {expected[state]}; the trainer reads a prompt, then images "
                "and what was said of them in turn"
            )
        last = part
    if state not in ("image", "checked"):
        raise RowError(f"the prompt ends without {expected[state]}; the completion judges its last image")
    return texts


def _completion(value: Any) -> str:
    parts = flattened("completion", value)
    if any(part.role != "assistant" or part.text is None or part.message != 1 for part in parts):
        raise RowError("the completion is more than one message of the assistant's text; wanted verdict and reason")
    completion = "".join(part.text or "" for part in parts)
    _check_verdict("a completion", completion)
    return completion


def _check_verdict(what: str, text: str) -> None:
    if first_verdict(text) is None:
        raise RowError(
            f"{what} begins with Yes or No as a word of its own, got {shown(text)}; write “No, …” or “Yes, …”"
        )


def _about(row: Mapping[str, Any]) -> dict[str, Any]:
    """What else is known of a row; what is not there has its default."""
    known: dict[str, Any] = {}
    for name, kind in ABOUT.items():
        value = row.get(name)
        if value is not None and value != "":
            if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
                raise RowError(f"{name} is {shown(value)}, wanted {kind.__name__}; change it or leave the column out")
            known[name] = value
    weight = row.get("weight")
    if weight is not None:
        if not is_number(weight) or not 0 <= weight <= MOST_WEIGHT:
            raise RowError(
                f"the weight is {shown(weight)}, wanted a number from 0 to {MOST_WEIGHT:g}; mend or leave it out"
            )
        known["weight"] = float(weight)
    return known
