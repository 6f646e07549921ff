"""The facts of a drawing's prompt: as its import says, else as the backend's domain reads the prompt."""

import re
from collections.abc import Sequence
from dataclasses import replace

from annotations.schema.forms.facts import facts_from
from annotations.schema.project import Project
from annotations.store.store import Store
from model.backends.contract import Domain
from model.trajectory import Trajectory

COLUMN = "facts"  # of an imported record: a list of texts, or one text with a fact a line or between semicolons


def prompt_facts(store: Store, domain: Domain, trajectory: Trajectory) -> Sequence[str]:
    """The facts that can be asked about, one by one."""
    for origin in store.origins(trajectory.id):
        if written := facts_from(_texts(origin.record.get(COLUMN))):
            return written
    return domain.facts(trajectory.prompt)


def for_drawing(project: Project, store: Store, domain: Domain, trajectory: Trajectory) -> Project:
    """The project with its questions as they are asked about one drawing."""

    def facts() -> Sequence[str]:
        return prompt_facts(store, domain, trajectory)

    questions = (replace(question, form=question.form.for_prompt(facts)) for question in project.questions)
    return replace(project, questions=tuple(questions))


def _texts(value: object) -> Sequence[str]:
    if isinstance(value, str):
        return re.split(r"[;\n]", value)
    return value if isinstance(value, list) else ()
