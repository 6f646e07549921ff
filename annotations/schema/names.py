"""Names of projects and accounts in any script: normalisation and confusable detection."""

import unicodedata

from model.reflection_text import is_invisible

# Letters of Cyrillic, Greek and Armenian that look, small or capital, like Latin ones (Unicode's UTS 39).
_CONFUSABLES = str.maketrans(
    "авекмнорстухѕіјһӏԁԛԝґүұ" + "αβεζηικμνορτυχϲ" + "օսհո", "abekmhopctyxsijhldqwryy" + "abezhikmvoptyxc" + "ouhn"
)

JOINERS = "\u200c\u200d"  # which Persian, Hindi and emoji are written with


def clean_name(name: str) -> str:
    """NFC, with single spaces for blanks of every kind, and without what cannot be seen; what joins letters or chooses
    among their forms stays between those that can be."""
    plain = "".join(
        " " if character.isspace() or unicodedata.category(character) in ("Cc", "Zs") else character
        for character in unicodedata.normalize("NFC", name)
        if not is_invisible(character) or _is_kept(character)
    )
    cleaned = " ".join(plain.split()).strip(JOINERS + " ")
    return "" if all(character == " " or is_invisible(character) for character in cleaned) else cleaned


def _is_kept(character: str) -> bool:
    """Whether an invisible character changes how its neighbours look."""
    return character in JOINERS or "VARIATION SELECTOR" in unicodedata.name(character, "")


def name_key(name: str) -> str:
    """Equal for two names that a reader cannot tell apart: case, width, composition, blanks and what is not seen."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", clean_name(name)).casefold())
    return "".join(character for character in folded if not is_invisible(character))


def confusable_skeleton(name: str) -> str:
    """The skeleton of a name (Unicode UTS 39), equal for two names that look the same, whichever of Latin, Cyrillic,
    Greek and Armenian a letter is of."""
    return name_key(name).translate(_CONFUSABLES)
