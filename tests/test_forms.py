"""Each question form is one class and one widget, and is answered, held against gold, reviewed, measured, exported."""

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
from test_annotations_samples import aha, png
from test_studio_annotating import by

from annotations.errors import AnswerError
from annotations.export.exporter import export
from annotations.export.manifest import PARQUET
from annotations.importing.importer import bring_in
from annotations.metrics.quality import accuracy, agreements, drawings_to_name, labels
from annotations.queue.gold_items import set_use
from annotations.queue.progress import project_answers
from annotations.schema.annotation import Annotation, Decision, Status, validate
from annotations.schema.default_projects import ARENA
from annotations.schema.forms.best import Best
from annotations.schema.forms.choice import Choice
from annotations.schema.forms.facts import Facts
from annotations.schema.forms.preference import Preference
from annotations.schema.forms.question_form import MeasurementLevel, QuestionForm
from annotations.schema.forms.ranking import Ranking
from annotations.schema.forms.rating import Rating
from annotations.schema.forms.regions import Regions
from annotations.schema.forms.registry import FORMS
from annotations.schema.forms.tags import Tags
from annotations.schema.forms.text import Text
from annotations.schema.forms.words import Words
from annotations.schema.project import ItemPurpose, Project
from annotations.schema.questions import Question
from annotations.store.items import NewItem
from annotations.store.store import Store
from model.backends.embedded_world import EMBEDDED_WORLD
from model.trajectory import Image
from studio.annotate.handlers import AnnotateHandlers
from studio.components.forms.prompt_facts import for_drawing, prompt_facts
from studio.review.page import ReviewHandlers
from studio.settings import Settings
from studio.theme import STUDIO

ROOT = STUDIO.parent
BOX = {"x": 0.25, "y": 0.5, "w": 0.25, "h": 0.25, "label": "artifact"}
NINE = Project(
    "nine",
    "Nine forms",
    (
        Question("kind", Image.kind, Choice(("photo", "drawing")), "What is it?", required=True),
        Question("quality", Image.kind, Rating((1, 7)), "How good is it?", required=True),
        Question("places", Image.kind, Regions(("artifact",)), "Where is something wrong?"),
        Question("missing", Image.kind, Words(), "Which words were not drawn?"),
        Question("holds", Image.kind, Facts(("two apples", "nothing else")), "What holds?"),
        Question("best", "trajectory", Best(), "Which is the best?"),
        Question("order", "trajectory", Ranking(), "Which is better?"),
        Question("tags", "trajectory", Tags(), "Tags"),
        Question("comment", "trajectory", Text(), "Anything to add?"),
    ),
    Image.kind,
    overlap=3,
)
PAIRS = replace(ARENA, id="pairs", name="Pairs", overlap=3)
TICKED = {"verdict": "no", "facts": ["yes", "no"]}  # as the page sends it
HOLDING = {"verdict": "no", "facts": [{"fact": "two apples", "holds": "yes"}, {"fact": "nothing else", "holds": "no"}]}
FILLED = {
    "1": {"kind": "drawing", "quality": 7, "places": [BOX], "missing": [1], "holds": TICKED},
    "3": {"kind": "photo", "quality": 4},
    "all": {"best": 3, "order": [3, 1], "tags": ["dark", "small"], "comment": "Mended."},
}
OTHERWISE = {  # the rating one off, the box a little away, the tags in another order: right all the same
    "1": FILLED["1"] | {"quality": 6, "places": [BOX | {"x": 0.3}]},
    "3": {"kind": "drawing", "quality": 1},
    "all": {"best": 3, "order": [1, 3], "tags": ["small", "dark"], "comment": "It is small."},
}


def file_of(form: type[QuestionForm]) -> Path:
    return ROOT / "annotations" / "schema" / "forms" / f"{form.name}.py"


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_each_form_is_one_class_in_a_file_of_its_own_and_one_widget(form):
    assert form.__module__ == f"annotations.schema.forms.{form.name}" and file_of(form).is_file()
    assert f"WIDGETS.{form.name} =" in (STUDIO / "components" / "forms" / f"{form.name}.js").read_text("utf-8")


def answer(store: Store, handlers: AnnotateHandlers, who: str, project: str, filled: dict) -> None:
    request = by(store, who, project=project)
    view = handlers.start(request)
    assert handlers.submit(project, view.token, json.dumps(filled), request).note == ""


