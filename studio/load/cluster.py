"""Several studios with one PostgreSQL database and shared pictures behind nginx, below a path.

What a load knows as one server: its address is the proxy's, a kill ends one studio while the others go on.
"""

import asyncio
import os
import pwd
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from annotations.pictures.storage import FOLDER
from studio.http.nginx import site
from studio.load.server import Server, free_port
from studio.settings import Mode

NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
ROOT_PATH = "/aha"
STARTING = 20  # seconds that nginx may take
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")  # folders that nginx makes


@dataclass
class Cluster:
    """`count` studios, each with a data folder of its own. Raises RuntimeError where there is no nginx."""

    folder: Path
    database: str
    count: int = 2
    mode: Mode = Mode.PUBLIC
    up: asyncio.Event = field(default_factory=asyncio.Event)  # set while any of them answers
    servers: list[Server] = field(default_factory=list)
    _port: int = 0
    _killed: int = 0  # how often
    _proxy: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}{ROOT_PATH}"

    async def __aenter__(self) -> "Cluster":
        if NGINX is None:
            raise RuntimeError("nginx is not installed (Debian: apt-get install nginx-light)")
        options = {"root_path": ROOT_PATH, "proxies": "127.0.0.1", "pictures": str(self.folder / FOLDER)}
        for number in range(self.count):
            own = self.folder / f"studio-{number}"
            own.mkdir(exist_ok=True)
            self.servers.append(Server(own, self.mode, self.database, options=options))
        try:
            await asyncio.gather(*(server.start() for server in self.servers))
            await self._start_proxy()
        except BaseException:
            await self.__aexit__()
            raise
        self.up.set()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._proxy is not None:
            self._proxy.terminate()
            self._proxy.wait(STARTING)
        for server in self.servers:
            server.end()

    def kill(self) -> None:
        """SIGKILL to one studio, each time to the next; the others go on."""
        self.servers[self._killed % self.count].kill()
        self._killed += 1

    async def start(self) -> float:
        """Start the studio that was killed last again; the seconds until it answered."""
        return await self.servers[(self._killed - 1) % self.count].start()

    async def _start_proxy(self) -> None:
        folder, self._port = self.folder / "nginx", free_port()
        folder.mkdir(exist_ok=True)
        studios = [server.url.removeprefix("http://") for server in self.servers]
        user = f"user {pwd.getpwuid(0).pw_name};\n" if os.geteuid() == 0 else ""
        own = "".join(f"{kind}_temp_path {folder / kind};\n" for kind in TEMPORARY)
        config = folder / "nginx.conf"
        config.write_text(
            f"{user}daemon off;\nworker_processes 1;\npid {folder / 'pid'};\nerror_log {folder / 'error.log'};\n"
            f"events {{ worker_connections 4096; }}\nhttp {{\naccess_log off;\n{own}"
            f"{site(studios, root_path=ROOT_PATH, listen=f'127.0.0.1:{self._port}')}}}\n"
        )
        self._proxy = subprocess.Popen([NGINX, "-p", str(folder), "-c", str(config)], stderr=subprocess.PIPE)
        until = time.monotonic() + STARTING
        async with httpx2.AsyncClient(base_url=self.url) as client:
            while time.monotonic() < until and self._proxy.poll() is None:
                try:
                    (await client.get("/config")).raise_for_status()
                    return
                except httpx2.HTTPError:
                    await asyncio.sleep(0.1)
        error = self._proxy.communicate()[1] if self._proxy.poll() is not None else b"it does not answer"
        raise RuntimeError(f"nginx did not start: {error.decode(errors='replace')[-500:]}")


Studio = Server | Cluster
