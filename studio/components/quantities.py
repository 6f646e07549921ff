"""Sizes, durations and numbers of people in words."""

UNITS = ("bytes", "kB", "MB", "GB", "TB")


def size(count: float) -> str:
    """“4.2 MB”."""
    unit = 0
    while count >= 1000 and unit < len(UNITS) - 1:
        count, unit = count / 1000, unit + 1
    return f"{count:.1f} {UNITS[unit]}" if unit else f"{count:.0f} {UNITS[unit]}"


def duration(seconds: float) -> str:
    """“40 s”, “12 min”, “3.5 h”, “2.1 days”."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"


def people(count: int) -> str:
    return "1 person" if count == 1 else f"{count:,} people"
