"""Handlers of the Datasets page: what an export would hold, exports in the background, earlier ones. Each checks who
is asking.
"""

from __future__ import annotations

import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
import pyarrow as pa

from annotations.errors import AnnotationsError, ExportError, redact_paths
from annotations.export.jobs import ExportJobs, exports_of, folder_of
from annotations.export.manifest import Manifest, trajectories_of
from annotations.export.preview import survey
from annotations.export.push import push
from annotations.export.query import EVERYTHING, SHARES, Aggregation, Query, Split, moment
from annotations.export.registry import KINDS
from annotations.schema.project import Role
from annotations.store.store import Store
from studio.auth.identity import PageHandlers
from studio.components.page_options import unchanged
from studio.components.render import escaped
from studio.datasets import rows_table
from studio.inference.served_copies import EXPORTS, served_folder

PATIENCE = 2.0  # seconds after which counting stops, unless it was asked for
AGGREGATIONS = {
    "Majority": Aggregation.MAJORITY,
    "Weighted by accuracy on gold": Aggregation.WEIGHTED,
    "Dawid–Skene": Aggregation.DAWID_SKENE,
    "Every answer by itself": Aggregation.ALL,
}


class ExportForm(NamedTuple):
    """The page's fields, in their order; the defaults are what stands in them when the page opens."""

    kind: str = next(iter(KINDS))
    projects: Sequence[str] = ()
    checkpoints: Sequence[str] = ()
    annotators: Sequence[str] = ()  # pseudonyms
    categories: Sequence[str] = ()
    since: str = ""  # 2026-11-29
    until: str = ""
    own_words: bool = False
    aggregation: str = next(iter(AGGREGATIONS))
    min_agreement: float | None = EVERYTHING.min_agreement
    good: float | None = EVERYTHING.good
    bad: float | None = EVERYTHING.bad
    min_rating_difference: float | None = EVERYTHING.min_rating_difference
    held_out: float = 0  # per cent of the prompts, as a split `validation`

    def query(self) -> Query:
        """Raises ExportError for what cannot be asked for."""
        if self.kind not in KINDS:
            raise ExportError(f"“{self.kind}” is no kind of data set; choose one of the menu")
        thresholds = {name: getattr(self, name) for name in SHARES}
        since, until = (moment(day.strip()) if day and day.strip() else None for day in (self.since, self.until))
        return Query(
            projects=tuple(map(str, self.projects or ())),
            annotators=tuple(map(str, self.annotators or ())),
            checkpoints=tuple(map(str, self.checkpoints or ())),
            categories=tuple(map(str, self.categories or ())),
            since=since,
            until=until,
            aggregation=AGGREGATIONS.get(self.aggregation, Aggregation.MAJORITY),
            own_words=bool(self.own_words),
            splits=(Split("validation", self.held_out / 100),) if self.held_out else (),
            **{name: value for name, value in thresholds.items() if value is not None},
        )


class DatasetsView(NamedTuple):
    """What is shown of a finished export: a value or an update for each part, in the order of `page`."""

    chosen: Any  # the menu of exports
    block: Any  # all that is said of the chosen export
    summary: Any
    rows: Any
    command: Any
    download: Any
    note: Any


