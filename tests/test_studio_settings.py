"""Settings: read once, wrong ones refused with a hint."""

import os
import pkgutil
import socket
import subprocess
import sys
from pathlib import Path

import gradio as gr
import pytest
import yaml
from thoroughness import few

import app
from annotations.errors import BackupError, DirectoryError, DiskFullError
from annotations.schema.project import Role
from annotations.store.store import open_store
from studio.auth.identity import Identity, identity_of, owner_name, require
from studio.settings import Mode, Settings, SettingsError, from_environment, of_space, read_settings, settings_from

CONFIG = Path(__file__).parent.parent / "spaces_config.yaml"


def test_the_shipped_file_says_the_defaults():
    assert read_settings(CONFIG) == Settings()


def test_the_readme_begins_with_the_card_of_the_space():
    card = (CONFIG.parent / "README.md").read_text("utf-8").split("---\n")[1]
    assert yaml.safe_load(card) == yaml.safe_load(CONFIG.read_text("utf-8"))["space"]


def test_an_unknown_key_names_the_nearest_one():
    with pytest.raises(SettingsError, match="“prot” is not a setting; did you mean “port”"):
        settings_from({"prot": 7860})


def test_an_unknown_section_is_refused(tmp_path: Path):
    (tmp_path / "c.yaml").write_text("studios:\n  port: 1\n", "utf-8")
    with pytest.raises(SettingsError, match="did you mean “studio”"):
        read_settings(tmp_path / "c.yaml")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"port": "seven"}, "port is 'seven'; wanted a whole number from 1 to 65535"),
        ({"port": True}, "wanted a whole number"),
        ({"rounds": 9}, "rounds is 9; wanted a whole number from 1 to 4"),
        ({"pace": -1}, "wanted a number from 0 to 20"),
        ({"mode": "open"}, "mode is 'open'; wanted one of: local, public"),
        ({"examples": "yes please"}, "examples is 'yes please'; wanted true or false"),
        ({"checkpoint": 3}, "checkpoint is 3; wanted text"),
        ({"published_contexts": "maybe"}, "published_contexts is 'maybe'; wanted true or false"),
        ({"root_path": "aha"}, "root_path is 'aha'; wanted a path such as /aha"),
        ({"root_path": "/aha/"}, "without a slash at its end"),
        ({"hosts": "https://a.example"}, "hosts has 'https://a.example'; wanted names such as"),
        ({"proxies": "10.0.0.0/8, nginx"}, "proxies has 'nginx' .*; wanted addresses such as 127.0.0.1"),
        ({"frame_ancestors": "example.org"}, "frame_ancestors has 'example.org'; wanted origins"),
        ({"max_upload": 0}, "max_upload is 0; wanted a whole number from 1 to"),
        ([1], "wanted lines such as"),
    ],
)
def test_a_value_of_the_wrong_kind_says_what_is_wanted(values, message: str):
    with pytest.raises(SettingsError, match=message):
        settings_from(values)


def test_texts_of_the_environment_win_over_the_file():
    settings = read_settings(CONFIG, {"port": "8000", "mode": "public", "data": None, "examples": "false"})
    assert (settings.port, settings.mode, settings.data, settings.examples) == (8000, Mode.PUBLIC, None, False)


@pytest.mark.parametrize(("given", "found"), [("true", True), ("false", False), ("null", None), ("", None)])
def test_the_contexts_of_drawings_are_set_by_the_environment(given: str, found: bool | None):
    outside = from_environment({"AHA_STUDIO_PUBLISHED_CONTEXTS": given})
    assert read_settings(CONFIG, outside).published_contexts is found
    with pytest.raises(SettingsError, match="published_contexts is 3; wanted true or false"):
        read_settings(CONFIG, from_environment({"AHA_STUDIO_PUBLISHED_CONTEXTS": "3"}))


def test_a_webhook_is_an_address_and_a_secret_that_only_the_environment_has(tmp_path: Path):
    outside = {"AHA_STUDIO_WEBHOOK": "https://example.org/told", "AHA_STUDIO_WEBHOOK_SECRET": "topsecret", "PATH": "/"}
    settings = read_settings(CONFIG, from_environment(outside))
    assert (settings.hook.url, settings.hook.secret) == ("https://example.org/told", "topsecret")
    assert "topsecret" not in repr(settings)
    assert Settings().hook is None
    with pytest.raises(SettingsError, match="AHA_STUDIO_WEBHOOK_SECRET"):
        _ = Settings(webhook="https://example.org").hook
    with pytest.raises(SettingsError, match="wanted an address"):
        _ = Settings(webhook="example.org", webhook_secret="s").hook
    (tmp_path / "c.yaml").write_text("studio:\n  webhook_secret: s\n", "utf-8")
    with pytest.raises(SettingsError, match="others may read"):
        read_settings(tmp_path / "c.yaml")


