"""Notes: what is to be known where, and that nothing but the loss sees them."""

import random
from collections import Counter

import pytest
import torch

from model.backends.janus import CODE, PIXEL, Janus
from model.sequences import opening
from model.templates import CHECK
from model.training.batch import IGNORE, collate
from model.training.embedded.auxiliary_targets import drawn_notes, hand_notes, take_notes
from model.training.training_sequences import Draft, draw, drop_condition, edit, judge
from model.world.language import parse
from model.world.patches import patch_codes
from model.world.plan import read_plan
from model.world.sampling import sample_scene
from model.world.scene import random_scene, render

PICTURE = render(random_scene(random.Random(0), 3))


def test_notes_are_asked_for_where_the_network_looks_and_nothing_else_moves(tiny: Janus):
    description = parse("two red apples and a blue car")
    image = render(read_plan("red apple at 0 0; green apple at 3 0; pink moon at 0 4"))
    notes = take_notes(tiny, description, image)
    bare, batch = (
        collate([judge(tiny, "…", [], image, "No, there is no car.", each)], tiny.image_codes) for each in (None, notes)
    )
    assert torch.equal(batch.text_labels, bare.text_labels)
    assert len(bare.notes) == 0
    said = {}
    for (_, position, token), depth in zip(batch.notes.tolist(), batch.depths.tolist(), strict=True):
        said.setdefault(position, []).append((tiny.tokenizer.decode([token]).strip(), round(6 * depth)))
    first, *_ = patches = (batch.kinds[0] == PIXEL).nonzero().flatten().tolist()

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
    apples, green = [("apple", 2), yes, ("two", 4)], [("apple", 2), no, ("green", 4)]
    assert facts == [None, apples, [("car", 2), no], None, green, None, None, None, None, [yes], [yes], None]


def test_the_self_check_notes_what_stands_in_which_relation_and_whether_it_does(tiny: Janus):
    description = parse("a red cat left of a blue dog, a green moon above it")
    image = render(read_plan("red cat at 0 0; blue dog at 4 4; green moon at 4 6"))
    noted = [
        [tiny.tokenizer.decode([note.id]).strip() for note in there]
        for there in take_notes(tiny, description, image).check
    ]
    assert noted[7:9] == [["cat", "yes", "dog", "left"], ["moon", "no", "dog", "above"]]


def test_every_cell_of_a_drawing_is_noted_before_it_is_drawn(tiny: Janus):
    scene = read_plan("red cat at 2 1")
    codes, notes = patch_codes(render(scene)), hand_notes(tiny, " red cat at 2 1", scene)
    lesson = draw(tiny, "a cat", [], " red cat at 2 1", codes, notes)
    batch = collate([lesson], tiny.image_codes)
    begin = int((batch.code_labels[0] != IGNORE).nonzero()[0])  # predicts the first code
    said = {}
    for _, position, token in batch.notes.tolist():
        said.setdefault(position - begin, []).append(tiny.tokenizer.decode([token]).strip())
    assert set(said) == {-1, *range(64)}
    assert said[-1] == ["2", "cat", "red", "one"]  # the plan's last word
    assert said[1 * 8 + 2] == ["2", "1", "cat", "red"]
    assert said[2 * 8 + 3] == ["3", "2", "cat", "red"]
    assert said[3 * 8 + 3] == ["3", "3", "no"]
    assert len(collate([drop_condition(lesson, tiny.ids.pad, random.Random(0), 1.0)], 64).notes) == 0


def test_a_draft_and_a_picture_to_edit_are_noted_at_the_first_code_of_every_object(tiny: Janus):
    scene, after = read_plan("red cat at 2 1; blue moon at 0 6"), read_plan("red cat at 2 1")
    seen, codes, drawn = patch_codes(render(scene)), patch_codes(render(after)), drawn_notes(tiny, scene.items)
    redraw = draw(tiny, "a cat", [Draft("No, there is a moon.", codes=seen, drawn=drawn)], None, codes)
    for lesson in redraw, edit(tiny, "remove the moon", seen, None, codes, drawn=drawn):
        batch = collate([lesson], tiny.image_codes)
        first = int((batch.kinds[0] == CODE).nonzero()[0])  # of the codes of the image that is given
        said = {}
        for _, position, token in batch.notes.tolist():
            said.setdefault(position - first, []).append(tiny.tokenizer.decode([token]).strip())
        assert said == {1 * 8 + 2: ["2", "1", "cat", "red"], 6 * 8 + 0: ["0", "6", "moon", "blue"]}
        places = list(zip(batch.notes[:, 1].tolist(), batch.depths.tolist(), strict=True))
        assert len(places) == len(set(places))  # the head reads one word off each layer


def test_a_plan_is_noted_at_the_last_word_of_every_object(tiny: Janus):
    thought = " red cat at 2 1; blue umbrella at 0 5; red cat at 6 6"
    noted = hand_notes(tiny, thought, read_plan(thought)).thought
    assert len(noted) == len(tiny.tokenize(thought))
    said = {at: [tiny.tokenizer.decode([note.id]).strip() for note in there] for at, there in enumerate(noted) if there}
    assert said == {4: ["2", "cat", "red", "one"], 10: ["0", "umbrella", "blue", "one"], 16: ["6", "cat", "red", "two"]}


def test_notes_on_a_prompt_say_what_stands_in_which_relation(tiny: Janus):
    prompt = "two red apples left of a car, a moon below it"
    notes = take_notes(tiny, parse(prompt), PICTURE)
    words = [tiny.tokenizer.decode([token]).strip() for token in opening(tiny, prompt)[-1].ids]
    said = [(words[at], tiny.tokenizer.decode([known[0].id]).strip()) for at, known in enumerate(notes.prompt) if known]
    assert said == [("left", "apple"), ("car", "right"), ("below", "moon"), ("it", "car")]
    assert take_notes(tiny, parse(prompt), PICTURE, "two red apples on the left of a car, a moon below it").prompt == ()


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
    notes = take_notes(tiny, parse("a cat left of a dog"), render(scene))
    for item in scene.items:
        last = (item.row + 1) * 8 + item.column + 1
        said = [tiny.tokenizer.decode([note.id]).strip() for note in notes.patches[last]]
        assert said == (cat if item.noun == "cat" else dog)


def test_an_object_in_two_relations_has_both_noted_and_no_two_notes_share_a_layer(tiny: Janus):
    rng, description = random.Random(0), parse("a red cat left of a blue dog, a green moon above it")
    scene = sample_scene(rng, description)
    notes = take_notes(tiny, description, render(scene)).patches
    said = [tiny.tokenizer.decode([note.id]).strip() for there in notes for note in there]
    assert Counter(word for word in said if word in ("left", "right", "above", "below")) == Counter(
        ["left", "right", "above", "below"]
    )
    assert said.count("yes") == 3 + 2  # every colour; each relation where its second object is seen
    for there in notes:
        assert len({note.depth for note in there}) == len(there)
