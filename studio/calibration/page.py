"""The Calibration page: how far every critic agrees with people, and the report by which training refuses critics."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import gradio as gr

from annotations.calibration.report import file_of, measure, write
from annotations.errors import AnnotationsError, redact_paths
from annotations.schema.project import Order, Role
from annotations.store.reordering import rank_anew
from annotations.store.store import Store
from model.backends.contract import CheckpointError
from model.training.rewards.janus_pro_r1 import RewardError
from studio.auth.identity import PageHandlers
from studio.auth.role_section import on_load_for, role_section
from studio.calibration import view
from studio.calibration.scoring import score_all
from studio.components.notices import error_notice, success_notice
from studio.components.page_options import PLAIN, PRIVATE, QUIET
from studio.components.render import day, isolated
from studio.header import intro
from studio.settings import Settings

COUNTING = '<p class="soft">Answers and verdicts are being counted …</p>'
HINT = "verifier critic:MODEL reward_model:FOLDER, as python -m studio.calibration takes them"


@dataclass(frozen=True)
class CalibrationHandlers(PageHandlers):
    """The handlers of the page."""

    def start(self, request: gr.Request) -> tuple[str, str]:
        """(every critic, when the report of training was written)."""
        self.require(Role.ADMIN, request)
        return view.report(measure(self.store)), self._written()

    def write(self, request: gr.Request) -> tuple[str, str, str]:
        """Measure anew and write the report: (every critic, when it was written, a line that says so). A report in
        which no critic is measured on enough pictures is not written."""
        self.require(Role.ADMIN, request)
        measured = measure(self.store)
        if not any(view.is_enough(each) for each in measured):
            return view.report(measured), self._written(), error_notice(view.NO_REPORT)
        write(measured, file_of(self.store), self.store.clock())
        return (
            view.report(measured),
            self._written(),
            success_notice("The report is written. New training runs go by it."),
        )

    def judge(self, critics: str, request: gr.Request) -> Iterator[tuple[Any, str]]:
        """Have critics judge what people judged: (every critic, how far it is)."""
        self.require(Role.ADMIN, request)
        try:
            for critic, number, of in score_all(self.store, (critics or "").split()):
                yield gr.skip(), f'<p class="soft">{isolated(critic)}: {number:,} of {of:,}</p>'
            rank_anew(self.store.database, Order.ACQUISITION_SCORE)
        except (AnnotationsError, RewardError, CheckpointError) as error:
            yield gr.skip(), error_notice(redact_paths(error))
            return
        yield view.report(measure(self.store)), success_notice("They have judged all that people judged.")

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
    with role_section("calibration", store, settings):
        handlers = CalibrationHandlers(store, settings)
        intro("Calibration", "How far each critic agrees with people, on the pictures that both have judged.")
        with gr.Row(elem_id="calibration-report"):
            written = gr.HTML(elem_id="calibration-written", **PLAIN)
            button = gr.Button("Write the report", scale=0, min_width=180, elem_id="calibration-write")
        note = gr.HTML(elem_id="calibration-note", **PLAIN)
        shown = gr.HTML(COUNTING, elem_id="calibration-critics", **PLAIN)
        with gr.Row(elem_classes="adding"):
            critics = gr.Textbox(label="Further critics", info=HINT, max_lines=1, elem_id="calibration-others")
            judge = gr.Button("Let them judge", scale=0, min_width=180, elem_id="calibration-judge")
        on_load_for("calibration", handlers, [shown, written], **QUIET)
        judge.click(handlers.judge, [critics], [shown, note], concurrency_limit=1, show_progress_on=[note], **PRIVATE)
        button.click(handlers.write, None, [shown, written, note], show_progress_on=[shown], **PRIVATE)
