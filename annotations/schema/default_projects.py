"""Default projects: reflections, pair arena, rich feedback as in RichHF-18K, checklists of facts, rankings.

Values only. Reflections is in every database from the start; the others are what a new project begins with.
"""

from annotations.schema.annotation import REFLECTIONS
from annotations.schema.forms.best import Best
from annotations.schema.forms.facts import Facts
from annotations.schema.forms.preference import Preference
from annotations.schema.forms.ranking import Ranking
from annotations.schema.forms.rating import Rating
from annotations.schema.forms.regions import Regions
from annotations.schema.forms.tags import Tags
from annotations.schema.forms.text import Text
from annotations.schema.forms.words import Words
from annotations.schema.project import Order, Project
from annotations.schema.question_targets import PAIR, WHOLE
from annotations.schema.questions import EDIT_QUESTION, QUESTIONS, Question
from model.trajectory import Image, Reflection

REFLECTIONS_PROJECT = Project(
    id=REFLECTIONS,
    name="Reflections",
    questions=QUESTIONS,
    subject=Reflection.kind,
    guidelines=(
        "Look at the picture and the prompt, and say whether **the picture fits**. Where the model said the same, say "
        "how good its reason is, and write a better one where you have one. Where it said the opposite, write what it "
        "should have said."
    ),
    overlap=None,
    order=Order.OLDEST,
    collects=True,
)

EDITS = Project(
    id="reflections-and-edits",
    name="Reflections and edits",
    questions=(*(question for question in QUESTIONS if question.segment == Reflection.kind), EDIT_QUESTION),
    subject=Reflection.kind,
    guidelines=(
        "As for reflections; and where the picture is wrong, say in one instruction **what to change**, so that the "
        "next picture can be right."
    ),
    overlap=2,
)

ARENA = Project(
    id="arena",
    name="Pair arena",
    questions=(
        Question(
            "alignment",
            PAIR,
            Preference(),
            "Which one shows what was asked for?",
            "Count, colours and places only; however it looks.",
            required=True,
        ),
        Question("appearance", PAIR, Preference(), "Which one looks better?", "As if there were no prompt."),
        Question("comment", PAIR, Text(), "Anything to add?"),
    ),
    subject=PAIR,
    guidelines="Two drawings of one prompt. You are not told who drew them.",
    overlap=3,
)

RICH = Project(
    id="rich-feedback",
    name="Rich feedback",
    questions=(
        Question("alignment", Image.kind, Rating(), "Does it show what was asked for?", required=True),
        Question("appearance", Image.kind, Rating(), "How does it look?", "However well it fits.", required=True),
        Question(
            "regions",
            Image.kind,
            Regions(("artifact", "misalignment")),
            "Where is something wrong?",
            "A box or a point: an artifact, or something that is not what the prompt says.",
        ),
        Question("words_not_drawn", Image.kind, Words(), "Which words were not drawn?", "Click them in the prompt."),
        Question("best", WHOLE, Best(), "Which of its images is the best?"),
        Question("tags", WHOLE, Tags(), "Tags"),
        Question("comment", WHOLE, Text(), "Anything to add?"),
    ),
    subject=Image.kind,
    guidelines=(
        "Two questions that are not one: a picture may be **right and ugly**, or beautiful and wrong. Mark where, "
        "and which words of the prompt are not in it."
    ),
    overlap=3,
    order=Order.MARGIN,
)

CHECKLIST = Project(
    id="checklist",
    name="Checklist of facts",
    questions=(
        Question(
            "facts",
            Image.kind,
            Facts(),
            "What holds of the picture?",
            "Fact by fact, whatever it looks like; the verdict follows, and is yours to overrule.",
            required=True,
        ),
        Question("comment", Image.kind, Text(), "Anything to add?"),
    ),
    subject=Image.kind,
    guidelines="What the prompt says is taken apart. Say of **each fact** whether it holds; do not guess: say so.",
    overlap=2,
)

RANKED = Project(
    id="ranking",
    name="Images in order",
    questions=(
        Question("order", WHOLE, Ranking(), "Which fits better?", "The best first.", required=True),
        Question("comment", WHOLE, Text(), "Anything to add?"),
    ),
    subject=WHOLE,
    guidelines="All images of one drawing, the one that shows best what was asked for first.",
    overlap=2,
)

READY_MADE = (REFLECTIONS_PROJECT, ARENA, RICH, EDITS, CHECKLIST, RANKED)
