"""A provider of OpenID Connect on this machine, for tests: it speaks the Hub's protocol and is as strict as it says.

Registered is one client; whoever comes is signed in as `user` at once, or declines. A code is good once, for the same
client, address and verifier; a token for one question. ID tokens are signed by a key that it publishes.
"""

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT, SECRET = "the-space", "the-space's-secret"


@dataclass
class Provider:
    """What it knows, and who comes."""

    url: str = ""
    redirects: set[str] = field(default_factory=set)  # addresses that it sends people back to
    user: dict[str, Any] | None = None  # None declines
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    tokens: dict[str, dict[str, Any]] = field(default_factory=dict)
    broken: bool = False
    published: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "1"}))
    signing: RSAKey | None = None  # another key than the published one
    claims: dict[str, Any] = field(default_factory=dict)  # of ID tokens, in place of the right ones

    @property
    def environment(self) -> dict[str, str]:
        """What Spaces hand over."""
        return {"OPENID_PROVIDER_URL": self.url, "OAUTH_CLIENT_ID": CLIENT, "OAUTH_CLIENT_SECRET": SECRET}

    def authorize(self, asked: dict[str, str]) -> str:
        """Where the browser goes. Raises ValueError for what no client may ask."""
        if asked.get("client_id") != CLIENT or asked.get("redirect_uri") not in self.redirects:
            raise ValueError("unknown client or address")
        if asked.get("response_type") != "code" or asked.get("code_challenge_method") != "S256":
            raise ValueError("wants a code, and S256")
        if not {"openid", "profile"} <= set(asked.get("scope", "").split()):
            raise ValueError("wants openid and profile")
        answer = {"state": asked["state"]}
        if self.user is None:
            answer["error"] = "access_denied"
        else:
            answer["code"] = secrets.token_urlsafe(12)
            self.codes[answer["code"]] = asked
        return f"{asked['redirect_uri']}?{urlencode(answer)}"

    def token(self, given: dict[str, str], authorization: str) -> dict[str, Any]:
        """A token for a code. Raises ValueError."""
        if authorization != "Basic " + base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode():
            raise ValueError("wrong client or secret")
        asked = self.codes.pop(given.get("code", ""), None)
        if asked is None or given.get("grant_type") != "authorization_code":
            raise ValueError("no such code")
        digest = hashlib.sha256(given.get("code_verifier", "").encode()).digest()
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != asked["code_challenge"]:
            raise ValueError("wrong verifier")
        if given.get("redirect_uri") != asked["redirect_uri"]:
            raise ValueError("another address")
        token = secrets.token_urlsafe(12)
        self.tokens[token] = dict(self.user or {})
        answer = {"access_token": token, "token_type": "bearer", "expires_in": 3600}
        return answer | {"id_token": self.id_token(asked["nonce"])}

    def id_token(self, nonce: str) -> str:
        now = int(time.time())
        claims = {"iss": self.url, "aud": CLIENT, "nonce": nonce, "iat": now, "exp": now + 600}
        claims |= {"sub": (self.user or {}).get("sub")} | self.claims
        return jwt.encode({"alg": "RS256", "kid": "1"}, claims, self.signing or self.published)

    def metadata(self) -> dict[str, Any]:
        endpoints = {f"{name}_endpoint": f"{self.url}/oauth/{name}" for name in ("token", "userinfo")}
        endpoints["authorization_endpoint"] = f"{self.url}/oauth/authorize"
        return {"issuer": self.url, "jwks_uri": f"{self.url}/oauth/jwks"} | endpoints


@contextmanager
def providing(provider: Provider) -> Iterator[Provider]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            address = urlsplit(self.path)
            asked = {name: values[0] for name, values in parse_qs(address.query).items()}
            if provider.broken:
                return self._answer(503, {})
            match address.path:
                case "/.well-known/openid-configuration":
                    return self._answer(200, provider.metadata())
                case "/oauth/jwks":
                    return self._answer(200, {"keys": [provider.published.as_dict(private=False)]})
                case "/oauth/authorize":
                    try:
                        there = provider.authorize(asked)
                    except ValueError as error:
                        return self._answer(400, {"error": str(error)})
                    return self._answer(302, {}, Location=there)
                case "/oauth/userinfo":
                    token = self.headers.get("Authorization", "").removeprefix("Bearer ")
                    told = provider.tokens.pop(token, None)
                    return self._answer(401, {}) if told is None else self._answer(200, told)
            return self._answer(404, {})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            given = {name: values[0] for name, values in parse_qs(body).items()}
            try:
                self._answer(200, provider.token(given, self.headers.get("Authorization", "")))
            except ValueError as error:
                self._answer(400, {"error": str(error)})

        def _answer(self, status: int, told: dict[str, Any], **headers: str) -> None:
            body = json.dumps(told).encode()
            self.send_response(status)
            for name, value in (headers | {"Content-Length": str(len(body))}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    provider.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
