"""The Sign in page.

Knows the form and what went wrong by a word in the address; the form is sent to `sign_in_routes`, not to a handler,
since only an answer to the browser itself can set a cookie that scripts cannot read.
"""

import gradio as gr

from annotations.auth.accounts import LONGEST, SHORTEST
from annotations.auth.invitations import invitation
from annotations.auth.password_login import LONGEST_PAUSE
from annotations.errors import PersonError
from annotations.store.store import Store
from studio.auth.identity import VISITOR, identity_of
from studio.auth.sign_in_routes import PAGES_AFTER_LOGIN
from studio.components.page_options import PLAIN, QUICK
from studio.components.render import escaped, isolated
from studio.settings import Settings

MESSAGES = {
    "wrong": "This name and this password do not open an account. Look at both, then try again.",
    "many": f"Too many tries with a wrong password. Wait {LONGEST_PAUSE.seconds} seconds, then try again.",
    "hub": "Hugging Face did not say who you are. Try again, and agree there that this studio may see your name.",
    "stranger": "Your Hugging Face account is not among those who may annotate here. Ask whoever runs this studio.",
}
NOT_MADE = {
    "taken": "There is an account already whose name looks like this. Choose another.",
    "weak": f"The password has to have {SHORTEST} to {LONGEST} characters, four of them different.",
    "name": "The name has to be at most 64 letters, digits and . _ @ + -, without spaces.",
}
# In a tab of its own: a Space is shown in a frame, in which browsers keep no cookies.
HUB = """
  <p><a class="button" href="login/huggingface?to={to}" target="_blank">Sign in with Hugging Face</a></p>"""
FORM = """
<form class="sign-in" method="post" action="enter">
  <h1>Sign in</h1>
  <p class="lead">To annotate, or to export what was annotated. To draw and to look, you need not.</p>
  <p class="wrong" role="alert">{message}</p>{hub}
  <label>Name<input name="name" autocomplete="username" autocapitalize="none" maxlength="64" required autofocus></label>
  <label>Password<input name="password" type="password" autocomplete="current-password" maxlength="{longest}" required>
  </label>
  <input type="hidden" name="to" value="{to}">
  <button>Sign in</button>
  <p class="lead">No account? Ask an admin of this studio for an invitation.</p>
</form>
"""
JOIN = """
<form class="sign-in" method="post" action="join">
  <h1>Join this studio</h1>
  <p class="lead">{by} invites you as {role}. Choose a name and a password of your own.</p>
  <p class="wrong" role="alert">{problem}</p>
  <label>Name<input name="name" autocomplete="username" autocapitalize="none" maxlength="64" required autofocus></label>
  <label>Password<input name="password" type="password" autocomplete="new-password" minlength="{shortest}"
    maxlength="{longest}" required></label>
  <input type="hidden" name="invitation" value="{token}">
  <button>Join</button>
</form>
"""


def form(reason: str, to: str, by_hub: bool) -> str:
    """The form. `reason`: why signing in failed before, a key of MESSAGES; `to`: the page that it leads to."""
    to = to if to in PAGES_AFTER_LOGIN else ""
    hub = HUB.format(to=to) if by_hub else ""
    return FORM.format(message=MESSAGES.get(reason, ""), to=to, longest=LONGEST, hub=hub)


def invited(store: Store, token: str, reason: str) -> str:
    """The form of somebody who follows an invitation, or why it cannot be followed. `reason`: a key of NOT_MADE."""
    try:
        asked = invitation(store, token)
    except PersonError as error:
        return f'<div class="refusal"><p class="wrong" role="alert">{escaped(str(error).capitalize())}.</p></div>'
    return JOIN.format(
        by=isolated(asked.created_by), role=asked.role, problem=NOT_MADE.get(reason, ""), token=escaped(token),
        shortest=SHORTEST, longest=LONGEST,
    )  # fmt: skip


def page(store: Store, settings: Settings) -> None:
    """Build the page inside the current route."""

    def start(request: gr.Request) -> str:
        who = identity_of(request, settings, store)
        if who.name != VISITOR:
            return f'<div class="refusal"><p>You have signed in as {isolated(who.name)}, {who.role}.</p></div>'
        query = request.query_params
        if token := query.get("invitation"):
            return invited(store, token, query.get("said") or "")
        return form(query.get("said") or "", query.get("to") or "", settings.names_people_of_hub)

    shown = gr.HTML(elem_id="sign-in", **PLAIN)
    gr.on(fn=start, outputs=[shown], **QUICK)
