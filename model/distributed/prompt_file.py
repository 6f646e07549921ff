"""Prompt files: text, one prompt per line."""

from pathlib import Path

from model.backends.request import RequestError


def read_prompt_file(file: Path) -> list[str]:
    """The lines that are not blank, in order. Raises RequestError for a file without any, OSError."""
    try:
        lines = [line.strip() for line in file.read_text("utf-8").splitlines()]
    except UnicodeDecodeError as error:
        raise RequestError(f"{file} is no text in UTF-8 ({error}); save it so, one prompt per line") from error
    prompts = [line for line in lines if line]
    if not prompts:
        raise RequestError(f"{file} holds no prompt; write one per line")
    return prompts
