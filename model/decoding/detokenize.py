"""Incremental detokenisation: token ids to text; incomplete UTF-8 characters wait for the next token."""

from transformers import PreTrainedTokenizerBase

UNKNOWN = "\N{REPLACEMENT CHARACTER}"


class TextReader:
    """`add` returns what a token adds to the text so far. What never becomes a character is left out at the end."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase):
        self.tokenizer = tokenizer
        self.ids: list[int] = []
        self.shown = ""

    def add(self, token: int) -> str:
        self.ids.append(token)
        text = self.tokenizer.decode(self.ids, skip_special_tokens=True)
        text = text.replace("\0", UNKNOWN).rstrip(UNKNOWN)  # a database keeps no NUL
        if len(text) <= len(self.shown):
            return ""
        new, self.shown = text[len(self.shown) :], text
        return new
