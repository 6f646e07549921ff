"""Tables of the Review page as HTML.

Pure functions from values to HTML; people are called what `Names` calls them.
"""

from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

from annotations.metrics.quality import Disagreement, stance
from annotations.queue.audit import AuditEntry, Change
from annotations.schema.annotation import Annotation, Value
from annotations.schema.project import Project
from annotations.schema.questions import Question
from model.trajectory import Trajectory
from studio.annotate.reflection_form import worded_as_asked
from studio.auth.pseudonyms import Names
from studio.components.forms.sheet import Wording
from studio.components.render import escaped, isolated
from studio.review.decision_form import image_name, segment_name

SHOWN = 60  # disagreements in the list
ACTS = {
    "saved": "drew it",
    "imported": "imported it",
    "began": "began to answer",
    "submitted": "submitted",
    "discarded": "skipped",
    "undid": "took back",
    "deleted": "deleted the drawing",
    "hidden": "hid the drawing",
}


def queue(cases: Sequence[Disagreement], prompts: Mapping[str, str], project: str, current: int | None) -> str:
    """What was answered as links: disagreements first, of those the ones that nobody has decided."""
    if not cases:
        return '<p class="none">Nobody has answered here. What people disagree on will be listed, the worst first.</p>'
    differ = [dispute.decided for dispute in cases if dispute.score > 0]
    rows = "".join(_dispute(case, prompts.get(case.trajectory_id, ""), project, current) for case in cases[:SHOWN])
    more = f'<p class="soft">… and {len(cases) - SHOWN:,} more.</p>' if len(cases) > SHOWN else ""
    summary = f"{differ.count(False):,} of {len(differ):,} to decide" if differ else "No two people differ here."
    return f'<p class="soft">{summary}</p><ol class="disputes">{rows}</ol>{more}'


def _dispute(case: Disagreement, prompt: str, project: str, current: int | None) -> str:
    address = urlencode({"project": project, "item": case.item})
    here = ' aria-current="true"' if case.item == current else ""
    people = "1 person" if case.people == 1 else f"{case.people} people"
    far = f"{100 * case.score:.0f} % differ" if case.score else "all alike" if case.people > 1 else "answered"
    state = "decided" if case.decided else f"{far}, {people}"
    return f'<li{here}><a href="review?{escaped(address)}"><bdi>{escaped(prompt)}</bdi><span>{state}</span></a></li>'


def answers(
    project: Project,
    trajectory: Trajectory,
    submitted: Sequence[Annotation],
    decided: Sequence[Annotation],
    names: Names,
) -> str:
    """A row for every question that was answered, a column for every person; what differs is marked."""
    people = list(dict.fromkeys(annotation.annotator for annotation in submitted))
    reviewers = list(dict.fromkeys(annotation.annotator for annotation in decided))
    head = "".join(f"<th>{escaped(names(name))}</th>" for name in people)
    head += "".join(f'<th class="decided">decided by {escaped(names(name))}</th>' for name in reviewers)
    by_person = {(a.segment, a.annotator): a for a in (*submitted, *decided)}
    rows = []
    for segment in sorted({a.segment for a in by_person.values()}, key=lambda s: -1 if s is None else s):
        for question in project.questions:
            row = [_said(by_person, segment, name, question) for name in (*people, *reviewers)]
            if any(row):
                words = worded_as_asked(project, trajectory, segment).get(question.name)
                rows.append(_row(question, words, segment, row, len(people), trajectory))
    return f'<table class="answers"><thead><tr><td></td>{head}</tr></thead>{"".join(rows)}</table>'


def _said(
    by_person: Mapping[tuple[int | None, str], Annotation], segment: int | None, name: str, question: Question
) -> Annotation | None:
    annotation = by_person.get((segment, name))
    return annotation if annotation is not None and question.name in annotation.answers else None


def _row(
    question: Question,
    words: Wording | None,
    segment: int | None,
    row: Sequence[Annotation | None],
    people: int,
    trajectory: Trajectory,
) -> str:
    stances = {stance(question, a) for a in row[:people] if a is not None} if question.form.has_gold else set()
    differs = ' class="differs"' if len(stances) > 1 else ""
    where = "" if segment is None else f'<span class="soft">{image_name(trajectory, segment)}</span>'
    cells = "".join(
        "<td>–</td>"
        if a is None
        else f'<td dir="auto">{escaped(_in_words(question, words, a.answers[question.name], trajectory))}</td>'
        for a in row
    )
    return f"<tr{differs}><th>{isolated((words or question).title)}{where}</th>{cells}</tr>"


def _in_words(question: Question, words: Wording | None, value: Value, trajectory: Trajectory) -> str:
    said = question.form.in_words(value, trajectory)
    return next((label for label, each in words.choices if each == value), said) if words else said


def trail(
    changes: Sequence[Change],
    trajectory: Trajectory,
    projects: Mapping[str, Project],
    names: Names,
    learners: Mapping[int, Sequence[str]],
) -> str:
    """Everything that was done to a drawing, the newest first; `projects`: by id; `learners`: by revision, the training
    runs that learnt from it."""
    rows = "".join(_change(change, trajectory, projects, names, learners) for change in reversed(changes))
    head = "<tr><th>When (UTC)</th><th>Who</th><th>What</th><th>Before → after</th></tr>"
    return f'<table class="answers trail"><thead>{head}</thead>{rows}</table>'


def _change(
    change: Change,
    trajectory: Trajectory,
    projects: Mapping[str, Project],
    names: Names,
    learners: Mapping[int, Sequence[str]],
) -> str:
    where = "" if change.segment is None else f": {segment_name(trajectory, change.segment)}"
    number = _revision(change.after.id or 0, learners) if change.after else ""
    project = projects.get(change.after.project) if change.after else None
    naming = {each.name: each.form for each in project.questions if each.form.names_images} if project else {}

    def words(name: str, value: Value | None) -> str:
        named = naming[name].in_words(value, trajectory) if name in naming and value is not None else value
        return f"<bdi>{escaped(_short(named))}</bdi>"

    changed = "<br>".join(
        f"<b>{escaped(name)}</b> {words(name, before)} → {words(name, after)}"
        for name, (before, after) in change.answers.items()
    )
    how = "by" if change.act is AuditEntry.UNDID else "restored by"
    by = f' <span class="soft">{how} {escaped(names(change.by))}</span>' if change.by else ""
    return (
        f"<tr><td>{change.at:%Y-%m-%d %H:%M:%S}</td><td>{escaped(names(change.who))}</td>"
        f"<td>{ACTS[change.act]}{where}{number}{by}</td><td>{changed}</td></tr>"
    )


def _revision(id: int, learners: Mapping[int, Sequence[str]]) -> str:
    runs = ", ".join(f'<a href="training?run={escaped(name)}">{isolated(name)}</a>' for name in learners.get(id, ()))
    return f' <span class="soft">revision {id}{", learnt by " if runs else ""}{runs}</span>'


def _short(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, Mapping) and "facts" in value:  # a checklist
        words = ", ".join([value.get("verdict", ""), *(f"{each['fact']}: {each['holds']}" for each in value["facts"])])
    elif isinstance(value, Mapping):  # of a pair
        side = value["choice"]
        words = f"{side} ({value[side][:8]})" if side in value else side.replace("_", " ")
    else:
        words = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return words if len(words) <= 120 else f"{words[:120]}…"
