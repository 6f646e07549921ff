"""The People page: accounts with their roles, invitations, signing out everywhere, and who changed what.

Every change is made by the running studio, so that no second process opens the database.
"""

from datetime import timedelta
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

import gradio as gr

from annotations.auth import accounts
from annotations.auth.changes import account_changes
from annotations.auth.invitations import LONGEST_INVITEE, MOST_DAYS, invite, open_invitations, withdraw
from annotations.errors import AnnotationsError, PersonError, redact_paths
from annotations.schema.names import clean_name
from annotations.schema.project import Role
from annotations.store.store import Store
from studio.auth.identity import PageHandlers
from studio.auth.role_section import on_load_for, role_section
from studio.components.notices import error_notice, success_notice
from studio.components.page_options import PLAIN, UNLIMITED
from studio.header import intro
from studio.people import view
from studio.settings import Settings

ROLES = [(role.value.capitalize(), role.value) for role in Role if role is not Role.VISITOR]
DAYS = 7  # that an invitation lasts, where nothing else is chosen
OWN = "this is your own account; ask another admin, so that there is always one"


class PeopleView(NamedTuple):
    """What the page shows."""

    people: Any
    invited: Any
    changes: Any
    chosen: Any  # the menu of accounts
    opened: Any  # the menu of open invitations
    note: Any


class PeopleHandlers(PageHandlers):
    """The handlers of the page. Each checks who is asking."""

    def start(self, request: gr.Request) -> PeopleView:
        self.require(Role.ADMIN, request)
        return self._shown("")

    def add(self, name: str, role: str, password: str, request: gr.Request) -> PeopleView:
        by = self.require(Role.ADMIN, request).name
        return self._changed(
            lambda: accounts.add(self.store, clean_name(name or ""), _role(role), password or "", by=by),
            "The account is made.",
        )

    def set_role(self, name: str, role: str, request: gr.Request) -> PeopleView:
        by = self.require(Role.ADMIN, request).name
        return self._changed(
            lambda: accounts.set_role(self.store, self._other(name, by), _role(role), by=by), "The role is changed."
        )

    def sign_out(self, name: str, request: gr.Request) -> PeopleView:
        by = self.require(Role.ADMIN, request).name
        return self._changed(lambda: accounts.sign_out(self.store, name or "", by=by), "Signed out on all machines.")

    def deactivate(self, name: str, request: gr.Request) -> PeopleView:
        by = self.require(Role.ADMIN, request).name
        return self._changed(
            lambda: accounts.deactivate(self.store, self._other(name, by), by=by),
            "The account opens nothing any more; its answers stay.",
        )

    def activate(self, name: str, request: gr.Request) -> PeopleView:
        by = self.require(Role.ADMIN, request).name
        return self._changed(
            lambda: accounts.activate(self.store, self._other(name, by), by=by), "The account is active."
        )

    def invite(self, role: str, days: float | None, invitee: str, request: gr.Request) -> tuple[Any, ...]:
        """(the link, what the page shows)"""
        by = self.require(Role.ADMIN, request).name
        link = ""

        def make() -> None:
            nonlocal link
            lasts = timedelta(days=_whole(days))
            token = invite(self.store, _role(role), by=by, lasts=lasts, invitee=invitee or "")
            link = f"{_studio(request)}sign-in?{urlencode({'invitation': token})}"

        shown = self._changed(make, "Whoever opens the link first makes an account. It is shown only now.")
        return link, *shown

    def withdraw(self, chosen: int | None, request: gr.Request) -> PeopleView:
        """End the invitation with the id `chosen`."""
        by = self.require(Role.ADMIN, request).name

        def end() -> None:
            if chosen is None:
                raise PersonError("choose an invitation first")
            withdraw(self.store, _whole(chosen), by=by)

        return self._changed(end, "The invitation is withdrawn: its link opens nothing any more.")

    def _other(self, name: str, by: str) -> str:
        """Raises PersonError for one's own account."""
        if name == by:
            raise PersonError(OWN)
        return name or ""

    def _changed(self, change: Any, words: str) -> PeopleView:
        try:
            change()
        except AnnotationsError as error:
            return self._shown(error_notice(redact_paths(error)))
        return self._shown(success_notice(words))

    def _shown(self, note: str) -> PeopleView:
        people, opened = accounts.people(self.store), open_invitations(self.store)
        listed = [(view.invitation_words(each), each.id) for each in opened]
        return PeopleView(
            view.accounts(people),
            view.invitations(opened),
            view.changes(account_changes(self.store)),
            gr.update(choices=[person.name for person in people]),
            gr.update(choices=listed, value=None, visible=bool(listed)),
            note,
        )


