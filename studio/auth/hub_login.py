"""Login by the Hugging Face Hub: OpenID Connect by Authlib's client, with state, nonce and PKCE.

Knows HTTP and the Hub; no account, no page. Spaces put the client and its secret into the environment where the card
says `hf_oauth: true`. The ID token is verified against the Hub's keys; name and organisations are read from its
userinfo endpoint with the access token, which is not stored. The tests use a provider of their own; how the Hub itself
answers, and whether it names all organisations, was read in its documentation, not tried.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx2
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.starlette_client import OAuth, StarletteOAuth2App
from joserfc.errors import JoseError
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from studio.auth.session_cookie import is_secure

METADATA = "/.well-known/openid-configuration"
TIMEOUT = 20.0  # seconds for a response of the Hub
LOGIN_COOKIE = "aha-login"  # Authlib's state of a login in progress, signed
LOGIN_LASTS = 600  # seconds
# Authlib raises these for responses that are errors, malformed, or not those of an OpenID provider.
PROTOCOL_ERRORS = (AuthlibBaseError, JoseError, httpx2.HTTPError, LookupError, RuntimeError, TypeError, ValueError)


class HubError(Exception):
    """Somebody could not be signed in by the Hub; the message is for the log."""


@dataclass(frozen=True)
class Hub:
    """The OpenID provider, and the client registered there."""

    url: str
    client_id: str
    client_secret: str = field(repr=False)
    host: str | None = None  # of the Space, which need not be what a request says

    def callback_url(self, base: str) -> str:
        """Where the Hub redirects to after consent; `base` is the base URL of a request."""
        return f"{f'https://{self.host}/' if self.host else base}login/callback"


@dataclass(frozen=True)
class Profile:
    """A person on the Hub, where names of people and of organisations share one namespace."""

    subject: str  # stays the same when the name changes
    name: str
    organisations: frozenset[str]

    @property
    def names(self) -> frozenset[str]:
        return self.organisations | {self.name}


def hub_of(environment: Mapping[str, str]) -> Hub | None:
    """The provider and client that a Space's environment names; None anywhere else."""
    names = ("OPENID_PROVIDER_URL", "OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET")
    url, client_id, client_secret = (environment.get(name, "") for name in names)
    if not (url and client_id and client_secret):
        return None
    host = environment.get("SPACE_HOST", "").split(",")[0].strip()  # with a domain of one's own there are two
    return Hub(url.rstrip("/"), client_id, client_secret, host=host or None)


class LoginSession:
    """Middleware: `request.session` of a login in progress, in a signed cookie; `Secure` where HTTPS is used."""

    def __init__(self, app: ASGIApp, hub: Hub) -> None:
        key = hashlib.sha256(f"{LOGIN_COOKIE} {hub.client_secret}".encode()).hexdigest()
        self._on_https = hub.host is not None
        self._by_security = {
            secure: SessionMiddleware(app, key, LOGIN_COOKIE, max_age=LOGIN_LASTS, https_only=secure)
            for secure in (False, True)
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        secure = self._on_https or is_secure(HTTPConnection(scope))
        await self._by_security[secure](scope, receive, send)


async def redirect_to_hub(hub: Hub, request: Request) -> Response:
    """Redirects to the Hub's consent page; state, nonce and verifier go into `request.session`. Raises HubError."""
    try:
        return await _client(hub).authorize_redirect(request, hub.callback_url(str(request.base_url)))
    except PROTOCOL_ERRORS as error:
        raise HubError(f"the Hub cannot be asked: {error}") from error


async def fetch_profile(hub: Hub, request: Request) -> Profile:
    """The profile of the person whom the Hub has redirected back with this request.

    Raises HubError where the state is not that of `request.session`, and for what the Hub refuses or answers wrongly.
    """
    client = _client(hub)
    try:
        token = await client.authorize_access_token(request)
        claims = await client.userinfo(token=token)
        if token["userinfo"]["sub"] != claims["sub"]:  # OpenID Connect Core 1.0, section 5.3.2
            raise HubError("the Hub's ID token and its userinfo are about different people")
    except PROTOCOL_ERRORS as error:
        raise HubError(f"the Hub did not say who that is: {error!r}"[:200]) from error
    return _profile(claims)


def _client(hub: Hub) -> StarletteOAuth2App:
    """A new client for each request, since one that is kept does not notice when the Hub's metadata or keys change."""
    return OAuth().register(
        "hub",
        client_id=hub.client_id,
        client_secret=hub.client_secret,
        server_metadata_url=hub.url + METADATA,
        client_kwargs={"scope": "openid profile", "code_challenge_method": "S256", "timeout": TIMEOUT},
    )


def _profile(claims: Mapping[str, Any]) -> Profile:
    subject, name = claims["sub"], claims.get("preferred_username")
    if not (isinstance(subject, str) and subject and isinstance(name, str) and name):
        raise HubError("the Hub names no subject or no user name")
    # An organisation's `name` is what it is shown as: anybody may choose that of another.
    listed = [entry.get("preferred_username") for entry in claims.get("orgs") or [] if isinstance(entry, dict)]
    organisations = frozenset(entry.lower() for entry in listed if isinstance(entry, str) and entry)
    return Profile(subject[:64], name.lower(), organisations)
