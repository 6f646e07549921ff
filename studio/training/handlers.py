"""Handlers of the Training page: start, stop, resume, compare and delete runs, draw with a run's checkpoint. Each
checks who is asking.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import gradio as gr

from annotations.errors import AnnotationsError, redact_paths
from annotations.export.jobs import exports_of
from annotations.schema.project import Role
from annotations.store.store import Store
from model.backends.contract import CheckpointError
from model.training.methods import METHODS
from studio.auth.identity import Identity, PageHandlers
from studio.auth.pseudonyms import names_for
from studio.components.notices import error_notice, success_notice
from studio.components.page_options import stay, unchanged
from studio.datasets.rows_table import title
from studio.inference.checkpoints import Checkpoints
from studio.training import evaluations, launch, provenance, run_form, run_view
from studio.training.curves import curves_html, read_metrics
from studio.training.launch import RunError
from studio.training.run_form import Asked, runs_dir
from studio.training.runs import RunStatus, TrainingRun, runs_in

REFUSED = (RunError, CheckpointError, AnnotationsError, OSError)


class TrainingView(NamedTuple):
    """A value or an update for each part of the page, in its order."""

    runs: Any  # the list
    chosen: Any  # the name of the run that is shown
    block: Any  # all that is said of it
    head: Any
    stop: Any
    resume: Any
    draw: Any
    take_off: Any
    delete: Any
    other: Any  # the menu of runs to compare with
    curves: Any
    compared: Any
    evaluated: Any  # what got better and worse on fixed prompts
    sampled: Any  # the drawings of fixed prompts, and after which steps
    at: Any
    samples: Any
    provenance: Any
    command: Any
    output: Any
    timer: Any
    note: Any


class Menus(NamedTuple):
    """What the form's menus offer."""

    data: Any
    checkpoint: Any
    purpose: Any
    steps: Any
    replays: Any
    folder: Any


