"""Each question form is one class and one widget, and is answered, held against gold, reviewed, measured, exported."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
from test_annotations_samples import aha
from test_studio_annotating import by

from annotations.export.exporter import export
from annotations.export.manifest import PARQUET
from annotations.metrics.quality import accuracy, agreements, labels
from annotations.queue.gold_items import appoint
from annotations.queue.progress import answered
from annotations.schema.annotation import Decision
from annotations.schema.default_projects import ARENA
from annotations.schema.forms.best import Best
from annotations.schema.forms.choice import Choice
from annotations.schema.forms.preference import Preference
from annotations.schema.forms.question_form import Level, QuestionForm
from annotations.schema.forms.rating import Rating
from annotations.schema.forms.regions import Regions
from annotations.schema.forms.registry import FORMS
from annotations.schema.forms.tags import Tags
from annotations.schema.forms.text import Text
from annotations.schema.forms.words import Words
from annotations.schema.project import Project, Use
from annotations.schema.questions import Question
from annotations.store.items import NewItem
from annotations.store.store import Store
from model.trajectory import Image
from studio.annotate.handlers import AnnotateHandlers
from studio.review.page import ReviewHandlers
from studio.settings import Settings
from studio.theme import STUDIO

ROOT = STUDIO.parent
BOX = {"x": 0.25, "y": 0.5, "w": 0.25, "h": 0.25, "label": "artifact"}
SEVEN = Project(
    "seven",
    "Seven forms",
    (
        Question("kind", Image.kind, Choice(("photo", "drawing")), "What is it?", required=True),
        Question("quality", Image.kind, Rating((1, 7)), "How good is it?", required=True),
        Question("places", Image.kind, Regions(("artifact",)), "Where is something wrong?"),
        Question("missing", Image.kind, Words(), "Which words were not drawn?"),
        Question("best", "trajectory", Best(), "Which is the best?"),
        Question("tags", "trajectory", Tags(), "Tags"),
        Question("comment", "trajectory", Text(), "Anything to add?"),
    ),
    Image.kind,
    overlap=3,
)
PAIRS = replace(ARENA, id="pairs", name="Pairs", overlap=3)
FILLED = {
    "1": {"kind": "drawing", "quality": 7, "places": [BOX], "missing": [1]},
    "3": {"kind": "photo", "quality": 4},
    "all": {"best": 3, "tags": ["dark", "small"], "comment": "Mended."},
}
OTHERWISE = {  # the rating one off, the box a little away, the tags in another order: right all the same
    "1": FILLED["1"] | {"quality": 6, "places": [BOX | {"x": 0.3}]},
    "3": {"kind": "drawing", "quality": 1},
    "all": {"best": 3, "tags": ["small", "dark"], "comment": "It is small."},
}


def file_of(form: type[QuestionForm]) -> Path:
    return ROOT / "annotations" / "schema" / "forms" / f"{form.name}.py"


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_each_form_is_one_class_in_a_file_of_its_own_and_one_widget(form):
    assert form.__module__ == f"annotations.schema.forms.{form.name}" and file_of(form).is_file()
    assert f"WIDGETS.{form.name} =" in (STUDIO / "components" / "forms" / f"{form.name}.js").read_text("utf-8")


def answer(store: Store, desk: AnnotateHandlers, who: str, project: str, filled: dict) -> None:
    request = by(store, who, project=project)
    view = desk.start(request)
    assert desk.submit(project, view.token, json.dumps(filled), request).note == ""


@pytest.fixture
def worked(store, desk) -> Store:
    """Two projects, that have all forms between them, in which two people answer one item each."""
    ids = [store.save(*aha(number), owner="visitor") for number in range(2)]
    for project, item in ((SEVEN, NewItem(ids[0])), (PAIRS, NewItem(*ids))):
        store.create_project(project)
        store.add_items(project.id, [item])
    for who, filled in (("ada", FILLED), ("bob", OTHERWISE)):
        answer(store, desk, who, "seven", filled)
        answer(store, desk, who, "pairs", {"all": {"alignment": "tie", "comment": "Alike."}})
    return store


def test_the_projects_have_all_forms():
    assert {type(q.form) for project in (SEVEN, PAIRS) for q in project.questions} == set(FORMS.values())
    assert Project.from_dict(json.loads(json.dumps(SEVEN.to_dict()))) == SEVEN


def test_answers_of_all_forms_are_stored_as_they_were_given(worked):
    said = {a.segment: a.answers.to_dict() for a in worked.annotations(annotator="ada", project="seven")}
    assert said == {int(key) if key != "all" else None: given for key, given in FILLED.items()}
    [pair] = worked.annotations(annotator="ada", project="pairs")
    assert pair.answers["alignment"]["choice"] == "tie"


def test_answers_of_all_forms_are_measured_on_their_scale_or_counted(worked):
    measured = [found for id in ("seven", "pairs") for found in agreements(answered(worked, id))]
    levels = {type(found.question.form): found.level for found in measured}
    assert levels == {
        Choice: Level.NOMINAL,
        Rating: Level.ORDINAL,
        Best: Level.NOMINAL,
        Preference: Level.NOMINAL,
    }
    counted = {q.name: dict(counts) for q, counts in labels(answered(worked, "seven")).items()}
    assert counted["quality"] == {"1": 1, "2": 0, "3": 0, "4": 1, "5": 0, "6": 1, "7": 1}
    assert counted["places"] == {"artifact": 2} and counted["tags"] == {"dark": 2, "small": 2}
    assert counted["comment"] == {"written": 2} and counted["missing"] == {"marked": 2}


def test_a_reviewers_decision_about_all_forms_becomes_gold_by_which_others_are_checked(worked):
    review = ReviewHandlers(worked, Settings())
    request = SimpleNamespace(query_params={"project": "seven"}, username=None, session_hash="s")
    view = review.start(request)
    assert view.sheet["answers"]["all"] == {"best": 3, "tags": ["dark", "small"]}  # as both say, in whatever order
    assert view.sheet["answers"]["1"] == {"kind": "drawing", "missing": [1]}
    assert "Decided" in review.decide(view.case, json.dumps(FILLED), request).note
    kinds = {a.segment: a.decision for a in answered(worked, "seven").decided}
    assert kinds == dict.fromkeys((1, 3, None), Decision.ACCEPTED)
    assert appoint(worked, view.case.item, Use.GOLD) == 8  # of nine, for a text is nobody's right answer
    right = accuracy(answered(worked, "seven"))
    assert (right["ada"].right, right["bob"].right) == (1, 0)  # bob's second picture was wrong
    forms = {question.name: question.form for question in SEVEN.questions}
    told = {name: forms[name].is_right(OTHERWISE["1"][name], value) for name, value in FILLED["1"].items()}
    assert told == dict.fromkeys(FILLED["1"], True)


def test_answers_of_all_forms_are_exported_in_a_column_of_their_form(worked, tmp_path):
    manifest = export(worked, "answers", tmp_path / "out")
    rows = pq.read_table(tmp_path / "out" / PARQUET).to_pylist()
    assert manifest.examples == len(rows) == 2 * 9 + 2 * 2
    assert {form: manifest.counts[form] for form in FORMS} == {
        "choice": 4, "rating": 4, "text": 4, "tags": 2, "regions": 2, "words": 2, "best": 2, "preference": 2,
    }  # fmt: skip
    first = {row["question"]: row for row in rows if row["annotator"] == rows[0]["annotator"] and row["segment"] == 1}
    assert first["quality"]["rating"] == 7 and first["quality"]["choice"] is None
    assert first["places"]["regions"] == [BOX] and first["missing"]["words"] == [1]
    assert {row["form"] for row in rows} == set(FORMS)
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "| preference | 2 |" in card and rows[0]["annotator"] not in ("ada", "bob")


def test_the_reason_of_a_longer_scale_is_good_from_its_upper_quarter_on():
    assert [Rating(scale).good for scale in ((1, 5), (1, 7), (0, 10), (1, 3))] == [4, 6, 8, 3]
    assert Rating((1, 7)).is_good(6) and not Rating((1, 7)).is_good(5) and not Rating((1, 7)).is_good("6")
