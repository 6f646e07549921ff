"""The Calibration page: how far every critic agrees with people, and the report by which training refuses critics."""

from dataclasses import dataclass
from datetime import UTC, datetime

import gradio as gr

from annotations.calibration.report import file_of, measure, write
from annotations.schema.project import Role
from annotations.store.store import Store
from studio.auth.identity import require
from studio.auth.role_section import on_load_for, role_section
from studio.calibration import view
from studio.components.header import intro
from studio.components.notices import done
from studio.components.page_options import PLAIN, PRIVATE, QUIET
from studio.components.render import day
from studio.settings import Settings

OTHERS = (
    '<p class="soft">Further critics judge the same pictures by <code>python -m studio.calibration verifier '
    "critic:MODEL reward_model:FOLDER</code>.</p>"
)


@dataclass(frozen=True)
class CalibrationHandlers:
    """The handlers of the page. Each checks who is asking."""

    store: Store
    settings: Settings

    def start(self, request: gr.Request) -> tuple[str, str]:
        """(every critic, when the report of training was written)."""
        require(Role.ADMIN, request, self.settings, self.store)
        return view.report(measure(self.store)), self._written()

    def write(self, request: gr.Request) -> tuple[str, str, str]:
        """Measure anew and write the report: (every critic, when it was written, a line that says so)."""
        require(Role.ADMIN, request, self.settings, self.store)
        measured = measure(self.store)
        write(measured, file_of(self.store), self.store.clock())
        return view.report(measured), self._written(), done("The report is written. New training runs go by it.")

    def _written(self) -> str:
        file = file_of(self.store)
        if not file.exists():
            return '<p class="soft">No report is written: training takes every critic as a reward.</p>'
        at = datetime.fromtimestamp(file.stat().st_mtime, UTC)
        return (
            f'<p class="soft">The report that training goes by is of {day(at)}. Critics that agree less with people '
            "than it asks for are refused as rewards.</p>"
        )


def page(store: Store, settings: Settings) -> None:
    """Build the page inside the current route."""
    with role_section(Role.ADMIN, "calibration", store, settings):
        handlers = CalibrationHandlers(store, settings)
        intro("Calibration", "How far each critic agrees with people, on the pictures that both have judged.")
        with gr.Row(elem_id="calibration-report"):
            written = gr.HTML(elem_id="calibration-written", **PLAIN)
            button = gr.Button("Write the report", scale=0, min_width=180, elem_id="calibration-write")
        note = gr.HTML(elem_id="calibration-note", **PLAIN)
        shown = gr.HTML(elem_id="calibration-critics", **PLAIN)
        gr.HTML(OTHERS, **PLAIN)
        on_load_for(Role.ADMIN, handlers.start, [shown, written], store, settings, **QUIET)
        button.click(handlers.write, None, [shown, written, note], show_progress_on=[shown], **PRIVATE)
