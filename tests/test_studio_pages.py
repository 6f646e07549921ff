"""The whole site: which pages there are in which mode, and what the server may do."""

from pathlib import Path

import pytest

from annotations.store.store import Store, open_store
from model.backends.janus import Janus
from model.decoding.janus_backend import JanusBackend
from studio.components.forms.sheet import SCRIPTS
from studio.inference.checkpoints import Checkpoints
from studio.inference.generator import Generator
from studio.inference.request_queue import AT_ONCE, MOST_WAITING
from studio.pages import build
from studio.settings import Mode, Settings
from studio.theme import ASSETS, STUDIO, STYLE_SHEETS, look


@pytest.fixture
def store(tmp_path: Path):
    with open_store(tmp_path / "data") as store:
        yield store


FOR_VISITORS = ("", "image", "compare", "gallery")
FOR_PEOPLE = (
    "annotate",
    "arena",
    "review",
    "results",
    "projects",
    "project",
    "datasets",
    "calibration",
    "training",
    "people",
    "moderation",
)


def built(tiny: Janus, store: Store, mode: Mode):
    return build(Settings(mode=mode), store, Checkpoints(Generator(JanusBackend(tiny), store)))


def test_the_person_at_the_machine_has_all_pages(tiny: Janus, store: Store):
    assert [path for path, *_ in built(tiny, store, Mode.LOCAL).pages] == [*FOR_VISITORS, *FOR_PEOPLE]


def test_off_this_machine_there_is_a_page_to_sign_in_and_visitors_are_shown_four_others(tiny: Janus, store: Store):
    demo = built(tiny, store, Mode.PUBLIC)
    pages = [*FOR_VISITORS, *FOR_PEOPLE, "sign-in"]
    assert [path for path, *_ in demo.pages] == pages
    menus = [b.value for b in demo.blocks.values() if getattr(b, "elem_id", None) == "masthead"]
    assert len(menus) == len(pages)
    for menu in menus:
        assert 'href="gallery"' in menu and not any(f'href="{page}"' in menu for page in FOR_PEOPLE)


def test_drawing_has_a_limit_that_all_its_listeners_share(tiny: Janus, store: Store):
    demo = built(tiny, store, Mode.LOCAL)
    drawing = [fn for fn in demo.fns.values() if fn.concurrency_id == "draw"]
    assert len(drawing) == 13  # four ways in Draw, two in Image, two on each side of Compare, three for programs
    assert {fn.concurrency_limit for fn in drawing} == {AT_ONCE + MOST_WAITING + 4}


def test_nothing_is_fetched_from_another_server():
    for suffix in ("css", "js"):
        for file in STUDIO.rglob(f"*.{suffix}"):
            assert "http" not in file.read_text("utf-8"), file.name
    assert "url('http" not in look()["theme"]._get_theme_css()


def test_every_font_that_the_styles_name_is_there():
    styles = (ASSETS / "fonts.css").read_text("utf-8")
    names = [part.split("'")[0] for part in styles.split("url('")[1:]]
    assert names
    for name in names:
        assert (ASSETS / name).is_file()


def test_scripts_never_make_markup_of_words():
    for file in STUDIO.rglob("*.js"):
        assert "innerHTML" not in file.read_text("utf-8"), file.name


def test_every_style_sheet_has_its_place_in_the_order():
    assert sorted(STYLE_SHEETS) == sorted(file.relative_to(STUDIO).as_posix() for file in STUDIO.rglob("*.css"))


def test_every_script_is_loaded_by_some_component():
    sources = "".join(file.read_text("utf-8") for file in STUDIO.rglob("*.py"))
    names = {file.relative_to(STUDIO).as_posix() for file in STUDIO.rglob("*.js")}
    assert names > set(SCRIPTS)  # the widgets of question forms, by the names of the forms
    assert {name for name in names - set(SCRIPTS) if f'"{name}"' not in sources} == set()
