"""Sizes, durations and numbers of people in words."""

UNITS = ("bytes", "kB", "MB", "GB", "TB")


def size(count: float) -> str:
    """“4.2 MB”."""
    unit = 0
    while round(count, 1) >= 1000 and unit < len(UNITS) - 1:
        count, unit = count / 1000, unit + 1
    return f"{count:.1f} {UNITS[unit]}" if unit else f"{count:.0f} {UNITS[unit]}"


def duration(seconds: float) -> str:
    """“40 s”, “1.7 min”, “12 min”, “3.5 h”, “2 days”: rounded to less than 90 s, 90 min, 48 h. Negative: “0 s”."""
    seconds = max(0.0, seconds)
    minutes, hours = seconds / 60, seconds / 3600
    if round(seconds) < 90:
        return f"{seconds:.0f} s"
    if round(minutes) < 90:
        return f"{round(minutes, 1 if minutes < 10 else None):g} min"
    return f"{round(hours, 1):g} h" if round(hours, 1) < 48 else f"{round(hours / 24, 1):g} days"


def people(count: int) -> str:
    return "1 person" if count == 1 else f"{count:,} people"
