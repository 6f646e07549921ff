"""Suggested reasons by key: of the project, from the prompt's words, from what people wrote often.

Knows the language of the embedded world's prompts, not its verifier. What people wrote is looked up once a minute.
"""

import time
from collections.abc import Iterator
from contextlib import suppress
from weakref import WeakKeyDictionary

from annotations.queue.stock_reasons import USUAL, USUAL_RIGHT, stock_reasons
from annotations.schema.project import MOST_REASONS, Project
from annotations.schema.questions import YES
from annotations.store.store import Store
from model.world.language import Description, Group, parse, write
from model.world.vocabulary import MOST_OF_A_KIND, PromptError, named, number, plural

LASTS = 60.0  # seconds
BROKEN = "one shape is broken."

_written: WeakKeyDictionary[Store, dict[str, tuple[float, tuple[str, ...]]]] = WeakKeyDictionary()


def reasons_for(store: Store, project: Project, prompt: str, right_verdict: str) -> tuple[str, ...]:
    """At most MOST_REASONS reasons for a verdict of “yes” or “no” on a drawing of the prompt."""
    if project.reasons:
        return project.reasons
    try:
        return reasons_of_prompt(parse(prompt), right_verdict)
    except PromptError:
        return _often(store, project)


def is_reason_for(prompt: str, verdict: str, reason: str) -> bool:
    """Whether it is one of the offered reasons that hold for this verdict on a drawing of the prompt alone."""
    offered = {USUAL_RIGHT} if verdict == YES else set(USUAL) - {USUAL_RIGHT}
    with suppress(PromptError):
        offered |= set(reasons_of_prompt(parse(prompt), verdict))
    return " ".join(reason.split()).lower() in {each.lower() for each in offered}


def reasons_of_prompt(description: Description, right_verdict: str) -> tuple[str, ...]:
    """As the embedded network's own reasons are written, so that it can learn from them."""
    if right_verdict == YES:
        return (f"there {_is(description.groups[0].count)} {write(description)}.",)
    # Of each kind one, then the second of each, so that short lists have all kinds.
    kinds = [list(kind(description)) for kind in (_missing, _miscounted, _exchanged, _misplaced)]
    rounds = max(map(len, kinds))
    mixed = [kind[at] for at in range(rounds) for kind in kinds if at < len(kind)]
    return (*mixed[: MOST_REASONS - 1], BROKEN)


def _missing(description: Description) -> Iterator[str]:
    for group in description.groups:
        yield f"there {_is(group.count)} no {named(group.noun, group.count)}."


def _miscounted(description: Description) -> Iterator[str]:
    for group in description.groups:
        for found in (group.count - 1, group.count + 1):
            if 1 <= found <= MOST_OF_A_KIND:
                counted = f"{number(found)} {named(group.noun, found)}"
                yield f"there {_is(found)} {counted} instead of {number(group.count)}."


def _exchanged(description: Description) -> Iterator[str]:
    """Colours of other things in the prompt."""
    colours = dict.fromkeys(group.colour for group in description.groups if group.colour)
    for group in description.groups:
        for colour in colours:
            if group.colour and colour != group.colour:
                yield f"{_one(group)} is {colour}, not {group.colour}."


def _misplaced(description: Description) -> Iterator[str]:
    for relation in description.relations:
        first, second = description.groups[relation.first], description.groups[relation.second]
        nouns = named(first.noun, first.count), named(second.noun, second.count)
        yield f"the {nouns[0]} {_is(first.count)} not {relation.word} the {nouns[1]}."


def _one(group: Group) -> str:
    return f"the {group.noun}" if group.count == 1 else f"one of the {plural(group.noun)}"


def _is(count: int) -> str:
    return "is" if count == 1 else "are"


def _often(store: Store, project: Project) -> tuple[str, ...]:
    known = _written.setdefault(store, {})
    if project.id not in known or time.monotonic() - known[project.id][0] > LASTS:
        known[project.id] = time.monotonic(), stock_reasons(store, project)
    return known[project.id][1]
