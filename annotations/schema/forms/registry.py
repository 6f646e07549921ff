"""All question forms by name, and a form from its JSON."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from annotations.schema.forms.best import Best
from annotations.schema.forms.choice import Choice
from annotations.schema.forms.facts import Facts
from annotations.schema.forms.preference import Preference
from annotations.schema.forms.question_form import QuestionForm
from annotations.schema.forms.ranking import Ranking
from annotations.schema.forms.rating import Rating
from annotations.schema.forms.regions import Regions
from annotations.schema.forms.tags import Tags
from annotations.schema.forms.text import Text
from annotations.schema.forms.words import Words

FORMS: dict[str, type[QuestionForm]] = {
    form.name: form for form in (Choice, Rating, Text, Tags, Regions, Words, Best, Ranking, Preference, Facts)
}
OPTIONS = {field.name for form in FORMS.values() for field in fields(form)}


def form_of(row: Mapping[str, Any]) -> QuestionForm:
    """From {form: its name} and its options; options of other forms are passed over. Raises KeyError, TypeError."""
    form = FORMS[row["form"]]
    options = {field.name: row[field.name] for field in fields(form) if field.name in row}
    return form(**{name: tuple(value) if isinstance(value, list) else value for name, value in options.items()})
