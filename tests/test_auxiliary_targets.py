"""Notes: what is to be known where, and that nothing but the loss sees them."""

import random
from collections import Counter

import pytest

from model.backends.janus import CODE, PIXEL, Janus
from model.sequences import prompt_pieces
from model.templates import CHECK
from model.training.batch import collate
from model.training.training_sequences import (
    JudgedDraft,
    TokenKind,
    TrainingSequence,
    draw,
    drop_condition,
    edit,
    judge,
)
from model.training.world_data.auxiliary_targets import draw_auxiliary, judge_auxiliary, object_auxiliary
from model.world.language import parse
from model.world.plan import read_plan
from model.world.random_scenes import sample_scene
from model.world.scene import random_scene, render
from model.world.sprites import patch_codes

PICTURE = render(random_scene(random.Random(0), 3))


def words(janus: Janus, sequence: TrainingSequence) -> dict[int, list[tuple[str, float]]]:
    """The auxiliary targets by position: words and depths, deepest last."""
    found: dict[int, list[tuple[str, float]]] = {}
    for targets in (targets for targets in sequence.targets if targets.auxiliary):
        for position, token in zip(targets.positions, targets.tokens, strict=True):
            found.setdefault(position, []).append((janus.tokenizer.decode([token]).strip(), targets.depth))
    return found


def test_notes_are_asked_for_where_the_network_looks_and_nothing_else_moves(tiny: Janus):
    description = parse("two red apples and a blue car")
    image = render(read_plan("red apple at 0 0; green apple at 3 0; pink moon at 0 4"))
    notes = judge_auxiliary(tiny, description, image)
    bare, full = (judge(tiny, "…", [], image, "No, there is no car.", each) for each in (None, notes))
    assert [targets for targets in full.targets if not targets.auxiliary] == list(bare.targets)
    assert not any(targets.auxiliary for targets in bare.targets)
    said = {
        position: [(word, round(6 * depth)) for word, depth in each] for position, each in words(tiny, full).items()
    }
    first, *_ = patches = (collate(tiny, [full]).kinds[0] == PIXEL).nonzero().flatten().tolist()

    def four(column: int, row: int) -> list[list[tuple[str, int]]]:
        corner = first + row * 8 + column
        return [said.get(corner + offset, []) for offset in (0, 1, 8, 9)]

    assert four(0, 0) == [[("apple", 2)], [("one", 3), ("two", 4)], [("red", 3), ("yes", 4)], []]
    assert four(3, 0) == [[("apple", 2)], [("two", 3), ("two", 4)], [("red", 3), ("no", 4)], []]
    assert four(0, 4) == [[("moon", 2)], [("one", 3)], [("extra", 3)], [("extra", 4)]]
    assert four(4, 4) == [[], [], [], []]
    facts = [said.get(patches[-1] + 1 + at) for at in range(len(tiny.tokenize(CHECK)))]
    # <end_of_image>, two apples, the car, –, red apples, blue car, –, two relations, nothing extra, nothing broken
    yes, no = ("yes", 5), ("no", 5)
    apples, green = [("apple", 2), ("two", 4), yes], [("apple", 2), ("green", 4), no]
    assert facts == [None, apples, [("car", 2), no], None, green, None, None, None, None, [yes], [yes], None]


def test_the_self_check_notes_what_stands_in_which_relation_and_whether_it_does(tiny: Janus):
    description = parse("a red cat left of a blue dog, a green moon above it")
    image = render(read_plan("red cat at 0 0; blue dog at 4 4; green moon at 4 6"))
    noted = [
        [tiny.tokenizer.decode([note.id]).strip() for note in there]
        for there in judge_auxiliary(tiny, description, image).check
    ]
    assert noted[7:9] == [["cat", "yes", "dog", "left"], ["moon", "no", "dog", "above"]]


def test_every_cell_of_a_drawing_is_noted_before_it_is_drawn(tiny: Janus):
    scene = read_plan("red cat at 2 1")
    codes, notes = patch_codes(render(scene)), draw_auxiliary(tiny, " red cat at 2 1", scene)
    sequence = draw(tiny, "a cat", [], " red cat at 2 1", codes, notes)
    begin = min(
        next(targets for targets in sequence.targets if targets.kind is TokenKind.CODE).positions
    )  # of the first code
    said = {at - begin: [word for word, _ in each] for at, each in words(tiny, sequence).items()}
    assert set(said) == {-1, *range(64)}
    assert said[-1] == ["2", "cat", "red", "one"]  # the plan's last word
    assert said[1 * 8 + 2] == ["2", "1", "cat", "red"]
    assert said[2 * 8 + 3] == ["3", "2", "cat", "red"]
    assert said[3 * 8 + 3] == ["3", "3", "no"]
    assert words(tiny, drop_condition(sequence, tiny, random.Random(0), 1.0)) == {}


