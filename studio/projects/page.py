"""The Projects page: progress of each, and a new one from a default.

Knows the store and the ready-made projects; what one project is about, and what is in it, has a page of its own.
"""

import hashlib
import itertools
import re
from collections.abc import Collection
from dataclasses import replace
from typing import Any, NamedTuple

import gradio as gr

from annotations.errors import AnnotationsError, ConflictError, redact_paths
from annotations.queue.progress import ProjectCounts, project_counts
from annotations.schema.default_projects import READY_MADE
from annotations.schema.names import clean_name, name_key
from annotations.schema.project import MOST_OVERLAP, MOST_REASONS, Order, Project, Role
from annotations.store.store import Store
from studio.auth.identity import PageHandlers
from studio.auth.role_section import on_load_for, role_section
from studio.components.notices import error_notice
from studio.components.page_options import PLAIN, UNLIMITED
from studio.components.render import escaped, isolated
from studio.header import intro
from studio.settings import Settings

KINDS = {project.name: project for project in READY_MADE}
ORDERS = {
    "The oldest drawings first": Order.OLDEST,
    "The newest drawings first": Order.NEWEST,
    "Where the model was least sure": Order.MARGIN,
    "Where the answers differ most": Order.DISAGREEMENT,
    "Where an answer teaches most": Order.ACQUISITION_SCORE,
}
PRACTICE = 5  # items that who is new to a project does first, as far as there are any
SEEN_BY = {"Every annotator": Role.ANNOTATOR, "Reviewers and admins": Role.REVIEWER, "Admins only": Role.ADMIN}


class ProjectForm(NamedTuple):
    """What the form says of a project, in the order of its widgets."""

    name: str
    guidelines: str
    overlap: float | None  # 0 or nothing: as many as come
    gold: float  # percent
    practice: float | None
    order: str  # of ORDERS
    seen_by: str  # of SEEN_BY
    people: str  # names with commas between; empty is everybody in the role
    reasons: str  # stock reasons, one a line
    hides_verdict: bool

    @staticmethod
    def of(project: Project) -> "ProjectForm":
        return ProjectForm(
            project.name,
            project.guidelines,
            project.overlap or 0,
            round(100 * project.gold_share),
            project.practice,
            next(words for words, order in ORDERS.items() if order is project.order),
            next((words for words, role in SEEN_BY.items() if role is project.role), next(iter(SEEN_BY))),
            ", ".join(project.people),
            "\n".join(project.reasons),
            project.hides_verdict,
        )

    def onto(self, loaded: "ProjectForm", stored: "ProjectForm") -> "ProjectForm":
        """The form as it is `stored`, but for what was filled in since it was `loaded`. Raises ConflictError where
        somebody else has changed the same since."""
        merged = {}
        for name, mine, before, now in zip(self._fields, self, loaded, stored, strict=True):
            is_mine = (mine or None) not in (before or None, now or None)
            if is_mine and now != before:
                raise ConflictError(
                    f"somebody else has changed the same meanwhile ({name.replace('_', ' ')}); load the page again, so "
                    "that you see it"
                )
            merged[name] = mine if is_mine else now
        return ProjectForm(**merged)

    def project(self, base: Project) -> Project:
        """What `base` becomes by it."""
        return replace(
            base,
            name=clean_name(self.name or ""),
            guidelines=self.guidelines or "",
            overlap=int(self.overlap or 0) or None,
            gold_share=(self.gold or 0) / 100,
            practice=int(self.practice or 0),
            order=ORDERS.get(self.order, base.order),
            role=SEEN_BY.get(self.seen_by, base.role),
            people=tuple(name for raw in re.split("[,،，、]", self.people or "") if (name := clean_name(raw))),
            reasons=tuple(" ".join(line.split()) for line in (self.reasons or "").splitlines() if line.strip()),
            hides_verdict=bool(self.hides_verdict),
        )


# HTML


def listing(projects: list[Project], counts_by_id: dict[str, ProjectCounts]) -> str:
    """Every project as a link, with how far it is."""
    archived = [project for project in projects if project.archived_at is not None]
    lists = _list([project for project in projects if project.archived_at is None], counts_by_id)
    if archived:
        lists += f"<details><summary>Archive ({len(archived)})</summary>{_list(archived, counts_by_id)}</details>"
    return lists


def _list(projects: list[Project], counts_by_id: dict[str, ProjectCounts]) -> str:
    rows = "".join(_row(project, counts_by_id.get(project.id, ProjectCounts())) for project in projects)
    return f'<ul class="projects">{rows}</ul>'


def _row(project: Project, counts: ProjectCounts) -> str:
    closed = '<span class="tag">closed</span>' if project.closed_at else ""
    return (
        f'<li><a href="project?id={escaped(project.id)}"><b dir="auto">{escaped(project.name)}</b>{closed}'
        f"<span>{facts(project)}</span></a>{bar(counts)}</li>"
    )


def facts(project: Project) -> str:
    """“3 answers each · about a pair · least sure first”."""
    each = "as many answers as come" if project.overlap is None else f"{project.overlap} answers each"
    seen = f"seen by {len(project.people)} people" if project.people else ""
    kind = "pairs" if project.subject == "pair" else f"about every {escaped(project.subject)}"
    return " · ".join(filter(None, (kind, each.replace("1 answers", "1 answer"), seen)))


def bar(counts: ProjectCounts) -> str:
    share = 100 * counts.done / max(1, counts.items)
    people = "1 person" if counts.people == 1 else f"{counts.people:,} people"
    special = f"<span>{counts.gold:,} gold, {counts.practice:,} for practice</span>"
    return (
        f'<div class="counted"><span>{counts.done:,} of {counts.items:,} done</span>'
        f"<span>{counts.answers:,} answers, {people}</span>{special if counts.gold or counts.practice else ''}"
        f'<div class="bar"><i style="width:{share:.1f}%"></i></div></div>'
    )


