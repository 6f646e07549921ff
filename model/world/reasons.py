"""English reasons of a verdict, written and parsed: which fact fails, or that all hold; whether one is true.

Knows several wordings for every kind of fact and reads each of them back. Knows no pictures, only the
verifier's facts and readings. `claim_holds` decides whether a reason is true, whoever gave it.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from model.world.language import Description, Group, parse, write
from model.world.scene import Item
from model.world.sprites import COLOURS, NOUNS
from model.world.verifier import Fact, Reading, accepted, check
from model.world.vocabulary import NUMBERS, RELATIONS, PromptError, named, number, plural, with_article

PRIORITY: tuple[str, ...] = ("missing", "count", "extra", "colour", "relation", "broken")


@dataclass(frozen=True)
class Claim:
    """What a reason says: a defect in the words of `Fact`, or, of kind "match", the description affirmed."""

    kind: str
    noun: str | None = None
    wanted: int | str | None = None
    found: int | str | None = None
    other: str | None = None
    described: Description | None = None


# {noun}: singular or plural as the description's count calls for; {a_noun}: with its article.
_WORDINGS: dict[str, tuple[str, ...]] = {
    "missing": (", there {is} no {noun}.", ", the {noun} {is} missing.", ", I see no {noun}."),
    "count": (
        ", there {found_is} {found} {found_noun} instead of {wanted}.",
        ", there {found_is} {found} {found_noun}, not {wanted}.",
        ", {wanted} {noun} {was} asked for, but there {found_is} {found}.",
    ),
    "colour": (
        ", {one} is {found}, not {wanted}.",
        ", {one} is {found} instead of {wanted}.",
        ", {one} should be {wanted}, but it is {found}.",
    ),
    "relation": (
        ", the {noun} {is} not {wanted} the {other}.",
        ", the {noun} should be {wanted} the {other}.",
        ", the {noun} should be {wanted} the {other}, but {it} {is} not.",
    ),
    "extra": (
        ", {a_noun} was not asked for.",
        ", there is {a_noun} that was not asked for.",
        ", nobody asked for {a_noun}.",
    ),
    "broken": (", one shape is broken.", ", a shape is broken.", ", one of the shapes is not whole."),
    "match": (", there {is} {prompt}.", ", I see {prompt}.", ", the picture shows {prompt}."),
}


def _alternatives(words: Sequence[str]) -> str:
    return "|".join(sorted(words, key=len, reverse=True))


def _fields() -> dict[str, str]:
    nouns = _alternatives([*NOUNS, *map(plural, NOUNS)])
    return {
        "is": "(?:is|are)",
        "found_is": "(?:is|are)",
        "was": "(?:was|were)",
        "it": "(?:it|they)",
        "noun": f"(?P<noun>{nouns})",
        "found_noun": f"(?P<noun>{nouns})",
        "a_noun": f"an? (?P<noun>{nouns})",
        "one": f"(?:the|one of the) (?P<noun>{nouns})",
        "other": f"(?P<other>{nouns})",
        "prompt": "(?P<prompt>.+)",
    }


def _patterns() -> tuple[tuple[str, re.Pattern[str]], ...]:
    """Every wording as a pattern, by the same slots it is written with."""
    values = {
        "count": f"{_alternatives(NUMBERS)}|[0-9]+",
        "colour": _alternatives(tuple(COLOURS)),
        "relation": _alternatives(RELATIONS),
    }
    before = {"relation": "(?:(?:to|on) the )?"}  # left of it
    patterns = []
    for kind, wordings in _WORDINGS.items():
        value = values.get(kind, "")
        slots = _fields() | {"wanted": f"{before.get(kind, '')}(?P<wanted>{value})", "found": f"(?P<found>{value})"}
        for wording in wordings:
            text = re.escape(wording).replace(r"\{", "{").replace(r"\}", "}")
            patterns.append((kind, re.compile(text.format(**slots), re.IGNORECASE)))
    return tuple(patterns)


_PATTERNS = _patterns()


def main_defect(facts: Sequence[Fact]) -> Fact | None:
    """The false fact that a "no" names: the first by PRIORITY, None if all hold."""
    return min((fact for fact in facts if not fact.holds), key=lambda fact: PRIORITY.index(fact.kind), default=None)


def write_reason(description: Description, facts: Sequence[Fact], rng: random.Random) -> str:
    """The reason for the verdict on `facts`, to follow "Yes" or "No": ", the car is red, not blue."."""
    defect = main_defect(facts)
    if defect is None:
        slots = {"prompt": write(description), "is": "is" if description.groups[0].count == 1 else "are"}
        return rng.choice(_WORDINGS["match"]).format(**slots)
    return rng.choice(_WORDINGS[defect.kind]).format(**_slots(description, defect))


def _slots(description: Description, fact: Fact) -> dict[str, str]:
    """The words for every slot of a defect's wordings."""
    counts = {group.noun: group.count for group in description.groups}
    if fact.kind == "broken":
        return {}
    count = counts.get(fact.noun, 1)
    slots = {
        "noun": named(fact.noun, count),
        "a_noun": with_article(fact.noun),
        "one": f"the {fact.noun}" if count == 1 else f"one of the {plural(fact.noun)}",
        "is": "is" if count == 1 else "are",
        "was": "was" if count == 1 else "were",
        "it": "it" if count == 1 else "they",
        "wanted": str(fact.wanted),
        "found": str(fact.found),
    }
    if fact.kind == "count":
        slots |= {"wanted": number(fact.wanted), "found": number(fact.found)}
        slots |= {"found_noun": named(fact.noun, fact.found), "found_is": "is" if fact.found == 1 else "are"}
    if fact.kind == "relation":
        slots["other"] = named(fact.other, counts[fact.other])
    return slots


