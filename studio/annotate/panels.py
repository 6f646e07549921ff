"""Panels over the Annotate page: guidelines with example pictures, the note of a flag, own drawings and flags.

The handlers check who is asking. What people wrote enters HTML escaped; what the page sends is somebody's input.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from annotations.errors import AnnotationsError, NotFoundError, redact_paths
from annotations.queue import flags
from annotations.queue.flags import Flag
from annotations.queue.own_items import OwnItem, own_items
from annotations.schema.project import LONGEST_NOTE, GuidelineExample, Project, Role
from annotations.store.leases import LeaseOutcome
from model.images import thumbnail
from model.trajectory import Image, Source, Trajectory
from studio.annotate.item_token import WHOLE_ITEM, ItemToken
from studio.annotate.page_session import PageSession, resolve_session
from studio.auth.identity import PageHandlers
from studio.components.notices import error_notice, success_notice
from studio.components.page_options import PLAIN, QUICK
from studio.components.render import data_url, escaped, isolated, sentence

SHOWN = 50  # of one's own items and of flags
OUTCOMES = {
    None: "open",
    LeaseOutcome.SUBMITTED: "submitted",
    LeaseOutcome.SKIPPED: "skipped",
    LeaseOutcome.POSTPONED: "for later",
    LeaseOutcome.OVER_QUOTA: "came too late",
}
NO_PRACTICE = (
    '<p class="soft">Nobody practises here. Set how many practice items come first on the '
    '<a href="project?id={}">project’s page</a>.</p>'
)
NO_ITEM = "Nothing is on the table."
CLOSE = '<button type="button" class="close">Close</button>'
COMMAND = "(place, token) => [place, token, JSON.stringify(document.getElementById('annotate-panel').command ?? null)]"


@dataclass(frozen=True)
class PanelHandlers(PageHandlers):
    """The handlers of the panels."""

    def guide(self, project: str | None, request: gr.Request) -> str:
        """The pictures of the guidelines; for admins, how to add one."""
        return self._guide(self._resolve_session(project, request))

    def mine(self, project: str | None, request: gr.Request) -> str:
        """One's own drawings and flags; for reviewers the flags of everybody."""
        return self._mine(self._resolve_session(project, request))

    def flag(self, project: str | None, token: str | None, note: str | None, request: gr.Request) -> tuple[str, Any]:
        """(a line that says what came of it, the note): flag the item that is shown."""
        at = self._resolve_session(project, request)
        if (shown := ItemToken.read(token)) is None:
            return error_notice(NO_ITEM), gr.skip()
        try:
            at.place.trajectory(shown.item)
            flags.flag(self.store, shown.item, at.name, note or "")
        except AnnotationsError as error:
            return error_notice(redact_paths(error)), gr.skip()
        return success_notice("Flagged. A reviewer’s answer will be in “Mine”."), ""

    def command(
        self, project: str | None, token: str | None, command: str | None, request: gr.Request
    ) -> tuple[str, str]:
        """(the guidelines' pictures, what is one's own) after a command of a panel: an answer to a flag, an example."""
        at = self._resolve_session(project, request)
        line = ""
        try:
            match json.loads(command or "null"):
                case {"answer": int(flag), "note": str(note)} if at.who.may(Role.REVIEWER):
                    self._answer(at, flag, note)
                case {"example": str(note)} if at.who.may(Role.ADMIN):
                    at = self._change(at, (*at.project.examples, self._example(at, token, note)))
                case {"without": int(number)} if at.who.may(Role.ADMIN):
                    at = self._change(at, [e for place, e in enumerate(at.project.examples) if place != number])
        except (AnnotationsError, ValueError, RecursionError) as error:
            line = error_notice(sentence(redact_paths(error)))
        return line + self._guide(at), line + self._mine(at)

    def _resolve_session(self, project: str | None, request: gr.Request) -> PageSession:
        return resolve_session(project, request, self.store, self.settings, {})

    def _answer(self, at: PageSession, flag: int, note: str) -> None:
        if flag not in {each.id for each in flags.flags(self.store, at.project.id)}:
            raise NotFoundError("there is no such flag in this project; load the page again")
        flags.answer(self.store, flag, at.name, note)

    def _change(self, at: PageSession, examples: Sequence[GuidelineExample]) -> PageSession:
        changed = self.store.change_project(replace(at.project, examples=tuple(examples)))
        return at._replace(place=replace(at.place, project=changed))

    def _example(self, at: PageSession, token: str | None, note: str) -> GuidelineExample:
        """The picture that is judged: of a reflection the one before it, else the last."""
        if (shown := ItemToken.read(token)) is None:
            raise NotFoundError(NO_ITEM)
        trajectory = at.place.trajectory(shown.item)
        before = trajectory.segments if shown.segment == WHOLE_ITEM else trajectory.segments[: shown.segment]
        drawn = [at for at, segment in enumerate(before) if _picture(segment)]
        if not drawn:
            raise NotFoundError("there is no picture on the table")
        return GuidelineExample(trajectory.id, drawn[-1], note.strip()[:LONGEST_NOTE])

    def _guide(self, at: PageSession) -> str:
        runs = self.store.trajectories_by_id([example.trajectory_id for example in at.project.examples])
        shown = [
            (number, example, runs[example.trajectory_id])
            for number, example in enumerate(at.project.examples)
            if example.trajectory_id in runs
        ]
        admin = at.who.may(Role.ADMIN)
        cards = "".join(self._card(number, example, run, removable=admin) for number, example, run in shown)
        listed = f'<ul class="examples">{cards}</ul>' if cards else ""
        return listed + (_admin_part(at.project) if admin else "")

    def _card(self, number: int, example: GuidelineExample, run: Trajectory, *, removable: bool) -> str:
        segment = run.segments[example.segment] if example.segment < len(run.segments) else None
        sha256 = _picture(segment)
        png = self.store.picture_or_none(sha256) if sha256 else None
        if png is None:
            return ""
        alt = f"An image for “{run.prompt}”"
        remove = f'<button type="button" data-without="{number}">Remove</button>' if removable else ""
        return (
            f'<li><img src="{data_url(thumbnail(png))}" alt="{escaped(alt)}"><b dir="auto">{escaped(run.prompt)}</b>'
            f"<span>{isolated(example.note)}</span>{remove}</li>"
        )

    def _mine(self, at: PageSession) -> str:
        items = own_items(self.store, at.name, at.project.id)[:SHOWN]
        rows = "".join(map(_own_row, items)) or "<li>Nothing yet.</li>"
        reviews = at.who.may(Role.REVIEWER)
        listed = flags.flags(self.store, at.project.id, person=None if reviews else at.name)[:SHOWN]
        flagged = "".join(_flag_row(flag, answerable=reviews, mine=flag.person == at.name) for flag in listed)
        title = "Flags" if reviews else "My flags"
        more = f"<h2>{title}</h2><ul class='flags'>{flagged}</ul>" if flagged else ""
        return f'<h2>My drawings</h2><ul class="mine">{rows}</ul>{more}'


