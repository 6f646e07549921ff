"""An instruction is read as people write it, changes what it names, and nothing else."""

import random
from collections import Counter
from dataclasses import replace

import pytest

from model.world.edits import (
    KINDS,
    Add,
    Move,
    Recolour,
    Remove,
    Replace,
    Where,
    apply_edit,
    edited,
    read_edit,
    sample_edit,
    touched,
    write_edit,
)
from model.world.language import CATEGORIES
from model.world.random_scenes import sample_description, sample_scene
from model.world.scene import Item, Scene, free_places, random_scene, render
from model.world.sprites import CELL, COLOURS, NOUNS
from model.world.verifier import Reading, read
from model.world.vocabulary import PromptError, UnknownWordError

CAT, TREE = Item("cat", "red", 0, 0), Item("tree", "green", 4, 4)
SCENE = Scene((CAT, TREE))
FULL = Scene(tuple(Item("key", "black", column, row) for column in (0, 2, 4, 6) for row in (0, 2, 4, 6)))


def pairs(count, seed=0):
    """Scenes of every kind that allow an edit, with one."""
    rng = random.Random(seed)
    while count:
        scene = random_scene(rng, rng.randint(1, 6))
        if rng.random() < 0.5:
            scene = sample_scene(rng, sample_description(rng, rng.choice(CATEGORIES)))
        nouns = [item.noun for item in scene.items]
        if len(nouns) < 6 or any(nouns.count(noun) == 1 for noun in nouns):
            yield rng, scene, sample_edit(rng, scene)
            count -= 1


def show(scene):
    return read(render(scene))


def test_every_edit_survives_its_wording():
    seen = Counter()
    for _, _, edit in pairs(1000):
        assert read_edit(write_edit(edit)) == edit
        seen[edit.kind] += 1
    assert set(seen) == set(KINDS) and min(seen.values()) > 80


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        (Recolour("cat", "blue"), "make the cat blue"),
        (Remove("star"), "remove the star"),
        (Add("apple", "orange"), "add an orange apple"),
        (Add("moon", where=Where("above", "house")), "add a moon above the house"),
        (Move("car", Where("left of", "tree")), "move the car left of the tree"),
        (Replace("cat", "dog", "blue"), "replace the cat with a blue dog"),
        (Replace("cat", "umbrella"), "replace the cat with an umbrella"),
    ],
)
def test_an_edit_is_written_plainly(edit, text):
    assert write_edit(edit) == text and read_edit(text) == edit


@pytest.mark.parametrize(
    ("text", "edit"),
    [
        ("Paint the cat BLUE!", Recolour("cat", "blue")),
        ("please, change the colour of the cat to blue", Recolour("cat", "blue")),
        ("color cat blue", Recolour("cat", "blue")),
        ("  delete the star. ", Remove("star")),
        ("could you take the star away, please?", Remove("star")),
        ("put a red apple above the house", Add("apple", "red", Where("above", "house"))),
        ("add one apple on the right side of the tree", Add("apple", None, Where("right of", "tree"))),
        ("put the apple over the house", Move("apple", Where("above", "house"))),
        ("move car left of tree", Move("car", Where("left of", "tree"))),
        ("swap the cat for a dog", Replace("cat", "dog")),
        ("turn the cat into a blue dog", Replace("cat", "dog", "blue")),
        ("make the cat a dog", Replace("cat", "dog")),
    ],
)
def test_a_persons_wording_is_understood(text, edit):
    assert read_edit(text) == edit


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the instruction is empty"),
        ("rotate the cat", "no instruction that the embedded world knows; write for example “make the cat blue”"),
        ("make the cat", "not a whole instruction; write for example “make the cat blue”"),
        ("add", "not a whole instruction; write for example “add a moon"),
        ("move the cat", "does not say where to; write for example “move the car"),
        ("move the cat to the left", "does not say of what"),
        ("make the red cat blue", "goes by its noun alone: “the cat”"),
        ("add a moon above a red house", "goes by its noun alone: “the house”"),
        ("add two apples", "“two apples” is more than one object"),
        ("remove the cat and the dog", "“a cat and a dog” is more than one object"),
        ("add a cat, a dog above it", "more than one object"),
        ("move the cat above the cat", "named twice"),
        ("replace the cat with blue", "names no object"),
    ],
)
def test_an_instruction_that_cannot_be_understood_is_refused_with_its_reason(text, message):
    with pytest.raises(PromptError, match=message):
        read_edit(text)


