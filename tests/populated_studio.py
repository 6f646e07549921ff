"""A data folder in which every page has something to show: drawings, people, answers, projects, reports."""

import random
from dataclasses import replace
from pathlib import Path

from annotations.auth.accounts import add
from annotations.auth.invitations import invite
from annotations.moderation.blocked_words import block
from annotations.moderation.reports import report
from annotations.moderation.withholding import withhold
from annotations.ops.example_trajectories import fill_if_empty
from annotations.schema.annotation import Annotation
from annotations.schema.default_projects import READY_MADE
from annotations.schema.project import Role
from annotations.schema.question_targets import PAIR
from annotations.store.items import NewItem
from annotations.store.listing import TrajectorySummary
from annotations.store.store import Store, open_store

PEOPLE = {"ada": Role.ANNOTATOR, "bob": Role.ANNOTATOR, "cleo": Role.REVIEWER, "gus": Role.GUEST}
ANSWERED, ASKED = 30, 12  # drawings


def populate(data: Path) -> None:
    """Fill an empty data folder; the same each time, but for ids and times."""
    rng = random.Random(0)
    with open_store(data) as store:
        fill_if_empty(store)
        drawings = store.trajectories(limit=60)
        for name, role in PEOPLE.items():
            add(store, name, role, "a long enough one")
        invite(store, Role.GUEST, by="me")
        _answer(store, drawings[:ANSWERED], rng)
        _ask(store, drawings)
        report(store, drawings[3].id, by="visitor", note="This is not a hat.")
        block(store, ["gun", "blood"], by="me")
        withhold(store, [each.id for each in drawings[-2:]], by="me")


def _answer(store: Store, drawings: list[TrajectorySummary], rng: random.Random) -> None:
    """Two people, who agree with the model four times of five."""
    for drawing in drawings:
        for segment, each in enumerate(store.trajectory(drawing.id).segments):
            for name in ("ada", "bob") if each.kind == "reflection" else ():
                said = {"verdict_right": rng.choice(("yes",) * 4 + ("no",)), "reason_rating": rng.randint(1, 5)}
                store.annotate(Annotation(drawing.id, segment, name, said, seconds=rng.uniform(3, 20)))


def _ask(store: Store, drawings: list[TrajectorySummary]) -> None:
    """Every ready-made project, with items."""
    by_prompt: dict[str, list[str]] = {}
    for drawing in drawings:
        by_prompt.setdefault(drawing.prompt, []).append(drawing.id)
    pairs = [NewItem(ids[0], ids[1]) for ids in by_prompt.values() if len(ids) > 1]
    known = {project.id for project in store.projects()}
    for project in READY_MADE:
        if project.id not in known:
            store.create_project(replace(project, collects=False, practice=0))
            single = [NewItem(drawing.id) for drawing in drawings[:ASKED]]
            store.add_items(project.id, pairs if project.subject == PAIR else single)