@dataclass(frozen=True)
class TrainingHandlers(PageHandlers):
    """The handlers of the page."""

    checkpoints: Checkpoints

    def start(self, request: gr.Request) -> tuple:
        """The menus, the runs, and the run that the address names, else the newest."""
        who = self.require(Role.ADMIN, request)
        method = next(iter(METHODS))
        menus = self._menus(method)
        first = menus.data["value"]
        expected = self._expected(
            Asked(method, first, "", menus.checkpoint["value"], METHODS[method].steps, True, "", "", "")
        )
        name = dict(request.query_params).get("run") or next((run.name for run in self._runs()), "")
        return *menus, expected, *self._shown(who, name)

    def choose_method(self, method: str, request: gr.Request) -> Menus:
        """Another method: what it learns from."""
        self.require(Role.ADMIN, request)
        return self._menus(method) if method in METHODS else Menus(*[gr.skip()] * len(Menus._fields))

    def estimate(self, request: gr.Request, *fields: Any) -> str:
        """What a run like this would take."""
        self.require(Role.ADMIN, request)
        return self._expected(Asked(*fields))

    def launch(self, request: gr.Request, *fields: Any) -> TrainingView:
        """Begin a run, or put it in the queue."""
        who, asked = self.require(Role.ADMIN, request), Asked(*fields)
        try:
            run_request, data = run_form.request_of(asked, self.store, self.settings, who.name)
            needs = run_form.estimate(asked, self.store, self.settings).disk
            run = launch.start(runs_dir(self.store), run_request, data, needs)
        except REFUSED as error:
            return stay(TrainingView, redact_paths(error))
        return self._shown(who, run.name)._replace(
            note=success_notice(f"{run.name} has begun. It goes on when this page is closed.")
        )

    def look(self, chosen: str, other: str | None, request: gr.Request) -> TrainingView:
        """How far everything is."""
        who = self.require(Role.ADMIN, request)
        return self._shown(who, chosen, other, brief=True)

    def compare(self, chosen: str, other: str | None, request: gr.Request) -> TrainingView:
        """Another run beside it."""
        return self._shown(self.require(Role.ADMIN, request), chosen, other)

    def sample(self, chosen: str, at: float, request: gr.Request) -> str:
        """The drawings of fixed prompts at another evaluation."""
        self.require(Role.ADMIN, request)
        run = self._run(chosen)
        return evaluations.samples_html(run, int(at or 0)) if run is not None else ""

    def stop(self, chosen: str, request: gr.Request) -> TrainingView:
        return self._act(chosen, request, launch.stop, "It saves after this step, and stops.")

    def resume(self, chosen: str, request: gr.Request) -> TrainingView:
        return self._act(chosen, request, launch.resume, "It goes on where it was saved last.")

    def delete(self, chosen: str, request: gr.Request) -> TrainingView:
        return self._act(chosen, request, launch.delete, "Deleted.")

    def draw(self, chosen: str, request: gr.Request) -> TrainingView:
        """Offer the checkpoint for drawing, from now on."""

        def offer(run: TrainingRun) -> None:
            if not can_draw(run):
                raise RunError(f"{run.name} has saved nothing to draw with")
            self.checkpoints.add(str(run.out))
            launch.set_offered(run, offered=True)

        return self._act(chosen, request, offer, "It is in the menus of Draw, Compare, Image and projects now.")

    def take_off(self, chosen: str, request: gr.Request) -> TrainingView:
        """Offer it no more."""

        def withdraw(run: TrainingRun) -> None:
            self.checkpoints.remove(str(run.out))
            launch.set_offered(run, offered=False)

        return self._act(chosen, request, withdraw, "It is in no menu any more.")

    def _act(self, chosen: str, request: gr.Request, act: Callable[[TrainingRun], None], words: str) -> TrainingView:
        who, run = self.require(Role.ADMIN, request), self._run(chosen)
        if run is None:
            return stay(TrainingView, "That run is there no more. Load the page again.")
        try:
            act(run)
        except REFUSED as error:
            return stay(TrainingView, redact_paths(error))
        return self._shown(who, chosen)._replace(note=success_notice(words))

    def _runs(self) -> list[TrainingRun]:
        return runs_in(runs_dir(self.store))

    def _run(self, name: str | None) -> TrainingRun | None:
        return next((run for run in self._runs() if run.name == name), None)

    def _menus(self, name: str) -> Menus:
        method = METHODS[name]
        known = exports_of(self.store)
        exports = run_form.exports_for(self.store, method)
        sources = list(run_form.checkpoints_of(self.store, self.settings))
        has_data = bool(method.kinds)
        return Menus(
            data=gr.update(choices=[(title(known[n]), n) for n in exports], value=exports[:1], visible=has_data),
            checkpoint=gr.update(choices=sources, value=sources[0] if sources else None),
            purpose=f"<p>{method.purpose}</p>",
            steps=gr.update(value=method.steps),
            replays=gr.update(visible=method.replays, value=False),
            folder=gr.update(visible=has_data),
        )

    def _expected(self, asked: Asked) -> str:
        try:
            expected = run_form.estimate(asked, self.store, self.settings)
            return run_view.estimate_html(expected, run_form.whole_steps(asked.steps))
        except REFUSED as error:
            return error_notice(redact_paths(error))

    def _shown(
        self, who: Identity, name: str | None, other_name: str | None = None, *, brief: bool = False
    ) -> TrainingView:
        """The list, and one run; `brief`: without what does not change while it runs."""
        runs = self._runs()
        run = next((run for run in runs if run.name == name), None)
        live = any(run.state.live for run in runs)
        view = unchanged(TrainingView, runs=run_view.list_html(runs, name or ""), timer=gr.Timer(active=live), note="")
        if run is None:
            return view._replace(block=gr.update(visible=False), chosen="")
        other = next((other for other in runs if other.name == other_name and other is not run), None)
        state = run.state
        shown = view._replace(
            block=gr.update(visible=True),
            head=run_view.head_html(run),
            stop=gr.update(visible=state.live),
            resume=gr.update(visible=state in (RunStatus.STOPPED, RunStatus.FAILED)),
            draw=gr.update(visible=can_draw(run) and not run.offered),
            take_off=gr.update(visible=run.offered),
            delete=gr.update(visible=not state.live and not run.offered),
            curves=self._curves(run, other),
            evaluated=evaluations.table_html(run),
            **self._samples(run, brief=brief),
            output=run_view.output_html(run),
            note=gr.skip() if brief else "",
        )
        if brief and live:
            return shown
        choices = [(each.name, each.name) for each in runs if each is not run]
        return shown._replace(
            chosen=run.name,
            other=gr.update(choices=choices, value=other and other.name, visible=bool(choices)),
            compared=run_view.comparison_html(run, other) if other else "",
            provenance=self._provenance(who, run),
            command=run_view.command_of(run),
        )

    def _curves(self, run: TrainingRun, other: TrainingRun | None) -> str:
        runs = {each.name: read_metrics(each.metrics) for each in (run, other) if each is not None}
        steps = max(each.request.steps for each in (run, other) if each is not None)
        return curves_html(runs, steps)

    def _samples(self, run: TrainingRun, *, brief: bool) -> dict[str, Any]:
        """The slider over evaluations and its drawings, which stays where somebody has put it."""
        last = len(evaluations.sampled_steps(run)) - 1
        if last < 0:
            return {"sampled": gr.update(visible=False)}
        if brief:
            return {"sampled": gr.update(visible=True), "at": gr.update(maximum=max(last, 1))}
        drawn = evaluations.samples_html(run, last)
        at = gr.update(maximum=max(last, 1), value=last, interactive=last > 0)
        return {"sampled": gr.update(visible=True), "at": at, "samples": drawn}

    def _provenance(self, who: Identity, run: TrainingRun) -> str:
        rows = provenance.rows_of(run)
        learnt = provenance.annotations_of(self.store, rows, run_view.SHOWN)
        counted = len({r for row in rows for r in row.revisions}), len({t for row in rows for t in row.trajectories})
        names = names_for(self.store, who, {each.annotation.annotator for each in learnt})
        line = provenance.ancestors(run.out)
        return run_view.provenance_html(line, provenance.manifests_of(run), counted, learnt, names)


def can_draw(run: TrainingRun) -> bool:
    """Whether a run has saved a checkpoint that is to be drawn with."""
    method = METHODS.get(run.request.method)
    return run.has_checkpoint and (method is None or method.draws)


def add_runs(checkpoints: Checkpoints, store: Store) -> None:
    """Offer the checkpoints of runs that were drawn with before the studio was started again."""
    for run in runs_in(runs_dir(store)):
        if run.offered and run.has_checkpoint:
            try:
                checkpoints.add(str(run.out))
            except CheckpointError:  # another one has its name now
                launch.set_offered(run, offered=False)
