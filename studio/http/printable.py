"""Escapes what cannot be printed in text from clients, for lines of the log."""


def printable(text: str) -> str:
    """The text with newlines, control and format characters and lone surrogates as escapes such as `\\n`."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
