"""Which items each open page has shown, so that closing one gives back what no other of that person still shows."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class OpenPages:
    """Pages by their session; it forgets all when the studio ends, and leases lapse by themselves then."""

    _open: dict[str, tuple[str, frozenset[int]]] = field(default_factory=dict)  # whose page, and what it has shown

    def shows(self, session: str, name: str, item: int) -> None:
        _, before = self._open.get(session, (name, frozenset()))
        self._open[session] = (name, before | {item})

    def close(self, session: str) -> tuple[str, frozenset[int]]:
        """Whose page it was, and the items that only it had open."""
        name, items = self._open.pop(session, ("", frozenset()))
        elsewhere = {item for other, theirs in self._open.values() if other == name for item in theirs}
        return name, items - elsewhere
