"""The Review page: disagreements, answers side by side, decision, audit trail.

Knows the store and how answers are compared; people are pseudonymous unless whoever looks is an admin. Every handler
checks who is asking.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from typing import Any, NamedTuple
from uuid import uuid4

import gradio as gr

from annotations.errors import AnnotationsError, AnswerError, ConflictError, NotFoundError, redact_paths
from annotations.metrics.quality import Disagreement
from annotations.queue import audit, gold_items, review
from annotations.queue.flags import LONGEST
from annotations.queue.progress import project_answers, project_counts
from annotations.schema.annotation import REFLECTIONS, Annotation, Status
from annotations.schema.project import ItemPurpose, Project, Role
from annotations.schema.project_answers import ProjectAnswers
from annotations.store.store import Store
from annotations.store.trajectories import MAX_IDS
from model.backends.contract import Domain
from model.trajectory import Trajectory
from studio.auth.identity import Identity, PageHandlers
from studio.auth.project_rights import all_readable, readable
from studio.auth.pseudonyms import Names, names_for
from studio.auth.role_section import on_load_for, role_section
from studio.components.forms.prompt_facts import for_drawing
from studio.components.forms.sheet import Sheet, annotations_of, filled_in, sheet_component, value_of
from studio.components.notices import error_notice, practice_missing, success_notice
from studio.components.page_options import PLAIN, QUICK, stay, unchanged
from studio.components.render import escaped, still
from studio.header import intro
from studio.http.whole_numbers import whole_number
from studio.inference.checkpoints import Checkpoints
from studio.review import tables as review_table
from studio.review.decision_form import agreed, majority, review_sheet, segment_name
from studio.review.review_queue import ReviewQueue
from studio.settings import Settings
from studio.theme import script
from studio.training.provenance import learners
from studio.training.run_form import runs_dir

USES = {ItemPurpose.GOLD: "Use as gold", ItemPurpose.PRACTICE: "Use for practice", ItemPurpose.WORK: "As any other"}
APPOINTED = {
    ItemPurpose.GOLD: "It is gold now: whoever is given it is checked by it, without a word",
    ItemPurpose.PRACTICE: "It is for practice now: who is new is given it, and told what was right",
    ItemPurpose.WORK: "It is an item like any other again",
}
AGREED = '<p class="none">There is nothing to decide here. Choose another project, or come back later.</p>'


@dataclass(frozen=True)
class ReviewCase:
    """The item that is shown, by its names; the fields of its form are those of the project and the drawing."""

    project: str
    item: int
    key: str  # of this showing, so that a decision sent twice is one
    seen: int = 0  # the newest revision that is shown


class ReviewView(NamedTuple):
    """What a handler gives back, in the order of `page`."""

    case: Any
    token: Any  # the key of its showing, in the page itself: a change of the case alone tells a browser nothing
    chosen: Any  # the menu of projects
    queue: Any
    stage: Any
    answers: Any
    sheet: Any  # the questions, to be decided
    workspace: Any  # the column of all that is about one item
    returning: Any  # the menu of people whose answers can be sent back
    appointing: Any  # what only admins do with it
    trail_of: Any  # the id of the drawing whose trail is shown
    trail: Any
    revision: Any  # the menu of revisions
    note: Any


@dataclass(frozen=True)
class ReviewHandlers(PageHandlers):
    """The handlers of the page."""

    domain: Domain = Domain()  # which knows the facts of prompts

    @cached_property
    def queue(self) -> ReviewQueue:
        return ReviewQueue(self.store)

    def start(self, request: gr.Request) -> ReviewView:
        """The project and the item of the address; else the worst disagreement of the first project that has one."""
        user = self.require(Role.REVIEWER, request)
        address = dict(request.query_params)
        item = address.get("item")
        view = self._show(user, address.get("project"), whole_number(item))
        if address.get("trajectory"):
            view = view._replace(**self._trail(user, address["trajectory"]))
        return view

    def choose(self, project: str | None, request: gr.Request) -> ReviewView:
        """Another project."""
        return self._show(self.require(Role.REVIEWER, request), project, None)

    def following(self, case: ReviewCase | None, request: gr.Request) -> ReviewView:
        """The next disagreement after this one; the first again after the last."""
        user = self.require(Role.REVIEWER, request)
        if case is None or case.project not in all_readable(self.store, user):
            return self._show(user, None, None)
        cases = self.queue.cases(case.project)
        at = next((i for i, each in enumerate(cases) if each.item == case.item), -1)
        return self._show(user, case.project, cases[(at + 1) % len(cases)].item if cases else None)

    def decide(self, case: ReviewCase | None, filled: str | None, request: gr.Request) -> ReviewView:
        """Store the reviewer's own answer; the item stays shown."""
        user = self.require(Role.REVIEWER, request)
        if case is None:
            return self._show(user, None, None)
        try:
            answers = self._answers(user, case)
            if not answers.submitted:
                return self._show(user, case.project, None)
            _check_seen(answers, case, user)
            made = annotations_of(self._sheet(answers), case.key, filled, user.name)
            review.decide(self.store, case.item, user.name, made)
        except AnnotationsError as error:
            return stay(ReviewView, redact_paths(error))
        return self._show(user, case.project, case.item)._replace(
            note=success_notice("Decided. It stays here, to be used as gold or decided anew; Next leads on.")
        )

    def accept(self, case: ReviewCase | None, request: gr.Request) -> ReviewView:
        """Decide as most say. Where they are split on something that has to be answered, all else is filled in."""
        user = self.require(Role.REVIEWER, request)
        if case is None:
            return self._show(user, None, None)
        try:
            answers = self._answers(user, case)
            if not answers.submitted:
                return self._show(user, case.project, None)
            _check_seen(answers, case, user)
            sheet = self._sheet(answers)
            most = majority(sheet, answers.submitted)
            about = answers.submitted[0].trajectory_id
            made = [
                Annotation(about, segment, user.name, said_by_most, key=f"{case.key}-{segment}")
                for segment, said_by_most in most.items()
                if said_by_most
            ]
            try:
                review.decide(self.store, case.item, user.name, made)
            except AnswerError as error:
                filled = value_of(sheet, uuid4().hex, most, self.store.picture_or_none)
                return stay(ReviewView, f"People are split. {redact_paths(error)}")._replace(sheet=filled)
        except AnnotationsError as error:
            return stay(ReviewView, redact_paths(error))
        return self._show(user, case.project, case.item)._replace(
            note=success_notice("Decided as most say. Next leads on.")
        )

    def _answers(self, user: Identity, case: ReviewCase) -> ProjectAnswers:
        """What was answered about the shown item. Raises NotFoundError where its project is not open to this person."""
        return project_answers(self.store, readable(self.store, case.project, user).id, [case.item])

    def _sheet(self, answers: ProjectAnswers) -> Sheet:
        """The questions about the one item that was answered."""
        trajectory, other = answers.submitted[0].trajectory_id, answers.others.get(answers.submitted[0].item)
        shown = self.store.trajectory(trajectory)
        asked = for_drawing(answers.project, self.store, self.domain, shown)
        return review_sheet(asked, shown, self.store.trajectory(other) if other else None, answers.submitted)

    def appoint(self, case: ReviewCase | None, because: str | None, use: str, request: gr.Request) -> ReviewView:
        """Check people by this item, or teach them; what is right is what was decided, or what all say."""
        user = self.require(Role.ADMIN, request)
        if case is None:
            return self._show(user, None, None)
        try:
            known = gold_items.set_use(self.store, case.item, ItemPurpose(use), because=because or "")
        except AnnotationsError as error:
            return stay(ReviewView, redact_paths(error))
        answers = {0: ".", 1: "; one right answer is known."}.get(known, f"; {known} right answers are known.")
        listed = self._listed(user, self.queue.cases(case.project), case.project, case.item)
        return unchanged(ReviewView, queue=listed, note=success_notice(APPOINTED[ItemPurpose(use)] + answers))

    def send_back(
        self, case: ReviewCase | None, annotator: str | None, note: str | None, to_others: bool, request: gr.Request
    ) -> ReviewView:
        """Have an item answered again, by the same person or by somebody else, who is shown the note."""
        user = self.require(Role.REVIEWER, request)
        if case is None:
            return self._show(user, None, None)
        try:
            people = self._answers(user, case).submitted
            pseudonyms = self.store.pseudonyms([each.annotator for each in people])
            name = next((name for name, pseudonym in pseudonyms.items() if pseudonym == annotator), None)
            if name is None:
                return stay(ReviewView, "Choose whose answers go back.")
            review.send_back(self.store, case.item, name, user.name, note or "", to_others=to_others)
        except AnnotationsError as error:
            return stay(ReviewView, redact_paths(error))
        words = "somebody else is asked" if to_others else "it comes back to them, with your note"
        return self._show(user, case.project, case.item)._replace(note=success_notice(f"Taken back; {words}."))

    def look(self, trajectory: str, request: gr.Request) -> ReviewView:
        """The trail of any drawing, by its id or by a link to it."""
        user = self.require(Role.REVIEWER, request)
        return unchanged(ReviewView, **self._trail(user, _id_in(trajectory)))

    def restore(self, trajectory: str, revision: int | None, request: gr.Request) -> ReviewView:
        """Write what a revision said once more, as its writer's newest, unless the newest says the same already."""
        user = self.require(Role.REVIEWER, request)
        id = _id_in(trajectory)
        try:
            if revision is None:
                return stay(ReviewView, "Choose the revision that is to count again.")
            known = {a.id: a for a in (change.after for change in self._changes(user, id)) if a is not None}
            if (number := whole_number(revision)) not in known:
                raise NotFoundError(f"there is no revision {revision} of this drawing; its trail lists those there are")
            if (newest := _same_as_newest(known, number)) is not None:
                return stay(ReviewView, _said_already(number, known[newest]))
            again = review.restore_revision(self.store, number, key=uuid4().hex, by=user.name)
        except AnnotationsError as error:
            return stay(ReviewView, redact_paths(error))
        counts = "counts again" if again.status is Status.SUBMITTED else f"is the newest again, {again.status},"
        note = success_notice(f"Revision {number} {counts} as revision {again.id}. Nothing was overwritten.")
        return unchanged(ReviewView, **self._trail(user, id) | {"note": note})

    def _show(self, user: Identity, project_id: str | None, item: int | None) -> ReviewView:
        known = [p for p in self.store.projects() if p.archived_at is None or p.id == project_id]
        open_ = [p for p in known if p.is_open_to(user.name, user.role)]
        cases = {project.id: self.queue.cases(project.id) for project in open_ if project_id in (None, project.id)}
        disputed = (id for id, some in cases.items() if any(one.score > 0 and not one.decided for one in some))
        project_id = project_id if project_id in cases else next(disputed, REFLECTIONS)
        menu = gr.update(choices=[(p.name, p.id) for p in open_], value=project_id if project_id in cases else None)
        some = cases.get(project_id, [])
        case = next((one for one in some if one.item == item), None) if item is not None else None
        case = case or next(iter(some), None)
        listed = self._listed(user, some, project_id, case.item if case else item)
        if case is None:
            gone, empty = gr.update(visible=False), gr.update(choices=[])
            return ReviewView(None, "", menu, listed, AGREED, "", None, gone, empty, gone, "", "", empty, "")
        return self._case(user, project_id, case)._replace(chosen=menu, queue=listed)

    def _case(self, user: Identity, project_id: str, dispute: Disagreement) -> ReviewView:
        answers = project_answers(self.store, project_id, [dispute.item])
        if not answers.submitted:
            return stay(ReviewView, "Its answers were taken back meanwhile; Next leads on.")
        names = names_for(self.store, user, [a.annotator for a in (*answers.submitted, *answers.decisions)])
        sheet = self._sheet(answers)
        stage = self._stage(answers.project, sheet.trajectory, sheet.other)
        table = review_table.answers(answers.project, sheet.trajectory, answers.submitted, answers.decisions, names)
        case = ReviewCase(answers.project.id, dispute.item, uuid4().hex, _newest(answers))
        return ReviewView(
            case=case,
            token=case.key,
            chosen=gr.skip(),
            queue=gr.skip(),
            stage=stage,
            answers=table,
            sheet=value_of(sheet, case.key, agreed(sheet, answers.submitted), self.store.picture_or_none),
            workspace=gr.update(visible=True),
            returning=gr.update(choices=self._people(answers, names), value=None),
            appointing=gr.update(visible=user.may(Role.ADMIN)),
            note="",
            **self._trail(user, sheet.trajectory.id),
        )

    def _people(self, answers: ProjectAnswers, names: Names) -> list[tuple[str, str]]:
        """(who answered as a menu shows them, their pseudonym)."""
        people = list(dict.fromkeys(annotation.annotator for annotation in answers.submitted))
        pseudonyms = self.store.pseudonyms(people)
        return [(names(person), pseudonyms[person]) for person in people]

    def _stage(self, project: Project, trajectory: Trajectory, other: Trajectory | None) -> str:
        shown = [trajectory, other] if other else [trajectory]
        heads = ("<h2>Left</h2>", "<h2>Right</h2>") if other else ('<h2 class="sr-only">The drawing</h2>',)
        sides = "".join(
            f"<div>{head}{still(each, self.store.picture, headed=not other)}</div>"
            for head, each in zip(heads, shown, strict=True)
        )
        guide = f'<details><summary>Guidelines</summary><p dir="auto">{escaped(project.guidelines)}</p></details>'
        kind = "shown pair" if other else "shown"
        prompt = f'<h1 class="prompt" dir="auto">{escaped(trajectory.prompt)}</h1>'
        return f'{prompt}<div class="{kind}">{sides}</div>{guide}'

    def _listed(self, user: Identity, cases: Sequence[Disagreement], project_id: str, current: int | None) -> str:
        """The list of items, for admins below a notice where practice items are missing."""
        if not user.may(Role.ADMIN) or project_id not in (known := {each.id: each for each in self.store.projects()}):
            return self._items(cases, project_id, current)
        missing = practice_missing(known[project_id], project_counts(self.store)[project_id])
        return missing + self._items(cases, project_id, current)

    def _items(self, cases: Sequence[Disagreement], project: str, current: int | None) -> str:
        shown = self.store.trajectories_by_id(
            [each.trajectory_id for each in cases[: min(MAX_IDS, review_table.SHOWN)]]
        )
        prompts = {id: trajectory.prompt for id, trajectory in shown.items()}
        return review_table.queue(cases, prompts, project, current)

    def _changes(self, user: Identity, trajectory_id: str) -> list[audit.Change]:
        """The trail of a drawing, without answers in projects that are closed to this person. Raises NotFoundError."""
        mine = all_readable(self.store, user)
        return [c for c in audit.trail(self.store, trajectory_id) if c.after is None or c.after.project in mine]

    def _trail(self, user: Identity, trajectory_id: str) -> dict[str, Any]:
        try:
            changes = self._changes(user, trajectory_id)
            drawing = audit.trajectory(self.store, trajectory_id)
        except AnnotationsError as error:
            return {
                "trail_of": trajectory_id,
                "trail": error_notice(redact_paths(error)),
                "revision": gr.update(choices=[], value=None),
            }
        names = names_for(self.store, user, list({who for change in changes for who in (change.who, change.by) if who}))
        revisions = [
            (_revision(change.after, drawing, names(change.who)), change.after.id) for change in changes if change.after
        ]
        menu = gr.update(choices=revisions[::-1], value=None)
        learnt_by = learners(runs_dir(self.store), [revision for _, revision in revisions])
        shown = review_table.trail(changes, drawing, all_readable(self.store, user), names, learnt_by)
        return {"trail_of": trajectory_id, "trail": shown, "revision": menu}


