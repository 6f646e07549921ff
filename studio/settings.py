"""Settings of a deployment, from spaces_config.yaml and the environment.

Knows the file's keys and the environment variables that override them; it is given the environment and opens nothing.
An unknown key or a value of the wrong kind is an error that says what was probably meant, or what is wanted.
"""

import difflib
import ipaddress
import re
import socket
from collections.abc import Mapping, Set
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml

from annotations.ops.webhooks import Webhook
from annotations.schema.project import Role

SECTIONS = ("space", "studio")
FROM_OUTSIDE = (  # settings that may be set by AHA_STUDIO_MODE and so on
    *("mode", "data", "database", "pictures", "checkpoint", "device", "dtype", "backup", "examples", "port"),
    *("published_contexts", "webhook", "webhook_secret", "annotators", "reviewers", "admins"),
    *("hosts", "proxies", "frame_ancestors", "root_path", "max_upload", "limits"),
    "visitors_teach",
    "visitors_see_results",
)
LISTS = ("hosts", "proxies", "frame_ancestors", "annotators", "reviewers", "admins")  # texts with commas between
OF_HUB = {"annotators": Role.ANNOTATOR, "reviewers": Role.REVIEWER, "admins": Role.ADMIN}


PRIVATE = "private"  # among `proxies`: every address that is no public one
HOST = re.compile(r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?|\[[0-9a-f:.]+\]")  # a name or an address, without a port
ANCESTOR = re.compile(r"https?://(\*\.)?[a-z0-9.-]+(:\d+)?|none")
ROOT_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)+")


class SettingsError(Exception):
    """An unknown or impossible setting; the message says which, and what would be possible."""


class Mode(StrEnum):
    """Who may do what."""

    LOCAL = "local"  # the person at this machine may do everything; nobody else can connect
    PUBLIC = "public"  # anybody may connect, and draw and look


@dataclass(frozen=True)
class Settings:
    """The `studio:` section of spaces_config.yaml."""

    mode: Mode = Mode.LOCAL
    checkpoint: str = "embedded, sft, painter"  # or a folder, or a Hub id; several, with commas between, to choose from
    device: str | None = None  # where it draws: cpu, cuda, cuda:1, mps, or auto; None is the first GPU, if there is one
    dtype: str | None = None  # of the weights; None is float32 on a CPU, bfloat16 elsewhere
    published_contexts: bool | None = None  # as Janus-Pro-R1's code draws; None: where a checkpoint is in its layout
    data: str | None = None  # folder of the database; None is the user's data folder
    database: str | None = None  # address of a PostgreSQL database; None is SQLite in that folder
    pictures: str | None = None  # folder or URL (s3://…) of the pictures; None is in the data folder
    backup: str | None = None  # folder, or hf://datasets/NAME/REPOSITORY, for backups every ten minutes
    examples: bool = True  # put recorded examples into an empty database
    port: int = 7860
    rounds: int = 3  # images at most, where the slider starts
    pace: float = 1.0  # speed of replays; 0 shows them at once
    annotator: str = "me"  # name of the person at the machine, in mode local
    webhook: str | None = None  # address that is told of every submit and decision
    annotators: str | None = None  # who of the Hub may annotate: people and organisations, with commas between
    reviewers: str | None = None  # and who may review
    admins: str | None = None
    hosts: str | None = (
        None  # names that it answers to, with commas between; None: any in mode public, else this machine
    )
    proxies: str | None = None  # addresses and networks whose X-Forwarded-… headers are believed; None: nobody's
    frame_ancestors: str | None = None  # origins whose pages may show the studio in a frame; None: its own only
    root_path: str | None = None  # the path below which a proxy offers it, such as /aha
    max_upload: int = 2000  # MB of a file that somebody who has signed in sends; visitors may send 64
    visitors_teach: bool = False  # whether visitors may teach the model, each for their own page
    visitors_see_results: bool = False  # whether visitors see what guests see: projects, items, results
    limits: bool = True  # of what visitors may ask for; False where a proxy counts already
    webhook_secret: str | None = field(default=None, repr=False)  # signs what is sent there; never in the file

    @property
    def checkpoints(self) -> list[str]:
        return [name.strip() for name in self.checkpoint.split(",") if name.strip()]

    @property
    def host(self) -> str:
        return "127.0.0.1" if self.mode is Mode.LOCAL else "0.0.0.0"

    @property
    def hook(self) -> Webhook | None:
        """The webhook that is told of submissions. Raises SettingsError for an invalid address or a missing secret."""
        if self.webhook is None:
            return None
        if self.webhook_secret is None:
            raise SettingsError("webhook needs a secret to sign with; set AHA_STUDIO_WEBHOOK_SECRET")
        try:
            return Webhook(self.webhook, self.webhook_secret)
        except ValueError as error:
            raise SettingsError(str(error)) from error

    @property
    def names_people_of_hub(self) -> bool:
        return any(self.listed(name) for name in OF_HUB)

    def role_on_hub(self, names: Set[str]) -> Role | None:
        """The highest role of somebody who has one of these names on the Hub: their own and their organisations'."""
        roles = [role for name, role in OF_HUB.items() if {name.lower() for name in names} & set(self.listed(name))]
        return roles[-1] if roles else None

    def listed(self, name: str) -> list[str]:
        """The parts of a comma-separated setting, in lower case."""
        return [entry.strip().lower() for entry in (getattr(self, name) or "").split(",") if entry.strip()]

    def check(self) -> None:
        """Find what can be known to be wrong before anything is opened. Raises SettingsError."""
        _ = self.hook
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", self.port))
            except OSError as error:
                raise SettingsError(
                    f"port {self.port} cannot be opened ({error.strerror}); choose another with AHA_STUDIO_PORT"
                ) from error


