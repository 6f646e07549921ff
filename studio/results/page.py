"""The Results page: projects, how far they are, what people answered and how far they agree; nothing can be changed.

For guests, and for visitors where the settings say so. People are called by pseudonyms.
"""

from collections import Counter
from collections.abc import Sequence

import gradio as gr

from annotations.errors import AnnotationsError
from annotations.metrics.quality import drawings_to_name
from annotations.queue.progress import annotator_progress, project_answers, project_counts
from annotations.schema.annotation import Annotation
from annotations.schema.forms.best import Best
from annotations.schema.forms.ranking import Ranking
from annotations.schema.project import Project, Role
from annotations.schema.project_answers import ProjectAnswers
from annotations.schema.questions import Question
from annotations.store.store import Store
from model.trajectory import Trajectory
from studio.auth.identity import Identity, PageHandlers
from studio.auth.pseudonyms import names_for
from studio.auth.role_section import on_load_for, role_section
from studio.components import render
from studio.components.page_options import PLAIN, UNLIMITED
from studio.header import intro
from studio.projects.dashboard import LABELS, dashboard
from studio.projects.page import bar, facts
from studio.settings import Settings

SHOWN = 48  # items, those last answered first
LONGEST = 60  # characters of an answer in words
NONE = '<p class="none">There is no project here that you can look at.</p>'
MISSING = '<p class="none">There is no such project. <a href="results">All projects</a></p>'


class ResultsHandlers(PageHandlers):
    """The handlers of the page. Each checks who is asking."""

    def start(self, request: gr.Request) -> str:
        """The project that the address names, or all."""
        who = self.require(Role.GUEST, request)
        known = {project.id: project for project in self.store.projects() if is_open(project, who)}
        if (asked := request.query_params.get("project")) is None:
            return self._all([*known.values()])
        try:
            return self._one(known[asked], who) if asked in known else MISSING
        except AnnotationsError:  # deleted at this moment
            return MISSING

    def _all(self, projects: Sequence[Project]) -> str:
        counts = project_counts(self.store)
        rows = "".join(
            f'<li><a href="results?project={render.escaped(project.id)}">'
            f'<b dir="auto">{render.escaped(project.name)}</b>'
            f"<span>{facts(project)}</span></a>{bar(counts[project.id]) if project.id in counts else ''}</li>"
            for project in projects
        )
        return f'<ul class="projects">{rows}</ul>' if rows else NONE

    def _one(self, project: Project, who: Identity) -> str:
        answers = project_answers(self.store, project.id)
        names = names_for(self.store, who, {each.annotator for each in answers.submitted})
        name = f'<h2 class="results-title" dir="auto">{render.escaped(project.name)}</h2>'
        title = f'<p><a href="results">All projects</a></p>{name}'
        drawings = self.store.trajectories_by_id(drawings_to_name(answers))
        board = dashboard(answers, annotator_progress(self.store, project.id), names, drawings)
        return title + board + self._items(answers)

    def _items(self, answers: ProjectAnswers) -> str:
        by_item: dict[str, list[Annotation]] = {}
        for annotation in sorted(answers.submitted, key=lambda each: each.id or 0, reverse=True):
            by_item.setdefault(annotation.trajectory_id, []).append(annotation)
        newest = [*by_item][:SHOWN]
        drawings = self.store.trajectories_by_id(newest)
        cards = "".join(self._card(drawings[id], by_item[id], answers.project) for id in newest if id in drawings)
        return (
            f'<h2 class="results-title">Drawings and answers</h2><div class="gallery results">{cards}</div>'
            if cards
            else ""
        )

    def _card(self, drawing: Trajectory, answers: Sequence[Annotation], project: Project) -> str:
        cover = next((image.sha256 for image in reversed(drawing.images) if image.sha256), None)
        png = self.store.picture_or_none(cover) if cover else None
        picture = (png and render.image(png, f"Last drawing of “{drawing.prompt}”")) or "no picture"
        rows = "".join(_answers(question, answers, drawing) for question in project.questions)
        return (
            f'<article class="card"><a class="cover" href="gallery?run={render.escaped(drawing.id)}">{picture}</a>'
            f'<span class="prompt" dir="auto">{render.escaped(drawing.prompt)}</span>'
            f'<dl class="facts">{rows}</dl></article>'
        )


def is_open(project: Project, who: Identity) -> bool:
    """Whether somebody who only looks may see a project: those that every annotator sees."""
    if project.archived_at is not None:
        return False
    if who.may(Role.REVIEWER):
        return project.is_open_to(who.name, who.role)
    return not project.people and Role.ANNOTATOR.includes(project.role)


def _answers(question: Question, given: Sequence[Annotation], drawing: Trajectory) -> str:
    """What was answered to a question, and how often, the most frequent first."""
    values = [value for each in given if (value := each.answers.get(question.name)) is not None]
    if isinstance(question.form, Best | Ranking):  # which image is told by the drawing
        counts = Counter(question.form.in_words(value, drawing) for value in values)
    else:
        counts = Counter(label for value in values for label in question.form.labels_of(value))
    texts = ", ".join(
        f"{render.isolated(_short(LABELS.get(str(label), str(label))))} ×{number}"
        for label, number in counts.most_common(4)
    )
    return f"<dt>{render.isolated(question.title)}</dt><dd>{texts}</dd>" if texts else ""


def _short(words: str) -> str:
    return words if len(words) <= LONGEST else f"{words[:LONGEST]}…"


def page(store: Store, settings: Settings) -> None:
    """Build the page inside the current route."""
    with role_section("results", store, settings):
        handlers = ResultsHandlers(store, settings)
        intro("Results", "What people were asked about the drawings here, and what they answered.")
        shown = gr.HTML(elem_id="results", **PLAIN)
        on_load_for("results", handlers, [shown], **UNLIMITED)
