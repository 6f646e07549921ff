"""The report of an import as HTML: counts, or bad rows with got and wanted.

Pure but for one file. What stands in somebody's rows enters HTML escaped.
"""

from annotations.importing import csv_files
from annotations.importing.importer import Report
from studio.components.render import escaped
from studio.inference.served_copies import served_path

ERRORS_SHOWN = 50


def report(told: Report) -> str:
    """The report of an import, bad rows one by one."""
    if not told.errors:
        known = f"; {told.already:,} were here already" if told.already else ""
        return f'<p class="done">{told.records:,} records imported as {told.trajectories:,} drawings{known}.</p>'
    rows = "".join(
        f"<tr><td>{error.row:,}</td><td>{escaped(error.place)}</td><td>{escaped(error.got)}</td><td>{escaped(error.wanted)}</td></tr>"
        for error in told.errors[:ERRORS_SHOWN]
    )
    more = len(told.errors) - ERRORS_SHOWN
    left = f"<p>… and {more:,} more, which the table below has.</p>" if more > 0 else ""
    done = f"{told.records:,} records imported" if told.records else "Nothing is imported"
    number = "1 row is bad" if len(told.errors) == 1 else f"{len(told.errors):,} rows are bad"
    return (
        f'<p class="wrong" role="alert">{done}: {number}.</p><table class="left-out"><thead><tr><th>Row</th>'
        f"<th>Where</th><th>Got</th><th>Wanted</th></tr></thead>{rows}</table>{left}"
    )


def table_of(told: Report) -> str | None:
    """All bad rows as a CSV file; None without any."""
    if not told.errors:
        return None
    file = served_path("bad-rows.csv")
    rows = ((error.row, error.place, error.got, error.wanted) for error in told.errors)
    csv_files.write(file, ("row", "where", "got", "wanted"), rows)
    return str(file)
