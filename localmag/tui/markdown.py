r"""One block of an answer, from Markdown to rows of styled cells.

rich parses and lays out; what differs here is what a chat needs: formulas are taken out before Markdown sees
them (it eats the backslashes of `\(` and `\[`) and made readable, HTML and images are text, every line break
the model wrote is kept, and links show where they lead.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_core import StateCore
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import (
    CodeBlock,
    Heading,
    ImageItem,
    ListItem,
    Markdown,
    MarkdownContext,
    TableElement,
    TextElement,
)
from rich.padding import Padding
from rich.segment import Segment
from rich.style import Style
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text, TextType
from rich.theme import Theme

from localmag.tui import latex
from localmag.tui.blocks import Block

Rows = list[list[Segment]]

_NUMBER = re.compile(r"\d{1,9}")
_CLOSER = {"$$": "$$", "\\[": "\\]", "\\(": "\\)"}
_BOXED = "\\boxed{"
_MOST_BOXED = 1000  # characters: a model that repeats it for ever must not hold up the screen
_SURELY_MATHS = re.compile(r"[\\^_=]")
_PROSE = re.compile(r"(?:^|\s)[^\W\d_]{2,}")


# ── Maths, taken out before any other rule sees it ────────────────────────────────────────────────


def _inline_maths(state: StateInline, silent: bool) -> bool:
    src, pos = state.src, state.pos
    opener = src[pos : pos + 2]
    if opener in _CLOSER:
        end = src.find(_CLOSER[opener], pos + 2)
        end = end + 2 if end > pos + 2 and (opener != "$$" or _is_maths(src[pos + 2 : end])) else -1
    elif opener[:1] == "$":
        end = _dollar_end(src, pos)
    elif src.startswith(_BOXED, pos):
        end = _brace_end(src, pos + len(_BOXED))
    else:
        return False
    if end >= 0:
        if not silent:
            _push(state, src[pos:end])
        state.pos = end
        return True
    if opener in ("\\(", "\\["):  # perhaps still being written: as typed
        if not silent:
            state.pending += opener
        state.pos += 2
        return True
    return False


def _push(state: StateInline, source: str) -> None:
    for piece in _pieces(source.replace("\n", " ")):
        if piece.bold:
            state.push("strong_open", "strong", 1)
        state.push("math_inline", "math", 0).content = piece.text
        if piece.bold:
            state.push("strong_close", "strong", -1)


def _pieces(source: str) -> tuple[latex.Piece, ...]:
    """A formula with its markers, made readable; as it was written where it makes no sense."""
    width = next((len(marker) for marker in ("$$", "\\[", "\\(", "$") if source.startswith(marker)), 0)
    return latex.readable(source[width : len(source) - width]) or (latex.Piece(source),)


def _dollar_end(src: str, pos: int) -> int:
    """Where `$…$` ends, or -1: it has no space inside its ends, no letter or digit around them, and is maths.

    So "$5 and $10" is money, and "$HOME:$PATH" a shell's.
    """
    if src[pos + 1 : pos + 2].isspace() or (pos and src[pos - 1].isalnum()):
        return -1
    end = src.find("$", pos + 1)
    while end > 0 and src[end - 1] == "\\":
        end = src.find("$", end + 1)
    if end < 0 or end == pos + 1 or src[end - 1].isspace() or src[end + 1 : end + 2].isalnum():
        return -1
    return end + 1 if _is_maths(src[pos + 1 : end]) else -1


def _brace_end(src: str, pos: int) -> int:
    """Behind the brace that closes what begins at `pos`, or -1."""
    depth = 1
    for at in range(pos, min(len(src), pos + _MOST_BOXED)):
        depth += (src[at] == "{") - (src[at] == "}")
        if not depth:
            return at + 1
    return -1


def _is_maths(text: str) -> bool:
    """Whether what dollars enclose is written as a formula, or at least has no words, as prose has."""
    return bool(_SURELY_MATHS.search(text) or not _PROSE.search(text))


def _block_maths(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    begin = state.bMarks[start] + state.tShift[start]
    opener = state.src[begin : begin + 2]
    closer = _CLOSER.get(opener)
    if closer is None or opener == "\\(":
        return False
    closed = state.src.find(closer, begin + 2, state.eMarks[end - 1])
    line = bisect_right(state.bMarks, closed, start, end) - 1
    if closed < 0 or not state.src[closed : state.eMarks[line]].rstrip().endswith(closer):
        return False
    source = state.getLines(start, line + 1, state.blkIndent, False).strip()
    if closer == "$$" and not _is_maths(source[2:-2]):
        return False
    if silent:
        return True
    token = state.push("math_block", "div", 0)
    token.block = True
    token.content = source
    token.map = [start, line + 1]
    state.line = line + 1
    return True


def _keep_line_breaks(state: StateCore) -> None:
    for token in state.tokens:
        for child in token.children or ():
            if child.type == "softbreak":
                child.type = "hardbreak"


@cache
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"])
    parser.inline.ruler.before("escape", "maths", _inline_maths)
    parser.block.ruler.before("fence", "maths", _block_maths, {"alt": ["paragraph", "reference", "list"]})
    # A definition would be swallowed, and could only serve its own block.
    parser.disable("reference")
    parser.core.ruler.push("line_breaks", _keep_line_breaks)
    return parser


# ── Elements that differ from rich's ──────────────────────────────────────────────────────────────


class _Heading(Heading):
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.text


class _Maths(TextElement):
    style_name = "markdown.math"

    def on_text(self, context: MarkdownContext, text: TextType) -> None:
        for piece in _pieces(str(text)):
            self.text.append(piece.text, context.current_style + Style(bold=piece.bold or None))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        self.text.rstrip()
        yield Padding(self.text, (0, 0, 0, 2))


class _Code(CodeBlock):
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        background = console.get_style("markdown.code_block").bgcolor
        yield Syntax(
            str(self.text).rstrip("\n"),
            self.lexer_name,
            theme=self.theme,
            word_wrap=True,
            padding=(0, 1),
            background_color=background.name if background else "default",
        )


class _Table(TableElement):
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, border_style="markdown.table.border")
        for cell in self.header.row.cells if self.header and self.header.row else ():
            heading = cell.content.copy()
            heading.stylize("markdown.table.header")
            table.add_column(heading, justify=cell.justify)
        for row in self.body.rows if self.body else ():
            table.add_row(*(cell.content for cell in row.cells))
        yield table


class _Item(ListItem):
    def render_number(
        self, console: Console, options: ConsoleOptions, number: int, last_number: int
    ) -> RenderResult:
        # Items are drawn block by block: a fixed width keeps 9 and 10 aligned.
        width = max(len(str(last_number)), 2) + 2
        style = console.get_style("markdown.item.number", default="none")
        lines = console.render_lines(self.elements, options.update(width=options.max_width - width))
        for at, line in enumerate(lines):
            yield Segment(" " * width if at else f"{number}. ".rjust(width), style)
            yield from line
            yield Segment("\n")


class _Image(ImageItem):
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text.assemble("[", self.text, "] (", self.destination, ") ", end="")

    def on_text(self, context: MarkdownContext, text: TextType) -> None:
        self.text.append(text)


class _Answer(Markdown):
    elements = {  # noqa: RUF012 - rich's own declaration
        **Markdown.elements,
        "heading_open": _Heading,
        "fence": _Code,
        "code_block": _Code,
        "math_block": _Maths,
        "table_open": _Table,
        "list_item_open": _Item,
        "image": _Image,
    }
    inlines = {*Markdown.inlines, "math"}  # noqa: RUF012 - rich's own declaration

    def __init__(self, source: str, code_theme: str) -> None:
        super().__init__("", code_theme=code_theme, hyperlinks=False)
        self.markup = source
        self.parsed: list[Token] = _parser().parse(source)


# ── Drawing ───────────────────────────────────────────────────────────────────────────────────────


class Renderer:
    """Draws blocks at a width, in the colours of the app's theme."""

    def __init__(self, styles: dict[str, Style], *, dark: bool) -> None:
        self._theme = Theme({f"markdown.{name}": style for name, style in styles.items()})
        self._code_theme = "github-dark" if dark else "friendly"
        self._console = Console(
            force_terminal=True, color_system="truecolor", legacy_windows=False, theme=self._theme, width=80
        )

    def rows(self, block: Block, width: int, style: Style) -> Rows:
        source = block.source
        if block.number is not None:
            source = _NUMBER.sub(str(block.number), source, count=1)
        options = self._console.options.update(width=max(8, width), height=None)
        rows = self._console.render_lines(_Answer(source, self._code_theme), options, style=style, pad=False)
        return _trimmed(rows)


def _trimmed(rows: Sequence[list[Segment]]) -> Rows:
    kept = list(rows)
    while kept and not any(segment.text.strip() for segment in kept[-1]):
        kept.pop()
    while kept and not any(segment.text.strip() for segment in kept[0]):
        kept.pop(0)
    return kept