@pytest.mark.parametrize(
    ("text", "word", "nearest"),
    [
        ("make the kitten blue", "kitten", "cat"),
        ("make the cat crimson", "crimson", "red"),
        ("add a politician", "politician", None),
        ("move the cat above the tre", "tre", "tree"),
    ],
)
def test_an_unknown_word_is_named_with_the_nearest(text, word, nearest):
    with pytest.raises(UnknownWordError) as caught:
        read_edit(text)
    assert caught.value.nearest == {word: nearest}


def test_an_edit_that_is_done_shows_and_an_unchanged_picture_does_not_show_it():
    kinds = Counter()
    for rng, scene, edit in pairs(300):
        after = apply_edit(rng, scene, edit)
        assert edited(edit, scene, show(after)), (scene, edit, after)
        assert not edited(edit, scene, show(scene))
        kinds[edit.kind] += 1
    assert set(kinds) == set(KINDS)


def test_a_picture_with_a_second_change_does_not_show_the_edit():
    changes = Counter()
    for rng, scene, edit in pairs(300, seed=1):
        after = apply_edit(rng, scene, edit)
        places = free_places(after.items)
        spoiled = {"added": [*after.items, Item("key", "black", *rng.choice(places))]} if places else {}
        if others := [item for item in after.items if item in scene.items]:
            other = rng.choice(others)
            rest = [item for item in after.items if item != other]
            spoiled["removed"] = rest
            spoiled["recoloured"] = [*rest, replace(other, colour="red" if other.colour != "red" else "blue")]
            spoiled["replaced"] = [*rest, replace(other, noun="cat" if other.noun != "cat" else "dog")]
            if places:
                column, row = rng.choice(places)
                spoiled["moved"] = [*rest, replace(other, column=column, row=row)]
        for change, items in spoiled.items():
            assert not edited(edit, scene, show(Scene(tuple(items)))), (scene, edit, change)
            changes[change] += 1
    assert len(changes) == 5 and min(changes.values()) > 150


def test_a_broken_sprite_is_no_edit():
    for rng, scene, edit in pairs(60, seed=2):
        after = apply_edit(rng, scene, edit)
        image = render(after)
        item = rng.choice(after.items)
        image[item.row * CELL : (item.row + 1) * CELL, item.column * CELL : (item.column + 1) * CELL] = 0
        assert not edited(edit, scene, read(image))


@pytest.mark.parametrize(
    ("text", "new", "shown"),
    [
        ("make the cat blue", replace(CAT, colour="blue"), True),
        ("make the cat blue", replace(CAT, colour="pink"), False),
        ("make the cat blue", Item("cat", "blue", 0, 1), False),
        ("replace the cat with a dog", replace(CAT, noun="dog"), True),
        ("replace the cat with a dog", replace(CAT, noun="dog", colour="blue"), False),
        ("replace the cat with a blue dog", replace(CAT, noun="dog", colour="blue"), True),
        ("move the cat below the tree", Item("cat", "red", 0, 6), True),
        ("move the cat below the tree", Item("cat", "red", 0, 5), False),
        ("move the cat below the tree", Item("cat", "blue", 0, 6), False),
        ("remove the cat", None, True),
        ("remove the cat", replace(CAT, colour="blue"), False),
    ],
)
def test_exactly_what_was_asked_for_is_an_edit(text, new, shown):
    assert edited(read_edit(text), SCENE, Reading((new, TREE) if new else (TREE,))) == shown


def test_an_added_object_of_a_free_colour_may_have_any():
    for colour in COLOURS:
        moon = Item("moon", colour, 4, 0)
        assert edited(read_edit("add a moon above the tree"), SCENE, Reading((CAT, moon, TREE)))
        assert edited(read_edit("add a red moon"), SCENE, Reading((CAT, moon, TREE))) == (colour == "red")
        assert not edited(read_edit("add a moon below the tree"), SCENE, Reading((CAT, moon, TREE)))


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("move the cat below the tree", {(column, 6) for column in range(7)}),
        ("add a cat right of the tree", {(6, row) for row in range(7)}),
        ("add a cat", set(free_places(SCENE.items))),
    ],
)
def test_a_free_place_is_uniform_among_the_valid_ones(text, places):
    rng, edit, counts = random.Random(0), read_edit(text), Counter()
    scene = Scene((TREE,)) if "right" in text else SCENE
    for _ in range(60 * len(places)):
        (new,) = set(apply_edit(rng, scene, edit).items) - set(scene.items)
        counts[new.column, new.row] += 1
    assert set(counts) == places and min(counts.values()) > 30 and max(counts.values()) < 95


