"""What stands in a line among other texts."""

from __future__ import annotations

import pytest

from localmag.cli.output import one_line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, naïve 日本 क्षि", "plain, naïve 日本 क्षि"),
        ("👩\u200d👩\u200d👧 ❤\ufe0f", "👩\u200d👩\u200d👧 ❤\ufe0f"),
        ("an emoji of tomorrow: \U0001faff\U0001fae9", "an emoji of tomorrow: \U0001faff\U0001fae9"),
        ("Qu’est-ce\u202fque\xa0c’est\u3000?", "Qu’est-ce que c’est ?"),
        ("a\nb\r\nc\u2028d", "a␊b␊c␊d"),
        ("a\tb", "a␉b"),
        ("a\x1b[2Jb", "a␛[2Jb"),
        ("a\u200bb\u200ec\u200fd\u061ce\ufefff", "a\ufffdb\ufffdc\ufffdd\ufffde\ufffdf"),
        ("a\u202eb", "a\ufffdb"),
        ("a\U000e0041b", "a\ufffdb"),
    ],
)
def test_nothing_in_it_is_unseen_or_passes_for_another_line_or_column(text: str, shown: str) -> None:
    assert one_line(text) == shown
