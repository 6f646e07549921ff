"""Token ids → text as it grows: a token may end in the middle of a character, which then waits for the next."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase


class TextReader:
    """`add` returns what a token adds to the text so far."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase):
        self.tokenizer = tokenizer
        self.ids: list[int] = []
        self.shown = ""

    def add(self, token: int) -> str:
        self.ids.append(token)
        text = self.tokenizer.decode(self.ids, skip_special_tokens=True)
        if text.endswith("\N{REPLACEMENT CHARACTER}"):
            return ""
        new, self.shown = text[len(self.shown) :], text
        return new
