"""Questions and projects as data, every form of answer, answers beside the right ones."""

import dataclasses
import json

import pytest
from test_annotations_samples import aha

from annotations.errors import AnswerError, ConflictError, ProjectError
from annotations.queue.gold_answers import compare, is_right
from annotations.schema.annotation import Annotation, Answers
from annotations.schema.answer_validation import check_answer, chosen
from annotations.schema.default_projects import READY_MADE, REFLECTIONS_PROJECT, RICH
from annotations.schema.project import Project, Role, check_project
from annotations.schema.questions import QUESTIONS, Form, Question, check_questions
from annotations.store.store import open_store

ONE = dataclasses.replace(aha()[0], id="one")
OTHER = dataclasses.replace(ONE, id="other")
LABELS = ("artifact", "misalignment")


def asked(form: Form, segment: str = "image", choices: tuple[str, ...] = ()) -> Question:
    return Question("name", segment, form, "Title?", choices=choices)


TAGS, FREE_TAGS = asked(Form.TAGS, choices=("a", "b")), asked(Form.TAGS)
REGIONS, PLAIN_REGIONS = asked(Form.REGIONS, choices=LABELS), asked(Form.REGIONS)
WORDS, BEST, PREFERENCE = asked(Form.WORDS), asked(Form.BEST, "trajectory"), asked(Form.PREFERENCE, "pair")


@pytest.mark.parametrize(
    ("question", "value"),
    [
        (TAGS, ("a",)),
        (FREE_TAGS, ("too many fingers",)),
        (REGIONS, ({"label": "artifact", "x": 0, "y": 0.5, "w": 1, "h": 0.5}, {"label": "artifact", "x": 1, "y": 1})),
        (PLAIN_REGIONS, ({"x": 0.1, "y": 0.2},)),
        (WORDS, (0, 1)),
        (BEST, 3),
        (PREFERENCE, {"choice": "both_bad", "left": "other", "right": "one"}),
    ],
)
def test_answers_of_every_form_are_accepted_and_come_back_from_json_as_they_were(question, value):
    answers = Answers({"name": value})
    check_answer(question, answers["name"], ONE, OTHER)
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
        (BEST, 2, "the segment of an image: 1, 3"),
        (PREFERENCE, {"choice": "mine", "left": "one", "right": "other"}, "left, right, tie, both_bad"),
        (PREFERENCE, {"choice": "left", "left": "one", "right": "one"}, "the two of the pair: one and other"),
        (PREFERENCE, "left", "what stood on the left"),
    ],
)
def test_answers_of_no_form_are_refused_with_what_was_wanted(question, value, message):
    with pytest.raises(AnswerError, match=message):
        check_answer(question, value, ONE, OTHER)


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
        ({"choices": ("a",)}, "1 choices"),
        ({"choices": ("a", "a")}, "there twice"),
        ({"form": Form.BEST}, "best of several"),
        ({"form": Form.PREFERENCE}, "compares two"),
        ({"form": Form.REGIONS}, "places in an image"),
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
            changed = dataclasses.replace(QUESTIONS[0], choices=("true", "false"))
            store.change_project(dataclasses.replace(REFLECTIONS_PROJECT, questions=(changed,)))
        fewer = tuple(q for q in QUESTIONS if q.name != "reason_rating")
        assert store.change_project(dataclasses.replace(REFLECTIONS_PROJECT, questions=fewer)).questions == fewer


BOX = ({"label": "artifact", "x": 0.15, "y": 0.1, "w": 0.4, "h": 0.4},)


@pytest.mark.parametrize(
    ("question", "given", "wanted", "right"),
    [
        (asked(Form.RATING), 3, 4, True),
        (asked(Form.RATING), 2, 4, False),
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
    assert is_right(question, given, wanted) is right


def test_feedback_says_what_was_given_what_was_right_and_why():
    gold = [{"segment": 2, "answers": {"verdict_right": "no", "reason_correction": "x"}, "because": "It is a dog."}]
    [feedback] = compare(QUESTIONS, gold, [Annotation("one", 2, "ann", {"verdict_right": "yes"})])
    assert (feedback.given, feedback.wanted, feedback.right, feedback.because) == ("yes", "no", False, "It is a dog.")
    assert chosen({"choice": "tie", "left": "one", "right": "other"}) == "tie"
