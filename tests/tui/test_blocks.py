"""Markdown cut into blocks: nothing lost, nothing cut that belongs together, wherever the chunks end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localmag.tui.blocks import Block, Blocks

LINES = st.lists(
    st.sampled_from(  # a list literal would take thirty lines
        r"|text|more *text*|# head|- item|  more|1. one|2. two|```|```py|    ```|~~~|$$|\[|\]|$$x$$|\[y\]"
        r"|> quote|--- | --|---|  - nested|10) ten".split("|")
    ),
    max_size=14,
)


def cut(text: str, size: int = 10_000) -> list[Block]:
    blocks = Blocks()
    out: list[Block] = []
    for at in range(0, len(text), size):
        out += blocks.feed(text[at : at + size])
    return out + blocks.finish()


def sources(text: str) -> list[str]:
    return [block.source for block in cut(text)]


@given(LINES, st.integers(1, 9))
def test_joined_they_are_the_text_wherever_it_was_split(lines: list[str], size: int) -> None:
    text = "\n".join(lines)
    assert "".join(sources(text)) == text
    assert cut(text, size) == cut(text)


@given(LINES)
def test_closed_blocks_and_the_tail_are_the_text_so_far(lines: list[str]) -> None:
    text = "\n".join(lines)
    blocks = Blocks()
    closed = ""
    for at, char in enumerate(text):
        closed += "".join(block.source for block in blocks.feed(char))
        assert closed + blocks.tail.source == text[: at + 1]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("one\ntwo\n\nthree", ["one\ntwo\n\n", "three"]),
        ("# Head\ntext\n## Two\n", ["# Head\n", "text\n", "## Two\n"]),
        ("a\n```py\nx\n\ny\n```\nb", ["a\n", "```py\nx\n\ny\n```\n", "b"]),
        ("````\n```\n````\nb", ["````\n```\n````\n", "b"]),
        ("- a\n  more\n\n  still a\n- b\n\ntext", ["- a\n  more\n\n  still a\n", "- b\n\n", "text"]),
        ("- a\n  ```\n\n  x\n  ```\n- b", ["- a\n  ```\n\n  x\n  ```\n", "- b"]),
        ("so:\n1. a\n2. b", ["so:\n", "1. a\n", "2. b"]),
        ("in\n2024. Not a list", ["in\n2024. Not a list"]),
        ("so:\n$$\na\n\nb\n$$\nthen", ["so:\n", "$$\na\n\nb\n$$\n", "then"]),
        ("\\[\n- x\n\\]\nthen", ["\\[\n- x\n\\]\n", "then"]),
        ("$$x$$\nthen", ["$$x$$\n", "then"]),
        ("a `$$` b\nc", ["a `$$` b\nc"]),
        ("| a |\n|---|\n| 1 |\n\nb", ["| a |\n|---|\n| 1 |\n\n", "b"]),
        ("```never closed\nx", ["```never closed\nx"]),
        ("", []),
    ],
)
def test_where_it_is_cut(text: str, parts: list[str]) -> None:
    assert sources(text) == parts


def test_items_of_a_list_are_joined_and_counted() -> None:
    blocks = cut("1. a\n1. b\n1. c\n\n- x\n- y\n\n7. z\n8. w\n")
    assert [(block.number, block.joined) for block in blocks] == [
        (1, False),
        (2, True),
        (3, True),
        (None, False),
        (None, True),
        (7, False),
        (8, True),
    ]
