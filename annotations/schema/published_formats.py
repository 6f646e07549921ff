"""Constants of published data sets for both import and export: names of columns and members, fixed texts."""

import re

GENREF_BAD, GENREF_GOOD = "bad_image.jpg", "good_image.jpg"  # members of a sample of GenRef
UNICOT_NOTHING_TO_EDIT = "Everything is good. No editing needed."  # the edit of a last round in UniCoT-Self-Reflection
RICHHF_SCORES = ("aesthetics_score", "artifact_score", "misalignment_score", "overall_score")  # columns of RichHF-18K
RICHHF_DELIMITERS = re.compile('[,.?!":; ]')  # between the tokens of a prompt that are labelled


def richhf_tokens(prompt: str) -> list[tuple[str, int]]:
    """The tokens of a prompt as RichHF-18K labels them, each with the index of its word (split at white space)."""
    return [
        (token, index)
        for index, word in enumerate(prompt.split())
        for token in RICHHF_DELIMITERS.split(word)
        if token.strip()
    ]
