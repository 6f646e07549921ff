"""Columns and types of training rows: the contract between export and training.

`annotations.export` writes them, `model.training` reads them; anyone's Parquet file with these columns trains.
The columns are TRL's (`prompt`, `completion`, `images`, in conversational form, images in the prompt only), so the
same file loads in TRL untouched; what else is known of a row stands in columns of its own. No torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
        parts, images = _columns(row, "judge_sft")
        prompt, reflections = _conversation(parts)
        completion = _completion(row["completion"])
        _check_characters((prompt, completion, *reflections), most_characters)
        return JudgeExample(prompt, images, reflections, completion, **_about(row))


@dataclass(frozen=True)
class LabelledExample:
    """One reflection, and whether people hold it as it should be."""

    example: JudgeExample
    label: bool

    @staticmethod
    def from_row(row: Mapping[str, Any], most_characters: int = MOST_CHARACTERS) -> LabelledExample:
        """Raises RowError for whatever could not be learnt as it stands."""
        label = row.get("label")
        if not isinstance(label, bool):
            raise RowError(f"the label is {shown(label)}, wanted true or false; give one, or leave the row out")
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
        """Raises RowError for whatever could not be learnt as it stands."""
        parts, images = _columns(row, "thought_sft")
        first = [part for part in parts if part.message == 1]
        prompt = "".join(part.text for part in first if part.text is not None)
        sources = sum(part.text is None for part in first)
        if first[0].role != "user" or not prompt.strip() or sources > 1:
            raise RowError(
                "message 1 is not the user's words with one picture at most; write there what is to be drawn"
            )
        before = [part for part in parts if part.message > 1]
        earlier = [EarlierImage(*each) for each in _planned(before, images[sources:])]
        completion = _only_text("completion", row["completion"]).strip()
        if not completion:
            raise RowError("the completion has no words, wanted a plan")
        texts = [text for each in earlier for text in (each.thought or "", each.reflection)]
        _check_characters((prompt, completion, *texts), most_characters)
        weight = _about(row).get("weight", 1.0)
        return ThoughtExample(prompt, images[0] if sources else None, tuple(earlier), completion, weight)


@dataclass(frozen=True)
class DrawnExample:
    """One drawing to learn; without codes they are made of its PNG."""

    prompt: str
    completion: bytes  # PNG
    codes: tuple[int, ...] = ()  # in raster order
    weight: float = 1.0

    @staticmethod
    def from_row(row: Mapping[str, Any], column: str) -> DrawnExample:
        """The drawing in one column of the row. Raises RowError for whatever could not be learnt as it stands."""
        prompt, codes = row.get("prompt"), row.get(f"{column}_codes")
        if not isinstance(prompt, str) or not prompt.strip() or len(prompt) > MOST_CHARACTERS:
            raise RowError(f"the prompt is {shown(prompt)}, wanted words, at most {MOST_CHARACTERS:,} characters")
        if codes is not None and not (isinstance(codes, list) and all(type(code) is int for code in codes)):
            raise RowError(f"{column}_codes is {shown(codes)}, wanted a list of image codes, or nothing")
        (png,) = _images([row.get(column)])
        return DrawnExample(prompt, png, tuple(codes or ()), _about(row).get("weight", 1.0))


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
        """A row of judge_pref, thought_pref or image_pref. Raises RowError for whatever could not be learnt."""
        missing = [column for column in ("chosen", "rejected") if row.get(column) is None]
        if missing:
            raise RowError(f"a row of preferences needs prompt, chosen and rejected; missing: {', '.join(missing)}")
        if isinstance(row.get("prompt"), str):
            chosen, rejected = (DrawnExample.from_row(row, name) for name in ("chosen", "rejected"))
        else:
            plan = _is_plan(row.get("prompt"), row["chosen"])
            read = ThoughtExample.from_row if plan else JudgeExample.from_row
            chosen, rejected = (
                read({**row, "completion": row[name]}, most_characters) for name in ("chosen", "rejected")
            )
        if chosen.completion.strip() == rejected.completion.strip():
            raise RowError(f"chosen and rejected are both {shown(chosen.completion)}; wanted two that differ")
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
        """A row of reward or image_pref. Raises RowError for whatever could not be learnt as it stands."""
        drawing = DrawnExample.from_row(row, "image" if row.get("image") is not None else "chosen")
        criterion, score, margin = str(row.get("criterion") or ""), _number(row, "score"), _number(row, "margin")
        if row.get("rejected") is not None:
            rejected = DrawnExample.from_row(row, "rejected")
            if rejected.completion == drawing.completion:
                raise RowError("both pictures are the same; wanted two that differ")
            return RewardExample(drawing, rejected, margin or 0.0, criterion=criterion)
        if score is None or not 0 <= score <= 1:
            raise RowError(f"the score is {shown(score)}, wanted a number from 0 to 1, or a rejected picture")
        return RewardExample(drawing, score=score, criterion=criterion)


def sft_example(row: Mapping[str, Any], most_characters: int = MOST_CHARACTERS) -> JudgeExample | ThoughtExample:
    """A row of judge_sft or thought_sft. Raises RowError."""
    plan = _is_plan(row.get("prompt"), row.get("completion"))
    return (ThoughtExample if plan else JudgeExample).from_row(row, most_characters)


def _is_plan(prompt: Any, completion: Any) -> bool:
    """Whether a completion answers the user's words by a plan: what else follows them is a verdict on a picture."""
    try:
        last, answer = flattened("prompt", prompt)[-1], _only_text("completion", completion)
    except RowError:
        return False
    asked = last.role == "user" and (last.text is None or last.text.strip() != CHECK_TEXT)
    return asked and first_verdict(answer) is None


