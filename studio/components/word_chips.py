"""Buttons with the embedded world's words that compose a prompt.

The grammar (articles, plurals, “and”) is in word_chips.js; this file only lays the words out.
"""

from html import escape

import gradio as gr

from model.world.sprites import COLOURS, NOUNS
from model.world.vocabulary import MOST_OF_A_KIND, NUMBERS, RELATIONS, plural
from studio.theme import script

KINDS: dict[str, tuple[str, ...]] = {
    "number": NUMBERS[2 : MOST_OF_A_KIND + 1],
    "colour": tuple(COLOURS),
    "noun": tuple(NOUNS),
    "relation": RELATIONS,
}
# Shown while the prompt is one of the category “hard”.
HARDER = '<p class="harder soft" role="status" hidden>Harder: three kinds of things, and where they stand.</p>'


def word_chips() -> gr.HTML:
    """A folded list of buttons that write into the prompt box."""
    groups = "".join(f'<p data-kind="{kind}">{"".join(map(_button, group))}</p>' for kind, group in KINDS.items())
    html = f'<details class="words"><summary>Words it knows</summary>{groups}{HARDER}</details>'
    return gr.HTML(html, js_on_load=script("components/word_chips.js"), apply_default_css=False)


def _button(word: str) -> str:
    more = f' data-plural="{escape(plural(word))}"' if word in NOUNS else ""
    return f'<button type="button" data-word="{escape(word)}"{more}>{escape(word)}</button>'