def test_a_draft_and_a_picture_to_edit_are_noted_at_the_first_code_of_every_object(tiny: Janus):
    scene, after = read_plan("red cat at 2 1; blue moon at 0 6"), read_plan("red cat at 2 1")
    seen, codes, drawn = patch_codes(render(scene)), patch_codes(render(after)), object_auxiliary(tiny, scene.items)
    redraw = draw(tiny, "a cat", [JudgedDraft("No, there is a moon.", codes=seen, code_auxiliary=drawn)], None, codes)
    for sequence in redraw, edit(tiny, "remove the moon", seen, None, codes, source_auxiliary=drawn):
        first = int((collate(tiny, [sequence]).kinds[0] == CODE).nonzero()[0])  # of the given codes
        targets = words(tiny, sequence)
        said = {at - first: [word for word, _ in each] for at, each in targets.items()}
        assert said == {1 * 8 + 2: ["2", "1", "cat", "red"], 6 * 8 + 0: ["0", "6", "moon", "blue"]}
        places = [(at, depth) for at, each in targets.items() for _, depth in each]
        assert len(places) == len(set(places))  # the head reads one word off each layer


def test_a_plan_is_noted_at_the_last_word_of_every_object(tiny: Janus):
    thought = " red cat at 2 1; blue umbrella at 0 5; red cat at 6 6"
    noted = draw_auxiliary(tiny, thought, read_plan(thought)).thought
    assert len(noted) == len(tiny.tokenize(thought))
    said = {at: [tiny.tokenizer.decode([note.id]).strip() for note in there] for at, there in enumerate(noted) if there}
    assert said == {4: ["2", "cat", "red", "one"], 10: ["0", "umbrella", "blue", "one"], 16: ["6", "cat", "red", "two"]}


def test_notes_on_a_prompt_say_what_stands_in_which_relation(tiny: Janus):
    prompt = "two red apples left of a car, a moon below it"
    notes = judge_auxiliary(tiny, parse(prompt), PICTURE)
    words = [tiny.tokenizer.decode([token]).strip() for token in prompt_pieces(tiny, prompt)[-1].ids]
    said = [(words[at], tiny.tokenizer.decode([known[0].id]).strip()) for at, known in enumerate(notes.prompt) if known]
    assert said == [("left", "apple"), ("car", "right"), ("below", "moon"), ("it", "car")]
    assert (
        judge_auxiliary(tiny, parse(prompt), PICTURE, "two red apples on the left of a car, a moon below it").prompt
        == ()
    )


@pytest.mark.parametrize(
    ("plan", "cat", "dog"),
    [
        ("red cat at 0 0; blue dog at 4 4", ["left"], ["right", "yes"]),
        ("red cat at 4 4; blue dog at 0 0", ["left", "no"], ["right"]),
        ("red cat at 0 0; blue dog at 4 0", ["left", "yes"], ["right", "yes"]),
    ],
)
def test_a_relation_is_noted_from_both_sides_as_soon_as_both_were_seen(tiny: Janus, plan: str, cat: list, dog: list):
    scene = read_plan(plan)
    notes = judge_auxiliary(tiny, parse("a cat left of a dog"), render(scene))
    for item in scene.items:
        last = (item.row + 1) * 8 + item.column + 1
        said = [tiny.tokenizer.decode([note.id]).strip() for note in notes.patches[last]]
        assert said == (cat if item.noun == "cat" else dog)


def test_an_object_in_two_relations_has_both_noted_and_no_two_notes_share_a_layer(tiny: Janus):
    rng, description = random.Random(0), parse("a red cat left of a blue dog, a green moon above it")
    scene = sample_scene(rng, description)
    notes = judge_auxiliary(tiny, description, render(scene)).patches
    said = [tiny.tokenizer.decode([note.id]).strip() for there in notes for note in there]
    assert Counter(word for word in said if word in ("left", "right", "above", "below")) == Counter(
        ["left", "right", "above", "below"]
    )
    assert said.count("yes") == 3 + 2  # every colour; each relation where its second object is seen
    for there in notes:
        assert len({note.depth for note in there}) == len(there)