def _same_as_newest(known: Mapping[int, Annotation], revision: int) -> int | None:
    """The newest revision of what `revision` is about, by the same person, where it says the same."""
    old = known[revision]
    place = attrgetter("segment", "annotator", "project", "item")
    newest = max(id for id, other in known.items() if place(other) == place(old))
    said = attrgetter("answers", "status", "decision")
    return newest if said(known[newest]) == said(old) else None


def _said_already(revision: int, newest: Annotation) -> str:
    """Why `revision` need not be restored: `newest` says the same, which counts only once it is submitted."""
    if newest.status is Status.SUBMITTED:
        return f"What revision {revision} says counts already, by revision {newest.id}."
    same = "is the newest" if newest.id == revision else f"says what the newest, {newest.id}, says"
    return f"Revision {revision} {same}, which is {newest.status} and does not count. Choose one that was submitted."


def _newest(answers: ProjectAnswers, *, without: str | None = None) -> int:
    """The newest revision of these answers and decisions, of others than `without`; 0 where there is none."""
    all_ = (*answers.submitted, *answers.decisions)
    return max((each.id or 0 for each in all_ if each.annotator != without), default=0)


def _check_seen(answers: ProjectAnswers, case: ReviewCase, user: Identity) -> None:
    """Raises ConflictError where somebody else has answered or decided since the item was shown."""
    if _newest(answers, without=user.name) > case.seen:
        raise ConflictError(
            "somebody else answered or decided this meanwhile, and yours is not stored; load the page again to see it"
        )


