"""Prompt files: text in UTF-8, or UTF-16 with a byte order mark, one prompt per line."""

import codecs
from pathlib import Path

from model.backends.request import RequestError
from model.reflection_text import is_blank, lines_of

UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_prompt_file(file: Path) -> list[str]:
    """The lines that are not blank, in order. Raises RequestError for a file without any, OSError."""
    return [prompt for _, prompt in numbered_prompts(file)]


def numbered_prompts(file: Path) -> list[tuple[int, str]]:
    """The same with the number of each line, from 1."""
    content = file.read_bytes()
    try:
        text = content.decode("utf-16" if content.startswith(UTF_16) else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise RequestError(f"{file} is no text in UTF-8 ({error}); save it so, one prompt per line") from error
    prompts = [(number, line.strip()) for number, line in enumerate(lines_of(text), start=1) if not is_blank(line)]
    if not prompts:
        raise RequestError(f"{file} holds no prompt; write one per line")
    return prompts
