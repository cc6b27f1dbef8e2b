from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from localmag.engines.sampler import Sampler
from localmag.errors import RunFailed
from localmag.types import Sampling


def nucleus(logits: np.ndarray, temperature: float, top_p: float) -> np.ndarray:
    """The card's distribution, computed the plain way in float64: sort everything, keep, renormalize."""
    scaled = logits.astype(np.float64) / temperature
    mass = np.exp(scaled - scaled.max())
    mass /= mass.sum()
    order = np.argsort(-mass, kind="stable")
    size = int(np.searchsorted(np.cumsum(mass[order]), top_p)) + 1
    kept = np.zeros_like(mass)
    kept[order[:size]] = mass[order[:size]]
    return kept / kept.sum()


def draws(logits: np.ndarray, sampling: Sampling, count: int) -> np.ndarray:
    sampler = Sampler(sampling)
    return np.bincount([sampler(logits) for _ in range(count)], minlength=logits.size)


def chi_square(seen: np.ndarray, expected: np.ndarray) -> tuple[float, int]:
    """The statistic and its degrees of freedom, rare outcomes (under 5 expected) taken together."""
    rare = expected < 5
    seen = np.append(seen[~rare], seen[rare].sum())
    expected = np.append(expected[~rare], expected[rare].sum())
    used = expected > 0
    return float((((seen - expected) ** 2)[used] / expected[used]).sum()), int(used.sum()) - 1


SHAPES = {
    "peaked": np.random.default_rng(1).standard_normal(4_096).astype(np.float32) * 6,
    "wide": np.random.default_rng(2).standard_normal(4_096).astype(np.float32) * 2,
    "flat": np.zeros(300, np.float32),
    "two": np.array([1, 0.9, -50, -50], np.float32),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("temperature", "top_p"), [(0.7, 0.95), (1.0, 1.0), (1.5, 0.5)])
def test_draws_follow_temperature_then_top_p_and_nothing_else(
    shape: str, temperature: float, top_p: float
) -> None:
    logits, count = SHAPES[shape], 20_000
    expected = nucleus(logits, temperature, top_p) * count
    seen = draws(logits, Sampling(temperature, top_p, seed=3), count)
    assert not seen[expected == 0].any()
    statistic, freedom = chi_square(seen, expected)
    # Five standard deviations over the mean of a chi-square: with fixed seeds, a wrong sampler only.
    assert statistic <= freedom + 5 * (2 * freedom) ** 0.5


@given(
    st.lists(st.floats(-30, 30, width=32), min_size=1, max_size=200),
    st.floats(0.05, 3),
    st.floats(0, 1),
    st.integers(0, 2**64 - 1),
)
def test_never_outside_the_nucleus(values: list[float], temperature: float, top_p: float, seed: int) -> None:
    logits = np.array(values, np.float32)
    drawn = Sampler(Sampling(temperature, top_p, seed))(logits)
    # A hair of room: the sampler adds up float32, the reference float64.
    assert nucleus(logits, temperature, min(1.0, top_p + 1e-5))[drawn] > 0


@pytest.mark.parametrize("top_p", [0.0, 0.01, 0.95, 1.0])
def test_temperature_zero_is_the_most_likely_id_whatever_top_p(top_p: float) -> None:
    logits = SHAPES["wide"]
    assert {Sampler(Sampling(0, top_p, seed))(logits) for seed in range(20)} == {int(logits.argmax())}


def test_top_p_zero_is_the_most_likely_id() -> None:
    logits = SHAPES["wide"]
    assert Sampler(Sampling(1.0, 0.0))(logits) == int(logits.argmax())


def test_the_smallest_temperature_is_greedy_not_an_overflow() -> None:
    logits = SHAPES["wide"]
    assert Sampler(Sampling(1e-30, 0.95))(logits) == int(logits.argmax())


def test_logits_are_left_as_they_were() -> None:
    logits = SHAPES["wide"].copy()
    Sampler(Sampling())(logits)
    assert np.array_equal(logits, SHAPES["wide"])


def test_a_seed_fixes_the_draws() -> None:
    logits = SHAPES["wide"]
    first, again, other = (draws(logits, Sampling(seed=seed), 50) for seed in (11, 11, 12))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("temperature", [0, 0.7])
def test_numbers_that_are_not_finite_are_an_error(broken: float, temperature: float) -> None:
    with pytest.raises(RunFailed, match="not finite"):
        Sampler(Sampling(temperature))(np.full(10, broken, np.float32))
