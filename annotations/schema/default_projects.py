"""Default projects: reflections, pair arena, rich feedback as in RichHF-18K.

Values only. Reflections is in every database from the start; the others are what a new project begins with.
"""

from annotations.schema.annotation import REFLECTIONS
from annotations.schema.project import Order, Project
from annotations.schema.questions import PAIR, QUESTIONS, WHOLE, Form, Question
from model.trajectory import Image, Reflection

REFLECTIONS_PROJECT = Project(
    id=REFLECTIONS,
    name="Reflections",
    questions=QUESTIONS,
    subject=Reflection.kind,
    guidelines=(
        "Look at the picture and the prompt. Say whether the model’s **yes or no** is right, how good its reason is, "
        "and write a better reason where you have one."
    ),
    overlap=None,
    order=Order.OLDEST,
    collects=True,
)

ARENA = Project(
    id="arena",
    name="Pair arena",
    questions=(
        Question(
            "alignment",
            PAIR,
            Form.PREFERENCE,
            "Which one shows what was asked for?",
            "Count, colours and places only; however it looks.",
            required=True,
        ),
        Question("appearance", PAIR, Form.PREFERENCE, "Which one looks better?", "As if there were no prompt."),
        Question("comment", PAIR, Form.TEXT, "Anything to add?"),
    ),
    subject=PAIR,
    guidelines="Two drawings of one prompt. You are not told who drew them.",
    overlap=3,
)

RICH = Project(
    id="rich-feedback",
    name="Rich feedback",
    questions=(
        Question("alignment", Image.kind, Form.RATING, "Does it show what was asked for?", required=True),
        Question("appearance", Image.kind, Form.RATING, "How does it look?", "However well it fits.", required=True),
        Question(
            "regions",
            Image.kind,
            Form.REGIONS,
            "Where is something wrong?",
            "A box or a point: an artifact, or something that is not what the prompt says.",
            choices=("artifact", "misalignment"),
        ),
        Question("words_not_drawn", Image.kind, Form.WORDS, "Which words were not drawn?", "Click them in the prompt."),
        Question("best", WHOLE, Form.BEST, "Which of its images is the best?"),
        Question("tags", WHOLE, Form.TAGS, "Tags"),
        Question("comment", WHOLE, Form.TEXT, "Anything to add?"),
    ),
    subject=Image.kind,
    guidelines=(
        "Two questions that are not one: a picture may be **right and ugly**, or beautiful and wrong. Mark where, "
        "and which words of the prompt are not in it."
    ),
    overlap=3,
    order=Order.MARGIN,
)

READY_MADE = (REFLECTIONS_PROJECT, ARENA, RICH)
