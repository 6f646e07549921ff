"""Columns and types of training rows: the contract between export and training.

`annotations.export` writes them, `model.training` reads them; anyone's Parquet file with these columns trains.
The columns are TRL's (`prompt`, `completion`, `images`, in conversational form, images in the prompt only), so the
same file loads in TRL untouched; what else is known of a row stands in columns of its own. No torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from model.messages import MessageError, MessagePart, check_verdict, conversation, flattened, only_text, planned, shown
from model.reflection_text import control_character, first_verdict, is_blank
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
        """Raises MessageError (a ValueError) for whatever could not be learnt as it stands: got, wanted, what to do."""
        parts, images = _columns(row, "judge_sft")
        prompt, reflections = conversation(parts)
        completion = _completion(row["completion"])
        _check_texts(prompt, (completion, *reflections), most_characters)
        return JudgeExample(prompt, images, reflections, completion, **_about(row))


@dataclass(frozen=True)
class LabelledExample:
    """One reflection, and whether people hold it as it should be."""

    example: JudgeExample
    label: bool

    @staticmethod
    def from_row(row: Mapping[str, Any], most_characters: int = MOST_CHARACTERS) -> LabelledExample:
        """Raises MessageError for whatever could not be learnt as it stands."""
        label = row.get("label")
        if not isinstance(label, bool):
            raise MessageError(f"the label is {shown(label)}, wanted true or false; give one, or leave the row out")
        return LabelledExample(JudgeExample.from_row(row, most_characters), label)


@dataclass(frozen=True)
class EarlierImage:
    """An image that was drawn before a plan, the plan that it was drawn by, and what was said of it."""

    thought: str | None
    image: bytes  # PNG
    reflection: str


@dataclass(frozen=True)
class ThoughtExample:
    """One plan to learn: a prompt, what was planned, drawn and said so far, and the plan that should follow."""

    prompt: str
    source: bytes | None  # PNG of the image that is edited
    earlier: tuple[EarlierImage, ...]
    completion: str
    weight: float = 1.0

    @staticmethod
    def from_row(row: Mapping[str, Any], most_characters: int = MOST_CHARACTERS) -> ThoughtExample:
        """Raises MessageError for whatever could not be learnt as it stands."""
        parts, images = _columns(row, "thought_sft")
        first = [part for part in parts if part.message == 1]
        prompt = "".join(part.text for part in first if part.text is not None)
        sources = sum(part.text is None for part in first)
        if first[0].role != "user" or not prompt.strip() or sources > 1:
            raise MessageError(
                "message 1 is not the user's words with one picture at most; write there what is to be drawn"
            )
        before = [part for part in parts if part.message > 1]
        earlier = [EarlierImage(*each) for each in planned(before, images[sources:])]
        completion = only_text(row["completion"]).strip()
        if is_blank(completion):
            raise MessageError("the completion has no words, wanted a plan")
        texts = [text for each in earlier for text in (each.thought or "", each.reflection)]
        _check_texts(prompt, (completion, *texts), most_characters)
        weight = _about(row).get("weight", 1.0)
        return ThoughtExample(prompt, images[0] if sources else None, tuple(earlier), completion, weight)


@dataclass(frozen=True)
class StoredImage:
    """A PNG and its image codes in raster order; without codes they are made of the PNG."""

    png: bytes
    codes: tuple[int, ...] = ()

    @staticmethod
    def from_row(row: Mapping[str, Any], column: str, codes_column: str) -> StoredImage:
        """Raises MessageError."""
        (png,) = _images([row.get(column)])
        return StoredImage(png, _codes(codes_column, row.get(codes_column)))


@dataclass(frozen=True)
class DrawnExample:
    """One drawing to learn: of a prompt, after drafts and what was said of them, or (with a source) an edit."""

    prompt: str
    image: StoredImage
    thought: str | None = None  # before it
    source: StoredImage | None = None
    drafts: tuple[tuple[StoredImage, str], ...] = ()  # each with its reflection
    weight: float = 1.0

    @staticmethod
    def from_row(row: Mapping[str, Any], column: str = "image") -> DrawnExample:
        """The drawing in one column of the row. Raises MessageError for whatever could not be learnt as it stands."""
        prompt = row.get("prompt")
        if not isinstance(prompt, str) or len(prompt) > MOST_CHARACTERS:
            raise MessageError(f"the prompt is {shown(prompt)}, wanted words, at most {MOST_CHARACTERS:,} characters")
        _check_texts(prompt, (), MOST_CHARACTERS)
        image = StoredImage.from_row(row, column, "codes" if column == "image" else f"{column}_codes")
        return DrawnExample(prompt, image, weight=_about(row).get("weight", 1.0))

    @staticmethod
    def from_sft_row(row: Mapping[str, Any], most_characters: int = MOST_CHARACTERS) -> DrawnExample:
        """A row of draw_sft, redraw_sft or edit_sft. Raises MessageError."""
        example, thought = DrawnExample.from_row(row), row.get("thought")
        drafts, reflections = row.get("drafts") or [], row.get("reflections") or []
        codes = row.get("draft_codes") or [[]] * len(drafts)
        if thought is not None and (not isinstance(thought, str) or is_blank(thought)):
            raise MessageError(f"the thought is {shown(thought)}, wanted a plan, or nothing")
        if not len(drafts) == len(reflections) == len(codes):
            counts = f"{len(drafts)} drafts, {len(reflections)} reflections and {len(codes)} lists of codes"
            raise MessageError(f"got {counts}, wanted one of each for every draft")
        for text in reflections:
            check_verdict("a reflection", text)
        _check_texts(example.prompt, (thought or "", *reflections), most_characters)
        images = map(StoredImage, _images(drafts), (_codes("draft_codes", each) for each in codes))
        source = None if row.get("source") is None else StoredImage.from_row(row, "source", "source_codes")
        return replace(example, thought=thought, source=source, drafts=tuple(zip(images, reflections, strict=True)))


@dataclass(frozen=True)
class PreferenceExample:
    """Two reflections on the same images, two plans, or two drawings, of which people hold one better."""

    chosen: JudgeExample | ThoughtExample | DrawnExample
    rejected: JudgeExample | ThoughtExample | DrawnExample
    margin: float | None = None  # of the votes for the chosen one

    @property
    def weight(self) -> float:
        return self.chosen.weight

    @staticmethod
    def from_row(row: Mapping[str, Any], most_characters: int = MOST_CHARACTERS) -> PreferenceExample:
        """A row of judge_pref, thought_pref or image_pref. Raises MessageError for whatever could not be learnt."""
        missing = [column for column in ("chosen", "rejected") if row.get(column) is None]
        if missing:
            raise MessageError(f"a row of preferences needs prompt, chosen and rejected; missing: {', '.join(missing)}")
        if isinstance(row.get("prompt"), str):
            chosen, rejected = (DrawnExample.from_row(row, name) for name in ("chosen", "rejected"))
        else:
            plan = _is_plan(row, row["chosen"])
            read = ThoughtExample.from_row if plan else JudgeExample.from_row
            chosen, rejected = (
                read({**row, "completion": row[name]}, most_characters) for name in ("chosen", "rejected")
            )
        answers = [each.image.png if isinstance(each, DrawnExample) else each.completion for each in (chosen, rejected)]
        if answers[0].strip() == answers[1].strip():
            raise MessageError(f"chosen and rejected are both {shown(answers[0])}; wanted two that differ")
        return PreferenceExample(chosen, rejected, _number(row, "margin"))


@dataclass(frozen=True)
class RewardExample:
    """A drawing with its score, or two of which people prefer the first."""

    drawing: DrawnExample
    rejected: DrawnExample | None = None
    margin: float = 0.0  # by which it is preferred
    score: float | None = None  # 0…1, of a drawing alone
    criterion: str = ""

    @property
    def weight(self) -> float:
        return self.drawing.weight

    @staticmethod
    def from_row(row: Mapping[str, Any], most_characters: int = MOST_CHARACTERS) -> RewardExample:
        """A row of reward or image_pref. Raises MessageError for whatever could not be learnt as it stands."""
        drawing = DrawnExample.from_row(row, "image" if row.get("image") is not None else "chosen")
        criterion, score, margin = str(row.get("criterion") or ""), _number(row, "score"), _number(row, "margin")
        if row.get("rejected") is not None:
            rejected = DrawnExample.from_row(row, "rejected")
            if rejected.image.png == drawing.image.png:
                raise MessageError("both pictures are the same; wanted two that differ")
            return RewardExample(drawing, rejected, margin or 0.0, criterion=criterion)
        if score is None or not 0 <= score <= 1:
            raise MessageError(f"the score is {shown(score)}, wanted a number from 0 to 1, or a rejected picture")
        return RewardExample(drawing, score=score, criterion=criterion)


def sft_example(
    row: Mapping[str, Any], most_characters: int = MOST_CHARACTERS
) -> JudgeExample | ThoughtExample | DrawnExample:
    """A row of judge_sft, thought_sft, draw_sft, redraw_sft or edit_sft. Raises MessageError."""
    if isinstance(row.get("prompt"), str) and row.get("image") is not None:
        return DrawnExample.from_sft_row(row, most_characters)
    plan = _is_plan(row, row.get("completion"))
    return (ThoughtExample if plan else JudgeExample).from_row(row, most_characters)


def _is_plan(row: Mapping[str, Any], completion: Any) -> bool:
    """Whether a completion answers the user's words by a plan, not by a verdict on a picture. A picture among these
    words may be there to be judged or to be edited; the row of an edit names its `source`."""
    try:
        parts, answer = flattened("prompt", row.get("prompt")), only_text(completion)
    except MessageError:
        return False
    last = parts[-1]
    asked = last.role == "user" and (last.text is None or last.text.strip() != CHECK_TEXT)
    shown = any(part.text is None and part.message == last.message for part in parts)
    return asked and first_verdict(answer) is None and (not shown or bool(row.get("source")))


def _columns(row: Mapping[str, Any], kind: str) -> tuple[list[MessagePart], tuple[bytes, ...]]:
    """The parts of the prompt, and its images, as many as it has places for them."""
    missing = [column for column in COLUMNS if row.get(column) is None]
    if missing:
        raise MessageError(f"a {kind} row needs prompt, completion and images; missing: {', '.join(missing)}")
    for column in UNREAD:
        if row.get(column):
            raise MessageError(f"got {column}, which the trainer does not read; leave the column out")
    parts = flattened("prompt", row["prompt"])
    images = _images(row["images"])
    places = sum(part.text is None for part in parts)
    if places != len(images):
        raise MessageError(f"the prompt has {places} images, the row brings {len(images)}; give one for each place")
    return parts, images


def _check_texts(prompt: str, others: Sequence[str], most: int) -> None:
    """Raises MessageError for a prompt without words, texts with control characters, and too many of all."""
    if is_blank(prompt):
        raise MessageError(f"the prompt is {shown(prompt)}, wanted words; write there what is to be drawn")
    for name, text in (("the prompt", prompt), *(("a text", each) for each in others)):
        if (at := control_character(text)) is not None:
            raise MessageError(
                f"{name}, {shown(text)}, has no text as its character {at + 1} ({text[at]!r}); remove it"
            )
    characters = len(prompt) + sum(map(len, others))
    if characters > most:
        raise MessageError(
            f"got {characters:,} characters of text, wanted at most {most:,}; shorten it, or allow more by "
            "--most-characters"
        )


def is_number(value: Any) -> bool:
    """Whether it is a finite float, or an int that a float can hold; a bool is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an int above 1.8e308
        return False


