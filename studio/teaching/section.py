"""“Teach it” as a section of a page: the button, progress, what changed, keep or discard.

The handlers check who is asking: annotators may teach, visitors where a setting says so, admins may keep.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import gradio as gr
from gradio.context import Context

from annotations.errors import AnnotationsError, redact_paths
from annotations.schema.project import Role
from annotations.store.store import Store
from model.backends.contract import CheckpointError
from studio.auth.identity import Identity, identity_of
from studio.components.notices import error_notice
from studio.components.page_options import PLAIN, QUIET, unchanged
from studio.components.render import escaped, isolated, sentence
from studio.inference.checkpoints import Checkpoints, PersonalCheckpoints
from studio.settings import Settings
from studio.teaching.corrections import Correction, corrections_of, count_written
from studio.teaching.jobs import Taught, TeachingError, TeachingJobs
from studio.training.run_form import runs_dir

EVERY = 1.0  # seconds between two looks at a lesson
MOST_BRANCHES = 100  # of a page
NOT_ALLOWED = "Teaching is open to those who have signed in as annotators."
MEASURES = {  # of what a lesson measures, its name on the page
    "corrections": "Your corrections, judged so",
    "judged": "Fixed scenes, judged right",
    "drawn": "Fixed prompts, drawn right at once",
}


class TeachView(NamedTuple):
    """A value or an update for each part of the section."""

    block: Any
    teach: Any
    cancel: Any
    shown: Any  # how far it is, or what changed
    keep: Any
    drop: Any
    timer: Any


@dataclass(frozen=True)
class TeachHandlers:
    """The handlers of the section, for one page."""

    jobs: TeachingJobs
    checkpoints: Checkpoints
    store: Store
    settings: Settings
    branches: dict[str, list[str]] = field(default_factory=dict)  # by session, trajectories begun by a person's verdict
    apart: bool = False  # whether the button that begins stands elsewhere, so that without a lesson there is no section

    def start(self, request: gr.Request) -> TeachView:
        """What there is to teach, a lesson under way, or what was taught."""
        if not self._may(request):
            return unchanged(TeachView)
        return self._view(request)

    def opened(self, request: gr.Request) -> TeachView:
        """As `start`, for a page that opens: where there is nothing to show, nothing is sent."""
        view = self.start(request)
        shows = any(part.get("visible") for part in (view.block, view.teach) if isinstance(part, dict))
        return view if shows else unchanged(TeachView)

    def teach(self, request: gr.Request) -> TeachView:
        """Begin a lesson."""
        if not self._may(request):
            raise gr.Error(NOT_ALLOWED)
        corrections = self._corrections(request)
        try:
            self.jobs.start(self._person(request), request.session_hash or "", self._parent(corrections), corrections)
        except (TeachingError, AnnotationsError, OSError) as error:
            return unchanged(TeachView, shown=error_notice(redact_paths(error)))
        return self._view(request)

    def look(self, request: gr.Request) -> TeachView:
        """How far the lesson is."""
        return self._view(request) if self._may(request) else unchanged(TeachView)

    def cancel(self, request: gr.Request) -> TeachView:
        """End the lesson."""
        if self._may(request):
            self.jobs.cancel(self._person(request))
        return self.look(request)

    def drop(self, request: gr.Request) -> TeachView:
        """Draw with the checkpoint as it was."""
        if self._may(request):
            self.jobs.drop(self._person(request))
        return self.look(request)

    def keep(self, request: gr.Request) -> TeachView:
        """Make it a checkpoint for everybody."""
        if not self._who(request).may(Role.ADMIN):
            raise gr.Error("Only admins keep what was taught.")
        try:
            name = self.jobs.keep(self._person(request), runs_dir(self.store), self.checkpoints)
        except (TeachingError, CheckpointError, OSError) as error:
            return unchanged(TeachView, shown=error_notice(redact_paths(error)))
        run = f'<a href="training?run={escaped(name)}">{isolated(name)}</a>'
        link = f"<p>Kept as {run}; it is in the menus of checkpoints.</p>"
        return self._view(request)._replace(shown=link)

    def branched(self, request: gr.Request, trajectory: str) -> None:
        """This page began a trajectory by a verdict that a person wrote."""
        begun = self.branches.setdefault(request.session_hash or "", [])
        begun.append(trajectory)
        del begun[:-MOST_BRANCHES]

    def checkpoints_of(self, request: gr.Request) -> PersonalCheckpoints:
        """The studio's checkpoints as whoever asks has them."""
        return self.jobs.checkpoints_for(self._person(request), self.checkpoints)

    async def leave(self, request: gr.Request) -> None:
        """The page is closed."""
        session = request.session_hash or ""
        self.branches.pop(session, None)
        self.jobs.leave(session)

    def _who(self, request: gr.Request) -> Identity:
        return identity_of(request, self.settings, self.store)

    def _may(self, request: gr.Request) -> bool:
        return self.settings.visitors_teach or self._who(request).may(Role.ANNOTATOR)

    def _person(self, request: gr.Request) -> str:
        """Whoever has signed in by name, wherever they are; a visitor by their page."""
        who = self._who(request)
        return f"name {who.name}" if who.may(Role.ANNOTATOR) else f"page {request.session_hash or ''}"

    def _corrections(self, request: gr.Request) -> list[Correction]:
        who = self._who(request)
        annotator = who.name if who.may(Role.ANNOTATOR) else None
        return corrections_of(self.store, annotator, self.branches.get(request.session_hash or "", ()))

    def _parent(self, corrections: list[Correction]) -> str:
        """The checkpoint that judged what was corrected last (of a pair its critic), if it can be taught; else the
        first that can."""
        drawn = [each.trajectory.checkpoint for each in reversed(corrections) if each.is_written]
        judged = [name for each in drawn for name in (each, each.rpartition("+")[2])]
        known = self.jobs.sources()
        return next((name for name in (*judged, self.checkpoints.first.name, *known) if name in known), "")

    def _view(self, request: gr.Request) -> TeachView:
        person = self._person(request)
        running, failed = self.jobs.running(person), self.jobs.failure(person)
        taught = self.jobs.taught(person)
        count = 0 if running else count_written(self._corrections(request))
        shown = progress_html(running.progress) if running else error_notice(failed) if failed else ""
        if taught is not None and not shown:
            shown = taught_html(taught)
        is_admin = self._who(request).may(Role.ADMIN)
        return TeachView(
            block=gr.update(visible=bool(running or taught or failed or (count and not self.apart))),
            teach=gr.update(visible=not running and count > 0, value=f"Teach it: {corrections_in_words(count)}"),
            cancel=gr.update(visible=bool(running)),
            shown=shown,
            keep=gr.update(visible=taught is not None and not running and is_admin),
            drop=gr.update(visible=taught is not None and not running),
            timer=gr.Timer(active=bool(running)),
        )


