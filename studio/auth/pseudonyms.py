"""Display names: real ones for admins, stable pseudonyms for others."""

from collections.abc import Callable, Iterable

from annotations.store.store import Store
from studio.auth.identity import Identity

Names = Callable[[str], str]


def names_for(store: Store, user: Identity, annotators: Iterable[str]) -> Names:
    """Whoever asks and does not see names is “you”."""
    if user.sees_names:
        return lambda name: name
    known = store.pseudonyms(annotators)
    return lambda name: "you" if name == user.name else f"person {known.get(name, '')[:6]}"
