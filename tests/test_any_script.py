"""People write in any script: what they name and say comes out as it went in, and what looks the same is one."""

import json
import shutil
import unicodedata
from base64 import b64encode
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qsl, quote

import pyarrow.parquet as pq
import pytest
from playwright.sync_api import Browser
from test_annotations_samples import aha, judged
from thoroughness import few

from annotations.auth.accounts import add, has_people, people
from annotations.errors import ConflictError, PersonError
from annotations.export.exporter import export
from annotations.export.manifest import CARD, PARQUET, read_manifest
from annotations.export.splits import prompt_key
from annotations.importing.importer import bring_in
from annotations.importing.records import RowProblem, trajectory_of
from annotations.queue.review import decide
from annotations.schema.annotation import Answers
from annotations.schema.default_projects import REFLECTIONS_PROJECT
from annotations.schema.forms.choice import Choice
from annotations.schema.names import clean_name, confusable_skeleton
from annotations.schema.project import Role
from annotations.store.items import NewItem
from annotations.store.listing import Filter
from annotations.store.store import open_store
from model.backends.checkpoint.loading import name_of
from model.backends.registry import open_backend
from model.backends.request import RequestError, check_prompt
from model.decoding.load_for_inference import open_checkpoint
from model.reflection_text import is_blank, own_words, sentence
from model.trajectory import Image, Reflection, Token
from studio.annotate import reflection_view
from studio.components import render
from studio.gallery.filters import GalleryFilter
from studio.inference.checkpoints import Checkpoints
from studio.inference.generator import Generator
from studio.projects.page import identity

STUDIO = Path(__file__).parent.parent / "studio"
AFTER = STUDIO / "components" / "timeline" / "finished.js"
SCRIPTS = {
    "Chinese": ("图像模型", "图像评审", "李明", "两个红苹果", "苹果太多了。"),
    "Arabic": ("نموذج", "تقييم الصور", "محمد", "تفاحتان حمراوان", "هل هناك تفاحة؟"),
    "Hindi": ("मॉडल", "चित्र समीक्षा", "सीमा", "दो लाल सेब", "सेब बहुत हैं।"),
}


@pytest.fixture
def store(tmp_path: Path, url: str | None):
    with open_store(tmp_path / "data", url) as store:
        yield store


@pytest.mark.parametrize("words", SCRIPTS.values(), ids=SCRIPTS)
def test_names_and_reasons_of_any_script_go_round_the_whole_circle_unaltered(tmp_path: Path, url, words):
    checkpoint, title, person, prompt, reason = words
    with open_store(tmp_path / "data", url) as store:
        add(store, person, Role.ANNOTATOR, None)
        add(store, person + "2", Role.REVIEWER, None)
        project = replace(REFLECTIONS_PROJECT, id=identity(title), name=title, collects=False, people=(person,))
        project = store.create_project(project)
        trajectory, pictures = aha(0, prompt, checkpoint=checkpoint)
        made = store.save(trajectory, pictures, owner=person)
        (item,) = store.add_items(project.id, [NewItem(made)])
        said = replace(judged(made, 2, person, verdict_right="no", reason_correction=reason), project=project.id)
        store.annotate(said)
        decide(store, item, person + "2", [replace(said, annotator=person + "2")])
        manifest = export(store, "judge_sft", tmp_path / "out")
        kept = store.project(project.id)
        assert (kept.name, kept.people) == (title, (person,))
        assert {one.annotator for one in store.annotations()} == {person, person + "2"}
        assert manifest.checkpoints == read_manifest(tmp_path / "out").checkpoints == (checkpoint,)
        assert store.trajectory(made).checkpoint == checkpoint
        whole = {"trajectory": store.trajectory(made).to_dict()}
    (row,) = pq.read_table(tmp_path / "out" / PARQUET).to_pylist()
    assert (row["correction"], row["prompt"][0]["content"][0]["text"]) == (reason, prompt)
    assert row["completion"][0]["content"][0]["text"] == f"Yes, {reason}" and row["decided"]
    assert checkpoint in (tmp_path / "out" / CARD).read_text(encoding="utf-8")
    whole["pictures"] = {sha256: b64encode(png).decode() for sha256, png in pictures.items()}
    file = tmp_path / f"{checkpoint}.json"
    file.write_text(json.dumps(whole, ensure_ascii=False), encoding="utf-8")
    with open_store(tmp_path / "again") as other:
        assert bring_in(other, file, "ours", owner=person).errors == ()
        (listed,) = other.trajectories()
        again = other.trajectory(listed.id)
        assert (again.prompt, again.checkpoint) == (prompt, checkpoint)


