"""Parses whole numbers from clients: digits or numbers of at most 18 digits, else None."""

DIGITS = 18  # at most; what has more does not fit the 64 bits of a database's integer


def whole_number(value: object) -> int | None:
    """The number that a client sent as digits or as a number; None for all that is no whole number of 0 or more."""
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else value
    if isinstance(text, int) and not isinstance(text, bool):
        return text if 0 <= text < 10**DIGITS else None
    if isinstance(text, str) and text.isascii() and text.isdigit() and len(text) <= DIGITS:
        return int(text)
    return None
