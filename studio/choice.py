"""What a visitor wants to see of the gallery: as its widgets say it, as the address has it, as the store keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from annotations.trajectories import EVERYTHING, Filter

# What the gallery can be narrowed to, by the words of its menu.
KINDS = {
    "Everything": EVERYTHING,
    "Aha moments": Filter(aha=True),
    "Last verdict yes": Filter(verdict="yes"),
    "Last verdict no": Filter(verdict="no"),
    "Annotated": Filter(annotated=True),
    "Going on from another": Filter(branch=True),
}
ALL = next(iter(KINDS))
ANY_CHECKPOINT = "Any checkpoint"
LONGEST_SEARCH = 200  # characters


@dataclass(frozen=True)
class Choice:
    """One field for every widget, in the page's order; in the address by the same names."""

    search: str = ""
    kind: str = ALL
    checkpoint: str = ANY_CHECKPOINT

    @staticmethod
    def of(address: Mapping[str, str]) -> Choice:
        """What an address asks for; what it leaves out, or no menu has, is not narrowed."""
        asked = Choice(**{name: address[name] for name in vars(WHOLE) if name in address})
        return replace(asked, search=asked.search[:LONGEST_SEARCH], kind=asked.kind if asked.kind in KINDS else ALL)

    def address(self, cursor: str = "") -> str:
        """What stands after the “?” of this view's address, from a place of the list on."""
        chosen = {name: value for name, value in vars(self).items() if value != vars(WHOLE)[name]}
        return urlencode(chosen | ({"before": cursor} if cursor else {}))

    def filter(self) -> Filter:
        checkpoint = None if self.checkpoint == ANY_CHECKPOINT else self.checkpoint
        return replace(KINDS.get(self.kind, EVERYTHING), checkpoint=checkpoint, search=self.search[:LONGEST_SEARCH])


WHOLE = Choice()
