"""A store in which people have done everything that they can do, for tests of exports."""

import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from test_annotations_samples import aha, image, judged, png, reflection

from annotations.queue import flags
from annotations.queue.review import decide
from annotations.queue.submission import skip_item
from annotations.schema.annotation import Annotation
from annotations.schema.default_projects import ARENA, REFLECTIONS_PROJECT, RICH
from annotations.schema.forms.choice import Choice
from annotations.schema.forms.facts import Facts
from annotations.schema.forms.ranking import Ranking
from annotations.schema.forms.rating import Rating
from annotations.schema.question_targets import WHOLE
from annotations.schema.questions import EDIT_QUESTION, Question
from annotations.store.items import NewItem, find
from annotations.store.store import Store, open_store
from model.trajectory import Image, Origin, Parent, Source, Thought, Token

ANN, BOB, EVE, RAE = (f"{name}@example.org" for name in ("ann", "bob", "eve", "rae"))
BOX = {"x": 0.25, "y": 0.5, "w": 0.25, "h": 0.25, "label": "artifact"}
POINT = {"x": 0.5, "y": 0.5, "label": "misalignment"}
HOLDING = {"verdict": "yes", "facts": [{"fact": "two apples", "holds": "yes"}, {"fact": "a car", "holds": "yes"}]}
MISSING = {"verdict": "no", "facts": [{"fact": "two apples", "holds": "no"}, {"fact": "a car", "holds": "yes"}]}
UNCLEAR = {"verdict": "no", "facts": [{"fact": "two apples", "holds": "unclear"}, {"fact": "a car", "holds": "yes"}]}
PLAN = "red apple at 0 0; red apple at 2 0"
TEAM = replace(
    REFLECTIONS_PROJECT,
    id="team",
    name="Team",
    questions=(*REFLECTIONS_PROJECT.questions, EDIT_QUESTION),
    overlap=3,
    collects=False,
)
ALL_FORMS = replace(
    RICH,
    questions=(
        *RICH.questions,
        Question("look", Image.kind, Choice(("photo", "drawing")), "What does it look like?"),
        Question("overall", WHOLE, Rating((1, 7)), "How good is it as a whole?"),
        Question("order", WHOLE, Ranking(), "Which is better?"),
        Question("facts", Image.kind, Facts(), "What holds?"),
    ),
)


def filled(folder: Path) -> tuple[Store, dict[str, str]]:
    """The store, a copy of one that is filled once, and ids of trajectories by what they are for."""
    made, ids = _made()
    shutil.copytree(made.name, folder)
    return open_store(folder), dict(ids)


@cache
def _made() -> tuple[TemporaryDirectory[str], dict[str, str]]:
    made = TemporaryDirectory()
    store, ids = _fill(Path(made.name))
    store.close()
    return made, ids


def _fill(folder: Path) -> tuple[Store, dict[str, str]]:
    store = open_store(folder)
    for project in (TEAM, ARENA, ALL_FORMS):
        store.create_project(project)
    words = ("two apples", "two red apples above a blue car", "ein hund", "ein hund", "ein hund", "two apples")
    ids = {f"t{number}": store.save(*aha(number, prompt=word), owner="visitor") for number, word in enumerate(words)}
    _reflections(store, ids)
    _team(store, ids)
    _rich(store, ids)
    _pairs(store, ids)
    _branches(store, ids)
    _edit(store, ids)
    return store, ids


def _reflections(store: Store, ids: dict[str, str]) -> None:
    """Corrected, right, tied, neither good nor bad, without a reason; plans corrected, good, bad and in between."""
    for annotation in (
        judged(ids["t0"], 0, ANN, thought_rating=2, thought_correction=PLAN),
        judged(ids["t0"], 2, ANN, verdict_right="no", reason_correction="there are two apples."),
        judged(ids["t0"], 2, BOB, verdict_right="no"),
        judged(ids["t0"], 2, EVE, verdict_right="yes", reason_correction="one apple is too much."),
        judged(ids["t0"], 4, ANN, verdict_right="yes", reason_rating=5),
        judged(ids["t0"], 4, BOB, verdict_right="yes", reason_rating=4),
        judged(ids["t1"], 0, BOB, thought_rating=5),
        judged(ids["t1"], 2, ANN, verdict_right="yes", reason_correction="the car is missing."),
        judged(ids["t1"], 4, ANN, verdict_right="yes"),
        judged(ids["t2"], 0, EVE, thought_rating=1),
        judged(ids["t2"], 2, ANN, verdict_right="yes", reason_rating=5),
        judged(ids["t2"], 2, BOB, verdict_right="no", reason_correction="there is a boat."),
        judged(ids["t2"], 4, ANN, verdict_right="yes", reason_rating=3),
        judged(ids["t3"], 0, EVE, thought_rating=3),
        judged(ids["t3"], 2, ANN, verdict_right="yes", reason_rating=1),
    ):
        store.annotate(annotation)
    with store.database.reading() as session:
        item = find(session, "reflections", ids["t4"])
        assert item is not None
        number = item.id
    skip_item(store, number, EVE, reason="not my language")
    flags.answer(store, flags.flag(store, number, EVE, "Which language is it?"), RAE, "German.")