def from_environment(environment: Mapping[str, str]) -> dict[str, str | None]:
    """What the environment says of settings, for `read_settings`."""
    return {name: environment.get(f"AHA_STUDIO_{name.upper()}") for name in FROM_OUTSIDE}


def of_space(settings: Settings, environment: Mapping[str, str]) -> Settings:
    """On a Hugging Face Space, what is not set follows from how Spaces are reached: by the names in SPACE_HOST, through
    proxies in private networks, in a frame on the Hub's page. The mode is public unless the environment names one: a
    studio that listens on loopback only is not reached there.
    """
    if not (names := environment.get("SPACE_HOST", "").strip()):
        return settings
    known = {"hosts": names, "proxies": PRIVATE, "frame_ancestors": "https://huggingface.co, https://*.hf.space"}
    unset = {name: value for name, value in known.items() if getattr(settings, name) is None}
    return replace(settings, mode=settings.mode if environment.get("AHA_STUDIO_MODE") else Mode.PUBLIC, **unset)


def read_settings(path: Path, overrides: Mapping[str, str | None] | None = None) -> Settings:
    """The settings in the file; `overrides` are texts (of environment variables) that win. Raises SettingsError."""
    try:
        sections = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from error
    sections = {} if sections is None else sections
    if not isinstance(sections, dict):
        raise SettingsError(f"{path} holds no sections; wanted {' and '.join(SECTIONS)}")
    for name in sections:
        _check_known(name, SECTIONS, f"a section of {path.name}")
    section = sections.get("studio") or {}
    if isinstance(section, Mapping) and "webhook_secret" in section:
        raise SettingsError(
            f"{path.name} has webhook_secret, which others may read there; set AHA_STUDIO_WEBHOOK_SECRET"
        )
    settings = settings_from(section)
    read = {each.name for each in fields(Settings) if each.type in (int, bool, bool | None)}  # which are no texts
    values = {name: yaml.safe_load(text) if name in read else text for name, text in (overrides or {}).items() if text}
    return settings_from(values, settings)


def settings_from(values: Any, base: Settings | None = None) -> Settings:
    """`base`, or the defaults, with these values. Raises SettingsError."""
    if not isinstance(values, Mapping):
        raise SettingsError(f"section studio is {values!r}; wanted lines such as “port: 7860”")
    known = [field.name for field in fields(Settings)]
    for name in values:
        _check_known(name, known, "a setting")
    return replace(base or Settings(), **{name: _checked(name, value) for name, value in values.items()})


def _check_known(name: Any, known: list[str] | tuple[str, ...], what: str) -> None:
    if name not in known:
        near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
        hint = f"did you mean “{near[0]}”?" if near else f"there are: {', '.join(known)}"
        raise SettingsError(f"“{name}” is not {what}; {hint}")


def _checked(name: str, value: Any) -> Any:
    optional = {each.name for each in fields(Settings) if each.default is None}
    match name:
        case "mode":
            if value not in list(Mode):
                raise SettingsError(f"mode is {value!r}; wanted one of: {', '.join(Mode)}")
            return Mode(value)
        case "port":
            return _number(name, value, int, 1, 65535)
        case "rounds":
            return _number(name, value, int, 1, 4)
        case "pace":
            return float(_number(name, value, int | float, 0, 20))
        case "examples" | "limits" | "published_contexts" | "visitors_teach" | "visitors_see_results":
            if not isinstance(value, bool) and not (value is None and name in optional):
                raise SettingsError(f"{name} is {value!r}; wanted true or false")
            return value
        case "max_upload":
            return _number(name, value, int, 1, 100_000)
        case name if name in LISTS and isinstance(value, list):
            value = ", ".join(str(entry) for entry in value)
        case name if value is None and name in optional:
            return None
    if not isinstance(value, str) or not value.strip(" ,"):
        raise SettingsError(f"{name} is {value!r}; wanted text")
    _check_web(name, value)
    return value


def _check_web(name: str, value: str) -> None:
    """How the studio is reached. Raises SettingsError."""
    parts = [part.strip().lower() for part in value.split(",") if part.strip()]
    match name:
        case "root_path" if not ROOT_PATH.fullmatch(value):
            raise SettingsError(f"root_path is {value!r}; wanted a path such as /aha, without a slash at its end")
        case "hosts" if wrong := [part for part in parts if not HOST.fullmatch(part)]:
            raise SettingsError(
                f"hosts has {wrong[0]!r}; wanted names such as studio.example.org, without https:// and port"
            )
        case "frame_ancestors" if wrong := [part for part in parts if not ANCESTOR.fullmatch(part)]:
            raise SettingsError(
                f"frame_ancestors has {wrong[0]!r}; wanted origins such as https://example.org, or none"
            )
        case "proxies":
            for part in parts:
                try:
                    _ = part == PRIVATE or ipaddress.ip_network(part)
                except ValueError as error:
                    raise SettingsError(
                        f"proxies has {part!r} ({error}); wanted addresses such as 127.0.0.1, networks such as "
                        f"10.0.0.0/8, or {PRIVATE}"
                    ) from error


def _number(name: str, value: Any, kind: Any, least: int, most: int) -> Any:
    if isinstance(value, bool) or not isinstance(value, kind) or not least <= value <= most:
        whole = "a whole number" if kind is int else "a number"
        raise SettingsError(f"{name} is {value!r}; wanted {whole} from {least} to {most}")
    return value