def _picture(segment: object) -> str | None:
    return segment.sha256 if isinstance(segment, Image | Source) and segment.finished else None


def _admin_part(project: Project) -> str:
    none = "" if project.practice else NO_PRACTICE.format(escaped(project.id))
    return (
        '<form class="example"><label>What is this picture an example of? <input name="note" maxlength="300"></label>'
        "<button>Show this picture here</button></form>" + none
    )


def _own_row(item: OwnItem) -> str:
    outcome = OUTCOMES.get(item.outcome, "left")
    return (
        f'<li><button type="button" data-item="{item.item}"><b dir="auto">{escaped(item.prompt)}</b></button>'
        f"<span>{outcome}, {item.at:%d %b %H:%M}</span></li>"
    )


def _flag_row(flag: Flag, *, answerable: bool, mine: bool) -> str:
    who = "" if mine else f" – {isolated(flag.person)}"
    head = f'<b dir="auto">{escaped(flag.prompt)}</b><p class="note">{isolated(flag.note)}{who}</p>'
    if flag.answer is not None:
        return f'<li>{head}<p class="answer">{isolated(flag.answer)} – {isolated(flag.answered_by or "")}</p></li>'
    form = (
        f'<form data-flag="{flag.id}"><input name="note" maxlength="{flags.LONGEST}" aria-label="Answer" '
        'placeholder="Answer"><button>Answer</button></form>'
    )
    see = f' <a href="review?project={escaped(flag.project)}">Review</a>' if answerable else ""
    return f"<li>{head}{form if answerable else '<p class=soft>Waits for a reviewer.</p>'}{see}</li>"


@dataclass(frozen=True)
class Panels:
    """The components of the panels that the page wires."""

    guidelines: gr.Markdown
    jump: gr.Button
    again: gr.Button


def panels(handlers: PanelHandlers, place: gr.Textbox, token: gr.Textbox) -> Panels:
    """Lay out the panels, of which annotate.js shows one at a time, and wire all but what shows another item."""
    with gr.Column(elem_id="annotate-panel"):
        gr.HTML(CLOSE, elem_id="annotate-panel-top", **PLAIN)
        with gr.Column(elem_id="annotate-guide-panel"):
            guidelines = gr.Markdown(elem_id="annotate-guidelines")
            pictures = gr.HTML(elem_id="annotate-examples", **PLAIN)
        with gr.Column(elem_id="annotate-flag-panel"):
            note = gr.Textbox(
                label="What is the matter with this drawing?",
                info="Reviewers see it and answer.",
                max_length=flags.LONGEST,
                lines=2,
                elem_id="annotate-flag-note",
            )
            send = gr.Button("Flag it", variant="primary", elem_id="annotate-flag-send")
            told = gr.HTML(elem_id="annotate-flag-told", **PLAIN)
        mine = gr.HTML(elem_id="annotate-mine-panel", **PLAIN)
    names = ("command", "jump", "again", "guide", "mine")
    buttons = {name: gr.Button(name, visible="hidden", elem_id=f"annotate-do-{name}") for name in names}
    send.click(handlers.flag, [place, token, note], [told, note], **QUICK)
    buttons["guide"].click(handlers.guide, [place], [pictures], **QUICK)
    buttons["mine"].click(handlers.mine, [place], [mine], **QUICK)
    command = gr.Textbox(visible="hidden", label="Command")
    buttons["command"].click(handlers.command, [place, token, command], [pictures, mine], js=COMMAND, **QUICK)
    return Panels(guidelines, buttons["jump"], buttons["again"])
