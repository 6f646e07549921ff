"""Items of projects in review order, updated by what was written since the last call.

Knows the store and how answers differ; no page. Lives as long as the process: of a click it costs what was said since
the one before.
"""

from dataclasses import dataclass, field

from annotations.metrics.quality import Disagreement, cases, review_order
from annotations.queue.progress import AnswersVersion, changes_since, project_answers
from annotations.store.store import Store


@dataclass(frozen=True)
class ReviewQueue:
    """What is known of each project that somebody has looked at."""

    store: Store
    known: dict[str, tuple[AnswersVersion, list[Disagreement]]] = field(default_factory=dict)

    def cases(self, project_id: str) -> list[Disagreement]:
        """All items that were answered, in the order of `review_order`. Raises NotFoundError."""
        since, ordered = self.known.get(project_id, (AnswersVersion(), []))
        now, items = changes_since(self.store, project_id, since)
        if items is None:
            ordered = cases(project_answers(self.store, project_id))
        elif items:
            again = cases(project_answers(self.store, project_id, items))
            ordered = sorted([*(case for case in ordered if case.item not in items), *again], key=review_order)
        self.known[project_id] = (now, ordered)
        return ordered
