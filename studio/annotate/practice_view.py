"""Feedback in practice as HTML and as marks on the sheet: the right answers, the reason, the score.

Pure functions: no store, no Gradio. What people wrote enters HTML escaped.
"""

from collections.abc import Sequence
from typing import Any

from annotations.metrics.gold_answers import Feedback
from annotations.queue.practice import PracticeResult
from annotations.schema.annotation import Answers
from studio.components.forms.sheet import ALL, Sheet, SheetTarget, sheet_targets
from studio.components.render import escaped, isolated

PRACTICE = '<p class="practice">This is for practice; you are told what was right afterwards.</p>'
ENOUGH = 0.8  # of the items of practice right: begin; else again
ON, AGAIN = "annotate-on", "annotate-again"  # ids of buttons; annotate.js presses them


def marks(sheet: Sheet, told: Sequence[Feedback]) -> dict[str, dict[str, Any]]:
    """By thing and question of a sheet: the right answer as the page keeps it, whether it was given, and why."""
    made: dict[str, dict[str, Any]] = {}
    forms = {question.name: question.form for question in sheet.project.questions}
    for answer in told:
        key = ALL if answer.segment is None else str(answer.segment)
        right_value = forms[answer.name].to_page(_plain(answer.gold), sheet.left)
        made.setdefault(key, {})[answer.name] = {"value": right_value, "right": answer.right, "why": answer.because}
    return made


def lesson(sheet: Sheet, told: Sequence[Feedback], result: PracticeResult) -> str:
    """Each known answer beside what was given, and the buttons that lead on."""
    order = [question.name for question in sheet.project.questions]
    rows = "".join(_row(sheet, answer) for answer in sorted(told, key=lambda answer: order.index(answer.name)))
    feedback = f'<ul class="feedback" aria-label="What was right">{rows}</ul>'
    if not result.over:
        return f'<div class="lesson" role="status">{feedback}{_button(ON, "Go on", "↵")}</div>'
    enough = result.right >= ENOUGH * result.done
    summary = f'<p class="result"><b>{result.right} of {result.done} right.</b> Practice is over.</p>'
    buttons = _button(ON, "Begin", "↵"), _button(AGAIN, "Practise again", "A")
    chosen = "".join(buttons if enough else reversed(buttons))
    return f'<div class="lesson" role="status">{feedback}{summary}{chosen}</div>'


def _button(id: str, words: str, key: str) -> str:
    return f'<button type="button" id="{id}">{words} <kbd>{key}</kbd></button>'


def _row(sheet: Sheet, answer: Feedback) -> str:
    thing = next(thing for thing in sheet_targets(sheet) if thing.segment == answer.segment)
    answered = "no answer" if answer.answer is None else _in_words(sheet, thing, answer.name, answer.answer)
    outcome = "right" if answer.right else f"wanted {_in_words(sheet, thing, answer.name, answer.gold)}"
    why = f" {isolated(answer.because)}" if answer.because else ""
    worded = thing.worded.get(answer.name)
    title = isolated(worded.title if worded else answer.question)
    where = f"{escaped(thing.name)}: " if thing.name else ""
    kind = "yes" if answer.right else "no"
    return f'<li class="{kind}"><b>{where}{title}</b> You: {isolated(answered)} – {isolated(outcome)}.{why}</li>'


def _in_words(sheet: Sheet, thing: SheetTarget, name: str, value: Any) -> str:
    if name in thing.worded:
        return next(label.lower() for label, each in thing.worded[name].choices if each == value)
    form = next(question.form for question in sheet.project.questions if question.name == name)
    page = form.to_page(_plain(value), sheet.left)
    labels = [
        label
        for label, each in form.choices_for(sheet.trajectory)
        if each in (page if isinstance(page, list) else [page])
    ]
    return ", ".join(labels) or str(value)


def _plain(value: Any) -> Any:
    return Answers({"value": value}).to_dict()["value"]