def _role(value: str) -> Role:
    """Raises PersonError."""
    if value not in [role for _, role in ROLES]:
        raise PersonError("choose a role")
    return Role(value)


def _whole(number: float | None) -> int:
    return int(number) if isinstance(number, int | float) and 0 < number < 10**9 else 0


def _studio(request: gr.Request) -> str:
    """The address of the studio as the admin's browser knows it; empty where it says none."""
    parts = urlsplit(request.headers.get("referer") or "")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rpartition('/')[0]}/" if parts.netloc else ""


def page(store: Store, settings: Settings) -> None:
    """Build the page inside the current route."""
    with role_section("people", store, settings):
        _people(PeopleHandlers(store, settings))


def _people(handlers: PeopleHandlers) -> None:
    intro("People", "Who has an account here, and what they may do.")
    gr.HTML(
        '<p class="people-lead"><a href="moderation">Moderation</a>: drawings that are reported or hidden, words that '
        "are not drawn</p>",
        **PLAIN,
    )
    people = gr.HTML(elem_id="people", **PLAIN)
    note = gr.HTML(elem_id="people-note", **PLAIN)
    with gr.Accordion("Change an account", open=True, elem_id="people-change"), gr.Row(elem_classes="adding"):
        chosen = gr.Dropdown([], label="Account", elem_id="people-chosen", min_width=200)
        role = gr.Dropdown(ROLES, value=Role.ANNOTATOR.value, label="Role", elem_id="people-role", min_width=140)
        change = gr.Button("Give this role", scale=0, min_width=150, elem_id="people-set-role")
        leave = gr.Button("Sign out everywhere", scale=0, min_width=210, elem_id="people-sign-out")
        inactive = gr.Button("Deactivate", scale=0, min_width=130, elem_id="people-inactive")
        active = gr.Button("Activate", scale=0, min_width=120, elem_id="people-active")
    with gr.Accordion("Invite somebody", open=False, elem_id="people-invite"):
        with gr.Row(elem_classes="adding"):
            as_role = gr.Dropdown(ROLES, value=Role.ANNOTATOR.value, label="Role", min_width=140)
            days = gr.Number(DAYS, label="Days that it lasts", precision=0, minimum=1, maximum=MOST_DAYS, min_width=140)
            invitee = gr.Textbox(
                label="For whom",
                info="A name or an address; admins see it, nothing is sent",
                max_lines=1,
                max_length=LONGEST_INVITEE,
                min_width=200,
                elem_id="people-invitee",
            )
            asks = gr.Button("Make a link", variant="primary", scale=0, min_width=160, elem_id="people-make-link")
        link = gr.Textbox(label="Link", interactive=False, buttons=["copy"], elem_id="people-link")
        invited = gr.HTML(elem_id="people-invited", **PLAIN)
        with gr.Row(elem_classes="adding"):
            opened = gr.Dropdown(
                [], label="Invitation to withdraw", visible=False, min_width=260, elem_id="people-opened"
            )
            end = gr.Button("Withdraw it", scale=0, min_width=140, elem_id="people-withdraw")
    with (
        gr.Accordion("Add an account with a password", open=False, elem_id="people-add"),
        gr.Row(elem_classes="adding"),
    ):
        name = gr.Textbox(label="Name", max_lines=1, max_length=64, min_width=160)
        new_role = gr.Dropdown(ROLES, value=Role.ANNOTATOR.value, label="Role", min_width=140)
        password = gr.Textbox(label="Password", type="password", max_lines=1, max_length=200, min_width=160)
        make = gr.Button("Add", scale=0, min_width=120, elem_id="people-make")
    with gr.Accordion("Changes", open=False, elem_id="people-changes"):
        changes = gr.HTML(**PLAIN)
    shown = [*PeopleView(people, invited, changes, chosen, opened, note)]
    on_load_for("people", handlers, shown, **UNLIMITED)
    change.click(handlers.set_role, [chosen, role], shown, **UNLIMITED)
    leave.click(handlers.sign_out, [chosen], shown, **UNLIMITED)
    inactive.click(handlers.deactivate, [chosen], shown, **UNLIMITED)
    active.click(handlers.activate, [chosen], shown, **UNLIMITED)
    asks.click(handlers.invite, [as_role, days, invitee], [link, *shown], **UNLIMITED)
    end.click(handlers.withdraw, [opened], shown, **UNLIMITED)
    make.click(handlers.add, [name, new_role, password], shown, **UNLIMITED)