def _id_in(trajectory: str | None) -> str:
    """The id of a drawing, which may have been given as a link to it."""
    return (trajectory or "").strip().rpartition("run=")[2]


def _revision(annotation: Annotation, drawing: Trajectory, who: str) -> str:
    where = "" if annotation.segment is None else f", {segment_name(drawing, annotation.segment)}"
    return f"revision {annotation.id} by {who}{where}, {annotation.status}"


# Layout


def page(store: Store, settings: Settings, checkpoints: Checkpoints) -> None:
    """Build the page inside the current route."""
    with role_section("review", store, settings):
        _review(ReviewHandlers(store, settings, checkpoints.first.backend.domain))


def _review(handlers: ReviewHandlers) -> None:
    intro(
        "Review",
        "What people disagree on, the worst first; decide it, and look up who said what and when. "
        "Keys: N leads to the next, Ctrl+Enter decides.",
    )
    case = gr.State(None)
    token = gr.Textbox(visible="hidden", elem_id="review-token", label="Item")
    with gr.Row(elem_id="review"):
        with gr.Column(scale=1, min_width=240):
            chosen = gr.Dropdown([], label="Project", interactive=True, elem_id="review-project")
            queue = gr.HTML(elem_id="review-queue", **PLAIN)
        with gr.Column(scale=2, min_width=300):
            stage = gr.HTML(
                elem_id="review-stage",
                apply_default_css=False,
                js_on_load=script("components/keys.js", "components/forms/zoom.js", "review/review.js"),
            )
        with gr.Column(scale=3, min_width=320):
            note = gr.HTML(elem_id="review-note", **PLAIN)
            decision = _decision_section()
    trail = _trail_section()
    shown = stage, decision.table, decision.sheet, decision.block, decision.whose, decision.appointed
    revisions = trail.trajectory, trail.revisions, trail.revision
    view = [*ReviewView(case, token, chosen, queue, *shown, *revisions, note)]

    on_load_for("review", handlers, view, **QUICK)
    chosen.input(handlers.choose, [chosen], view, **QUICK)
    decided = filled_in("review-sheet", before=1)
    decision.decide.click(handlers.decide, [case, decision.sheet], view, js=decided, **QUICK)
    decision.accept.click(handlers.accept, [case], view, **QUICK)
    decision.following.click(handlers.following, [case], view, **QUICK)
    for use, button in decision.uses.items():
        button.click(handlers.appoint, [case, decision.because, gr.State(use.value)], view, **QUICK)
    for button, to_others in ((decision.back, False), (decision.onward, True)):
        sent = [case, decision.whose, decision.why, gr.State(value=to_others)]
        button.click(handlers.send_back, sent, view, **QUICK)
    trail.look.click(handlers.look, [trail.trajectory], view, **QUICK)
    trail.restore.click(handlers.restore, [trail.trajectory, trail.revision], view, **QUICK)


