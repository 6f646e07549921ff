"""The page of one project: dashboard, items, questions.

Knows the store, how things come into a project, and how the dashboard is laid out. Long work shows a bar; an import is
all or nothing, and every bad row is reported.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

from annotations.errors import AnnotationsError, redact_paths
from annotations.importing import staging
from annotations.importing.source_tables import AUTO
from annotations.metrics.quality import drawings_to_name
from annotations.queue.progress import annotator_progress, project_answers, project_counts
from annotations.schema.project import Project, Role
from annotations.store.store import Store
from model.backends.contract import CheckpointError
from model.trajectory import Reflection
from studio.auth.identity import Identity, PageHandlers
from studio.auth.pseudonyms import names_for
from studio.auth.role_section import on_load_for, role_section
from studio.components.notices import error_notice, practice_missing, success_notice
from studio.components.page_options import PLAIN, PRIVATE, UNLIMITED, stay, unchanged
from studio.components.render import escaped
from studio.gallery.filters import ALL, ANY_CHECKPOINT, ANY_PROMPT, KINDS, LONGEST_SEARCH, PROMPTS, GalleryFilter
from studio.inference.checkpoints import Checkpoints
from studio.inference.generator import MOST_VISITOR_ROUNDS
from studio.projects import item_sources
from studio.projects.dashboard import dashboard
from studio.projects.import_report import report, table_of
from studio.projects.import_uploads import import_uploads
from studio.projects.item_sources import FillingError
from studio.projects.page import ProjectForm, bar, facts, form
from studio.projects.question_editor import QuestionEditorView, QuestionHandlers, question_section
from studio.projects.removal_section import RemovalHandlers, consequences, removal_section
from studio.settings import Settings

PROGRESS = gr.Progress()  # as a default, by which Gradio knows that it is wanted
MOST_ADDED = 10_000
FORMAT_NAMES = {
    "Whatever its first rows are": AUTO,
    "The studio’s own JSON": "ours",
    "A folder of images with a CSV": "folder",
    "Labels of Janus-Pro-R1": "janus_sft",
    "Pick-a-Pic": "pickapic",
    "RichHF-18K": "richhf",
    "verl-omni’s visual_reflection_v1": "visual_reflection_v1",
    "UMM-Reflection": "umm_reflection",
    "UniCoT-Self-Reflection": "unicot",
    "Pairs for DPO of verl-omni": "verl_dpo",
    "GenRef (WebDataset)": "genref",
    "R³-Bench": "r3_bench",
    "Prompts of Flow-GRPO": "flow_prompts",
}
NOBODY = "nobody"  # judges
BLANK = ProjectForm("", "", 1, 0, 0, None, None, "", "", False)
GALLERY, FILE, PROMPTS_ = "From the gallery", "From a file", "From prompts"
MISSING = '<div class="intro"><h1>No such project</h1><p><a href="projects">All projects</a></p></div>'


class ProjectView(NamedTuple):
    """What a handler gives back, in the order of `page`."""

    project: Any  # its id
    heading: Any
    block: Any  # all but the heading
    progress: Any
    dashboard: Any
    note: Any


# HTML


def heading(project: Project) -> str:
    closed = "It is closed: nobody is asked. " if project.closed_at else ""
    pages = f'<a href="review?project={escaped(project.id)}">Review disagreements</a>'
    if project.subject == "pair":
        pages += f' · <a href="arena?project={escaped(project.id)}">Compare pairs</a>'
    return (
        f'<div class="intro"><h1 dir="auto">{escaped(project.name)}</h1>'
        f'<p>{closed}{facts(project)}.<br><a href="projects">All projects</a> · {pages}</p></div>'
    )


# Handlers


@dataclass(frozen=True)
class ProjectHandlers(PageHandlers):
    """The handlers of the page. Each checks who is asking."""

    checkpoints: Checkpoints

    @property
    def questions(self) -> QuestionHandlers:
        return QuestionHandlers(self.store, self.settings, self.checkpoints.first.backend.domain)

    def start(self, request: gr.Request) -> tuple:
        """The view of the project that the address names, what its form says of it, then the widgets of its forms."""
        user = self.require(Role.REVIEWER, request)
        project = self._known(user, dict(request.query_params).get("id", ""))
        if project is None:
            nothing = ProjectView("", MISSING, gr.update(visible=False), "", "", "")
            return (*nothing, *[gr.skip()] * (1 + len(ProjectForm._fields) + 5 + len(QuestionEditorView._fields)))
        drawn_by = gr.update(choices=[ANY_CHECKPOINT, *self.store.checkpoints()])
        running = staging.under_way(self.store)
        before = [(_batch(batch), batch.id) for batch in reversed(self.store.imports())]
        known = item_sources.ways(self.checkpoints)
        ways = gr.update(choices=known, value=known[: item_sources.fewest_ways(project)])
        note = error_notice(f"An import is under way: {running}.") if running else ""
        if (interrupted := self.store.interrupted_imports) and user.may(Role.ADMIN) and not running:
            broken_off = ", ".join(f"“{source}”" for source in interrupted)
            note = error_notice(
                f"The studio ended during the import of {broken_off}; nothing of it is kept, import again."
            )
        form = ProjectForm.of(project)
        widgets = (form, *form, drawn_by, gr.update(choices=before), ways)
        return (
            *self._view(user, project, note),
            *widgets,
            *self.questions.shown(project),
            consequences(self.store, project),
            gr.update(open=request.query_params.get("section") == "questions"),
        )

    def change(self, request: gr.Request, project_id: str, loaded: ProjectForm, *fields: Any) -> tuple:
        """Store what the form says other than was `loaded`; the view of the project, then the form as it is stored,
        twice: as what is loaded now, and for the widgets."""
        user = self.require(Role.ADMIN, request)
        try:
            stored = self.store.project(project_id)
            form = ProjectForm(*fields).onto(loaded, ProjectForm.of(stored))
            project = self.store.change_project(form.project(stored), stored)
        except AnnotationsError as error:
            return (*stay(ProjectView, redact_paths(error)), *[gr.skip()] * (1 + len(fields)))
        view = self._view(user, project, success_notice("Stored. Whoever answers from now on sees it."))
        form = ProjectForm.of(project)
        return (*view, form, *form)

    def close(self, project_id: str, request: gr.Request) -> ProjectView:
        """Nobody is asked any more."""
        return self._closed(project_id, True, request)

    def reopen(self, project_id: str, request: gr.Request) -> ProjectView:
        """People are asked again."""
        return self._closed(project_id, False, request)

    def _closed(self, project_id: str, closed: bool, request: gr.Request) -> ProjectView:
        user = self.require(Role.ADMIN, request)
        try:
            project = self.store.project(project_id)
            if closed is not (project.closed_at is not None):
                moment = datetime.now(UTC) if closed else None
                project = self.store.change_project(replace(project, closed_at=moment), project)
        except AnnotationsError as error:
            return stay(ProjectView, redact_paths(error))
        return self._view(user, project, success_notice("It is closed now." if closed else "It is open."))

    def add_gallery(self, request: gr.Request, project_id: str, most: float | None, *choice: str) -> ProjectView:
        """Put in what the gallery lists by this choice, the newest first."""
        user = self.require(Role.ADMIN, request)
        try:
            if not 1 <= (most or 0) <= MOST_ADDED:
                raise FillingError(f"choose how many: 1 to {MOST_ADDED:,}")
            ids = item_sources.of_gallery(self.store, GalleryFilter(*choice).filter(), int(most))
            if not ids:
                raise FillingError("no drawing is like that; choose others")
            return self._added(user, project_id, ids)
        except (AnnotationsError, FillingError) as error:
            return stay(ProjectView, redact_paths(error))

    def add_file(
        self,
        request: gr.Request,
        project_id: str,
        files: Sequence[str] | None,
        format: str,
        leave_out_bad: bool,
        judge: str,
        progress: gr.Progress = PROGRESS,
    ) -> tuple:
        """(the view, the report, a file of all bad rows, the files): import, and add the imported drawings as items."""
        user = self.require(Role.ADMIN, request)
        empty, paths = ("", gr.update(visible=False)), [Path(file) for file in files or ()]
        try:
            judged, project = judge in self.checkpoints.names, self.store.project(project_id)
            if judged and project.subject != Reflection.kind:
                raise FillingError("this project does not ask about verdicts; import without having pictures judged")
            before = item_sources.items_of(self.store, project)
            outcome = import_uploads(
                self.store, paths, FORMAT_NAMES[format], owner=user.name, leave_out_bad=bool(leave_out_bad),
                on_progress=lambda stage, at, of: progress((at, of), desc=stage.capitalize(), unit="records"),
            )  # fmt: skip
            table = table_of(outcome)
            shown = report(outcome), gr.update(value=table, visible=table is not None)
            ids = self.store.imported(outcome.batch) if outcome.records else []
            if ids and judged:
                ids = item_sources.judged(
                    self.checkpoints, self.store, ids, judge, owner=user.name,
                    on_progress=lambda at, of: progress((at, of), desc="Judging", unit="pictures"),
                )  # fmt: skip
            view = self._added(user, project_id, ids, before) if ids else stay(ProjectView, "")
            return (*view, *shown, _still(paths))
        except (AnnotationsError, CheckpointError, FillingError, KeyError) as error:
            return (*stay(ProjectView, redact_paths(error)), *empty, _still(paths))

    def stop_import(self, request: gr.Request) -> str:
        """Stop the import that is under way, whoever has started it; returns a notice."""
        self.require(Role.ADMIN, request)
        stopped = staging.cancel(self.store)
        return (
            success_notice("It stops; nothing of it is kept.") if stopped else error_notice("No import is under way.")
        )

    def add_import(self, project_id: str, batch: str | None, request: gr.Request) -> ProjectView:
        """Put in what was imported before."""
        user = self.require(Role.ADMIN, request)
        try:
            if not (ids := self.store.imported(batch or "")):
                raise FillingError("choose an import; what there was of it may have been deleted")
            return self._added(user, project_id, ids)
        except (AnnotationsError, FillingError) as error:
            return stay(ProjectView, redact_paths(error))

    def add_prompts(
        self,
        request: gr.Request,
        project_id: str,
        written: str,
        ways: list[str],
        rounds: float,
        progress: gr.Progress = PROGRESS,
    ) -> Iterator[ProjectView]:
        """Draw every prompt and put it in as soon as it is drawn; what is drawn already stays if it is stopped."""
        user = self.require(Role.ADMIN, request)
        added, wrong = 0, []
        try:
            project = self.store.project(project_id)
            item_sources.check_ways(project, ways)
            prompts = item_sources.prompts_of(written or "", self.checkpoints, ways)
            progress((0, len(prompts)), desc="Drawing", unit="prompts")
            limit = min(MOST_VISITOR_ROUNDS, max(1, int(rounds or 1)))
            drawings = item_sources.draw_all(self.checkpoints, prompts, ways, limit, owner=user.name)
            for number, drawing in enumerate(drawings, start=1):
                progress((number, len(prompts)), desc="Drawing", unit="prompts")
                if drawing.error:
                    wrong.append(f"“{drawing.prompt}”: {drawing.error}")
                added += item_sources.add(self.store, project, drawing.ids).new if drawing.ids else 0
                so_far = success_notice(f"{item_sources.AddedItems(added)} It goes on.")
                yield unchanged(ProjectView, progress=self._progress(project), note=so_far)
        except (AnnotationsError, FillingError) as error:
            yield stay(ProjectView, redact_paths(error))
            return
        note = error_notice("\n".join(["Some were not drawn:", *wrong])) if wrong else ""
        yield self._view(user, project, success_notice(item_sources.AddedItems(added)) + note)

    def _added(self, user: Identity, project_id: str, ids: Sequence[str], before: int | None = None) -> ProjectView:
        project = self.store.project(project_id)
        return self._view(user, project, success_notice(item_sources.add(self.store, project, ids, before)))

    def _known(self, user: Identity, project_id: str) -> Project | None:
        try:
            project = self.store.project(project_id)
        except AnnotationsError:
            return None
        return project if project.is_open_to(user.name, user.role) else None

    def _progress(self, project: Project) -> str:
        counts = project_counts(self.store)[project.id]
        return bar(counts) + practice_missing(project, counts)

    def _view(self, user: Identity, project: Project, note: str = "") -> ProjectView:
        answers, by = project_answers(self.store, project.id), annotator_progress(self.store, project.id)
        names = names_for(
            self.store, user, [*{a.annotator for a in answers.submitted}, *(share.annotator for share in by)]
        )
        drawings = self.store.trajectories_by_id(drawings_to_name(answers))
        shown = dashboard(answers, by, names, drawings)
        return ProjectView(project.id, heading(project), gr.update(visible=True), self._progress(project), shown, note)


def _batch(batch: Any) -> str:
    return f"{batch.source}, {batch.trajectories:,} drawings, {batch.created_at.day} {batch.created_at:%b %Y %H:%M} UTC"


def _still(paths: Sequence[Path]) -> Any:
    """An update of the widget with the files: none, where they have been removed."""
    return gr.skip() if all(file.is_file() for file in paths) else gr.update(value=None)


# Layout


def page(store: Store, checkpoints: Checkpoints, settings: Settings) -> None:
    """Build the page inside the current route."""
    with role_section("project", store, settings):
        _project(store, checkpoints, settings)


def _project(store: Store, checkpoints: Checkpoints, settings: Settings) -> None:
    handlers = ProjectHandlers(store, settings, checkpoints)
    project, loaded = gr.State(""), gr.State(BLANK)
    head = gr.HTML(elem_id="project-head", **PLAIN)
    with gr.Column(visible=False, elem_id="project-block") as block:
        progress = gr.HTML(elem_id="project-progress", **PLAIN)
        note = gr.HTML(elem_id="project-note", **PLAIN)
        with gr.Accordion("Add items", open=False, elem_id="project-add"):
            source = gr.Radio([GALLERY, FILE, PROMPTS_], value=GALLERY, label="From where", show_label=False)
            gallery, file = _gallery_source(), _file_source(checkpoints)
            prompts = _prompts_source(checkpoints, settings)
        with gr.Accordion("Guidelines, overlap, who sees it", open=False, elem_id="project-form"):
            fields = form(BLANK)
            with gr.Row():
                store_ = gr.Button("Store", variant="primary", scale=0, min_width=140, elem_id="project-store")
                close = gr.Button("Close it", scale=0, min_width=120, elem_id="project-close")
                reopen = gr.Button("Open it again", scale=0, min_width=150, elem_id="project-reopen")
        section, asked = question_section(handlers.questions, project)
        removal = removal_section(RemovalHandlers(store, settings), project)
        plots = gr.HTML(elem_id="project-board", **PLAIN)
    view = [*ProjectView(project, head, block, progress, plots, note)]
    long = {"show_progress_on": [note]} | PRIVATE
    opened = [*view, loaded, *fields, gallery.choice[-1], file.before, prompts.ways, *asked, removal, section]
    on_load_for("project", handlers, opened, **UNLIMITED)
    source.change(_shown, [source], [gallery.row, file.column, prompts.row], **UNLIMITED)
    added = [gallery.add.click(handlers.add_gallery, [project, gallery.most, *gallery.choice], view, **long)]
    sent = [project, file.files, file.format, file.leave_out, file.judge]
    shown = [*view, file.report, file.bad_rows, file.files]
    added.append(file.bring.click(handlers.add_file, sent, shown, concurrency_limit=1, **long))
    file.stop.click(handlers.stop_import, None, [note], **UNLIMITED)
    added.append(file.again.click(handlers.add_import, [project, file.before], view, **long))
    to_draw = [project, prompts.written, prompts.ways, prompts.rounds]
    drawn = prompts.draw.click(handlers.add_prompts, to_draw, view, concurrency_limit=2, **long)
    prompts.stop.click(None, cancels=[drawn])
    for event in (*added, drawn):
        event.then(handlers.questions.refresh, [project], asked[-2:], **UNLIMITED)
    store_.click(handlers.change, [project, loaded, *fields], [*view, loaded, *fields], **long)
    close.click(handlers.close, [project], view, **UNLIMITED)
    reopen.click(handlers.reopen, [project], view, **UNLIMITED)


class GallerySource(NamedTuple):
    """The section by which drawings of the gallery become items."""

    row: gr.Row
    choice: list[gr.Textbox | gr.Dropdown]  # the widgets of a Choice, in its order
    most: gr.Number
    add: gr.Button


class FileSource(NamedTuple):
    """The section by which records of a file, or of an earlier import, become items."""

    column: gr.Column
    files: gr.File
    format: gr.Dropdown
    leave_out: gr.Checkbox
    judge: gr.Dropdown
    bring: gr.Button
    stop: gr.Button
    before: gr.Dropdown
    again: gr.Button
    report: gr.HTML
    bad_rows: gr.File


class PromptSource(NamedTuple):
    """The section by which prompts are drawn, and the drawings become items."""

    row: gr.Row
    written: gr.Textbox
    ways: gr.CheckboxGroup
    rounds: gr.Slider
    draw: gr.Button
    stop: gr.Button


def _gallery_source() -> GallerySource:
    with gr.Row(elem_classes="adding") as row:
        choice = _choice()
        most = gr.Number(100, label="At most", precision=0, minimum=1, maximum=MOST_ADDED, min_width=110)
        add = gr.Button("Add them", variant="primary", min_width=140, elem_id="project-add-gallery")
    return GallerySource(row, choice, most, add)


def _file_source(checkpoints: Checkpoints) -> FileSource:
    with gr.Column(visible=False) as column:
        with gr.Row(elem_classes="adding"):
            files = gr.File(file_count="multiple", label="Records and pictures, or a zip", scale=2)
            with gr.Column(min_width=240):
                names = list(FORMAT_NAMES)
                format = gr.Dropdown(names, value=names[0], label="Format")
                leave_out = gr.Checkbox(False, label="Leave bad rows out", container=False)
                judge = gr.Dropdown(
                    [NOBODY, *checkpoints.names],
                    value=NOBODY,
                    label="Pictures without a verdict are judged by",
                    elem_id="project-judge",
                )
                with gr.Row():
                    bring = gr.Button("Import and add", variant="primary", min_width=140, elem_id="project-import")
                    stop = gr.Button("Stop", variant="stop", min_width=80, elem_id="project-import-stop")
            with gr.Column(min_width=240):
                before = gr.Dropdown([], label="Imported before", value=None)
                again = gr.Button("Add it")
        report = gr.HTML(elem_id="project-report", **PLAIN)
        bad_rows = gr.File(label="All bad rows as CSV", visible=False, interactive=False)
    return FileSource(column, files, format, leave_out, judge, bring, stop, before, again, report, bad_rows)


def _prompts_source(checkpoints: Checkpoints, settings: Settings) -> PromptSource:
    with gr.Row(visible=False, elem_classes="adding") as row:
        hint = "two red apples\na cat below a tree"
        written = gr.Textbox(label="Prompts, one a line", lines=4, placeholder=hint, scale=2, min_width=280)
        with gr.Column(min_width=240):
            known = item_sources.ways(checkpoints)
            ways = gr.CheckboxGroup(known, value=known[:1], label="Drawn by")
            rounds = gr.Slider(1, MOST_VISITOR_ROUNDS, settings.rounds, step=1, label="Images at most")
        with gr.Column(min_width=140):
            draw = gr.Button("Draw and add", variant="primary", elem_id="project-draw")
            stop = gr.Button("Stop", variant="stop")
    return PromptSource(row, written, ways, rounds, draw, stop)


def _shown(source: str) -> tuple:
    return tuple(gr.update(visible=source == kind) for kind in (GALLERY, FILE, PROMPTS_))


def _choice() -> list[gr.Textbox | gr.Dropdown]:
    """The widgets of a Choice, in its order."""
    return [
        gr.Textbox(label="Prompt has", placeholder="any words", max_lines=1, max_length=LONGEST_SEARCH, min_width=180),
        gr.Dropdown(list(KINDS), value=ALL, label="Which", min_width=150),
        gr.Dropdown(list(PROMPTS), value=ANY_PROMPT, label="Asked for", min_width=150),
        gr.Dropdown([ANY_CHECKPOINT], value=ANY_CHECKPOINT, label="Drawn by", min_width=150),
    ]
