"""Facts: a checklist of what a prompt says of its image, fact by fact, and the verdict that follows from it.

An answer holds the texts of its facts, so that it keeps its meaning where the prompt is read otherwise later on.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from annotations.schema.field_types import is_storable
from annotations.schema.forms.question_form import Feature, FormOfChoices, most_common
from annotations.schema.question_targets import WHOLE
from model.trajectory import Image, Source, Trajectory

STATES = ("yes", "no", "unclear")  # of a fact
IN_WORDS = {"yes": "holds", "no": "does not hold", "unclear": "cannot tell"}
VERDICT = "verdict"  # the part of an answer that is about the whole image
MOST_FACTS = 40
LONGEST_FACT = 200  # characters


@dataclass(frozen=True)
class Facts(FormOfChoices):
    """{verdict: yes or no, facts: [{fact: its text, holds: one of STATES}]} about `choices`; without choices, about the
    facts of the drawing's prompt. An answer without a verdict is unfinished.
    """

    name: ClassVar[str] = "facts"
    title: ClassVar[str] = "facts, ticked one by one"
    feature: ClassVar[Feature] = {"verdict": "string", "facts": [{"fact": "string", "holds": "string"}]}

    def problem(self, target: str) -> str | None:
        if target not in (Image.kind, Source.kind, WHOLE):
            return f"asks what an image shows; ask it about an {Image.kind}, a {Source.kind} or the whole {WHOLE}"
        if len(self.choices) > MOST_FACTS or any(map(_expected_fact, self.choices)):
            return f"has facts that are too many or too long; wanted {MOST_FACTS} of {LONGEST_FACT} characters at most"
        return super().problem(target)

    def keeps(self, before: Self) -> bool:
        return type(self) is type(before)

    def for_prompt(self, facts: Callable[[], Sequence[str]]) -> Self:
        return self if self.choices else replace(self, choices=facts_from(facts()))

    def expected(self, value: Any, trajectory: Trajectory, other: Trajectory | None) -> str | None:
        if not isinstance(value, Mapping) or not set(value) <= {VERDICT, "facts"}:
            return "a verdict and facts"
        if value.get(VERDICT, "yes") not in ("yes", "no"):
            return "the verdict yes or no"
        ticked = value.get("facts", ())
        if not isinstance(ticked, (tuple, list)) or not 0 < len(ticked) <= MOST_FACTS:
            return f"1 to {MOST_FACTS} facts"
        if not all(isinstance(each, Mapping) and set(each) == {"fact", "holds"} for each in ticked):
            return "of every fact its text and whether it holds"
        if any(each["holds"] not in STATES for each in ticked):
            return f"of every fact one of: {', '.join(STATES)}"
        texts = [each["fact"] for each in ticked]
        if problem := next(filter(None, map(_expected_fact, texts)), None):
            return problem
        if len(set(texts)) < len(texts) or (self.choices and not set(texts) <= set(self.choices)):
            return "each fact that is asked about once"
        return None

    def is_complete(self, value: Any, trajectory: Trajectory) -> bool:
        return VERDICT in value

    def comparable(self, value: Any) -> Hashable:
        return tuple(sorted(self.parts(value).items()))

    def parts(self, value: Any) -> Mapping[str, Hashable]:
        """By text whether a fact holds, and the verdict."""
        ticked = {each["fact"]: each["holds"] for each in value.get("facts", ())}
        return ticked | ({VERDICT: value[VERDICT]} if VERDICT in value else {})

    def majority(self, values: Sequence[Any]) -> Any:
        """Fact by fact; of facts on which people are split nothing."""
        parts = [self.parts(value) for value in values]
        names = dict.fromkeys(name for each in parts for name in each)
        most = {name: most_common([each[name] for each in parts if name in each], str) for name in names}
        verdict = most.pop(VERDICT, None)
        ticked = [{"fact": fact, "holds": state} for fact, state in most.items() if state is not None]
        return {"facts": ticked} | ({VERDICT: verdict} if verdict is not None else {}) if ticked else None

    def is_right(self, answer: Any, gold: Any) -> bool:
        """Right in every fact, and in the verdict, that is known."""
        parts = self.parts(answer)
        return all(parts.get(part) == known for part, known in self.parts(gold).items())

    def labels(self) -> Sequence[str]:
        return tuple(IN_WORDS.values())

    def labels_of(self, value: Any, trajectory: Trajectory | None = None) -> list[str]:
        return [IN_WORDS[each["holds"]] for each in value.get("facts", ())]

    def column(self, value: Any) -> dict[str, Any]:
        ticked = [{"fact": each["fact"], "holds": each["holds"]} for each in value.get("facts", ())]
        return {VERDICT: value.get(VERDICT), "facts": ticked}

    def to_page(self, value: Any, left: str | None) -> dict[str, Any]:
        """{verdict, facts}: a state or None for each of `choices`, in their order."""
        states = self.parts(value)
        return {VERDICT: value.get(VERDICT), "facts": [states.get(fact) for fact in self.choices]}

    def from_page(self, value: Any, left: str | None, right: str | None) -> Any:
        states = value.get("facts") if isinstance(value, Mapping) else None
        if not isinstance(states, list) or len(states) != len(self.choices):
            return value
        ticked = [{"fact": fact, "holds": state} for fact, state in zip(self.choices, states, strict=True) if state]
        if not ticked:
            return None
        return {"facts": ticked} | ({VERDICT: value[VERDICT]} if value.get(VERDICT) else {})

    def in_words(self, value: Any, trajectory: Trajectory) -> str:
        by_state = {
            state: [each["fact"] for each in value.get("facts", ()) if each["holds"] == state] for state in STATES
        }
        texts = [f"{IN_WORDS[state]}: {', '.join(facts)}" for state, facts in by_state.items() if facts]
        return "; ".join([*([value[VERDICT]] if VERDICT in value else []), *texts])


def facts_from(texts: Sequence[str]) -> tuple[str, ...]:
    """Those that can be asked about, each once, MOST_FACTS at most."""
    known = dict.fromkeys(text.strip() for text in texts if isinstance(text, str))
    return tuple(text for text in known if _expected_fact(text) is None)[:MOST_FACTS]


def score_of(shares: Mapping[Any, float]) -> float:
    """How far a fact holds, 0 to 1, by the shares of people for each of STATES; “cannot tell” counts half."""
    return shares.get("yes", 0.0) + shares.get("unclear", 0.0) / 2


def _expected_fact(text: Any) -> str | None:
    fits = isinstance(text, str) and text.strip() != "" and len(text) <= LONGEST_FACT and text != VERDICT
    return None if fits and is_storable(text) else f"facts of 1 to {LONGEST_FACT} characters"
