"""Login by the Hugging Face Hub: OpenID Connect authorization code flow with state and PKCE.

Knows HTTP and what the Hub says of a person; no account, no page. Spaces put the client and its secret into the
environment where the card says `hf_oauth: true`. What the Hub says is read at its own address, with the token that it
has just given, so no token is kept and none has to be checked by its signature. The tests speak to a provider of their
own; how the Hub itself answers, and whether it names all organisations, was read in its documentation, not tried.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import httpx

METADATA = "/.well-known/openid-configuration"
ENDPOINTS = ("authorization_endpoint", "token_endpoint", "userinfo_endpoint")
TIMEOUT = 20.0  # seconds that an answer may take


class HubError(Exception):
    """Somebody could not be signed in by the Hub; the message is for the log."""


@dataclass(frozen=True)
class Hub:
    """The provider, and who we are there."""

    url: str
    client: str
    secret: str = field(repr=False)
    host: str | None = None  # where the Space is reached, which need not be what a request says

    def way_back(self, base: str) -> str:
        """Where the Hub sends people back to; `base` is the address that a request came to."""
        return f"{f'https://{self.host}/' if self.host else base}login/callback"


@dataclass(frozen=True)
class LoginState:
    """What a browser keeps while its person is at the Hub."""

    state: str
    verifier: str

    @staticmethod
    def new() -> LoginState:
        return LoginState(secrets.token_urlsafe(24), secrets.token_urlsafe(48))


@dataclass(frozen=True)
class Profile:
    """Who somebody is on the Hub, where names of people and of organisations are of one kind."""

    identity: str  # what stays when the name changes
    name: str
    organisations: frozenset[str]

    @property
    def names(self) -> frozenset[str]:
        return self.organisations | {self.name}


def hub_of(environment: Mapping[str, str]) -> Hub | None:
    """What Spaces say of the provider; None anywhere else."""
    found = [environment.get(name) for name in ("OPENID_PROVIDER_URL", "OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET")]
    if not all(found):
        return None
    host = environment.get("SPACE_HOST", "").split(",")[0].strip()  # with a domain of one's own there are two
    return Hub(found[0].rstrip("/"), *found[1:], host=host or None)


async def way_there(hub: Hub, errand: LoginState, back: str) -> str:
    """The address at the Hub where somebody agrees. Raises HubError."""
    async with httpx.AsyncClient(timeout=TIMEOUT) as client:
        known = await _metadata(client, hub)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(errand.verifier.encode()).digest()).rstrip(b"=").decode()
    asked = {
        "response_type": "code",
        "client_id": hub.client,
        "redirect_uri": back,
        "scope": "openid profile",
        "state": errand.state,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    return f"{known['authorization_endpoint']}?{urlencode(asked)}"


async def profile(hub: Hub, errand: LoginState, back: str, answer: Mapping[str, str]) -> Profile:
    """Who has come back with this answer. Raises HubError for a wrong one, and for what the Hub refuses."""
    if not hmac.compare_digest(answer.get("state", "").encode(), errand.state.encode()):
        raise HubError("an answer of the Hub came back to another browser than the one that asked")
    if "code" not in answer:
        raise HubError(f"the Hub said: {answer.get('error', 'nothing')[:80]}")
    given = {
        "grant_type": "authorization_code",
        "code": answer["code"],
        "redirect_uri": back,
        "client_id": hub.client,
        "code_verifier": errand.verifier,
    }
    async with httpx.AsyncClient(timeout=TIMEOUT) as client:
        known = await _metadata(client, hub)
        token = await _json(client.post(known["token_endpoint"], data=given, auth=(hub.client, hub.secret)))
        headers = {"Authorization": f"Bearer {token.get('access_token', '')}"}
        told = await _json(client.get(known["userinfo_endpoint"], headers=headers))
    identity, name = told.get("sub"), told.get("preferred_username")
    if not (isinstance(identity, str) and identity and isinstance(name, str) and name):
        raise HubError("the Hub did not say who that is")
    listed = told.get("orgs") or []
    # An organisation's `name` is what it is shown as: anybody may choose that of another.
    organisations = (one.get("preferred_username") for one in listed if isinstance(one, dict))
    known = frozenset(one.lower() for one in organisations if isinstance(one, str) and one)
    return Profile(identity[:64], name.lower(), known)


async def _metadata(client: httpx.AsyncClient, hub: Hub) -> dict[str, Any]:
    known = await _json(client.get(hub.url + METADATA))
    missing = [name for name in ENDPOINTS if not isinstance(known.get(name), str)]
    if missing:
        raise HubError(f"{hub.url} names no {missing[0]}")
    return known


async def _json(asked: Any) -> dict[str, Any]:
    try:
        answer = (await asked).raise_for_status().json()
    except (httpx.HTTPError, ValueError) as error:
        raise HubError(f"the Hub cannot be asked: {error}") from error
    if not isinstance(answer, dict):
        raise HubError("the Hub answered with something that is no object")
    return answer
