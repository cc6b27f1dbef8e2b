r"""LaTeX formulas as text that a terminal can show: `\frac{a}{b}` as a/b, `\times` as ×, `x^2` as x².

Nothing is guessed at: a command that is not in the tables stays as it was written, and a formula that makes
no sense is left to the caller as a whole. Fractions and roots get brackets wherever one line could be read
otherwise.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import groupby

_SYMBOLS = dict(
    pair.split("=", 1)
    for pair in r"""
    alpha=α beta=β gamma=γ delta=δ epsilon=ε varepsilon=ε zeta=ζ eta=η theta=θ vartheta=ϑ iota=ι kappa=κ
    lambda=λ mu=μ nu=ν xi=ξ pi=π rho=ρ sigma=σ tau=τ upsilon=υ phi=φ varphi=φ chi=χ psi=ψ omega=ω
    Gamma=Γ Delta=Δ Theta=Θ Lambda=Λ Xi=Ξ Pi=Π Sigma=Σ Upsilon=Υ Phi=Φ Psi=Ψ Omega=Ω
    infty=∞ partial=∂ nabla=∇ forall=∀ exists=∃ nexists=∄ neg=¬ lnot=¬ emptyset=∅ varnothing=∅ ell=ℓ hbar=ℏ
    Re=ℜ Im=ℑ aleph=ℵ prime=′ degree=° angle=∠ triangle=△ square=□ blacksquare=■ checkmark=✓ dagger=†
    sum=∑ prod=∏ int=∫ iint=∬ oint=∮ bigcup=⋃ bigcap=⋂ ldots=… dots=… dotsc=… cdots=⋯ dotsb=⋯ vdots=⋮ ddots=⋱
    lfloor=⌊ rfloor=⌋ lceil=⌈ rceil=⌉ langle=⟨ rangle=⟩ lvert=| rvert=| vert=| lVert=‖ rVert=‖ Vert=‖
    lbrace={ rbrace=} lbrack=[ rbrack=] colon=: backslash=\
    """.split()
)
_OPERATORS = dict(
    pair.split("=", 1)
    for pair in """
    times=× cdot=· div=÷ pm=± mp=∓ ast=∗ star=⋆ circ=∘ bullet=• oplus=⊕ otimes=⊗ setminus=∖
    le=≤ leq=≤ leqslant=≤ ge=≥ geq=≥ geqslant=≥ lt=< gt=> ll=≪ gg=≫ ne=≠ neq=≠ approx=≈ equiv=≡ sim=∼ simeq=≃
    cong=≅ propto=∝ mid=| nmid=∤ parallel=∥ perp=⊥ in=∈ notin=∉ ni=∋ subset=⊂ subseteq=⊆ supset=⊃ supseteq=⊇
    cup=∪ cap=∩ land=∧ wedge=∧ lor=∨ vee=∨ to=→ rightarrow=→ longrightarrow=⟶ leftarrow=← gets=← mapsto=↦
    leftrightarrow=↔ Rightarrow=⇒ Longrightarrow=⟹ Leftarrow=⇐ Leftrightarrow=⇔ implies=⟹ impliedby=⟸ iff=⟺
    therefore=∴ because=∵ bmod=mod
    """.split()
)
"""With room around them, whether it was written or not: TeX leaves it by itself."""
_FUNCTIONS = frozenset(
    """sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh log ln lg exp lim limsup liminf max min
    sup inf gcd lcm det dim ker deg arg Pr hom""".split()
)
_SPACES = {",": " ", ":": " ", ";": " ", " ": " ", "!": "", "quad": "  ", "qquad": "    "}
_IGNORED = frozenset(
    """left right big Big bigg Bigg bigl middle bigr Bigl Bigr biggl biggr displaystyle textstyle limits
    nolimits nonumber notag""".split()
)
_VERBATIM = frozenset("text textbf textrm textit texttt textsf mbox".split())
_UPRIGHT = frozenset("mathrm mathit mathsf mathtt mathcal operatorname".split())
_BOLD = frozenset("boxed fbox mathbf boldsymbol bm".split())
_ACCENTS = {
    "bar": "\u0304", "overline": "\u0305", "hat": "\u0302", "vec": "\u20d7", "dot": "\u0307",
    "tilde": "\u0303",
}  # fmt: skip
"""The characters that combine with a letter before them."""
_DOUBLE_STRUCK = dict(zip("CNPQRZ", "ℂℕℙℚℝℤ", strict=True))
_FRACTIONS = frozenset("frac dfrac tfrac cfrac".split())
_ROOTS = {"": "√", "2": "√", "3": "∛", "4": "∜"}
_PREFIXES = "Δ∂∇∀∃∄∠△⌊⌈⟨¬"
"""What stands before its operand without a space, though one was needed to end the command's name."""
_CLOSING = tuple(")}⌋⌉⟩")
"""Not `]`, which opens the interval ]0, 1[."""
_APART = frozenset(
    {*_OPERATORS, *_SPACES, *"right middle bigr Bigr biggr Biggr end".split()}
    | {name for name, symbol in _SYMBOLS.items() if symbol in "⌋⌉⟩|‖}]:…⋯"}
)
"""Commands that nothing before them could be read to go on in."""
_DIGITS = frozenset("0123456789")
_ALIGNED = frozenset("aligned align align* gathered gather gather* equation equation* split".split())
_TABLES = {
    "cases": ("{", ", ", "}"), "matrix": ("", " ", ""), "pmatrix": ("(", " ", ")"),
    "bmatrix": ("[", " ", "]"), "vmatrix": ("|", " ", "|"),
}  # fmt: skip
"""On one line: what stands before it, between its cells, and behind it. Its rows are parted by semicolons."""

