"""Text form of a reflection, written and parsed: “No, the car is red.” Characters that nobody sees; lines of a text.

The sentence is the template's form: verdict, comma, reason, full stop. What a person wrote stands in it character by
character, in any script; only an English function word that begins it is written small, as in the model's sentences.
Whoever stores or exports a reason keeps the person's text beside the sentence.
"""

import re
import unicodedata

from model.templates import EDIT_TEXT, NO, YES
from model.trajectory import Reflection

# Unicode's Default_Ignorable_Code_Point (DerivedCoreProperties.txt) as far as its category is not Cf (Hangul fillers,
# joiners of graphemes, variation selectors, tags), and the braille blank.
_IGNORABLE = frozenset(
    map(
        chr,
        (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2065, 0x2800, 0x3164, 0xFFA0)
        + (*range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xFFF0, 0xFFF9), *range(0xE0000, 0xE1000)),
    )
)

JOINING = "-‐‑'’_/&@\\"  # between two letters these make one word

# A hyphen or a number that follows belongs to the reason: “no-one is there”, “No. 5 is missing”.
VERDICT = re.compile(
    r"\s*(yes|no)(?:\s*[,:;!–—…，、：；！。،؛।]+\s*|\s*\.+(?:\s+(?!\d)|$)|\s+-+\s+|\s*$)", re.IGNORECASE
)
FUNCTION_WORDS = frozenset(
    {
        "a",
        "an",
        "the",
        "this",
        "that",
        "these",
        "those",
        "there",
        "here",
        "it",
        "its",
        "they",
        "their",
        "he",
        "his",
        "she",
    }
    | {"her", "we", "our", "you", "your", "my", "and", "but", "or", "if", "when", "where", "while", "because", "since"}
    | {"although", "so", "only", "just", "also", "still", "even", "not", "no", "none", "neither", "nothing", "both"}
    | {"each", "every", "all", "some", "any", "many", "most", "more", "few", "fewer", "less", "several", "another"}
    | {
        "other",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "is",
        "are",
        "was",
        "were",
    }
    | {"has", "have", "in", "on", "at", "of", "to", "from", "with", "without", "for", "by", "instead", "what", "who"}
)
CLOSING = frozenset("\"'”’»›)]}）】」』〉》〕］｝")
UNSTOPPED = ("THAI", "LAO")  # scripts whose sentences end in nothing
STOPS = {  # the first word of a letter's Unicode name: how a sentence ends there, where it is not “.”
    "CJK": "。", "HIRAGANA": "。", "KATAKANA": "。", "BOPOMOFO": "。",
    "DEVANAGARI": "।", "BENGALI": "।", "GURMUKHI": "।", "ORIYA": "।",
    "ARMENIAN": "։", "ETHIOPIC": "።", "MYANMAR": "။", "KHMER": "។", "TIBETAN": "།",
}  # fmt: skip


def is_invisible(character: str) -> bool:
    """Whether a character that is no blank is not seen: format characters, fillers, variation selectors."""
    return unicodedata.category(character) == "Cf" or character in _IGNORABLE


def is_blank(text: str) -> bool:
    """Whether nothing of a text is seen."""
    return all(character.isspace() or is_invisible(character) for character in text)


def control_character(text: str) -> int | None:
    """The index of the first character that is no text: a control character but tabs and ends of lines, or half of a
    surrogate pair."""
    for index, character in enumerate(text):
        if unicodedata.category(character) in ("Cc", "Cs") and character not in "\t\n\r":
            return index
    return None


def lines_of(text: str) -> list[str]:
    """The lines of a text as editors count them: ended by a line feed, a carriage return or both. `str.splitlines` also
    cuts at form feeds and at Unicode's separators, which may stand within a line."""
    lines = re.split(r"\r\n|\r|\n", text)
    return lines if lines[-1] else lines[:-1]


def split_verdict(text: str) -> tuple[str | None, str]:
    """“No, the car is red.” → (“no”, “the car is red.”). A sentence such as “No car is red.” has no verdict
    word.
    """
    match = VERDICT.match(text)
    return (match[1].lower(), text[match.end() :].strip()) if match else (None, text.strip())


def first_verdict(text: str) -> str | None:
    """“Yes” or “No” where it is the first word of a text, as the network says it: “No, …”, “No. …”, “Yes”, “No，苹果…”.

    None for “None of them”, “Yesterday”, “No-one”, “No.1”, “no”: what follows the word is its end, a blank, or
    punctuation that does not join it to more.
    """
    verdict = next((word for word in (YES, NO) if text.startswith(word)), None)
    if verdict is None or (rest := text[len(verdict) :]) == "":
        return verdict
    following, after = rest[0], rest[1:2]
    if following.isspace():
        return verdict
    if unicodedata.category(following)[0] not in "PS" or (following in JOINING and after.isalnum()):
        return None
    return None if following == "." and after.isdigit() else verdict


def sentence(answer: str, reason: str, edit: str | None = None) -> str:
    """Verdict and reason as the model words them: (“no”, “There are three apples”) → “No, there are three apples.”, and
    behind them the edit, where there is one: “… Edit: remove one apple.”

    A verdict word that the reason begins with is left out, and a full stop is added where no punctuation ends it.
    """
    verdict, words = YES if answer == "yes" else NO, split_verdict(reason)[1]
    behind = f" {EDIT_TEXT} {edit.strip()}" if edit else ""
    if not words:
        return f"{verdict}.{behind}"
    first = re.match(r"[A-Z][a-z]*(?=\s)", words)
    if first and first[0].lower() in FUNCTION_WORDS:
        words = words[0].lower() + words[1:]
    return f"{verdict}, {words}{_stop(words)}{behind}"


def own_words(reflection: Reflection) -> str:
    """What the model said, as a sentence that begins with its verdict."""
    text = reflection.text.strip()
    return text if split_verdict(text)[0] == reflection.answer else sentence(reflection.answer, reflection.reason)


def _stop(words: str) -> str:
    """What ends a sentence that no punctuation ends: nothing where some does, in whatever script."""
    seen = "".join(character for character in words if not is_invisible(character)) or words
    end = seen.rstrip("".join(CLOSING))[-1:] or seen[-1]
    if unicodedata.category(end) == "Po" and end not in "&@#%*/\\'\"":
        return ""
    if seen[-1] in '”"…❗❕❓❔':
        return ""
    letters = (character for character in reversed(words) if unicodedata.category(character)[0] == "L")
    script = unicodedata.name(next(letters, "a"), "").partition(" ")[0]
    return "" if script in UNSTOPPED else STOPS.get(script, ".")
