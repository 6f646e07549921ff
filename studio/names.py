"""What people are called on a page: by their names only where an admin looks, by pseudonyms that stay the same else."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from annotations.store import Store
from studio.identity import Who

Names = Callable[[str], str]


def names_for(store: Store, asking: Who, annotators: Iterable[str]) -> Names:
    """Whoever asks and does not see names is “you”."""
    if asking.sees_names:
        return lambda name: name
    known = store.pseudonyms(annotators)
    return lambda name: "you" if name == asking.name else f"person {known.get(name, '')[:6]}"
