"""Branches: what a person changes stands in the new trajectory as a person's, and all before it as it was."""

import pytest

from model.backends.janus import Janus
from model.branches import BranchError, afresh, with_codes, with_reflection, with_thought, written_thought
from model.decoding.janus_backend import JanusBackend
from model.templates import BEGIN_IMAGE, EOS
from model.trajectory import Origin, Parent, Trajectory


def origins(segment) -> set[Origin]:
    return {token.origin for token in segment.tokens}


def test_a_written_thought_says_what_was_written(tiny: Janus):
    thought = written_thought(JanusBackend(tiny), "  red apple\n at 2 3 🍎")
    assert thought.text == " red apple\n at 2 3 🍎"
    assert origins(thought) == {Origin.PERSON}


def test_special_tokens_in_a_written_thought_are_words(tiny: Janus):
    ids = {token.id for token in written_thought(JanusBackend(tiny), f"red {BEGIN_IMAGE} apple {EOS}").tokens}
    assert ids.isdisjoint(tiny.tokenize(BEGIN_IMAGE + EOS))


def test_a_branch_keeps_what_was_before_the_change(tiny: Janus, drawn: Trajectory):
    branch = with_thought(JanusBackend(tiny), drawn, 3, "red car at 1 1")
    assert branch.prefix[:3] == drawn.segments[:3]
    assert branch.prefix[3].text == " red car at 1 1"
    assert branch.parent == Parent("parent", 3, 0)
    assert afresh(drawn, 1).prefix == drawn.segments[:1]


@pytest.mark.parametrize(
    ("answer", "reason", "text"),
    [
        ("no", "There is one car.", "No, there is one car."),
        ("no", "I see no car", "No, I see no car."),
        ("no", "No, where are they?!", "No, where are they?!"),
        ("yes", ", the picture shows two cars.", "Yes, the picture shows two cars."),
    ],
)
def test_a_written_reason_reads_as_the_model_would_write_it(tiny: Janus, drawn: Trajectory, answer, reason, text):
    reflection = with_reflection(JanusBackend(tiny), drawn, 2, answer, reason).prefix[2]
    assert (reflection.answer, reflection.text) == (answer, text)
    assert reflection.tokens[0].id == (tiny.ids.yes if answer == "yes" else tiny.ids.no)
    assert origins(reflection) == {Origin.PERSON}


def test_changed_codes_are_a_person_s_and_the_others_are_not(tiny: Janus, drawn: Trajectory):
    branch = with_codes(JanusBackend(tiny), drawn, 1, {5: 7, 9: 3})
    image = branch.prefix[1]
    assert [i for i, origin in enumerate(image.origins) if origin is Origin.PERSON] == [5, 9]
    assert (image.codes[5], image.codes[9], image.sha256) == (7, 3, None)
    assert branch.parent.token == 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda backend, t: with_thought(backend, t, 1, "a"), "segment 1 is no finished thought"),
        (lambda backend, t: with_thought(backend, t, 99, "a"), "there is no segment 99"),
        (lambda backend, t: with_thought(backend, t, 0, "  "), "nothing is written"),
        (lambda backend, t: with_thought(backend, t, 0, "a" * 601), "at most 600"),
        (lambda backend, t: with_thought(backend, t, 0, "漢" * 200), "at most 96 are read"),
        (lambda backend, t: with_reflection(backend, t, 2, "no", "漢" * 200), "at most 80 are read"),
        (lambda backend, t: with_reflection(backend, t, 2, "maybe", "a"), "“yes” or “no”"),
        (lambda backend, t: with_codes(backend, t, 1, {}), "no patch is changed"),
        (lambda backend, t: with_codes(backend, t, 1, {64: 1}), "got code 1 for patch 64"),
        (lambda backend, t: with_codes(backend, t, 1, {0: 1024}), "got code 1024 for patch 0"),
    ],
)
def test_a_change_that_is_not_possible_says_so(tiny: Janus, drawn: Trajectory, change, message: str):
    with pytest.raises(BranchError, match=message):
        change(JanusBackend(tiny), drawn)


def test_a_verdict_can_be_changed_without_a_reason(tiny: Janus, drawn: Trajectory):
    reflection = with_reflection(JanusBackend(tiny), drawn, 2, "no", ". , ").prefix[-1]
    assert (reflection.answer, reflection.reason) == ("no", "")
