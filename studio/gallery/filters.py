"""Gallery filters: widgets, URL query and store query."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from annotations.store.listing import EVERYTHING, Filter
from model.world.language import CATEGORIES

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
HIDDEN = "Hidden"  # for moderators: what can be shown again
ANY_PROMPT, ANY_CHECKPOINT = "Any prompt", "Any checkpoint"
PROMPTS = {ANY_PROMPT: None} | {category.capitalize(): category for category in CATEGORIES}
LONGEST_SEARCH = 200  # characters


@dataclass(frozen=True)
class GalleryFilter:
    """One field for every widget, in the page's order; in the address by the same names."""

    search: str = ""
    kind: str = ALL
    category: str = ANY_PROMPT
    checkpoint: str = ANY_CHECKPOINT

    @staticmethod
    def of(address: Mapping[str, str]) -> "GalleryFilter":
        """What an address asks for; what it leaves out, or no menu has, is not narrowed."""
        asked = GalleryFilter(**{name: address[name] for name in vars(WHOLE) if name in address})
        kind = asked.kind if asked.kind in (*KINDS, HIDDEN) else ALL
        category = asked.category if asked.category in PROMPTS else ANY_PROMPT
        return GalleryFilter(asked.search[:LONGEST_SEARCH], kind, category, asked.checkpoint)

    def address(self, cursor: str = "") -> str:
        """What stands after the “?” of this view's address, from a place of the list on."""
        chosen = {name: value for name, value in vars(self).items() if value != vars(WHOLE)[name]}
        return urlencode(chosen | ({"before": cursor} if cursor else {}))

    def filter(self) -> Filter:
        return replace(
            KINDS.get(self.kind, EVERYTHING),
            category=PROMPTS.get(self.category),
            checkpoint=None if self.checkpoint == ANY_CHECKPOINT else self.checkpoint,
            search=self.search[:LONGEST_SEARCH],
        )


WHOLE = GalleryFilter()