@pytest.mark.parametrize("name", few([*(words[0] for words in SCRIPTS.values()), "Cafe\u0301"], 1, 3))
def test_a_checkpoint_of_any_name_is_in_the_menu_the_gallery_and_its_address(tiny_checkpoint: Path, tmp_path, name):
    shutil.copytree(tiny_checkpoint, tmp_path / name)
    composed = {"Cafe\u0301": "Caf\u00e9"}.get(name, name)
    assert name_of(tmp_path / name) == open_checkpoint(tmp_path / name).name == composed
    with open_store(tmp_path / "data") as store:
        offered = Checkpoints(Generator(open_backend(tiny_checkpoint), store), [str(tmp_path / name)])
        assert offered.names[1] == composed and offered.named(composed).name == composed
        for number, checkpoint in enumerate((composed, "tiny")):
            trajectory, pictures = aha(number, f"{number} apples", checkpoint=checkpoint)
            store.save(trajectory, pictures, owner="visitor")
        address = GalleryFilter(checkpoint=composed).address()
        assert address.isascii()
        asked = GalleryFilter.of(dict(parse_qsl(address)))
        assert asked.checkpoint == composed
        assert [one.prompt for one in store.trajectories(keep=asked.filter())] == ["0 apples"]


@pytest.mark.parametrize(
    ("stored", "asked"),
    [("zwei äpfel", "ÄPFEL"), ("красная машина", "МАШИНА"), ("Cafe\u0301 rouge", "Caf\u00e9"),
     ("Caf\u00e9", "Cafe\u0301"),
     ("Straße", "STRASSE"), ("ΟΔΟΣ", "οδος"), ("ＡＢＣ", "abc")],
)  # fmt: skip
def test_a_search_finds_whatever_the_case_and_the_composition(store, stored: str, asked: str):
    trajectory, pictures = aha(0, stored)
    store.save(trajectory, pictures, owner="visitor")
    assert [one.prompt for one in store.trajectories(keep=Filter(search=asked))] == [stored]


def test_lists_of_names_are_in_one_order_in_both_databases_whatever_the_case(store):
    assert not has_people(store)
    for name in ("zoe", "Öner", "анна", "Bob", "Яна", "ada"):
        add(store, name, Role.ANNOTATOR, None)
        assert has_people(store)
    assert [person.name for person in people(store)] == ["ada", "Bob", "zoe", "Öner", "анна", "Яна"]


@pytest.mark.parametrize(
    ("first", "second"), [("Ада", "Aдa"), ("ada", "аdа"), ("Bob", "Вов"), ("OTTO", "ΟΤΤΟ"), ("Max", "Мах")]
)
def test_names_that_look_the_same_in_another_alphabet_are_refused(store, first: str, second: str):
    add(store, first, Role.ANNOTATOR, None)
    store.create_project(replace(REFLECTIONS_PROJECT, id="first", name=f"{first} 1"))
    with pytest.raises(ConflictError, match="looks the same"):
        add(store, second, Role.ANNOTATOR, None)
    with pytest.raises(ConflictError, match="looks the same"):
        store.create_project(replace(REFLECTIONS_PROJECT, id="second", name=f"{second} 1"))


UNSEEN = ("\u034f", "\ufe0f", "\u3164", "\u115f", "\u2800", "\u00ad", "\u180b", "\u200b", "\U000e0100")