@pytest.fixture
def worked(store, handlers) -> Store:
    """Two projects, that have all forms between them, in which two people answer one item each."""
    ids = [store.save(*aha(number), owner="visitor") for number in range(2)]
    for project, item in ((NINE, NewItem(ids[0])), (PAIRS, NewItem(*ids))):
        store.create_project(project)
        store.add_items(project.id, [item])
    for who, filled in (("ada", FILLED), ("bob", OTHERWISE)):
        answer(store, handlers, who, "nine", filled)
        answer(store, handlers, who, "pairs", {"all": {"alignment": "tie", "comment": "Alike."}})
    return store


def test_the_projects_have_all_forms():
    assert {type(q.form) for project in (NINE, PAIRS) for q in project.questions} == set(FORMS.values())
    assert Project.from_dict(json.loads(json.dumps(NINE.to_dict()))) == NINE


def test_answers_of_all_forms_are_stored_as_they_were_given(worked):
    said = {a.segment: a.answers.to_dict() for a in worked.annotations(annotator="ada", project="nine")}
    assert said == {1: FILLED["1"] | {"holds": HOLDING}, 3: FILLED["3"], None: FILLED["all"]}
    [pair] = worked.annotations(annotator="ada", project="pairs")
    assert pair.answers["alignment"]["choice"] == "tie"


def test_answers_of_all_forms_are_measured_on_their_scale_or_counted(worked):
    measured = [found for id in ("nine", "pairs") for found in agreements(project_answers(worked, id))]
    levels = {type(found.question.form): found.level for found in measured}
    assert levels == {
        Choice: MeasurementLevel.NOMINAL,
        Rating: MeasurementLevel.ORDINAL,
        Facts: MeasurementLevel.NOMINAL,
        Best: MeasurementLevel.NOMINAL,
        Ranking: MeasurementLevel.NOMINAL,
        Preference: MeasurementLevel.NOMINAL,
    }
    told = project_answers(worked, "nine")
    counted = {
        q.name: dict(counts) for q, counts in labels(told, worked.trajectories_by_id(drawings_to_name(told))).items()
    }
    assert counted["quality"] == {"1": 1, "2": 0, "3": 0, "4": 1, "5": 0, "6": 1, "7": 1}
    assert counted["places"] == {"artifact": 2} and counted["tags"] == {"dark": 2, "small": 2}
    assert counted["best"] == {"image 2": 2}
    assert counted["order"] == {"image 2 is the best": 1, "image 1 is the best": 1}
    assert counted["comment"] == {"written": 2} and counted["missing"] == {"marked": 2}
    assert counted["holds"] == {"holds": 2, "does not hold": 2, "cannot tell": 0}
    by_form = {type(measure.question.form): measure for measure in measured}
    assert (by_form[Facts].percent.value, by_form[Facts].percent.items) == (1.0, 3)  # two facts and the verdict
    assert (by_form[Ranking].percent.value, by_form[Ranking].percent.items) == (0.0, 1)  # of two pictures


def test_a_reviewers_decision_about_all_forms_becomes_gold_by_which_others_are_checked(worked):
    review = ReviewHandlers(worked, Settings())
    request = SimpleNamespace(query_params={"project": "nine"}, username=None, session_hash="s")
    view = review.start(request)
    assert view.sheet["answers"]["all"] == {"best": 3, "tags": ["dark", "small"]}  # as both say, in whatever order
    assert view.sheet["answers"]["1"] == {"kind": "drawing", "missing": [1], "holds": TICKED}
    assert "<bdi>nothing</bdi> → <bdi>image 2, image 1</bdi>" in view.trail
    assert "Decided" in review.decide(view.case, json.dumps(FILLED), request).note
    kinds = {a.segment: a.decision for a in project_answers(worked, "nine").decisions}
    assert kinds == dict.fromkeys((1, 3, None), Decision.ACCEPTED)
    assert set_use(worked, view.case.item, ItemPurpose.GOLD) == 10  # of eleven, for a text is nobody's right answer
    right = accuracy(project_answers(worked, "nine"))
    assert (right["ada"].right, right["bob"].right) == (1, 0)  # bob's second picture was wrong
    forms = {question.name: question.form for question in NINE.questions}
    known = FILLED["1"] | {"holds": HOLDING}
    told = {
        name: forms[name].is_right((OTHERWISE["1"] | {"holds": HOLDING})[name], value) for name, value in known.items()
    }
    assert told == dict.fromkeys(FILLED["1"], True)


