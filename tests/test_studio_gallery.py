"""The gallery: pages of cards, filters, and replays; without a checkpoint and without a browser."""

import hashlib
import zlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from PIL import Image as Picture
from studio_samples import HOSTILE, aha, stopped

from annotations.backup import make
from annotations.doctor import examine
from annotations.ops.data_repair import Severity
from annotations.pictures import images
from annotations.pictures.images import PngFile
from annotations.schema.annotation import Annotation
from annotations.store.store import Store, open_store
from model.images import encode_png
from model.trajectory import Image, Origin, Parent, Segment, StopReason
from studio.gallery import page as gallery
from studio.gallery.filters import LONGEST_SEARCH, GalleryFilter
from studio.settings import Mode, Settings


@pytest.fixture
def store(tmp_path: Path):
    with open_store(tmp_path / "data") as store:
        yield store


def fill(store: Store, count: int) -> None:
    for number in range(count):
        store.save(*aha(f"prompt number {number}", identity=f"id{number}"), owner="us")


def test_an_empty_gallery_leads_to_drawing(store: Store):
    html, cursor, newest, older = gallery.listing(store, GalleryFilter())
    assert "Draw something" in html
    assert cursor == ""
    assert not newest["visible"]
    assert not older["visible"]


def test_turning_pages_shows_every_card_once(store: Store):
    fill(store, gallery.PAGE + 5)
    first, cursor, newest, older = gallery.listing(store, GalleryFilter())
    assert first.count('class="card"') == gallery.PAGE
    assert (newest["visible"], older["visible"]) == (False, True)
    second, cursor, newest, older = gallery.listing(store, GalleryFilter(), cursor)
    assert second.count('class="card"') == 5
    assert (newest["visible"], older["visible"], cursor) == (True, False, "")


def test_search_and_the_aha_filter_narrow_it(store: Store):
    fill(store, 3)
    store.save(stopped(), {}, owner="us")
    assert gallery.listing(store, GalleryFilter("number 2"))[0].count('class="card"') == 1
    assert gallery.listing(store, GalleryFilter(kind="Aha moments"))[0].count('class="card"') == 3
    assert "Nothing matches" in gallery.listing(store, GalleryFilter("100%"))[0]


def test_a_verdict_that_a_person_wrote_is_told_from_the_models(store: Store):
    trajectory, pictures = aha(identity="models")
    store.save(trajectory, pictures, owner="us")
    *before, last = trajectory.segments
    branch = Parent("models", 5, 0)
    store.save(replace(trajectory, id="branch", parent=branch), pictures, owner="us")  # whose verdict is its own
    words = tuple(token._replace(origin=Origin.PERSON) for token in last.tokens)
    persons = replace(trajectory, id="persons", segments=(*before, replace(last, tokens=words)), parent=branch)
    store.save(persons, pictures, owner="us")
    cards = gallery.listing(store, GalleryFilter())[0].split('<a class="card"')[1:]
    labelled = ["said by a person" in card for card in cards]
    assert labelled == [True, False, False] and "persons" in cards[0]


@pytest.mark.parametrize(
    ("choice", "shown"),
    [
        (GalleryFilter(kind="Last verdict yes"), {"id0", "other"}),
        (GalleryFilter(kind="Last verdict no"), {"unhappy"}),
        (GalleryFilter(kind="Annotated"), {"id0"}),
        (GalleryFilter(kind="Going on from another"), {"other"}),
        (GalleryFilter(checkpoint="another"), {"other"}),
        (GalleryFilter(kind="no such kind"), {"id0", "other", "unhappy"}),
        (GalleryFilter(category="Counting"), {"other", "unhappy"}),
        (GalleryFilter(category="Hard"), set()),
    ],
)
def test_filters_keep_what_they_say(store: Store, choice: GalleryFilter, shown: set[str]):
    fill(store, 1)
    trajectory, pictures = aha("two apples", identity="other")
    other = replace(trajectory, checkpoint="another", parent=Parent("id0", 1, 0))
    store.save(other, pictures, owner="us")
    unhappy = replace(trajectory, id="unhappy", segments=trajectory.segments[:3], stop_reason=StopReason.ROUNDS)
    store.save(unhappy, pictures, owner="us")
    store.annotate(Annotation("id0", 2, "ada", {"verdict_right": "yes"}))
    html = gallery.listing(store, choice)[0]
    assert {identity for identity in ("id0", "other", "unhappy") if f'data-run="{identity}"' in html} == shown
    assert store.checkpoints() == sorted({"another", trajectory.checkpoint})


@pytest.mark.parametrize(
    "choice",
    [
        GalleryFilter(),
        GalleryFilter("100% & <b>ü</b>", "Annotated", "Hard", "a=b&c"),
        GalleryFilter(search="moon"),
        GalleryFilter(checkpoint="embedded"),
    ],
)
def test_an_address_leads_back_to_what_was_chosen(choice: GalleryFilter):
    assert GalleryFilter.of(dict(parse_qsl(choice.address()))) == choice


