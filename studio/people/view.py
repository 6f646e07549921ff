"""HTML of the People page: accounts, open invitations, changes. All names are escaped."""

from collections.abc import Sequence
from datetime import UTC

from annotations.auth.accounts import Person
from annotations.auth.changes import AccountChange
from annotations.auth.invitations import Invitation
from studio.components.render import day, escaped, isolated


def accounts(people: Sequence[Person]) -> str:
    """A row for each account."""
    if not people:
        return '<p class="none">Nobody has an account yet. Invite somebody.</p>'
    rows = "".join(_account(person) for person in people)
    return f'<table class="people-list"><thead><tr><th>Name</th><th>Role</th><th>Since</th></tr></thead>{rows}</table>'


def _account(person: Person) -> str:
    tag = "" if person.active else f' <span class="tag">deactivated {day(person.deactivated_at)}</span>'
    return f"<tr><th>{isolated(person.name)}{tag}</th><td>{person.role}</td><td>{day(person.created_at)}</td></tr>"


def invitations(opened: Sequence[Invitation]) -> str:
    """A row for each that nobody has used; empty where there is none."""
    if not opened:
        return ""
    rows = "".join(
        f"<tr><th>{isolated(each.invitee) if each.invitee else 'nobody named'}</th><td>{each.role}</td>"
        f"<td>by {isolated(each.created_by)}, {day(each.created_at)}, until {day(each.expires_at)}</td></tr>"
        for each in opened
    )
    return f'<h3>Open invitations</h3><table class="people-list">{rows}</table>'


def invitation_words(each: Invitation) -> str:
    """“eve@example.org, annotator, invited by ada on 3 Mar 2026, 14:05 UTC”, as an entry of a menu."""
    at = each.created_at.astimezone(UTC)
    return (
        f"{each.invitee or 'nobody named'}, {each.role}, invited by {each.created_by} on {at.day} {at:%b %Y, %H:%M} UTC"
    )


def changes(made: Sequence[AccountChange]) -> str:
    """A line for each change, the newest first."""
    lines = "".join(
        f"<li>{day(each.at)} · {isolated(each.by)}: {escaped(each.act)} {isolated(each.person)} "
        f"{escaped(each.detail)}</li>"
        for each in made
    )
    return f'<ul class="people-changes">{lines}</ul>' if lines else '<p class="soft">Nothing was changed yet.</p>'
