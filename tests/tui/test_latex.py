"""Formulas as text: what they mean is kept, what is not known stays as it was written, nothing fails."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localmag.tui.latex import Piece, readable


def text(formula: str) -> str:
    return "".join(piece.text for piece in readable(formula))


@pytest.mark.parametrize(
    ("formula", "shown"),
    [
        (r"12 \times 34 = 408", "12 × 34 = 408"),
        (r"a\cdot b\le c", "a · b ≤ c"),
        (r"x = \pm 5", "x = ± 5"),
        (r"1{,}000", "1,000"),
        (r"10\% \text{ of } \$50", "10% of $50"),
        (r"x^2 + y^{10} - z_{i+1}", "x² + y¹⁰ - zᵢ₊₁"),
        (r"2^{2^n}", "2^(2ⁿ)"),
        (r"e^{i\pi} + 1 = 0", "e^(iπ) + 1 = 0"),
        (r"90^\circ", "90°"),
        (r"\Delta x \ne 0", "Δx ≠ 0"),
        (r"\sin^2\theta + \cos\theta", "sin² θ + cos θ"),
        (r"2\log_2 8", "2 log₂ 8"),
        (r"\lim_{x \to 0} f'(x)", "lim_(x → 0) f′(x)"),
        (r"\sum_{i=1}^{n} i", "∑ᵢ₌₁ⁿ i"),
        (r"\left( \frac{a}{b} \right)^2", "(a/b)²"),
        (r"\left\{ x \mid x > \lfloor y \rfloor \right\}", "{x | x > ⌊y⌋}"),
        (r"x \in ]0, 1[", "x ∈ ]0, 1["),
        (r"\left.x\right|_{0}", "x|₀"),
        (r"x \equiv 3 \pmod{7}", "x ≡ 3 (mod 7)"),
        (r"\mathbb{R}^n \subset \bar{x}", "ℝⁿ ⊂ x̄"),
        (r"5\text{ km}/\mathrm{h}", "5 km/h"),
        ("a \\\\ b\\\\[4pt]\nc", "a \nb\nc"),
        (r"\begin{align*} 12 &= 36 \\ &\ge 4 \end{align*}", "12 = 36 \n≥ 4"),
        (
            r"|x| = \begin{cases} x & \text{if } x \ge 0 \\ -x & \text{else} \end{cases}",
            "|x| = {x, if x ≥ 0; -x, else}",
        ),
        (r"\begin{pmatrix} 1 & x^2 \\ 3 & 4 \\ \end{pmatrix}", "(1 x²; 3 4)"),
        ("", ""),
    ],
)
def test_what_is_common_is_readable(formula: str, shown: str) -> None:
    assert text(formula) == shown


@pytest.mark.parametrize(
    ("formula", "shown"),
    [
        (r"\frac{a}{b}", "a/b"),
        (r"\frac12", "1/2"),
        (r"\frac{a+b}{c}", "(a+b)/c"),
        (r"\frac{n(n+1)}{2}", "n(n+1)/2"),
        (r"\frac{1}{2x}", "1/(2x)"),
        (r"\frac{1}{2}x", "(1/2)x"),
        (r"\frac{1}{2} + x", "1/2 + x"),
        (r"\frac{1}{2}\times x", "1/2 × x"),
        (r"\frac{1}{2}\pi", "(1/2)π"),
        (r"\frac{1}{2}^2", "(1/2)²"),
        (r"x\frac{1}{2}", "x(1/2)"),
        (r"a/\frac{1}{2}", "a/(1/2)"),
        (r"\frac{\partial f}{\partial x}", "∂f/∂x"),
        (r"\lfloor\frac{n}{2}\rfloor", "⌊n/2⌋"),
        (r"2\frac{1}{3}", "2 1/3"),
        (r"\frac{\frac{1}{2}}{3}", "(1/2)/3"),
        (r"x^{\frac{1}{2}}", "x^(1/2)"),
        (r"\sqrt{2}", "√2"),
        (r"\sqrt{2}x", "√(2)x"),
        (r"\sqrt[3]{x+1}", "∛(x+1)"),
        (r"\frac{1}{\sqrt{2}}", "1/√2"),
        (r"\frac{1}{\sqrt{2}x}", "1/(√(2)x)"),
        (r"\frac{1}{2\sqrt{3}}", "1/(2√3)"),
        (r"\sqrt[n]{x}", "ⁿ√x"),
        (r"\frac{-b \pm \sqrt{b^2-4ac}}{2a}", "(-b ± √(b²-4ac))/(2a)"),
    ],
)
def test_fractions_and_roots_cannot_be_misread(formula: str, shown: str) -> None:
    assert text(formula) == shown


def test_what_is_boxed_is_bold() -> None:
    assert readable(r"x = \boxed{\frac{1}{2}} \text{ cm}") == (
        Piece("x = "),
        Piece("1/2", bold=True),
        Piece(" cm"),
    )


@pytest.mark.parametrize(
    "formula",
    [
        r"\foo{x^2}{y} + \bar{AB} + \mathbb{7}",
        r"\begin{array}{cc} 1 & x^2 \\ 3 & 4 \end{array}",
        r"\pii*2 & 3 % 4 # 5",
        "日本 + ü",
    ],
)
def test_what_is_not_known_stays(formula: str) -> None:
    assert text(formula) == formula.strip()


@pytest.mark.parametrize(
    "formula",
    [
        r"\frac{a}{b",
        "a}",
        r"x^",
        r"\frac{}{2}",
        r"\sqrt[3{x}",
        r"\begin{aligned} x",
        r"\begin{array} x",
        r"x \end{cases}",
        r"\text x",
        "\\sqrt" * 2000 + "x",
        "{" * 2000 + "}" * 2000,
    ],
)
def test_what_makes_no_sense_is_the_callers_to_show(formula: str) -> None:
    assert readable(formula) == ()


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("before", "repeated", "behind"),
    [("{" * 300, "x", "}" * 300), (r"\begin{cases}\text{a", " ", r"b}\end{cases}")],
)
def test_a_long_formula_takes_no_longer_than_it_is(before: str, repeated: str, behind: str) -> None:
    assert text(before + repeated * 200_000 + behind).count(repeated) >= 200_000


PARTS = st.lists(
    st.sampled_from([*r"{ } [ ] ^ _ & ' ~ \ \\ x 7 \foo \frac \sqrt \left . \begin{aligned}".split(), " "])
)


@given(PARTS | st.lists(st.characters()))
def test_nothing_fails_and_nothing_unknown_is_lost(parts: list[str]) -> None:
    shown = text("".join(parts))
    if shown:
        for kept, forms in {"x": "xˣₓ", "7": "7⁷₇", "foo": ["foo"]}.items():
            assert sum(map(shown.count, forms)) == "".join(parts).count(kept)