def test_an_address_says_only_what_was_chosen_and_what_no_menu_has_is_everything():
    assert GalleryFilter().address() == ""
    assert GalleryFilter(kind="Annotated").address("20260131T120000000000_id1") == (
        "kind=Annotated&before=20260131T120000000000_id1"
    )
    assert GalleryFilter.of({"kind": HOSTILE, "category": "hard", "run": "x"}) == GalleryFilter()
    assert len(GalleryFilter.of({"search": "x" * 100_000}).search) == LONGEST_SEARCH


def test_the_gallery_opens_as_its_address_says(store: Store):
    fill(store, gallery.PAGE + 5)
    _, cursor, *_ = gallery.listing(store, GalleryFilter("number"))
    address = {"search": "number", "kind": "Aha moments", "checkpoint": "nobody", "before": cursor}
    seen, html, _, newest, _, search, kind, _, drawn_by, _ = gallery.begin(store, Settings(), address)
    assert html.count('class="card"') == 5
    assert f'data-address="search=number&amp;kind=Aha+moments&amp;before={cursor}"' in html
    assert (newest["visible"], search, kind, drawn_by["value"]) == (True, "number", "Aha moments", "Any checkpoint")
    assert "card" not in str(gallery.narrow(store, seen, GalleryFilter("number", "Aha moments")))
    assert gallery.narrow(store, seen, GalleryFilter("number"))[1].count('class="card"') == gallery.PAGE


def test_a_wrong_cursor_is_a_message(store: Store):
    assert "no place in the list" in gallery.listing(store, GalleryFilter(), "nonsense")[0]


def test_a_replay_is_complete_and_a_wrong_link_is_a_message(store: Store):
    store.save(*aha(), owner="us")
    value = gallery.replay(store, "aha", Settings())
    assert value["rows"][-1]["is"] == "end"
    assert value["pace"] == Settings().pace
    assert "cannot be shown" in gallery.replay(store, HOSTILE, Settings())["notice"]


def test_only_the_person_at_the_machine_is_offered_to_delete_everything(store: Store):
    store.save(*aha(), owner="us")
    assert gallery.shown(store, "aha", Settings())["deletable"]
    assert not gallery.shown(store, "aha", Settings(mode=Mode.PUBLIC))["deletable"]


def test_a_damaged_picture_leaves_the_other_cards(store: Store):
    fill(store, 1)
    for file in (store.database.directory / "images").rglob("*.png"):
        file.write_bytes(b"broken")
    assert gallery.listing(store, GalleryFilter())[0].count('class="card"') == 1
    assert "cannot be shown" in gallery.replay(store, "id0", Settings())["notice"]


def _shown_by(segment: Segment, sha256: str) -> Segment:
    return replace(segment, sha256=sha256) if isinstance(segment, Image) else segment


def test_a_stored_picture_that_cannot_be_decoded_leaves_the_other_cards_and_pages(store: Store, monkeypatch):
    whole = encode_png(Picture.effect_noise((256, 256), 80).convert("RGB"))
    half = zlib.compress(bytes(100_000))  # of 196,864
    chunk = len(half).to_bytes(4, "big") + b"IDAT" + half + zlib.crc32(b"IDAT" + half).to_bytes(4, "big")
    cut = whole[:33] + chunk + whole[-12:]  # every checksum is right
    fill(store, 2)
    trajectory = store.trajectory("id0")
    sha256 = hashlib.sha256(cut).hexdigest()
    described = PngFile(sha256, 256, 256, len(cut))
    monkeypatch.setattr(images, "describe", lambda png: described)  # as before pictures were decoded
    old = replace(trajectory, id="old", segments=tuple(_shown_by(s, sha256) for s in trajectory.segments))
    store.save(old, {sha256: cut}, owner="us")
    html = gallery.listing(store, GalleryFilter())[0]
    assert (html.count('class="card"'), html.count("unreadable picture")) == (3, 1)
    assert "cannot be shown" in gallery.shown(store, "old", Settings())["notice"]
    [finding] = [one for one in examine(store.database.directory) if one.check == "decoded"]
    assert finding.level is Severity.WRONG
    assert finding.examples == (f"{sha256} (old)",)


def test_the_page_says_how_old_the_last_backup_is(store: Store, tmp_path: Path):
    target = Settings(backup=str(tmp_path / "target"))
    now = datetime.now(UTC)
    assert gallery.backed_up(store, Settings(), now) == ""
    assert "No backup" in gallery.backed_up(store, target, now)
    make(store.database.directory, target.backup)
    assert "3 min ago" in gallery.backed_up(store, target, now + timedelta(minutes=3))
    assert "5 h ago" in gallery.backed_up(store, target, now + timedelta(hours=5, minutes=2))