def _number(row: Mapping[str, Any], name: str) -> float | None:
    value = row.get(name)
    if value is not None and not is_number(value):
        raise MessageError(f"the {name} is {shown(value)}, wanted a number; mend or leave it out")
    return value


def _message(role: str, text: str | None) -> dict[str, Any]:
    """One message of one part: text, or (text None) a place for the next image."""
    return {"role": role, "content": [{"type": "image" if text is None else "text", "text": text}]}


def _codes(name: str, value: Any) -> tuple[int, ...]:
    if value is not None and not (isinstance(value, list) and all(type(code) is int for code in value)):
        raise MessageError(f"{name} is {shown(value)}, wanted a list of image codes, or nothing")
    return tuple(value or ())


def _images(value: Any) -> tuple[bytes, ...]:
    if not isinstance(value, list):
        raise MessageError(f"images is {shown(value)}, wanted a list of pictures, each with its bytes")
    for number, image in enumerate(value, start=1):
        if not isinstance(image, dict) or not isinstance(image.get("bytes"), bytes) or not image["bytes"]:
            path = image.get("path") if isinstance(image, dict) else None
            got = f"only the path {shown(path)}" if path else shown(image)
            raise MessageError(f"image {number} is {got}, wanted bytes; put the file's bytes into the row")
    return tuple(image["bytes"] for image in value)


def _completion(value: Any) -> str:
    completion = only_text(value)
    check_verdict("a completion", completion)
    return completion


def _about(row: Mapping[str, Any]) -> dict[str, Any]:
    """What else is known of a row; what is not there has its default."""
    known: dict[str, Any] = {}
    for name, kind in ABOUT.items():
        value = row.get(name)
        if value is not None and value != "":
            if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
                raise MessageError(
                    f"{name} is {shown(value)}, wanted {kind.__name__}; change it or leave the column out"
                )
            known[name] = value
    weight = row.get("weight")
    if weight is not None:
        if not is_number(weight) or not 0 <= weight <= MOST_WEIGHT:
            raise MessageError(
                f"the weight is {shown(weight)}, wanted a number from 0 to {MOST_WEIGHT:g}; mend or leave it out"
            )
        known["weight"] = float(weight)
    return known