def test_a_file_that_is_not_yaml_is_one_clear_error(tmp_path: Path):
    (tmp_path / "c.yaml").write_text("studio: [", "utf-8")
    with pytest.raises(SettingsError, match="cannot be read"):
        read_settings(tmp_path / "c.yaml")


def test_only_mode_public_listens_to_other_machines():
    assert Settings().host == "127.0.0.1"
    assert Settings(mode=Mode.PUBLIC).host == "0.0.0.0"


def test_visitors_are_refused_and_share_one_name(tmp_path):
    public, request = Settings(mode=Mode.PUBLIC), gr.Request(username="eve")
    with open_store(tmp_path) as store:
        with pytest.raises(gr.Error, match="not open to visitors"):
            require(Role.ANNOTATOR, request, public, store)
        assert identity_of(request, public, store) == Identity("visitor", Role.VISITOR)
    assert owner_name(public) == "visitor"


def test_the_person_at_the_machine_has_the_name_of_the_settings_and_may_do_everything(tmp_path):
    with open_store(tmp_path) as store:
        assert identity_of(gr.Request(), Settings(annotator="ada"), store) == Identity("ada", Role.ADMIN)


def test_on_a_space_what_is_not_set_follows_from_how_spaces_are_reached():
    environment = {"SPACE_HOST": "ada-studio.hf.space,studio.example.org"}
    there = of_space(Settings(hosts="other.example"), environment)
    assert there.listed("hosts") == ["other.example"] and there.proxies == "private"
    assert of_space(Settings(), environment).listed("hosts") == ["ada-studio.hf.space", "studio.example.org"]
    assert "https://huggingface.co" in there.listed("frame_ancestors")
    assert there.mode is Mode.PUBLIC
    assert of_space(Settings(), environment | {"AHA_STUDIO_MODE": "local"}).mode is Mode.LOCAL
    assert of_space(Settings(), {}) == Settings()


WRONG = {
    "MODE": ("open", "mode is 'open'; wanted one of: local, public"),
    "PORT": ("0", "port is 0; wanted a whole number"),
    "ROOT_PATH": ("aha", "root_path is 'aha'"),
    "WEBHOOK": ("https://example.org", "AHA_STUDIO_WEBHOOK_SECRET"),
    "PROXIES": ("here", "proxies has 'here'"),
}
WATCHED = """
import atexit, sys
atexit.register(lambda: print("imported:", *({"torch", "transformers", "gradio"} & set(sys.modules))))
import runpy
sys.argv = ["app.py"]
runpy.run_path("app.py", run_name="__main__")
"""


@pytest.mark.parametrize("name", few(WRONG, 0, 3))
def test_a_wrong_setting_is_told_before_anything_heavy_is_imported(name: str):
    value, message = WRONG[name]
    environment = dict(os.environ) | {f"AHA_STUDIO_{name}": value}
    ended = subprocess.run(
        [sys.executable, "-c", WATCHED], cwd=CONFIG.parent, env=environment, capture_output=True, text=True
    )
    assert ended.returncode == 1 and message in ended.stderr and "Traceback" not in ended.stderr
    assert ended.stdout.strip() == "imported:"


def test_what_is_being_started_is_said_before_anything_heavy_is_imported():
    told = WATCHED.replace(
        'runpy.run_path("app.py", run_name="__main__")', 'import app; app.STUDIO = "sys:exit"; app.main()'
    )
    ended = subprocess.run([sys.executable, "-c", told], cwd=CONFIG.parent, capture_output=True, text=True)
    assert ended.stdout.splitlines() == [
        "Aha Studio is starting: libraries, then embedded, sft, painter …",
        "imported:",
    ]


@pytest.mark.parametrize("error", [SettingsError, DirectoryError, BackupError, DiskFullError])
def test_what_cannot_be_started_with_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch, error: type[Exception]):
    def serve(settings: Settings) -> None:
        raise error("no room; make some")

    monkeypatch.setattr(sys, "argv", ["app.py"])
    monkeypatch.setattr(Settings, "check", lambda settings: None)
    monkeypatch.setattr(pkgutil, "resolve_name", lambda name: serve)
    with pytest.raises(SystemExit) as ended:
        app.main()
    assert ended.value.code == "Aha Studio cannot start: no room; make some"


def test_a_port_that_is_taken_is_told_before_anything_heavy_is_imported():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(SettingsError, match="cannot be opened .* choose another with AHA_STUDIO_PORT"):
            Settings(port=taken.getsockname()[1]).check()
