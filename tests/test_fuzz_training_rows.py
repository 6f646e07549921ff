"""Random rows: learnt with exactly their words, or refused by number; never anything else."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from training_rows import PNG, row

from model.backends.janus import Janus
from model.examples import JudgeExample
from model.messages import MessageError
from model.sequences import escape_special_tokens
from model.templates import CHECK_TEXT, CONNECT_TEXT
from model.training.batch import collate
from model.training.dataset import sequence_of

WORDS = st.sampled_from(
    ["two red apples", "No, x.", "Yes", "None of", "", " ", "苹果。", "No，苹", CHECK_TEXT, CONNECT_TEXT]
)
SCRAP = st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.binary(max_size=8)
PART = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "image", "text", "image", "audio", None]), "text": st.none() | WORDS},
    optional={"image": st.none() | WORDS},
)
CONTENT = st.lists(PART, max_size=3) | WORDS | SCRAP
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "user", "assistant", "system", "tool", None]), "content": CONTENT},
    optional={"name": st.none() | WORDS},
)
IMAGE_PART = {"role": "assistant", "content": [{"type": "image", "text": None}]}
TURN = MESSAGE | st.just(IMAGE_PART) | st.just({"role": "user", "content": "two red apples"})
PICTURE = st.just({"bytes": PNG, "path": None}) | st.fixed_dictionaries({"bytes": SCRAP, "path": SCRAP}) | SCRAP
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "prompt": st.lists(TURN, max_size=5) | SCRAP,
        "completion": st.lists(MESSAGE, max_size=2) | WORDS.map(lambda said: [{"role": "assistant", "content": said}]),
        "images": st.lists(PICTURE, max_size=3) | SCRAP,
        "weight": SCRAP,
        "segment": SCRAP,
        "decided": SCRAP,
        "annotator": SCRAP,
    },
)


def texts(message: dict[str, Any]) -> str:
    """All that a message of an accepted row says, read without the code under test."""
    content = message["content"]
    return content if isinstance(content, str) else "".join(part["text"] or "" for part in content)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=CHANGES)
def test_a_random_row_is_learnt_as_it_stands_or_refused(tiny: Janus, changes: dict[str, Any]):
    given_row = row(**changes)
    try:
        example = JudgeExample.from_row(given_row)
        sequence = sequence_of(tiny, example)
    except MessageError as refused:
        assert str(refused) and "\n" not in str(refused)
        return
    first, *later = given_row["prompt"]
    assert first["role"] == "user" and example.prompt == texts(first)
    fixed = (CHECK_TEXT, CONNECT_TEXT, "")
    said = [texts(message) for message in later if message["role"] == "assistant" and texts(message)]
    assert [texts(m).strip() in fixed for m in later if m["role"] == "user"].count(False) == 0
    assert "".join(said) == "".join(example.reflections)
    assert example.completion == texts(given_row["completion"][0]) and example.completion.startswith(("Yes", "No"))
    batch = collate(tiny, [sequence])
    target = batch.tokens[batch.positions.argsort()].tolist()
    assert tiny.tokenizer.decode(target[:-1]) == escape_special_tokens(example.completion)
    assert 0 <= sequence.weight <= 100
