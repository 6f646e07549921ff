"""Client address, scheme and host of a request; forwarded headers of trusted proxies only.

Knows ASGI scopes. Gradio and uvicorn read the `X-Forwarded-…` headers of anybody; `ForwardedHeaders` removes them.
"""

import hmac
import ipaddress
import re
import secrets
from collections.abc import Iterable
from hashlib import sha256

from starlette.types import ASGIApp, Receive, Scope, Send

from studio.settings import PRIVATE, Mode, Settings

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

PROXY_HEADERS = (b"forwarded", b"x-real-ip", b"x-gradio-server", b"x-original-url", b"x-rewrite-url")
VOUCHER_HEADER = b"x-aha-address"  # where a request comes from that the studio sends to itself, for a tool of MCP
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
NETWORK = 64  # bits of an IPv6 address: one household or machine has all addresses that share them
HOST = re.compile(r"(?P<name>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]{1,253})(:(?P<port>\d{1,5}))?")


class ForwardedHeaders:
    """Sets client, scheme, host and path of each request to what the browser used, and removes proxies' headers."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._trusted = TrustedProxies(settings.listed("proxies"))
        self._root = settings.root_path or ""
        self._key = secrets.token_bytes(32)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            scope = self._resolved(scope)
        await self._app(scope, receive, send)

    def _resolved(self, scope: Scope) -> Scope:
        headers = [(name.lower(), value) for name, value in scope["headers"]]
        peer = (scope.get("client") or ("", 0))[0]
        resolved: Scope = {**scope, "headers": [pair for pair in headers if not _is_proxy_header(pair[0])]}
        forwarded = {name: value.decode("latin-1") for name, value in headers if name.startswith(b"x-forwarded-")}
        resolved["state"] = dict(
            scope.get("state") or {}, said_https=_last(forwarded.get(b"x-forwarded-proto")) == "https"
        )
        if (vouched_address := self._vouched_for(headers)) is not None:
            resolved["client"] = (vouched_address, 0)
        elif peer in self._trusted:
            hops = ",".join(v.decode("latin-1") for n, v in headers if n == b"x-forwarded-for").split(",")
            resolved["client"] = (self._trusted.client_address(hops) or peer, 0)
            if (scheme := _last(forwarded.get(b"x-forwarded-proto"))) in ("http", "https"):
                resolved["scheme"] = scheme
            if host := _last(forwarded.get(b"x-forwarded-host")):
                rest = [pair for pair in resolved["headers"] if pair[0] != b"host"]
                resolved["headers"] = [*rest, (b"host", host.encode("latin-1"))]
        resolved["path"] = self._below_root(scope["path"])
        if resolved["path"].startswith(f"{self._root}/gradio_api/mcp"):
            resolved["headers"].append(
                (VOUCHER_HEADER, self._voucher(resolved["client"][0] if resolved.get("client") else ""))
            )
        return resolved

    def _below_root(self, path: str) -> str:
        """The path with that of the root before it, as ASGI wants it, whether a proxy has cut that off or not."""
        if not self._root or path == self._root or path.startswith(f"{self._root}/"):
            return path
        return self._root + path

    def _voucher(self, address: str) -> bytes:
        return f"{address} {hmac.new(self._key, address.encode(), sha256).hexdigest()}".encode()

    def _vouched_for(self, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
        """The address in a request of the studio to itself; nobody else can sign one."""
        value = next((value for name, value in headers if name == VOUCHER_HEADER), b"")
        address = value.partition(b" ")[0].decode("latin-1")
        return address if value and hmac.compare_digest(value, self._voucher(address)) else None


class TrustedProxies:
    """Addresses and networks of reverse proxies."""

    def __init__(self, names: Iterable[str]) -> None:
        names = list(names)
        self._private = PRIVATE in names
        self._networks = [ipaddress.ip_network(name) for name in names if name != PRIVATE]

    def __contains__(self, name: str) -> bool:
        address = parse_address(name)
        if address is None:
            return False
        if self._private and not address.is_global:
            return True
        return any(address in network for network in self._networks)

    def client_address(self, hops: Iterable[str]) -> str | None:
        """Of the addresses that each proxy added at the end, the last that is no trusted proxy."""
        known = [str(address) for hop in hops if (address := parse_address(hop.strip())) is not None]
        return next((hop for hop in reversed(known) if hop not in self), known[0] if known else None)


def parse_address(name: str) -> Address | None:
    """An address, without its port and zone; IPv4 within IPv6 as IPv4."""
    if name.startswith("["):
        name = name[1:].partition("]")[0]
    elif name.count(":") == 1:
        name = name.partition(":")[0]
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def rate_limit_key(name: str) -> str:
    """The key under which rate limits count an address: of an IPv6 address its /64 network."""
    address = parse_address(name)
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, NETWORK), strict=False))
    return str(address) if address is not None else name[:64]


def is_allowed(host: str, settings: Settings) -> bool:
    """Whether a Host header names this studio. Addresses always do, off this machine: only names can be rebound."""
    match = HOST.fullmatch(host)
    if match is None:
        return False
    name = match["name"].lower().rstrip(".")
    if name in LOOPBACK or (address := parse_address(name)) is not None and address.is_loopback:
        return True
    allowed = settings.listed("hosts")
    if settings.mode is not Mode.LOCAL and (not allowed or parse_address(name) is not None):
        return True
    return any(name == pattern or pattern.startswith("*.") and name.endswith(pattern[1:]) for pattern in allowed)


def _is_proxy_header(name: bytes) -> bool:
    return name.startswith(b"x-forwarded-") or name in PROXY_HEADERS or name == VOUCHER_HEADER


def _last(value: str | None) -> str:
    """The value added by the nearest proxy, the last of a comma-separated list."""
    return (value or "").rpartition(",")[2].strip().lower()