@dataclass(frozen=True)
class DatasetsHandlers(PageHandlers):
    """The handlers of the page."""

    jobs: ExportJobs

    def start(self, request: gr.Request) -> tuple:
        """The figures, the menus, what an export would hold, and the newest export where there is one."""
        user = self.require(Role.ADMIN, request)
        projects = [(project.name, project.id) for project in self.store.projects()]
        annotators = self._annotators(user.sees_names)
        menus = [_menu(some) for some in (projects, self.store.checkpoints(), annotators, self.store.categories())]
        newest = self._shown(next(iter(exports_of(self.store)), None))
        if (unfinished := self.jobs.unfinished()) and not newest.note:
            newest = newest._replace(note=rows_table.unfinished_html(unfinished))
        figures = rows_table.figures(self.store.counts())
        return figures, *menus, *self._surveyed(ExportForm(), PATIENCE), *self._waiting(), *newest

    def _annotators(self, sees_names: bool) -> list[tuple[str, str]]:
        """Each by the pseudonym that exports have, beside the name for those who see names."""
        pseudonyms = self.store.pseudonyms(self.store.annotators())
        return [(f"{name} · {known}" if sees_names else known, known) for name, known in pseudonyms.items()]

    def survey(self, request: gr.Request, *fields: Any) -> tuple[str, str]:
        """What an export of this would hold, and its first rows; counted for two seconds at most."""
        self.require(Role.ADMIN, request)
        return self._surveyed(ExportForm(*fields), PATIENCE)

    def survey_all(self, request: gr.Request, *fields: Any) -> tuple[str, str]:
        """The same, however long it takes."""
        self.require(Role.ADMIN, request)
        return self._surveyed(ExportForm(*fields), float("inf"))

    def _surveyed(self, form: ExportForm, patience: float) -> tuple[str, str]:
        end = time.monotonic() + patience
        try:
            query = form.query()
            held = survey(self.store, form.kind, query, lambda: time.monotonic() > end, first=rows_table.SHOWN)
        except AnnotationsError as error:
            return rows_table.error_html(redact_paths(error)), ""
        rows = rows_table.rows_html([row.values for row in held.first], held.rows)
        return rows_table.survey_html(KINDS[form.kind], held), rows

    def _waiting(self) -> tuple[gr.Timer, Any]:
        """The timer that asks how far an export is, and the button that stops it."""
        running = self.jobs.progress.running
        return gr.Timer(active=running), gr.update(visible=running)

    def export(self, request: gr.Request, *fields: Any) -> tuple[str, Any, Any]:
        """Begin an export; what is said of it, the timer and the button."""
        self.require(Role.ADMIN, request)
        form = ExportForm(*fields)
        try:
            self.jobs.start(form.kind, form.query())
        except AnnotationsError as error:
            return rows_table.error_html(redact_paths(error)), gr.skip(), gr.skip()
        return rows_table.progress_html(self.jobs.progress), gr.Timer(active=True), gr.update(visible=True)

    def stop(self, request: gr.Request) -> None:
        self.require(Role.ADMIN, request)
        self.jobs.stop()

    def look(self, request: gr.Request) -> tuple:
        """How far the export is; the export itself, once it has ended."""
        self.require(Role.ADMIN, request)
        progress = self.jobs.progress
        told = rows_table.progress_html(progress)
        if progress.running:
            return told, *(gr.skip(),) * (2 + len(DatasetsView._fields))
        shown = unchanged(DatasetsView) if progress.error else self._shown(progress.name or None)
        made = exports_of(self.store).get(progress.name)
        if made is not None and shown.note == "":
            shown = shown._replace(note=rows_table.made_html(made))
        return told, *self._waiting(), *shown

    def choose(self, name: str | None, request: gr.Request) -> DatasetsView:
        """Show another export."""
        self.require(Role.ADMIN, request)
        return self._shown(name)

    def push(self, request: gr.Request, name: str | None, repository: str, token: str) -> tuple[str, str]:
        """Send an export to the Hub; returns a notice, and an empty field in place of the token, which nobody keeps."""
        self.require(Role.ADMIN, request)
        if name not in exports_of(self.store):
            return rows_table.error_html("Export first, then push it."), ""
        try:
            folder = folder_of(self.store) / name
            if why := deleted(self.store, folder, exports_of(self.store)[name]):
                raise ExportError(why)
            address = push(folder, repository, token)
        except (AnnotationsError, OSError, ValueError) as error:
            return rows_table.error_html(redact_paths(error)), ""
        return f'<p>Pushed to <a href="{escaped(address)}" rel="noopener">{escaped(address)}</a>, private.</p>', ""

    def _shown(self, name: str | None) -> DatasetsView:
        made = exports_of(self.store)
        menu = gr.update(choices=[(rows_table.title(m), n) for n, m in made.items()], value=name, visible=len(made) > 1)
        nothing = unchanged(DatasetsView, chosen=menu, block=gr.update(visible=False), note="")
        if name not in made:
            return nothing
        folder, manifest = folder_of(self.store) / name, made[name]
        try:
            if why := deleted(self.store, folder, manifest):
                return nothing._replace(note=escaped(why))
            rows = rows_table.rows_html(rows_table.rows_of_export(folder, manifest), manifest.examples)
            packed = zip_of(folder, manifest)
            if why := deleted(self.store, folder, manifest):  # while it was packed
                Path(packed).unlink(missing_ok=True)
                return nothing._replace(note=escaped(why))
        except (OSError, ValueError, StopIteration, pa.ArrowInvalid) as error:
            problem = f"{folder.name} cannot be read and packed: {redact_paths(error)}."
            told = f"{problem} Export again, or make room where the disk is full."
            return unchanged(DatasetsView, chosen=menu, note=escaped(told))
        return DatasetsView(
            chosen=menu,
            block=gr.update(visible=True),
            summary=rows_table.manifest_html(manifest),
            rows=rows,
            command=rows_table.command(folder, manifest),
            download=gr.update(value=packed, visible=True),
            note="",
        )


def deleted(store: Store, folder: Path, manifest: Manifest) -> str:
    """Why an export is not to be shown or downloaded any more; empty where all its drawings are still there. Raises
    OSError and ValueError for a damaged export."""
    ids = trajectories_of(folder, manifest)
    gone = len(ids) - len(store.visible(ids))
    if not gone:
        return ""
    drawings = "a drawing that was" if gone == 1 else f"{gone:,} drawings that were"
    return f"This export holds {drawings} deleted since, so it is not handed out any more. Export again, without that."


def zip_of(folder: Path, manifest: Manifest) -> str:
    """The export as one file, where Gradio may serve it; made once. The hash keeps its address from being guessed."""
    file = served_folder() / EXPORTS / manifest.sha256 / f"{folder.name}.zip"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(".partial")
        try:
            with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:  # pictures are compressed already
                for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                    archive.write(path, f"{folder.name}/{path.relative_to(folder)}")
            partial.replace(file)
        finally:
            partial.unlink(missing_ok=True)
    return str(file)


def _menu(choices: Sequence[Any]) -> Any:
    """The choices of a filter, which is shown only if there are at least two."""
    return gr.update(choices=list(choices), visible=len(choices) > 1)
