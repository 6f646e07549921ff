"""Questions and projects as data, every form of answer, answers beside the right ones."""

import dataclasses
import json

import pytest
from test_annotations_samples import aha

from annotations.errors import AnswerError, ConflictError, ProjectError
from annotations.metrics.gold_answers import compare
from annotations.schema.annotation import Annotation, Answers
from annotations.schema.default_projects import READY_MADE, REFLECTIONS_PROJECT, RICH
from annotations.schema.forms.best import Best
from annotations.schema.forms.choice import Choice
from annotations.schema.forms.preference import Preference, chosen
from annotations.schema.forms.question_form import QuestionForm
from annotations.schema.forms.rating import Rating
from annotations.schema.forms.regions import Regions
from annotations.schema.forms.tags import Tags
from annotations.schema.forms.words import Words
from annotations.schema.project import Project, Role, check_project
from annotations.schema.questions import QUESTIONS, Question, check_questions
from annotations.store.store import open_store

ONE = dataclasses.replace(aha()[0], id="one")
OTHER = dataclasses.replace(ONE, id="other")
LABELS = ("artifact", "misalignment")


def asked(form: QuestionForm, segment: str = "image") -> Question:
    return Question("name", segment, form, "Title?")


TAGS, FREE_TAGS = asked(Tags(("a", "b"))), asked(Tags())
REGIONS, PLAIN_REGIONS = asked(Regions(LABELS)), asked(Regions())
WORDS, BEST, PREFERENCE = asked(Words()), asked(Best(), "trajectory"), asked(Preference(), "pair")
SEVEN = asked(Rating((1, 7)))


@pytest.mark.parametrize(
    ("question", "value"),
    [
        (TAGS, ("a",)),
        (FREE_TAGS, ("too many fingers",)),
        (REGIONS, ({"label": "artifact", "x": 0, "y": 0.5, "w": 1, "h": 0.5}, {"label": "artifact", "x": 1, "y": 1})),
        (PLAIN_REGIONS, ({"x": 0.1, "y": 0.2},)),
        (WORDS, (0, 1)),
        (BEST, 3),
        (asked(Rating()), 5),
        (SEVEN, 7),
        (PREFERENCE, {"choice": "both_bad", "left": "other", "right": "one"}),
    ],
)
def test_answers_of_every_form_are_accepted_and_come_back_from_json_as_they_were(question, value):
    answers = Answers({"name": value})
    question.check(answers["name"], ONE, OTHER)
    again = Answers(json.loads(json.dumps(answers.to_dict())))
    assert again == answers
    assert hash(again) == hash(answers)


@pytest.mark.parametrize(
    ("question", "value", "message"),
    [
        (TAGS, ("c",), "some of: a, b"),
        (TAGS, ("a", "a"), "different tags"),
        (FREE_TAGS, ("x" * 41,), "at most 40 characters"),
        (REGIONS, ({"label": "artifact", "x": 0.9, "y": 0, "w": 0.2, "h": 0.1},), "stay inside"),
        (REGIONS, ({"label": "artifact", "x": float("nan"), "y": 0},), "fractions"),
        (REGIONS, ({"label": "artifact", "x": True, "y": 0},), "fractions"),
        (REGIONS, ({"label": "artifact", "x": 0, "y": 0, "w": 0, "h": 0.1},), "wider"),
        (REGIONS, ({"x": 0, "y": 0},), "with a label, one of: artifact"),
        (REGIONS, ({"label": "artifact", "x": 0},), "boxes with x, y, w, h"),
        (REGIONS, "here", "boxes and points"),
        (REGIONS, ({"label": "artifact", "x": 0, "y": 0},) * 101, "at most 100"),
        (PLAIN_REGIONS, ({"x": 0, "y": 0, "label": "x"},), "without a label"),
        (WORDS, (2,), "0 to 1"),
        (WORDS, (True,), "indices"),
        (WORDS, ([0],), "indices"),
        (asked(Rating()), 7, "a whole number from 1 to 5"),
        (SEVEN, 8, "a whole number from 1 to 7"),
        (BEST, 2, "the segment of an image: 1, 3"),
        (PREFERENCE, {"choice": "mine", "left": "one", "right": "other"}, "left, right, tie, both_bad"),
        (PREFERENCE, {"choice": "left", "left": "one", "right": "one"}, "the two of the pair: one and other"),
        (PREFERENCE, "left", "what stood on the left"),
    ],
)
def test_answers_of_no_form_are_refused_with_what_was_wanted(question, value, message):
    with pytest.raises(AnswerError, match=message):
        question.check(value, ONE, OTHER)


