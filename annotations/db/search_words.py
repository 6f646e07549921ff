"""Words of a text for search: case folding, accents, direction marks.

A pure function. A word is a run of letters and digits; a sign such as an emoji is one by itself, and so is each
character of a script that puts no spaces between words. Punctuation is none. What is stored was split by this function:
whoever changes it writes a migration that splits it anew.
"""

import re
import unicodedata

LONGEST_TEXT = 2000  # characters; what comes after them is not searched
LONGEST_WORD = 40  # characters; longer ones are alike if they begin alike
_UNSPACED = re.compile("[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")


def search_words(text: str) -> set[str]:
    """“Two CATS, naïve 🐱” has the words two, cats, naive and 🐱."""
    text = text[:LONGEST_TEXT]
    if text.isascii():
        spaced = text.casefold().translate(_ASCII)
    else:
        plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
        spaced = "".join(map(_spaced, plain))
    return {word[:LONGEST_WORD] for word in spaced.split()}


def _spaced(character: str) -> str:
    kind = unicodedata.category(character)
    if kind in ("Mn", "Cf"):  # accents and vowel points, marks of direction, joiners
        return ""
    if kind[0] == "S" or _UNSPACED.match(character):
        return f" {character} "
    return character if kind[0] in "LMN" else " "


_ASCII = {code: _spaced(chr(code)) for code in range(128)}  # what most texts need, without a call for each character