def teach_button(size: str = "sm") -> gr.Button:
    """The button that begins a lesson, which is shown once there is something to teach."""
    return gr.Button(
        "Teach it", variant="primary", elem_id="teach-it", visible=False, size=size, scale=0, min_width=140
    )


def teach_section(handlers: TeachHandlers, button: gr.Button | None = None) -> TeachView:
    """Build the section, which is shown once there is something to teach; the page wires what `start` returns to its
    loading, and to what corrects something. `button`: where it stands already, `handlers.apart`."""
    with gr.Column(visible=False, elem_id="teach") as block:
        shown = gr.HTML(elem_id="teach-shown", **PLAIN)
        with gr.Row(elem_id="teach-acts"):
            size = {"size": "md", "scale": 0, "min_width": 140}
            teach = button or teach_button("md")
            cancel = gr.Button("Stop", variant="stop", elem_id="teach-cancel", visible=False, **size)
            keep = gr.Button("Keep as a checkpoint", elem_id="teach-keep", visible=False, **size)
            drop = gr.Button("Drop", elem_id="teach-drop", visible=False, **size)
    timer = gr.Timer(EVERY, active=False)
    view = TeachView(block, teach, cancel, shown, keep, drop, timer)
    outputs = [*view]
    for button, act in (
        (teach, handlers.teach),
        (cancel, handlers.cancel),
        (keep, handlers.keep),
        (drop, handlers.drop),
    ):
        button.click(act, None, outputs, **QUIET)
    timer.tick(handlers.look, None, outputs, **QUIET)
    Context.root_block.unload(handlers.leave)
    return view


def corrections_in_words(count: int) -> str:
    return "1 correction" if count == 1 else f"{count:,} corrections"


def progress_html(progress: Mapping[str, Any]) -> str:
    """How far a lesson is."""
    phase, share = str(progress.get("phase", "")), float(progress.get("share", 0.0))
    return (
        f'<label class="export-progress"><progress max="1" value="{share:.3f}"></progress>'
        f"{escaped(sentence(phase))} … It ends when this page is closed.</label>"
    )


def taught_html(taught: Taught) -> str:
    """What changed, and drawings before and after."""
    before, after = taught.result["before"], taught.result["after"]
    rows = "".join(
        f"<tr><th>{title}</th><td>{_share(before[name])}</td><td>{_share(after[name])}</td></tr>"
        for name, title in MEASURES.items()
        if name in before and name in after
    )
    pairs = zip(before["drawings"], after["drawings"], strict=False)
    drawn = "".join(f"<li><p>{isolated(old['prompt'])}</p>{_drawing(old)}{_drawing(new)}</li>" for old, new in pairs)
    learnt = corrections_in_words(count_written(taught.corrections))
    return (
        f"<p><b>It has learnt {learnt}</b> in {taught.result['seconds']:.0f} s. What you draw by "
        f"{isolated(taught.parent)} from now on, it draws as you taught it; nobody else sees a difference.</p>"
        f'<table class="answers compared"><thead><tr><td></td><th>before</th><th>after</th></tr></thead>{rows}</table>'
        f'<ul class="taught">{drawn}</ul>'
    )


def _share(counted: list[int]) -> str:
    return f"{counted[0]} of {counted[1]}"


def _drawing(drawing: Mapping[str, str]) -> str:
    answer = drawing.get("answer", "")
    verdict = (
        f'<span class="verdict {escaped(answer)}">{escaped(drawing.get("reason") or answer)}</span>' if answer else ""
    )
    png = drawing["png"]  # base64 of a picture that the worker wrote
    return f'<figure><img src="data:image/png;base64,{escaped(png)}" alt=""><figcaption>{verdict}</figcaption></figure>'
