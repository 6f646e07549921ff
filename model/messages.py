"""Chat messages of a training row, in TRL's and transformers' forms, as a flat list of parts.

A message is {"role", "content"}; content is text, or a list of {"type": "text", "text"} and {"type": "image"}. Every
message and every part is read or refused: nothing is left out in silence. No torch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from model.reflection_text import first_verdict
from model.templates import CHECK_TEXT, CONNECT_TEXT

ROLES = ("user", "assistant")  # Janus's template has no other


class MessageError(ValueError):
    """A row that cannot be learnt as it stands: what was got, what was wanted, what to do."""


@dataclass(frozen=True)
class MessagePart:
    """A run of text, or (text None) a place for the next image."""

    message: int  # counted from 1
    role: str
    text: str | None


def flattened(column: str, messages: Any) -> list[MessagePart]:
    """The parts of all messages; there is at least one in each. Raises MessageError."""
    if not isinstance(messages, list) or not messages:
        raise MessageError(f"{column} is {shown(messages)}, wanted a list of messages with role and content")
    parts: list[MessagePart] = []
    for number, message in enumerate(messages, start=1):
        name = f"message {number} of the {column}"
        if not isinstance(message, dict):
            raise MessageError(f"{name} is {shown(message)}, wanted one with role and content")
        role = message.get("role")
        if role not in ROLES:
            raise MessageError(
                f"{name} has the role {shown(role)}, wanted user or assistant: Janus's template has no other; put its "
                "words into the user's, or leave the row out"
            )
        _check_read(name, message, ("role", "content"))
        parts += [MessagePart(number, role, text) for text in _texts(name, message.get("content"))]
    return parts


def _texts(name: str, content: Any) -> list[str | None]:
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    if not isinstance(content, list) or not content:
        raise MessageError(f"{name} has the content {shown(content)}, wanted text, or a list of texts and images")
    texts: list[str | None] = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind not in ("text", "image"):
            raise MessageError(f"{name} has the part {shown(part)}, wanted one of type text or image")
        text = part.get("text")
        if kind == "text" and not isinstance(text, str):
            raise MessageError(f"{name} has a text that is {shown(text)}, wanted words; leave the part out")
        if kind == "image" and text:
            raise MessageError(f"{name} has an image with the text {shown(text)}; make the text a part of its own")
        _check_read(name, part, ("type", "text"))
        texts.append(text if kind == "text" else None)
    return texts


def _check_read(name: str, thing: dict[str, Any], known: tuple[str, ...]) -> None:
    for key, value in thing.items():
        if key not in known and value not in (None, "", [], {}):
            raise MessageError(f"{name} has {key!s} ({shown(value)}), which the trainer does not read; leave it out")


def shown(value: Any) -> str:
    """A value in an error, at most 60 characters of it."""
    if value is None:
        return "nothing"
    text = repr(value[:60] if isinstance(value, str | bytes) else value)
    return text if len(text) <= 60 else f"{text[:59]}…"


def conversation(parts: list[MessagePart]) -> tuple[str, tuple[str, ...]]:
    """The user's words, and what was said between the images.

    A picture in the user's own turn, before or after all of its words, is the first one to be judged. Afterwards the
    template's fixed words of the user may stand where the template has them, or be left out.
    """
    first = [part for part in parts if part.message == 1]
    if first[0].role != "user":
        raise MessageError(f"message 1 is the {first[0].role}'s, wanted the user's, with what is to be drawn")
    words = [at for at, part in enumerate(first) if part.text is not None]
    if words and words != list(range(words[0], words[-1] + 1)):
        raise MessageError("message 1 has a picture between its words, wanted the picture before or after them")
    prompt = "".join(part.text for part in first if part.text is not None)
    if not prompt.strip():
        raise MessageError("message 1 has no words, wanted what is to be drawn; write the prompt there")
    rest = [part for part in first if part.text is None] + [part for part in parts if part.message > 1]
    return prompt, tuple(_reflections(rest))


def _reflections(parts: list[MessagePart]) -> list[str]:
    """What the assistant said of every image but the last. Raises MessageError for any other order of things."""
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
            check_verdict(f"message {part.message}", text)
            texts.append(text)
            state = "reflected"
        elif got == "assistant" and state == "reflected" and last is not None and last.message == part.message:
            texts[-1] += text
        else:
            is_ = f"an image of the {part.role}'s" if got == "image" else f"the {part.role}'s {shown(text)}"
            raise MessageError(
                f"message {part.message} is {is_}, wanted {expected[state]}; the trainer reads a prompt, then images "
                "and what was said of them in turn"
            )
        last = part
    if state not in ("image", "checked"):
        raise MessageError(f"the prompt ends without {expected[state]}; the completion judges its last image")
    return texts


def planned(parts: list[MessagePart], images: Sequence[bytes]) -> Iterator[tuple[str | None, bytes, str]]:
    """Plan, image and reflection of every image before a plan, in TRL's turns. Raises MessageError for others."""
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
                check_verdict(f"message {part.message}", text)
                yield thought, images[drawn], text
                state, thought, drawn = "judged", None, drawn + 1
            case "judged", "user", words if words == CONNECT_TEXT:
                state = "begun"
            case _:
                what = "an image" if text is None else shown(text)
                raise MessageError(
                    f"message {part.message} is {what} of the {part.role}'s after what was {state}; the trainer reads "
                    f"a plan, an image, “{CHECK_TEXT}”, what was said of it, “{CONNECT_TEXT}” in turn"
                )
    if state not in ("begun", "judged"):
        raise MessageError(f"the prompt ends with what was {state}; wanted a plan to follow it")


def only_text(value: Any) -> str:
    """The text of a completion."""
    parts = flattened("completion", value)
    if any(part.role != "assistant" or part.text is None or part.message != 1 for part in parts):
        raise MessageError("the completion is more than one message of the assistant's text; wanted that alone")
    return "".join(part.text or "" for part in parts)


def check_verdict(what: str, text: str) -> None:
    if first_verdict(text) is None:
        raise MessageError(
            f"{what} begins with Yes or No as a word of its own, got {shown(text)}; write “No, …” or “Yes, …”"
        )
