"""Names of projects and accounts in any script: normalisation and confusable detection."""

import unicodedata

# Letters of Cyrillic, Greek and Armenian that look, small or capital, like Latin ones (Unicode's UTS 39).
_CONFUSABLES = str.maketrans(
    "авекмнорстухѕіјһӏԁԛԝґүұ" + "αβεζηικμνορτυχϲ" + "օսհո",
    "abekmhopctyxsijhldqwryy" + "abezhikmvoptyxc" + "ouhn",
)

JOINERS = "\u200c\u200d"  # which Persian, Hindi and emoji are written with


def clean_name(name: str) -> str:
    """NFC, with single spaces for blanks of every kind, and without what cannot be seen."""
    plain = "".join(
        " " if character.isspace() or unicodedata.category(character) in ("Cc", "Zs") else character
        for character in unicodedata.normalize("NFC", name)
        if character in JOINERS or character.isspace() or unicodedata.category(character) != "Cf"
    )
    return " ".join(plain.split()).strip(JOINERS + " ")


def name_key(name: str) -> str:
    """Equal for two names that a reader cannot tell apart: case, width, composition, blanks and what is not seen."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", clean_name(name)).casefold())
    return "".join(character for character in folded if character not in JOINERS)


def confusable_skeleton(name: str) -> str:
    """The skeleton of a name (Unicode UTS 39), equal for two names that look the same, whichever of Latin, Cyrillic,
    Greek and Armenian a letter is of."""
    return name_key(name).translate(_CONFUSABLES)
