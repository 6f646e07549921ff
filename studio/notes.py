"""What a page says below its buttons: what went wrong, or what was done. Everything enters HTML escaped."""

from __future__ import annotations

from studio.render import text


def said(words: str) -> str:
    """What went wrong, a line for each line."""
    lines = "<br>".join(text(line) for line in (words[:1].upper() + words[1:]).splitlines())
    return f'<p class="wrong" role="alert">{lines}</p>'


def done(words: object) -> str:
    return f'<p class="done">{text(str(words))}</p>'
