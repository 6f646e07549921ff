"""What a search takes for a word."""

import pytest

from annotations.db.search_words import LONGEST_TEXT, LONGEST_WORD, search_words


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Two RED cats, two dogs.", {"two", "red", "cats", "dogs"}),
        ("", set()),
        (" \t\n — ?!… “” %_'\"\\", set()),
        ("a cat's 100% well-known", {"a", "cat", "s", "100", "well", "known"}),
        ("Straße CAFÉ cafe\u0301 İstanbul ﬁsh", {"strasse", "cafe", "istanbul", "fish"}),
        ("🐱🐶 x+y", {"🐱", "🐶", "x", "+", "y"}),
        ("❤\ufe0f 👨\u200d👩", {"❤", "👨", "👩"}),
        ("חָתוּל \u200fאדום", {"חתול", "אדום"}),
        ("قِطَّة", {"قطة"}),
        ("红色的猫", {"红", "色", "的", "猫"}),
        ("a\x00b\ud800c", {"a", "b", "c"}),
    ],
)
def test_words_are_alike_whatever_their_case_accents_and_direction(text: str, found: set[str]):
    assert search_words(text) == found


def test_what_is_very_long_is_cut():
    assert search_words("x" * 1000) == {"x" * LONGEST_WORD}
    assert search_words(" " * LONGEST_TEXT + "late") == set()