# Handlers


class ProjectsHandlers(PageHandlers):
    """The handlers of the page. Each checks who is asking."""

    def start(self, request: gr.Request) -> str:
        """The list. People see what is open to them."""
        user = self.require(Role.REVIEWER, request)
        known = [p for p in self.store.projects() if p.is_open_to(user.name, user.role)]
        return listing(known, project_counts(self.store))

    def kind(self, name: str, request: gr.Request) -> ProjectForm:
        """What the form begins with."""
        self.require(Role.ADMIN, request)
        base = KINDS.get(name, READY_MADE[0])
        return ProjectForm.of(replace(base, name="", overlap=base.overlap or 2, practice=PRACTICE))

    def make(self, request: gr.Request, kind: str, *fields: Any) -> tuple[Any, str]:
        """(the list, a notice)."""
        self.require(Role.ADMIN, request)
        base = KINDS.get(kind, READY_MADE[0])
        try:
            project = ProjectForm(*fields).project(replace(base, collects=False))
            made = self.store.create_project(replace(project, id=identity(project.name, self.store.project_ids())))
        except AnnotationsError as error:
            return gr.skip(), error_notice(redact_paths(error))
        address = f"project?id={escaped(made.id)}"
        link = f'<a href="{address}">{isolated(made.name)}</a>'
        asked = f'its questions are set in <a href="{address}&amp;section=questions">its section Questions</a>'
        line = f'<p class="done">{link} is made; {asked}. Then put items in.</p>'
        return self.start(request), line


def identity(name: str, taken: Collection[str] = ()) -> str:
    """How a project stands in addresses: “Rich feedback, May” is rich-feedback-may; where that leaves letters out or is
    `taken`, by a deleted project too, a hash of the name follows, so that names in any script have ids of their own,
    and where that is taken as well, a number.
    """
    key = name_key(name)
    words = re.sub(r"[^a-z0-9]+", "-", key).strip("-")[:50].strip("-")
    if words and words not in taken and all(c.isascii() or not c.isalnum() for c in key):
        return words
    hashed = f"{words or 'project'}-{hashlib.sha256(key.encode()).hexdigest()[:10]}"
    numbered = (f"{hashed}-{number}" for number in itertools.count(2))
    return next(each for each in itertools.chain([hashed], numbered) if each not in taken)


# Layout


def page(store: Store, settings: Settings) -> None:
    """Build the page inside the current route."""
    with role_section("projects", store, settings):
        _projects(store, settings)


def _projects(store: Store, settings: Settings) -> None:
    handlers = ProjectsHandlers(store, settings)
    intro("Projects", "What people are asked about which drawings, and how far they are with it.")
    listed = gr.HTML(elem_id="projects-list", **PLAIN)
    with gr.Accordion("New project", open=False, elem_id="projects-new"):
        kind = gr.Radio(list(KINDS), value=READY_MADE[0].name, label="Kind", elem_id="projects-kind")
        fields = form(ProjectForm.of(replace(READY_MADE[0], name="", overlap=2, practice=PRACTICE)))
        make = gr.Button("Make it", variant="primary", scale=0, min_width=160, elem_id="projects-make")
    note = gr.HTML(elem_id="projects-note", **PLAIN)

    on_load_for("projects", handlers, [listed], **UNLIMITED)
    kind.input(handlers.kind, [kind], fields, **UNLIMITED)
    make.click(handlers.make, [kind, *fields], [listed, note], **UNLIMITED)


def form(values: ProjectForm) -> list[gr.components.Component]:
    """The widgets of a project, in the order of `ProjectForm`."""
    with gr.Row():
        name = gr.Textbox(
            values.name, label="Name", info="as everybody sees it", max_length=120, max_lines=1, scale=2,
            elem_id="project-name",
        )  # fmt: skip
        overlap = gr.Number(
            values.overlap, label="Answers per item", info="0: as many as come", precision=0, minimum=0,
            maximum=MOST_OVERLAP, elem_id="project-overlap", min_width=150,
        )  # fmt: skip
        practice = gr.Number(
            values.practice, label="Practice items", info="for who is new; appointed on Review", precision=0,
            minimum=0, maximum=100, min_width=150,
        )  # fmt: skip
        gold = gr.Slider(0, 50, values.gold, step=1, label="Gold items, %", info="with known answers", min_width=150)
    guidelines = gr.Textbox(values.guidelines, label="Guidelines (Markdown)", lines=3, elem_id="project-guidelines")
    with gr.Row():
        order = gr.Dropdown(list(ORDERS), value=values.order, label="Order", min_width=200)
        seen_by = gr.Dropdown(list(SEEN_BY), value=values.seen_by, label="Seen by", min_width=200)
        people = gr.Textbox(
            values.people, label="Only these people", placeholder="everybody of that role", min_width=200, max_lines=1
        )
    with gr.Row():
        reasons = gr.Textbox(
            values.reasons,
            label="Reasons to choose from, one a line",
            info=f"at most {MOST_REASONS}, on the keys 1 to {MOST_REASONS}; empty: those that fit the prompt",
            lines=2,
            scale=3,
            elem_id="project-reasons",
        )
        hides = gr.Checkbox(
            values.hides_verdict,
            label="Hide the model’s verdict",
            info="until the picture is judged",
            min_width=200,
            elem_id="project-hides",
        )
    return [name, guidelines, overlap, gold, practice, order, seen_by, people, reasons, hides]
