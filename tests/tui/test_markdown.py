"""Blocks as rows: formulas as typed, nothing swallowed, nothing wider than the column, no failure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.style import Style

from localmag.tui.blocks import Block, Blocks
from localmag.tui.markdown import Renderer

RENDERER = Renderer({"math": Style(italic=True), "code_block": Style(bgcolor="#202020")}, dark=True)


def drawn(source: str, width: int = 60, number: int | None = None) -> list[str]:
    rows = RENDERER.rows(Block(source, number), width, Style.null())
    return ["".join(segment.text for segment in row).rstrip() for row in rows]


@pytest.mark.parametrize(
    ("formula", "shown"),
    [
        ("$$478 + 356 = 834$$", "478 + 356 = 834"),
        (r"\( a_1 * b * c \)", "a₁ * b * c"),
        (r"\[ \frac{a}{b} \]", "a/b"),
        ("$x_1 + y_1$", "x₁ + y₁"),
        (r"$\alpha$", "α"),
        ("$834$", "834"),
        (r"\(x\), \(y\) and \(z\)", "x, y and z"),
        (r"$\boxed{12 \times 3}$", "12 × 3"),
        (r"\boxed{\frac{1}{2}}", "1/2"),
        (r"$$\frac{1}{$$", r"$$\frac{1}{$$"),
    ],
)
def test_formulas_are_made_readable_where_they_stand(formula: str, shown: str) -> None:
    assert drawn(f"So {formula} holds.") == [f"So {shown} holds."]
    assert f"so {shown}" in "".join(drawn(f"- **so** {formula}"))


@pytest.mark.parametrize(
    ("formula", "rows"),
    [
        ("$$\nx\n- y\n\n= z\n$$", ["x", "- y", "= z"]),
        ("\\[\n\\frac{a}{b}\n\\]", ["a/b"]),
        ("\\[ x \\]", ["x"]),
        ("$$x$$", ["x"]),
        ("$$\n\\frac{a}{\n$$", ["$$", r"\frac{a}{", "$$"]),
    ],
)
def test_displayed_formulas_keep_their_lines(formula: str, rows: list[str]) -> None:
    assert [row.strip() for row in drawn(formula)] == rows


@pytest.mark.parametrize(
    "formula", [r"$\boxed{834}$", r"$$\boxed{834}$$", "$$\n\\boxed{834}\n$$", r"\boxed{834}"]
)
def test_what_is_boxed_is_bold(formula: str) -> None:
    rows = RENDERER.rows(Block(formula), 40, Style.null())
    styles = [segment.style for row in rows for segment in row if segment.text == "834"]
    assert styles and all(style and style.bold for style in styles)


@pytest.mark.parametrize(
    "text",
    [
        "it costs $5 and $10",
        "5$ or 6$, and US$7 or US$8",
        "from $5-$10",
        "$5, or 6$ with tips",
        "rated $$ to $$$",
        "$HOME/bin:$PATH and $a,$b",
        "an open \\( stays",
        "$$ open",
        "$$ x = \\frac{1}{2}",
        "so \\boxed{83",
        "a <b>tag</b> & <script>",
        "<div>block</div>",
        "100% of $HOME",
        "[ref]: target",
        "a\nb",
    ],
)
def test_text_that_only_looks_like_something_is_kept(text: str) -> None:
    assert "\n".join(drawn(text)) == text


def test_links_and_images_show_where_they_lead() -> None:
    assert drawn("[here](https://example.org/a?b=1)") == ["here (https://example.org/a?b=1)"]
    assert drawn("![a cat](https://example.org/cat.png)") == ["[a cat] (https://example.org/cat.png)"]


def test_lists_are_numbered_as_counted() -> None:
    assert drawn("1. one", number=3) == [" 3. one"]
    assert drawn("- a\n  - b") == [" • a", "    • b"]


def test_code_keeps_its_lines_and_blanks() -> None:
    assert drawn("```python\ndef f():\n\n    return 1\n```") == [" def f():", "", "     return 1"]
    assert drawn("```\nstill open") == [" still open"]


def test_a_table_is_aligned() -> None:
    rows = drawn("| a | b |\n|---|--:|\n| 1 | 22 |\n| 3 | 4 |")
    assert [row.split() for row in (rows[0], *rows[2:])] == [["a", "b"], ["1", "22"], ["3", "4"]]
    assert rows[2].index("22") + 1 == rows[3].index("4")


@pytest.mark.timeout(20)
@pytest.mark.parametrize("mark", ["\\[", "$$", "\\("])
def test_formulas_that_are_opened_again_and_again_do_not_hold_up_the_screen(mark: str) -> None:
    assert "".join(drawn("\n".join([mark] * 10_000))).replace(" ", "") == mark * 10_000


VISIBLE = r"a * ** _ ` ``` - 1. > # | |- --- [ ]( ) ![ $ $$ \ \( \) \[ \] < > ~~ 日本 👍 &amp; ==".split()
MATHS = r"\frac{ \boxed{ } ^ _ x".split()
MARKS = st.lists(
    st.sampled_from([*VISIBLE, *MATHS, "\n", "\n\n", " ", "    ", "- ", "1. ", "# ", "\t"]), max_size=25
)


@given(MARKS, st.integers(8, 40))
def test_anything_can_be_drawn(marks: list[str], width: int) -> None:
    blocks = Blocks()
    for block in blocks.feed("".join(marks)) + blocks.finish():
        for row in RENDERER.rows(block, width, Style.null()):
            assert cell_len("".join(segment.text for segment in row).rstrip()) <= width
