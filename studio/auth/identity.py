"""Identity and role of a request.

Knows settings, requests and accounts; looks into the store each time, so that an account that was deactivated, or has
another role or password since, is so at once. Gradio's handlers can be called directly, past any page, so leaving a
page out of the menu protects nothing: only a refusal in the handler does.
"""

from dataclasses import dataclass, replace

import gradio as gr

from annotations.schema.project import Role
from annotations.store.store import Store
from studio.auth.session_cookie import cookie_of, person_of
from studio.settings import Mode, Settings

VISITOR = "visitor"
REFUSAL = "This is not open to visitors. Sign in first, or run the studio on your own machine (mode: local)."
GUESTS_LOOK = "A guest looks on and changes nothing. Sign out to draw as a visitor, or ask an admin for another role."


@dataclass(frozen=True)
class Identity:
    """A name that things are stored under, and what it may do."""

    name: str
    role: Role
    sees_results: bool = False  # of a visitor: whether the studio's settings say so

    def may(self, role: Role) -> bool:
        return self.role.includes(role) or (role is Role.GUEST and self.sees_results)

    @property
    def sees_names(self) -> bool:
        """Whether others are shown by their names, not by pseudonyms."""
        return self.role is Role.ADMIN


NOBODY = Identity(VISITOR, Role.VISITOR)


def is_local(settings: Settings) -> bool:
    """Whether whoever can connect is the person at the machine."""
    return settings.mode is Mode.LOCAL


def identity_of(request: gr.Request | None, settings: Settings, store: Store) -> Identity:
    """The person at the machine, somebody who has signed in, or a visitor."""
    if is_local(settings):
        return Identity(settings.annotator, Role.ADMIN)
    person = person_of(store, cookie_of(request))
    if person is None:
        return replace(NOBODY, sees_results=settings.visitors_see_results)
    return Identity(person.name, person.role)


def require(role: Role, request: gr.Request | None, settings: Settings, store: Store) -> Identity:
    """Who is asking, if that is somebody in this role or a higher one. Raises gr.Error."""
    who = identity_of(request, settings, store)
    if not who.may(role):
        raise gr.Error(refusal(who, role))
    return who


@dataclass(frozen=True)
class PageHandlers:
    """The handlers of a page; each of them checks who is asking."""

    store: Store
    settings: Settings

    def identity_of(self, request: gr.Request | None) -> Identity:
        return identity_of(request, self.settings, self.store)

    def require(self, role: Role, request: gr.Request | None) -> Identity:
        return require(role, request, self.settings, self.store)


def refusal(who: Identity, role: Role) -> str:
    if who.role is Role.GUEST and role is Role.VISITOR:
        return GUESTS_LOOK
    if who.role is Role.VISITOR:
        return REFUSAL
    return f"This is open to the role {role} only; you have signed in as {who.name}, {who.role}. Ask an admin for it."


def owner_name(settings: Settings) -> str:
    """The name that drawings are stored under: all who come from outside share one."""
    return settings.annotator if is_local(settings) else VISITOR
