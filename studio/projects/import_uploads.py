"""Imports of uploaded files, which are removed from the served folder afterwards.

Else their addresses would go on answering after what came of them was deleted. Knows the importer and `served_copies`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from annotations.importing.importer import Report, bring_in
from annotations.importing.source_tables import laid_out
from annotations.importing.staging import OccupiedError
from annotations.store.store import Store
from studio.inference.served_copies import discard


def import_uploads(store: Store, files: Sequence[Path], format: str, **options: Any) -> Report:
    """`bring_in` of uploaded files, with its options; they are removed afterwards, done, failed or stopped.

    They stay, for whoever decides next, where bad rows kept all from being stored and where another import is under
    way. Raises what `bring_in` raises.
    """
    kept = False
    try:
        with laid_out(files, format) as sources:
            report = bring_in(store, sources, format, **options)
        kept = bool(report.errors) and not report.records
        return report
    except OccupiedError:
        kept = True
        raise
    finally:
        if not kept:
            discard(files)
