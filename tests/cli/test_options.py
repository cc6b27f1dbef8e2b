"""Flags that make no sense, refused before anything is loaded."""

from __future__ import annotations

import pytest

from tests.conftest import RunLocalmag
from tests.engines.conftest import mlx_runs


@pytest.mark.parametrize(
    "flags",
    [
        ["--temp", "nan"],
        ["--temp", "inf"],
        ["--temp", "-1"],
        ["--top-p", "nan"],
        ["--top-p", "1.1"],
        ["--max-tokens", "0"],
        ["--ctx", "1"],
        ["--ctx", "-5"],
        ["--ctx", "67108864"],
        ["--ctx", "1099511627776"],
        ["--ctx", "1048576", "--backend", "llama.cpp"],
        pytest.param(["--ctx", "1048576", "--backend", "mlx"], marks=mlx_runs),
        ["--seed", "-1"],
        ["--seed", "4294967295"],
    ],
    ids=" ".join,
)
def test_a_number_out_of_its_range_is_named(localmag: RunLocalmag, flags: list[str]) -> None:
    done = localmag("ask", "demo", "2 + 2", *flags)
    assert (done.returncode, done.stdout) == (2, "")
    assert flags[0] in done.stderr


@pytest.mark.parametrize("command", [("chat", "mistral-small:4"), ("ask", "mistral-small:4:Q4_K_M", "Hi")])
def test_what_cannot_be_talked_to_yet_is_not_told_to_be_fetched(
    localmag: RunLocalmag, command: tuple[str, ...]
) -> None:
    done = localmag(*command)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Mistral Small 4 cannot be talked to yet: " in done.stderr
    assert "pull" not in done.stderr
