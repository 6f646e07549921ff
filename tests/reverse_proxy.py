"""Reverse proxies for tests: what the blocks in studio/README.md say, and two programs that do it."""

import asyncio
import os
import pwd
import re
import shutil
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import uvicorn
from running_app import free_port
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

README = Path(__file__).parent.parent / "studio" / "README.md"
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
OF_ONE_CONNECTION = ("connection", "keep-alive", "transfer-encoding", "te", "upgrade")
BY_CADDY = {  # what its reverse_proxy sends by itself: https://caddyserver.com/docs/caddyfile/directives/reverse_proxy
    "Host": "$http_host",
    "X-Forwarded-Host": "$http_host",
    "X-Forwarded-For": "$remote_addr",
    "X-Forwarded-Proto": "$scheme",
}
MB = {"m": 2**20, "MB": 10**6}
SECONDS = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True)
class Block:
    """What a block says."""

    text: str
    name: str  # of the host
    prefix: str
    upstream: str  # host:port
    headers: dict[str, str]
    largest: int  # bytes of a request
    patience: int  # s
    buffers: bool


def blocks() -> dict[str, Block]:
    """Those in the README, by the name of their program."""
    text = README.read_text("utf-8")
    found = dict(re.findall(r"^```(nginx|caddy)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))
    return {"nginx": _of_nginx(found["nginx"]), "caddy": _of_caddy(found["caddy"])}


def _of_nginx(text: str) -> Block:
    bare = re.sub(r"#.*", "", text)

    def one(pattern: str) -> str:
        (value,) = re.findall(pattern, bare)
        return value

    headers = dict(re.findall(r"proxy_set_header\s+(\S+)\s+(\S+);", bare))
    return Block(
        text,
        one(r"server_name\s+(\S+);"),
        one(r"location\s+(\S+)\s*{"),
        one(r"proxy_pass\s+http://([^/;\s]+);"),  # without a path
        {name: value.strip('"') for name, value in headers.items()},
        int(one(r"client_max_body_size\s+(\d+)m;")) * MB["m"],
        _seconds(one(r"proxy_read_timeout\s+(\w+);")),
        one(r"proxy_buffering\s+(\w+);") == "on",
    )


def _of_caddy(text: str) -> Block:
    def one(pattern: str) -> str:
        (value,) = re.findall(pattern, text, re.MULTILINE)
        return value

    return Block(
        text,
        one(r"^(\S+) {$"),
        one(r"handle\s+(\S+)\*\s*{"),
        one(r"reverse_proxy\s+(\S+)\s*{"),
        BY_CADDY | dict(re.findall(r"header_up\s+(\S+)\s+(\S+)", text)),
        int(one(r"max_size\s+(\d+)MB")) * MB["MB"],
        _seconds(one(r"read_timeout\s+(\w+)")),
        one(r"flush_interval\s+(\S+)") != "-1",
    )


def _seconds(text: str) -> int:
    return int(text[:-1]) * SECONDS[text[-1]]


@dataclass(frozen=True)
class Certificate:
    """Self-signed."""

    certificate: Path
    key: Path


def certificate(folder: Path, name: str) -> Certificate:
    made = Certificate(folder / "certificate.pem", folder / "key.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", f"/CN={name}"]
        + ["-keyout", str(made.key), "-out", str(made.certificate)],
        check=True,
        capture_output=True,
    )
    return made


@contextmanager
def nginx(block: Block, upstream: int, identity: Certificate, folder: Path) -> Iterator[int]:
    """The program itself, with the block as it is but for ports and files; the port it listens on."""
    port = free_port()
    server = block.text.replace(block.upstream, f"127.0.0.1:{upstream}").replace(
        "listen 443", f"listen 127.0.0.1:{port}"
    )
    server = re.sub(r"(ssl_certificate\s+)\S+;", rf"\g<1>{identity.certificate};", server)
    server = re.sub(r"(ssl_certificate_key\s+)\S+;", rf"\g<1>{identity.key};", server)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    own = "".join(f"{kind}_temp_path {folder / kind};\n" for kind in kinds)
    user = f"user {pwd.getpwuid(0).pw_name};\n" if os.geteuid() == 0 else ""
    config = folder / "nginx.conf"
    config.write_text(
        f"{user}daemon off;\npid {folder / 'pid'};\nerror_log {folder / 'error.log'};\nevents {{}}\n"
        f"http {{\naccess_log off;\n{own}{server}}}\n"
    )
    process = subprocess.Popen([NGINX, "-p", str(folder), "-c", str(config)], stderr=subprocess.PIPE)
    try:
        _wait_for(port)
        yield port
    finally:
        process.terminate()
        process.communicate(timeout=20)


@contextmanager
def forwarding(block: Block, upstream: int, identity: Certificate) -> Iterator[int]:
    """A proxy in this process that does what a block says; the port it listens on."""
    port, client = free_port(), httpx2.AsyncClient(base_url=f"http://127.0.0.1:{upstream}", timeout=60, trust_env=False)

    async def forward(request: Request) -> Response:
        if not request.url.path.startswith(block.prefix):
            return PlainTextResponse("nothing here", 404)
        if int(request.headers.get("content-length", 0)) > block.largest:
            return PlainTextResponse("too large", 413)
        target = request.scope["raw_path"] + (b"?" + request.scope["query_string"]).rstrip(b"?")
        asked = client.build_request(
            request.method,
            httpx2.URL(scheme="http", host="127.0.0.1", port=upstream, raw_path=target),
            headers=_headers(block, request),
            content=request.stream() if request.method == "POST" else None,
        )
        answer = await client.send(asked, stream=True)
        sent = StreamingResponse(_parts(answer), answer.status_code, background=BackgroundTask(answer.aclose))
        sent.raw_headers = [pair for pair in answer.headers.raw if pair[0].lower().decode() not in OF_ONE_CONNECTION]
        return sent

    routes = [Route("/{path:path}", forward, methods=["GET", "HEAD", "POST", "OPTIONS"])]
    config = uvicorn.Config(
        Starlette(routes=routes),
        port=port,
        log_level="error",
        ssl_keyfile=identity.key,
        ssl_certfile=identity.certificate,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    _wait_for(port)
    yield port
    server.should_exit = True
    thread.join(20)


async def _parts(answer: httpx2.Response) -> AsyncIterator[bytes]:
    async for part in answer.aiter_raw():
        yield part


def _headers(block: Block, request: Request) -> list[tuple[str, str]]:
    address, before = request.client.host, request.headers.get("x-forwarded-for")
    known = {
        "$http_host": request.headers["host"],
        "$scheme": request.url.scheme,
        "$remote_addr": address,
        "$proxy_add_x_forwarded_for": f"{before}, {address}" if before else address,
    }
    its = {name.lower(): known.get(value, value) for name, value in block.headers.items()}
    kept = [(n, v) for n, v in request.headers.items() if n not in its and n not in OF_ONE_CONNECTION]
    return kept + [(name, value) for name, value in its.items() if value]


def _wait_for(port: int) -> None:
    until = time.monotonic() + 20
    while True:
        try:
            httpx2.get(f"https://127.0.0.1:{port}/", verify=False, timeout=5, trust_env=False)
            return
        except httpx2.TransportError:
            assert time.monotonic() < until, "the proxy did not start"
            time.sleep(0.1)