@pytest.mark.parametrize(
    ("text", "scene", "message"),
    [
        ("make the dog blue", SCENE, "there is no dog in the picture; it shows: cat, tree"),
        ("add a dog above the house", SCENE, "there is no house in the picture"),
        ("remove the cat", Scene((CAT, replace(CAT, column=3))), "there are two cats; “the cat” must name one"),
        ("make the cat red", SCENE, "the cat is red already"),
        ("replace the cat with a red cat", SCENE, "the cat is red already"),
        ("move the cat above the tree", SCENE, "the cat stands above the tree already"),
        ("move the tree above the cat", SCENE, "there is no free place above the cat for the tree"),
        ("add a dog left of the cat", SCENE, "there is no free place left of the cat for the dog"),
        ("add a dog", FULL, "there is no free place for the dog"),
    ],
)
def test_what_cannot_be_done_is_refused_with_its_reason(text, scene, message):
    with pytest.raises(ValueError, match=message):
        apply_edit(random.Random(0), scene, read_edit(text))


def test_nothing_stands_beside_itself():
    with pytest.raises(ValueError, match="the cat cannot stand above itself"):
        apply_edit(random.Random(0), SCENE, Move("cat", Where("above", "cat")))


def test_a_scene_without_an_edit_is_refused():
    with pytest.raises(ValueError, match="an empty scene cannot be edited"):
        sample_edit(random.Random(0), Scene(()))
    crowd = Scene(
        tuple(Item(noun, "red", column, row) for row, noun in ((0, "cat"), (4, "dog")) for column in (0, 2, 4))
    )
    with pytest.raises(ValueError, match="this scene allows no edit"):
        sample_edit(random.Random(0), crowd)


def test_kinds_are_uniform_among_those_a_scene_allows():
    rng = random.Random(0)
    many = Counter(sample_edit(rng, SCENE).kind for _ in range(1000))
    assert set(many) == set(KINDS) and min(many.values()) > 150
    lonely = Counter(sample_edit(rng, Scene((CAT,))).kind for _ in range(900))
    assert set(lonely) == {"recolour", "replace", "add"} and min(lonely.values()) > 240


def test_the_same_seed_edits_alike():
    for seed in range(30):
        one, other = ([sample_edit(rng, SCENE), rng] for rng in (random.Random(seed), random.Random(seed)))
        assert one[0] == other[0]
        assert apply_edit(one[1], SCENE, one[0]) == apply_edit(other[1], SCENE, other[0])


def test_outside_the_touched_cells_an_edited_picture_is_the_old_one():
    for rng, scene, edit in pairs(200, seed=3):
        after = apply_edit(rng, scene, edit)
        cells = touched(edit, scene, after)
        assert len(cells) in ((4, 6, 7, 8) if edit.kind == "move" else (4,))
        changed = (render(scene) != render(after)).any(-1).reshape(8, CELL, 8, CELL).any((1, 3))
        assert {(column, row) for row, column in zip(*changed.nonzero(), strict=True)} <= cells


@pytest.mark.parametrize(
    ("text", "after", "corners"),
    [
        ("make the cat blue", SCENE, [(0, 0)]),
        ("make the cat blue", Scene((TREE,)), [(0, 0)]),
        ("remove the cat", Scene((CAT, replace(TREE, colour="red"))), [(0, 0)]),
        ("add a red moon", Scene((CAT, TREE, Item("moon", "blue", 0, 6))), [(0, 6)]),
        ("add a moon", Scene((CAT, TREE, Item("dog", "blue", 0, 6))), []),
        ("move the cat below the tree", Scene((TREE, replace(CAT, column=6))), [(0, 0), (6, 0)]),
    ],
)
def test_only_the_object_of_the_edit_is_touched(text, after, corners):
    cells = {(column + right, row + down) for column, row in corners for right in (0, 1) for down in (0, 1)}
    assert touched(read_edit(text), SCENE, after) == cells


def test_every_noun_and_colour_can_be_named_in_an_edit():
    for noun in NOUNS:
        for colour in COLOURS:
            assert read_edit(write_edit(Replace("cat", noun, colour))) == Replace("cat", noun, colour)