@pytest.mark.parametrize("project", READY_MADE, ids=lambda project: project.id)
def test_ready_made_projects_are_projects_and_survive_json(project):
    check_project(project)
    assert Project.from_dict(json.loads(json.dumps(project.to_dict()))) == project


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": "Team A"}, "wanted at most 64 small letters"),
        ({"name": " "}, "has no name"),
        ({"overlap": 0}, "overlap of 0"),
        ({"gold_share": 0.9}, "share of gold"),
        ({"practice": -1}, "practice items"),
        ({"subject": "image"}, "asks only about: reflection, thought"),
        ({"questions": ()}, "asks nothing"),
        ({"questions": (QUESTIONS[0], QUESTIONS[0])}, "that another has"),
        ({"questions": (dataclasses.replace(QUESTIONS[0], required=False),)}, "requires no answer"),
        ({"guidelines": "a\0"}, "cannot be stored"),
    ],
)
def test_projects_that_cannot_be_are_refused(changes, message):
    with pytest.raises(ProjectError, match=message):
        check_project(dataclasses.replace(REFLECTIONS_PROJECT, **changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "Two words"}, "another name"),
        ({"name": "skip_reason"}, "another name"),
        ({"segment": "picture"}, "is about a “picture”"),
        ({"title": ""}, "no title"),
        ({"form": Choice(("a",))}, "1 choices"),
        ({"form": Choice(("a", "a"))}, "there twice"),
        ({"form": Best()}, "best of several"),
        ({"form": Preference()}, "compares two"),
        ({"form": Rating((5, 1))}, "lowest end first"),
        ({"form": Rating((1, 100))}, "1 to 10 steps"),
        ({"form": Rating(7)}, "two whole numbers"),
        ({"form": Regions()}, "places in an image"),
    ],
)
def test_questions_that_nobody_could_answer_are_refused(changes, message):
    with pytest.raises(ProjectError, match=message):
        check_questions([dataclasses.replace(QUESTIONS[0], **changes)])


def test_who_may_see_a_project_is_a_matter_of_role_and_of_names():
    project = dataclasses.replace(RICH, role=Role.REVIEWER, people=("ann",))
    assert project.is_open_to("ann", Role.REVIEWER)
    assert not project.is_open_to("ann", Role.ANNOTATOR)
    assert not project.is_open_to("bob", Role.REVIEWER)
    assert project.is_open_to("bob", Role.ADMIN)


def test_a_project_is_stored_changed_and_listed_and_what_was_answered_stays_asked(tmp_path, url):
    trajectory, pictures = aha()
    with open_store(tmp_path, url) as store:
        assert store.create_project(RICH).created_at is not None
        with pytest.raises(ConflictError, match="choose another"):
            store.create_project(RICH)
        assert [project.id for project in store.projects()] == ["reflections", "rich-feedback"]
        store.change_project(dataclasses.replace(RICH, guidelines="Look twice.", questions=RICH.questions[:3]))
        assert store.project("rich-feedback").guidelines == "Look twice."
        store.annotate(Annotation(store.save(trajectory, pictures, owner="v"), 2, "ann", {"verdict_right": "yes"}))
        with pytest.raises(ProjectError, match="have answered “Is the verdict right"):
            changed = dataclasses.replace(QUESTIONS[0], form=Choice(("true", "false")))
            store.change_project(dataclasses.replace(REFLECTIONS_PROJECT, questions=(changed,)))
        fewer = tuple(q for q in QUESTIONS if q.name != "reason_rating")
        assert store.change_project(dataclasses.replace(REFLECTIONS_PROJECT, questions=fewer)).questions == fewer


BOX = ({"label": "artifact", "x": 0.15, "y": 0.1, "w": 0.4, "h": 0.4},)


@pytest.mark.parametrize(
    ("question", "given", "wanted", "right"),
    [
        (asked(Rating()), 3, 4, True),
        (asked(Rating()), 2, 4, False),
        (TAGS, ("b", "a"), ("a", "b"), True),
        (REGIONS, ({"label": "artifact", "x": 0.1, "y": 0.1, "w": 0.4, "h": 0.4},), BOX, True),
        (REGIONS, ({"label": "misalignment", "x": 0.1, "y": 0.1, "w": 0.4, "h": 0.4},), BOX, False),
        (REGIONS, ({"label": "artifact", "x": 0.3, "y": 0.3},), BOX, True),
        (REGIONS, ({"label": "artifact", "x": 0.8, "y": 0.3},), BOX, False),
        (
            PREFERENCE,
            {"choice": "left", "left": "one", "right": "other"},
            {"choice": "right", "left": "other", "right": "one"},
            True,
        ),
    ],
)
def test_an_answer_is_held_against_the_right_one_in_the_manner_of_its_form(question, given, wanted, right):
    assert question.form.is_right(given, wanted) is right


def test_feedback_says_what_was_given_what_was_right_and_why():
    gold = [{"segment": 2, "answers": {"verdict_right": "no", "reason_correction": "x"}, "because": "It is a dog."}]
    [feedback] = compare(QUESTIONS, gold, [Annotation("one", 2, "ann", {"verdict_right": "yes"})])
    assert (feedback.answer, feedback.gold, feedback.right, feedback.because) == ("yes", "no", False, "It is a dog.")
    assert chosen({"choice": "tie", "left": "one", "right": "other"}) == "tie"