def _columns(row: Mapping[str, Any], kind: str) -> tuple[list[Part], tuple[bytes, ...]]:
    """The parts of the prompt, and its images, as many as it has places for them."""
    missing = [column for column in COLUMNS if row.get(column) is None]
    if missing:
        raise RowError(f"a {kind} row needs prompt, completion and images; missing: {', '.join(missing)}")
    for column in UNREAD:
        if row.get(column):
            raise RowError(f"got {column}, which the trainer does not read; leave the column out")
    parts = flattened("prompt", row["prompt"])
    images = _images(row["images"])
    places = sum(part.text is None for part in parts)
    if places != len(images):
        raise RowError(f"the prompt has {places} images, the row brings {len(images)}; give one for each place")
    return parts, images


def _check_characters(texts: Sequence[str], most: int) -> None:
    characters = sum(map(len, texts))
    if characters > most:
        raise RowError(
            f"got {characters:,} characters of text, wanted at most {most:,}; shorten it, or allow more by "
            "--most-characters"
        )


def _number(row: Mapping[str, Any], name: str) -> float | None:
    value = row.get(name)
    if value is not None and not is_number(value):
        raise RowError(f"the {name} is {shown(value)}, wanted a number; mend or leave it out")
    return value


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


def _planned(parts: list[Part], images: Sequence[bytes]) -> Iterator[tuple[str | None, bytes, str]]:
    """Plan, image and reflection of every image before a plan, in TRL's turns. Raises RowError for another order."""
    state, thought, drawn = "begun", None, 0
    for part in parts:
        text = part.text if part.text is None else part.text.strip()
        match state, part.role, text:
            case "begun", "assistant", str():
                state, thought = "planned", text
            case "begun" | "planned", "assistant", None:
                state = "drawn"
            case "drawn", "user", words if words == CHECK_TEXT:
                state = "checked"
            case "checked", "assistant", str():
                _check_verdict(f"message {part.message}", text)
                yield thought, images[drawn], text
                state, thought, drawn = "judged", None, drawn + 1
            case "judged", "user", words if words == CONNECT_TEXT:
                state = "begun"
            case _:
                what = "an image" if text is None else shown(text)
                raise RowError(
                    f"message {part.message} is {what} of the {part.role}'s after what was {state}; the trainer reads "
                    f"a plan, an image, “{CHECK_TEXT}”, what was said of it, “{CONNECT_TEXT}” in turn"
                )
    if state not in ("begun", "judged"):
        raise RowError(f"the prompt ends with what was {state}; wanted a plan to follow it")


def _only_text(column: str, value: Any) -> str:
    parts = flattened(column, value)
    if any(part.role != "assistant" or part.text is None or part.message != 1 for part in parts):
        raise RowError(f"the {column} is more than one message of the assistant's text; wanted that alone")
    return "".join(part.text or "" for part in parts)


def _completion(value: Any) -> str:
    completion = _only_text("completion", value)
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