def read_reason(text: str) -> Claim | None:
    """What a reason in one of our wordings claims; None if it is in no wording of ours."""
    for kind, pattern in _PATTERNS:
        match = pattern.fullmatch(text.strip())
        if match:
            return _claim(kind, match.groupdict())
    return None


def _claim(kind: str, words: dict[str, str]) -> Claim | None:
    words = {slot: word.lower() for slot, word in words.items()}
    if kind == "match":
        try:
            return Claim("match", described=parse(words["prompt"]))
        except PromptError:
            return None
    expected, actual = words.get("wanted"), words.get("found")
    if kind == "count":
        return Claim(kind, _singular(words["noun"]), _value(expected), _value(actual))
    other = words.get("other")
    return Claim(kind, words.get("noun") and _singular(words["noun"]), expected, actual, other and _singular(other))


def stock_reasons(description: Description) -> list[str]:
    """What may be wrong with a drawing of `description`, a sentence for each fact: what is missing, too many, in the
    wrong place, or broken."""
    counts = [Fact("count", group.noun, group.count, group.count + 1, holds=False) for group in description.groups]
    missing = [Fact("missing", group.noun, group.count, 0, holds=False) for group in description.groups]
    named_by = description.groups
    places = [
        Fact("relation", named_by[of.first].noun, of.word, None, holds=False, other=named_by[of.second].noun)
        for of in description.relations
    ]
    broken = [Fact("broken", None, 0, 1, holds=False)]
    facts = [*missing, *counts, *places, *broken]
    return [write_reason(description, [fact], random.Random(0)).lstrip(", ") for fact in facts]


def blamed_items(reason: str, reading: Reading) -> tuple[Item, ...]:
    """The objects of a drawing, read as `reading`, that a reason in one of our wordings finds fault with."""
    claim = read_reason(f", {reason}")
    if claim is None or claim.kind in ("match", "missing"):
        return ()
    if claim.kind == "broken":
        return reading.fragments
    nouns = (claim.noun, claim.other)
    shown = [item for item in reading.shapes() if item.noun in nouns]
    return tuple(item for item in shown if claim.kind != "colour" or item.colour == claim.found)


def _singular(word: str) -> str:
    return next(noun for noun in NOUNS if word in (noun, plural(noun)))


def _value(word: str) -> int:
    return int(word) if word.isdecimal() else NUMBERS.index(word)


def claim_holds(claim: Claim, description: Description, reading: Reading) -> bool:
    """Whether what a reason says is true of the drawing read as `reading`, asked for by `description`."""
    groups = {group.noun: group for group in description.groups}
    shown = [item for item in reading.shapes() if item.noun == claim.noun]
    group = groups.get(claim.noun)
    match claim.kind:
        case "match":
            return claim.described == description and accepted(check(description, reading))
        case "broken":
            return bool(reading.broken)
        case "extra":
            return group is None and bool(shown)
        case "missing":
            return group is not None and not shown
        case "count":
            return group is not None and group.count == claim.wanted != claim.found == len(shown)
        case "colour":
            return _colour_holds(claim, group, [item.colour for item in shown])
        case "relation":
            false = Fact("relation", claim.noun, claim.wanted, None, holds=False, other=claim.other)
            return false in check(description, reading)
    return False


def _colour_holds(claim: Claim, group: Group | None, colours: list[str]) -> bool:
    holds = group is not None and group.colour == claim.wanted
    return holds and claim.found != claim.wanted and claim.found in colours
