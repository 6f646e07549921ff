"""How a verdict and its reason are worded, by the model and by people: “No, the car is red.”"""

from __future__ import annotations

import re

from model.templates import NO, YES


def split_verdict(text: str) -> tuple[str | None, str]:
    """“No, the car is red.” → (“no”, “the car is red.”). A sentence such as “No car is red.” has no verdict
    word.
    """
    found = re.match(r"\s*(yes|no)\s*(?:[,.:;!–—-]+\s*|$)", text, re.IGNORECASE)
    return (found[1].lower(), text[found.end() :].strip()) if found else (None, text.strip())


def sentence(answer: str, reason: str) -> str:
    """Verdict and reason as the model words them: (“no”, “There are three apples”) → “No, there are three apples.”

    A verdict word that the reason begins with is left out.
    """
    verdict, words = YES if answer == "yes" else NO, " ".join(split_verdict(reason)[1].split())
    if not words:
        return f"{verdict}."
    if re.match(r"[A-Z][a-z’']*(\s|,|$)", words) and not re.match(r"I\b", words):
        words = words[0].lower() + words[1:]
    return f"{verdict}, {words}" + ("" if words[-1] in '.!?…”"' else ".")