def test_answers_of_all_forms_are_exported_in_a_column_of_their_form(worked, tmp_path):
    manifest = export(worked, "answers", tmp_path / "out")
    rows = pq.read_table(tmp_path / "out" / PARQUET).to_pylist()
    assert manifest.examples == len(rows) == 2 * 11 + 2 * 2
    assert {form: manifest.counts[form] for form in FORMS} == {
        "choice": 4, "rating": 4, "text": 4, "tags": 2, "regions": 2, "words": 2, "best": 2, "preference": 2,
        "facts": 2, "ranking": 2,
    }  # fmt: skip
    first = {row["question"]: row for row in rows if row["annotator"] == rows[0]["annotator"] and row["segment"] == 1}
    assert first["quality"]["rating"] == 7 and first["quality"]["choice"] is None
    assert first["places"]["regions"] == [BOX] and first["missing"]["words"] == [1]
    assert {row["form"] for row in rows} == set(FORMS)
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "| preference | 2 |" in card and rows[0]["annotator"] not in ("ada", "bob")


def test_the_reason_of_a_longer_scale_is_good_from_its_upper_quarter_on():
    assert [Rating(scale).good for scale in ((1, 5), (1, 7), (0, 10), (1, 3))] == [4, 6, 8, 3]


def test_the_verdict_of_a_checklist_is_a_persons_and_half_a_checklist_is_not_submitted():
    trajectory, facts = aha()[0], Facts(("an apple", "a car"))
    question = Question("holds", Image.kind, facts, "What holds?", required=True)
    half = facts.from_page({"verdict": None, "facts": ["yes", None]}, None, None)
    assert half == {"facts": [{"fact": "an apple", "holds": "yes"}]}
    for status, refused in ((Status.UNFINISHED, False), (Status.SUBMITTED, True)):
        with pytest.raises(AnswerError, match="not answered yet") if refused else nullcontext():
            validate(Annotation("t", 1, "ada", {"holds": half}, status), trajectory, [question])
    overruled = facts.from_page({"verdict": "no", "facts": ["yes", "yes"]}, None, None)
    question.check(overruled, trajectory)
    assert facts.to_page(overruled, None) == {"verdict": "no", "facts": ["yes", "yes"]}
    assert facts.in_words(overruled, trajectory) == "no; holds: an apple, a car"
    for other in (
        {"verdict": "maybe", "facts": ["yes", "yes"]},
        {"verdict": "yes", "facts": ["yes"]},
        {"verdict": "yes", "facts": ["perhaps", "yes"]},
        {"facts": [{"fact": "a house", "holds": "yes"}]},
        "yes",
    ):
        with pytest.raises(AnswerError):
            question.check(facts.from_page(other, None, None), trajectory)


def test_the_facts_of_a_prompt_are_those_of_its_import_or_as_the_world_reads_it(store):
    trajectory, pictures = aha(prompt="two red apples above a car")
    id = store.save(trajectory, pictures, owner="visitor")
    project = replace(NINE, questions=(Question("holds", Image.kind, Facts(), "What holds?", required=True),))
    [question] = for_drawing(project, store, EMBEDDED_WORLD, store.trajectory(id)).questions
    assert question.form.choices == (
        "two apples", "the apples are red", "a car", "the apples are above the car", "nothing else is in the picture",
    )  # fmt: skip
    assert EMBEDDED_WORLD.facts("a wizard, and a castle with towers.") == ("a wizard", "a castle", "towers")


def test_written_facts_come_with_an_import(store, tmp_path):
    (tmp_path / "a.png").write_bytes(png(3))
    table = "file_name,prompt,facts\na.png,two apples,two apples; both are ripe\n"
    (tmp_path / "table.csv").write_text(table, "utf-8")
    [id] = store.imported(bring_in(store, tmp_path / "table.csv", owner="ada").batch)
    assert prompt_facts(store, EMBEDDED_WORLD, store.trajectory(id)) == ("two apples", "both are ripe")
