"""Chat messages of a training row, in TRL's and transformers' forms, as a flat list of parts.

A message is {"role", "content"}; content is text, or a list of {"type": "text", "text"} and {"type": "image"}. Every
message and every part is read or refused: nothing is left out in silence. No torch.
"""

from dataclasses import dataclass
from typing import Any

ROLES = ("user", "assistant")  # Janus's template has no other


class RowError(ValueError):
    """A row that cannot be learnt as it stands: what was got, what was wanted, what to do."""


@dataclass(frozen=True)
class Part:
    """A run of text, or (text None) a place for the next image."""

    message: int  # counted from 1
    role: str
    text: str | None


def flattened(column: str, messages: Any) -> list[Part]:
    """The parts of all messages; there is at least one in each. Raises RowError."""
    if not isinstance(messages, list) or not messages:
        raise RowError(f"{column} is {shown(messages)}, wanted a list of messages with role and content")
    parts: list[Part] = []
    for number, message in enumerate(messages, start=1):
        name = f"message {number} of the {column}"
        if not isinstance(message, dict):
            raise RowError(f"{name} is {shown(message)}, wanted one with role and content")
        role = message.get("role")
        if role not in ROLES:
            raise RowError(
                f"{name} has the role {shown(role)}, wanted user or assistant: Janus's template has no other; put its "
                "words into the user's, or leave the row out"
            )
        _check_read(name, message, ("role", "content"))
        parts += [Part(number, role, text) for text in _texts(name, message.get("content"))]
    return parts


def _texts(name: str, content: Any) -> list[str | None]:
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    if not isinstance(content, list) or not content:
        raise RowError(f"{name} has the content {shown(content)}, wanted text, or a list of texts and images")
    texts: list[str | None] = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind not in ("text", "image"):
            raise RowError(f"{name} has the part {shown(part)}, wanted one of type text or image")
        text = part.get("text")
        if kind == "text" and not isinstance(text, str):
            raise RowError(f"{name} has a text that is {shown(text)}, wanted words; leave the part out")
        if kind == "image" and text:
            raise RowError(f"{name} has an image with the text {shown(text)}; make the text a part of its own")
        _check_read(name, part, ("type", "text"))
        texts.append(text if kind == "text" else None)
    return texts


def _check_read(name: str, thing: dict[str, Any], known: tuple[str, ...]) -> None:
    for key, value in thing.items():
        if key not in known and value not in (None, "", [], {}):
            raise RowError(f"{name} has {key!s} ({shown(value)}), which the trainer does not read; leave it out")


def shown(value: Any) -> str:
    """A value in an error, at most 60 characters of it."""
    if value is None:
        return "nothing"
    text = repr(value[:60] if isinstance(value, str | bytes) else value)
    return text if len(text) <= 60 else f"{text[:59]}…"
