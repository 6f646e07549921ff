"""The base class of question forms: validation, comparison, page values and export column of an answer.

A form's options for one question (choices, scale) are the fields of its dataclass. Knows trajectories; no project, no
database, no page.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, ClassVar, Self

from annotations.schema.names import clean_name
from model.trajectory import Trajectory

Feature = str | list["Feature"] | dict[str, "Feature"]  # an Arrow type by name, a list of one, a struct


class MeasurementLevel(StrEnum):
    """The level of measurement of answers: what the distance between two of them means."""

    NOMINAL = "nominal"  # the same or not
    ORDINAL = "ordinal"  # how many answers lie between
    INTERVAL = "interval"  # their difference


@dataclass(frozen=True)
class QuestionForm(ABC):
    """The form of the answers to one question. `name` is what it is called where it is stored."""

    name: ClassVar[str]
    title: ClassVar[str]  # a few words, for a menu
    level: ClassVar[MeasurementLevel | None] = (
        MeasurementLevel.NOMINAL
    )  # for agreement; None: answers are counted, but not compared
    has_gold: ClassVar[bool] = True  # whether an answer can be right or wrong
    on_image: ClassVar[bool] = False  # whether it is given on the image itself
    names_images: ClassVar[bool] = False  # whether an answer names images of its trajectory
    feature: ClassVar[Feature]  # of an export's column

    # The question

    def problem(self, target: str) -> str | None:
        """Why nobody could answer a question of this form about `target`, one of QUESTION_TARGETS; or None."""
        return None

    def keeps(self, before: Self) -> bool:
        """Whether all answers to a question that had the form `before` mean in this one what they meant."""
        return self == before

    def options(self) -> dict[str, Any]:
        """What differs from the defaults, as JSON values."""
        values = {field.name: (getattr(self, field.name), field.default) for field in fields(self)}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, (value, usual) in values.items()
            if value != usual
        }

    def for_prompt(self, facts: Callable[[], Sequence[str]]) -> Self:
        """The form for one drawing; `facts` says what its prompt asks for, one by one."""
        return self

    # An answer

    @abstractmethod
    def expected(self, value: Any, trajectory: Trajectory, other: Trajectory | None) -> str | None:
        """What an answer would have been, in words; None where the value is one. `other` is the second of a pair."""

    def comparable(self, value: Any) -> Hashable:
        """Equal for two answers that say the same."""
        return value

    def is_complete(self, value: Any, trajectory: Trajectory) -> bool:
        """Whether an answer, which `expected` has passed, can be submitted."""
        return True

    def parts(self, value: Any) -> Mapping[str, Hashable]:
        """What two people are compared by, part by part: each is equal where they say the same. Here one, without a
        name: all of it."""
        return {"": self.comparable(value)}

    def majority(self, values: Sequence[Any]) -> Any:
        """What most of several people answered; None where nothing has the most votes."""
        return most_common(values, self.comparable)

    def is_right(self, answer: Any, gold: Any) -> bool:
        """Whether an answer is close enough to the right one."""
        return self.comparable(answer) == self.comparable(gold)

    def labels(self) -> Sequence[str]:
        """The labels of all answers there can be, where those are few: the bars of a distribution."""
        return ()

    def labels_of(self, value: Any, trajectory: Trajectory | None = None) -> list[str]:
        """The labels of one answer, each of which is counted once; `trajectory` is needed where `names_images`."""
        return [str(value)]

    def column(self, value: Any) -> Any:
        """An answer in an export, of the type `feature`: JSON values."""
        return value

    # A page

    def choices_for(self, trajectory: Trajectory) -> list[tuple[str, Any]]:
        """What a page offers, in the order in which it lies there: (label, value)."""
        return []

    def to_page(self, value: Any, left: str | None) -> Any:
        """An answer as a page keeps it; of a pair, the trajectory `left` is the one on the left."""
        return value

    def from_page(self, value: Any, left: str | None, right: str | None) -> Any:
        """The answer that a page's value stands for. A page's value is somebody's input: unchecked."""
        return value

    def in_words(self, value: Any, trajectory: Trajectory) -> str:
        """An answer as text; of a pair, `trajectory` is shown on the left."""
        return str(value)


@dataclass(frozen=True)
class FormOfChoices(QuestionForm):
    """A form whose answers are made of `choices`."""

    choices: tuple[str, ...] = ()

    def problem(self, target: str) -> str | None:
        seen = {clean_name(choice) for choice in self.choices}  # which two that look the same share
        if len(seen) < len(self.choices) or "" in seen:
            return "has a choice that is empty or there twice"
        return None

    def keeps(self, before: Self) -> bool:
        return type(self) is type(before) and set(before.choices) <= set(self.choices)

    def labels(self) -> Sequence[str]:
        return self.choices

    def choices_for(self, trajectory: Trajectory) -> list[tuple[str, Any]]:
        return [(choice, choice) for choice in self.choices]


def most_common(values: Sequence[Any], key: Callable[[Any], Hashable]) -> Any:
    """The first value of the key that most have; None for a tie, and for nothing."""
    ranked = Counter(map(key, values)).most_common(2)
    if not ranked or (len(ranked) > 1 and ranked[0][1] == ranked[1][1]):
        return None
    return next(value for value in values if key(value) == ranked[0][0])


def is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def are_different(value: Any) -> bool:
    """Whether it is a sequence of values of which no two are the same."""
    if not isinstance(value, (tuple, list)) or any(isinstance(each, (tuple, list, Mapping)) for each in value):
        return False
    return len(set(value)) == len(value)
