"""Blocked words: prompts that have one are not drawn. Append-only: the newest row of a word counts.

Words are compared as a reader sees them: without case, width, invisible characters, and with letters of other scripts
that look Latin; whole words only, or several in a row.
"""

import re
from collections.abc import Collection

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from annotations.db.administration_tables import BlockedWordRow
from annotations.errors import PromptBlockedError
from annotations.schema.names import clean_name, confusable_skeleton
from annotations.store.store import Store

MOST_WORDS = 1000
LONGEST = 80  # characters of one


def blocked_words(store: Store) -> list[str]:
    """In alphabetical order."""
    with store.database.reading() as session:
        return _current(session)


def block(store: Store, words: Collection[str], *, by: str, read: Collection[str] | None = None) -> list[str]:
    """Block these words and no others; what is blocked now. `read`: what was blocked when they were written, so that
    words that somebody else blocked since stay so, and those they unblocked are not blocked again."""
    expected = {
        skeleton: word
        for word in map(clean_name, words)
        if (skeleton := confusable_skeleton(word)) and len(word) <= LONGEST
    }
    with store.database.writing() as session:
        before = {confusable_skeleton(word): word for word in _current(session)}
        if read is not None:
            known = set(map(confusable_skeleton, read))
            unblocked = known - before.keys()
            expected = {skeleton: word for skeleton, word in expected.items() if skeleton not in unblocked}
            expected |= {skeleton: word for skeleton, word in before.items() if skeleton not in known}
        now = store.clock()
        added = {word: True for skeleton, word in [*expected.items()][:MOST_WORDS] if skeleton not in before}
        removed = {word: False for skeleton, word in before.items() if skeleton not in expected}
        for word, is_blocked in (added | removed).items():
            values = {"word": word, "blocked": is_blocked, "changed_by": by, "created_at": now}
            session.execute(insert(BlockedWordRow).values(**values))
        return _current(session)


def check_blocked_words(store: Store, prompt: str) -> None:
    """Raises PromptBlockedError where a prompt has a blocked word."""
    words = blocked_words(store)
    if not words:
        return
    prompt_words = f" {_plain(prompt)} "
    for word in words:
        if f" {_plain(word)} " in prompt_words:
            raise PromptBlockedError(f"“{word}” is not drawn in this studio; ask for something else")


def _current(session: Session) -> list[str]:
    row = BlockedWordRow
    newest = dict(session.execute(select(row.word, row.blocked).order_by(row.id)).all())
    return sorted(word for word, blocked in newest.items() if blocked)


def _plain(text: str) -> str:
    """Words with single spaces between, as they look."""
    return " ".join(confusable_skeleton(word) for word in re.findall(r"[\w']+", clean_name(text)))