def _team(store: Store, ids: dict[str, str]) -> None:
    """What a reviewer decides otherwise than some say."""
    t3 = ids["t3"]
    [item] = store.add_items("team", [NewItem(t3)])
    for segment, who, answers in (
        (0, ANN, {"thought_rating": 2, "thought_correction": "one dog at 1 1"}),
        (2, ANN, {"verdict_right": "no", "reason_correction": "it is a dog."}),
        (2, BOB, {"verdict_right": "yes", "reason_rating": 5}),
    ):
        store.annotate(Annotation(t3, segment, who, answers, project="team"))
    decided = {
        0: {"thought_rating": 2, "thought_correction": "a dog at 1 1"},
        2: {"verdict_right": "yes", "reason_correction": "no dog is there.", "edit": "add a dog"},
        4: {"verdict_right": "yes", "reason_rating": 5},
    }
    decide(store, item, RAE, [Annotation(t3, at, RAE, answers, project="team") for at, answers in decided.items()])


def _rich(store: Store, ids: dict[str, str]) -> None:
    """Everything that can be asked about images and whole trajectories, by two people; and a reviewer's decision."""
    first, second = store.add_items("rich-feedback", [NewItem(ids["t1"]), NewItem(ids["t4"])])
    for who, worse, better, wrong in ((ANN, 2, 5, MISSING), (BOB, 1, 4, UNCLEAR)):
        for segment, answers in (
            (
                1,
                {"alignment": worse, "appearance": 3, "regions": [BOX, POINT], "words_not_drawn": [0], "look": "photo"}
                | {"facts": wrong},
            ),
            (3, {"alignment": better, "appearance": 3, "look": "drawing", "facts": HOLDING}),
            (None, {"best": 3, "tags": ["dark", "small"], "comment": "Good.", "overall": 7, "order": [3, 1]}),
        ):
            store.annotate(Annotation(ids["t1"], segment, who, answers, project="rich-feedback", item=first))
    store.annotate(
        Annotation(ids["t4"], 1, EVE, {"alignment": 5, "appearance": 5}, project="rich-feedback", item=second)
    )
    decided = {1: {"alignment": 1, "appearance": 1}, 3: {"alignment": 5, "appearance": 5}, None: {"best": 3}}
    some = [Annotation(ids["t4"], at, RAE, answers, project="rich-feedback") for at, answers in decided.items()]
    decide(store, second, RAE, some)


def _pairs(store: Store, ids: dict[str, str]) -> None:
    """Preferred by two of two, tied, both bad, two against one; and of a drawing that is deleted afterwards."""
    names = [("t2", "t3"), ("t2", "t4"), ("t3", "t4"), ("t5", "t0"), ("t0", "t5")]
    hidden = store.save(*aha(9), owner="visitor")
    items = store.add_items("arena", [*[NewItem(ids[a], ids[b]) for a, b in names], NewItem(ids["t0"], hidden)])
    both = [*[(ids[a], ids[b]) for a, b in names], (ids["t0"], hidden)]
    chosen = (("left", "left"), ("left", "right"), ("both_bad", "both_bad"), ("left", "left", "right"), (), ("right",))
    for item, pair, choices in zip(items, both, chosen, strict=True):
        for who, choice in zip((ANN, BOB, EVE), choices, strict=False):
            said = {"choice": choice, "left": pair[0], "right": pair[1]}
            answers = {"alignment": said, "comment": "Quickly."}
            store.annotate(Annotation(pair[0], None, who, answers, project="arena", item=item))
    side = {"choice": "right", "left": ids["t5"], "right": ids["t0"]}
    decide(store, items[4], RAE, [Annotation(ids["t0"], None, RAE, {"alignment": side}, project="arena")])
    store.annotate(judged(hidden, 2, ANN, verdict_right="no", reason_correction="it is no secret."))
    store.hide(hidden, by="visitor")
    ids["hidden"] = hidden


def _branches(store: Store, ids: dict[str, str]) -> None:
    """A plan that a visitor rewrote, and a verdict that a visitor flipped, which somebody calls right."""
    thought = Thought((Token(7, " " + PLAN, Origin.PERSON),))
    drawing = aha(6)[0].segments[1:]
    changes = {"segments": (thought, *drawing), "parent": Parent(ids["t0"], 0, 0)}
    ids["plan"] = store.save(*aha(6, prompt="two apples", **changes), owner="visitor")
    draft = aha(1)[0].segments[:2]
    flipped = replace(reflection("Yes, all is there."), tokens=(Token(1, "Yes", Origin.PERSON), Token(2, ", it fits.")))
    trajectory, pictures = aha(1, prompt="two red apples above a blue car", seed=7)
    trajectory = replace(trajectory, segments=(*draft, flipped), parent=Parent(ids["t1"], 2, 0))
    ids["flip"] = store.save(trajectory, {name: pictures[name] for name in [draft[1].sha256]}, owner="visitor")
    store.annotate(judged(ids["flip"], 2, BOB, verdict_right="yes", reason_rating=5))


def _edit(store: Store, ids: dict[str, str]) -> None:
    source, edited = png(200), png(201)
    trajectory, _ = aha(8, prompt="make it blue")
    given = Source((5, 6, 7, 8), image(source).sha256 or "")
    trajectory = replace(trajectory, segments=(given, image(edited)))
    shown = {str(image(content).sha256): content for content in (source, edited)}
    ids["edit"] = store.save(trajectory, shown, owner="visitor")
    store.add_items("rich-feedback", [NewItem(ids["edit"])])
    store.annotate(Annotation(ids["edit"], 1, BOB, {"alignment": 5, "appearance": 4}, project="rich-feedback"))