@pytest.mark.parametrize("unseen", UNSEEN, ids=ascii)
def test_what_is_not_seen_makes_neither_a_name_nor_a_difference(unseen: str):
    assert confusable_skeleton(f"an{unseen}na") == confusable_skeleton("anna")
    assert clean_name(unseen) == "" and is_blank(f" {unseen}") and not Answers({"reason": unseen})
    assert Choice(("good", f"good{unseen}")).problem(Image.kind) or "VARIATION" in unicodedata.name(unseen)
    assert Choice(("good", unseen)).problem(Image.kind)
    assert prompt_key(f"two{unseen} apples") == prompt_key("two apples")
    with pytest.raises(RequestError, match="empty"):
        check_prompt(unseen)
    with pytest.raises(RowProblem):
        trajectory_of(unseen, (), checkpoint=None)


def test_an_account_whose_name_looks_like_another_is_refused_and_none_has_an_unseen_name(store):
    add(store, "anna", Role.ANNOTATOR, None)
    for unseen in UNSEEN:
        with pytest.raises((ConflictError, PersonError), match="looks the same|got the name"):
            add(store, f"anna{unseen}", Role.ANNOTATOR, None)
        with pytest.raises(PersonError):
            add(store, unseen, Role.ANNOTATOR, None)


@pytest.mark.parametrize("words", ["التفاح كثير.\u200f", "苹果太多了。\u200b", "wrong❗\ufe0f", "wrong!\u2060”"])
def test_a_reason_that_ends_in_what_is_not_seen_gets_no_second_stop(words: str):
    assert sentence("no", words) == f"No, {words}"
    assert own_words(Reflection("no", 0.1, (Token(1, "No"), Token(2, f"… {words}")))) == f"No… {words}"


def test_names_that_only_resemble_each_other_stand_side_by_side(store):
    for name in ("ада", "ida", "Проверка", "Оценка", "Ελένη", "Helene", "李明", "李朋"):
        assert add(store, name, Role.ANNOTATOR, None).name == name


def test_what_a_person_wrote_takes_its_own_direction(store):
    trajectory, pictures = aha(0, "تفاحتان")
    store.save(trajectory, pictures, owner="visitor")
    assert '<span class="prompt" dir="auto">تفاحتان</span>' in render.cards(store.trajectories(), store.picture)
    assert 'dir="auto" title="تفاحتان">تفاحتان</h1>' in reflection_view.heading("تفاحتان")
    assert 'dir="auto"' in reflection_view.claim(trajectory.reflections[0])


def test_a_drawing_is_kept_under_a_name_that_every_system_takes(browser: Browser):
    expected = {
        "two red apples!": "two-red-apples",
        "两个红苹果。": "两个红苹果",
        "تفاحتان، حمراوان؟": "تفاحتان-حمراوان",
        "दो लाल सेब": "दो-लाल-सेब",
        "Красная машина": "Красная-машина",
        "Cafe\u0301": "Caf\u00e9",
        "con": "drawing-con",
        "COM1": "drawing-COM1",
        "lpt\u00b2": "drawing-lpt\u00b2",
        "nul.": "drawing-nul",
        "?!…": "drawing",
        "": "drawing",
        "../../etc/passwd": "etc-passwd",
        "a" * 200 + " end. ": "a" * 40,
    }
    page = browser.new_page()
    module = "data:text/javascript," + quote(AFTER.read_text())
    name = "async ([module, prompt]) => (await import(module)).fileName(prompt)"
    assert {prompt: page.evaluate(name, [module, prompt]) for prompt in expected} == expected
    page.close()


def test_the_day_of_a_card_says_its_time_zone_and_what_the_zone_of_the_browser_makes_of_it(store, browser: Browser):
    trajectory, pictures = aha(0, "two apples", created_at="2026-01-01T03:30:00+05:30")
    store.save(trajectory, pictures, owner="visitor")
    cards = render.cards(store.trajectories(), store.picture)
    assert '<time datetime="2025-12-31T22:00:00Z">31 Dec 2025 (UTC)</time>' in cards
    parts = (STUDIO / "components" / "dom.js", STUDIO / "gallery" / "gallery.js")
    script = "".join(part.read_text(encoding="utf-8") for part in parts)
    for zone, day in (("Asia/Tokyo", "1 Jan 2026"), ("America/New_York", "31 Dec 2025")):
        page = browser.new_context(timezone_id=zone).new_page()
        page.set_content(cards)
        page.evaluate("(script) => new Function('element', 'trigger', script)(document.body, () => {})", script)
        assert page.inner_text(".facts time") == day
        page.context.close()