_RAISED = str.maketrans("0123456789+-=()abdeijkmnprstxyT", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ᵃᵇᵈᵉⁱʲᵏᵐⁿᵖʳˢᵗˣʸᵀ")
_LOWERED = str.maketrans("0123456789+-=()aehijklmnoprstuvx", "₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ")

_TOKEN = re.compile(r"\\\\(?:\[[\d.]+[a-z]{2}\])?|\\[a-zA-Z]+|\\.|\s+|.", re.DOTALL)
_ESCAPED = re.compile(r"\\([{}$%&#_ ])")
_BEFORE_MARK = re.compile(r"(?<!\s)\s+(?=[,;])")
_PLAIN = re.compile(r"[√∛∜]?(?:\d[\d.,]*|∞|[d∂Δ]?[^\W\d_][₀-₉⁰¹²³⁴-⁹′ₐ-ₜⁿⁱ]*)")
"""A number, a letter with what hangs on it, a differential, a root of one: no stroke or root could be
read to end inside.
"""


@dataclass(frozen=True, slots=True)
class Piece:
    text: str
    bold: bool = False


def readable(formula: str) -> tuple[Piece, ...]:
    r"""`formula`, without the markers around it, in pieces that follow each other; none if it makes no sense.

    Line ends stay, and `\\` is one.
    """
    try:
        pieces = _Reader(formula).line("").pieces
    except (_Unclear, RecursionError):
        return ()
    runs = groupby(pieces, lambda piece: piece.bold)
    joined = [Piece("".join(piece.text for piece in run), bold) for bold, run in runs]
    if joined:
        joined[-1] = Piece(joined[-1].text.rstrip(), joined[-1].bold)
    return tuple(piece for piece in joined if piece.text)


class _Unclear(Exception):
    """The formula is not one that this reader understands."""


class _Line:
    """What has been read, in pieces. No space is doubled, or stands first or just inside brackets."""

    def __init__(self) -> None:
        self.pieces: list[Piece] = []

    @property
    def last(self) -> str:
        """The last character, empty if there is none."""
        return self.pieces[-1].text[-1] if self.pieces else ""

    @property
    def text(self) -> str:
        return "".join(piece.text for piece in self.pieces).strip()

    def add(self, text: str, *, bold: bool = False) -> None:
        if text[:1] == " " and self.last in " \n([{":
            text = text.lstrip()
        elif text == "\n" and self.last in "\n":
            text = ""
        elif text[:1] in _CLOSING:
            self._trim()
        if text:
            self.pieces.append(Piece(text, bold))

    def _trim(self) -> None:
        while self.last == " ":
            piece = self.pieces.pop()
            if rest := piece.text.rstrip(" "):
                self.pieces.append(Piece(rest, piece.bold))

    def extend(self, other: _Line, *, bold: bool = False) -> None:
        """Append what was added to the other: it begins with no space, and has none doubled."""
        self.pieces += [Piece(piece.text, bold=True) for piece in other.pieces] if bold else other.pieces


class _Reader:
    """Takes token after token; every method raises _Unclear where the formula makes no sense."""

    def __init__(self, formula: str) -> None:
        self._tokens = _TOKEN.findall(formula)
        self._at = 0
        self._tables = [("&", "\n")]
        """What parts the cells and the rows of the environments that are open."""

    def line(self, end: str) -> _Line:
        """All up to the token `end`, which is taken, too; "" is the end of the formula."""
        line = _Line()
        while (token := self._take()) != end:
            if token in ("", "}", "\\end"):
                raise _Unclear
            self._put(token, line)
        return line

    @property
    def _next(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _take(self) -> str:
        token = self._next
        self._at += 1
        return token

    def _skip_space(self) -> None:
        if self._next.isspace():
            self._at += 1

    # ── arguments ─────────────────────────────────────────────────────────────────────────────────

    def _argument(self) -> _Line:
        """A group, or the one token that TeX takes for it."""
        self._skip_space()
        token = self._take()
        if token == "{":
            return self.line("}")
        if token in ("", "}", "&", "^", "_", "\\end"):
            raise _Unclear
        line = _Line()
        self._put(token, line)
        return line

    def _raw(self) -> str:
        """A group as it was written, without its braces."""
        self._skip_space()
        if self._take() != "{":
            raise _Unclear
        began, depth = self._at, 1
        while depth:
            token = self._take()
            if not token:
                raise _Unclear
            depth += (token == "{") - (token == "}")
        return "".join(self._tokens[began : self._at - 1])

    def _touched(self) -> bool:
        """Whether something follows at once that a fraction or a root could be read to go on in."""
        token = self._next
        if token.startswith("\\") and token[1:2].isalpha():
            return token[1:] not in _APART
        return token.isalnum() or (token != "" and token in "([{^!")

    # ── one token and what belongs to it ──────────────────────────────────────────────────────────

    def _put(self, token: str, line: _Line) -> None:
        if token == "{":
            line.extend(self.line("}"))
        elif token == "^":
            line.add(self._raised())
        elif token == "_":
            line.add(self._lowered())
        elif token.startswith("\\\\"):
            line.add(self._tables[-1][1])
        elif token.startswith("\\") and len(token) > 1:
            self._command(token, line)
        elif token.isspace():
            line.add("\n" if "\n" in token else " ")
        elif token == "&":
            line.add(self._tables[-1][0])
        else:
            line.add({"~": " ", "'": "′"}.get(token, token))

    def _command(self, token: str, line: _Line) -> None:
        name = token[1:]
        if name in _SYMBOLS:
            line.add(_SYMBOLS[name])
            if _SYMBOLS[name] in _PREFIXES:
                self._skip_space()
        elif name in _OPERATORS:
            line.add(f" {_OPERATORS[name]} ")
        elif name in _FUNCTIONS:
            self._function(name, line)
        elif name in _SPACES:
            line.add(_SPACES[name])
        elif name in _IGNORED:
            if name in ("left", "right") and self._next == ".":
                self._at += 1
        elif name in _VERBATIM:
            line.add(_ESCAPED.sub(r"\1", self._raw()), bold=name == "textbf")
        elif name in _UPRIGHT:
            line.extend(self._argument())
        elif name in _BOLD:
            line.extend(self._argument(), bold=True)
        elif name in _ACCENTS or name == "mathbb":
            line.add(self._letter(token))
        elif name in _FRACTIONS:
            self._fraction(line)
        elif name == "sqrt":
            line.add(self._root())
        elif name == "pmod":
            line.add(f" (mod {self._argument().text})")
        elif name == "begin":
            self._environment(line)
        elif _ESCAPED.fullmatch(token) or name == "|":
            line.add("‖" if name == "|" else name)
        else:
            line.add(self._unknown(token))

    def _function(self, name: str, line: _Line) -> None:
        line.add(f" {name}" if line.last.isalnum() else name)
        while self._next in ("^", "_"):
            self._put(self._take(), line)
        if self._touched() and self._next not in ("(", "[", "\\left"):
            line.add(" ")

    def _unknown(self, token: str) -> str:
        """As it was written, with its arguments."""
        began = self._at
        while self._next == "{":
            self._raw()
        return token + "".join(self._tokens[began : self._at])

    def _letter(self, token: str) -> str:
        """One letter with an accent, or struck double; of more than one, or another, as it was written."""
        began = self._at
        text = self._argument().text
        if token[1:] in _ACCENTS and len(text) == 1:
            return text + _ACCENTS[token[1:]]
        return _DOUBLE_STRUCK.get(text, "") or token + "".join(self._tokens[began : self._at])

    def _raised(self) -> str:
        text = self._argument().text
        if text == "∘":
            return "°"
        if set(text) <= {"′", "°"}:
            return text
        return self._script(text, "^", _RAISED)

    def _lowered(self) -> str:
        return self._script(self._argument().text, "_", _LOWERED)

    def _script(self, text: str, mark: str, letters: dict[int, int]) -> str:
        bare = text.replace(" ", "")
        if all(ord(letter) in letters for letter in bare):
            return bare.translate(letters)
        return f"{mark}{text}" if _PLAIN.fullmatch(text) and not self._touched() else f"{mark}({text})"

    def _fraction(self, line: _Line) -> None:
        over, under = self._argument().text, self._argument().text
        if not over or not under:
            raise _Unclear
        fraction = f"{over if _is_product(over) else f'({over})'}/{_in_brackets(under)}"
        mixed = line.last in _DIGITS and over.isdecimal() and under.isdecimal()
        if self._touched() or (line.last not in " \n([{⌊⌈⟨|=+-,<>" and not mixed):
            fraction = f"({fraction})"
        line.add(f" {fraction}" if mixed else fraction)

    def _root(self) -> str:
        degree = ""
        if self._next == "[":
            self._at += 1
            degree = self.line("]").text
        radicand = self._argument().text
        sign = _ROOTS.get(degree) or self._script(degree, "^", _RAISED).removeprefix("^") + "√"
        return sign + (f"({radicand})" if self._touched() else _in_brackets(radicand))

    def _environment(self, line: _Line) -> None:
        name = self._raw()
        if name in _ALIGNED:
            line.extend(self._rows(name, "", "\n"))
            return
        if name in _TABLES:
            before, between, behind = _TABLES[name]
            text = self._rows(name, between, "; ").text
            line.add(before + _BEFORE_MARK.sub("", text).rstrip(";") + behind)
            return
        whole = [f"\\begin{{{name}}}"]
        while whole[-1] != f"\\end{{{name}}}":
            token = self._take()
            if not token:
                raise _Unclear
            whole.append(f"\\end{{{self._raw()}}}" if token == "\\end" else token)
        line.add("".join(whole))

    def _rows(self, name: str, cells: str, rows: str) -> _Line:
        self._tables.append((cells, rows))
        line = self.line("\\end")
        self._tables.pop()
        if self._raw() != name:
            raise _Unclear
        return line


def _in_brackets(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else f"({text})"


def _is_product(text: str) -> bool:
    """Whether a stroke after it divides all of it: it has no sum and no space outside brackets."""
    depth = 0
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")
        if not depth and letter in " \n+-=<>/":
            return False
    return True