class DecisionSection(NamedTuple):
    """An item's answers, a reviewer's decision about it, and what else can become of it."""

    block: gr.Column
    table: gr.HTML
    sheet: gr.HTML
    decide: gr.Button
    accept: gr.Button
    whose: gr.Dropdown
    why: gr.Textbox
    back: gr.Button
    onward: gr.Button
    appointed: gr.Column
    because: gr.Textbox
    uses: dict[ItemPurpose, gr.Button]
    following: gr.Button


class TrailSection(NamedTuple):
    """The revisions of a trajectory, of which one can be restored."""

    trajectory: gr.Textbox
    look: gr.Button
    revision: gr.Dropdown
    restore: gr.Button
    revisions: gr.HTML


def _decision_section() -> DecisionSection:
    with gr.Column(visible=False) as block:
        table = gr.HTML(elem_id="review-answers", **PLAIN)
        with gr.Column(elem_id="review-form"):
            sheet = sheet_component("review-sheet")
            with gr.Row():
                decide = gr.Button("Decide", variant="primary", elem_id="review-decide", scale=0, min_width=160)
                accept = gr.Button("As most say (A)", elem_id="review-accept", scale=0, min_width=190)
        with gr.Row(elem_id="review-return"):
            whose = gr.Dropdown([], label="Send back the answers of", min_width=190, elem_id="review-whose")
            why = gr.Textbox(label="Note", max_lines=2, max_length=LONGEST, scale=2, elem_id="review-why")
        with gr.Row():
            back = gr.Button("To them", size="sm", scale=0, min_width=130, elem_id="review-back")
            onward = gr.Button("To somebody else", size="sm", scale=0, min_width=150, elem_id="review-onward")
        with gr.Column(visible=False, elem_id="review-appoint") as appointed:
            because = gr.Textbox(
                label="Teach and check people with it",
                info="why it is so, as who practises is told",
                max_lines=2,
                max_length=gold_items.LONGEST_WHY,
                elem_id="review-because",
            )
            with gr.Row():
                uses = {
                    use: gr.Button(words, size="sm", scale=0, min_width=130, elem_id=f"review-{use}")
                    for use, words in USES.items()
                }
        following = gr.Button("Next", size="sm", scale=0, min_width=90, elem_id="review-next")
    sending, gold = (whose, why, back, onward), (appointed, because, uses)
    return DecisionSection(block, table, sheet, decide, accept, *sending, *gold, following)


def _trail_section() -> TrailSection:
    with gr.Accordion("Trail: who did what, and back to any revision", open=False, elem_id="review-trail"):
        with gr.Row(elem_classes="adding"):
            trajectory = gr.Textbox(label="Drawing", info="its id, or a link to it", max_lines=1, scale=2)
            look = gr.Button("Look up", min_width=100)
            revision = gr.Dropdown([], label="Back to", info="what it said is written anew", scale=2)
            restore = gr.Button("Restore", min_width=100, elem_id="review-restore")
        revisions = gr.HTML(**PLAIN)
    return TrailSection(trajectory, look, revision, restore, revisions)
