"""`localmag fit`: a table that a narrow terminal holds, and what to run next."""

from __future__ import annotations

from tests.conftest import RunLocalmag
from tests.hub.own import own_model


def test_each_build_is_a_line_that_80_columns_hold(localmag: RunLocalmag) -> None:
    done = localmag("fit", "ministral")
    machine, names, *rows = done.stdout.splitlines()
    assert machine
    assert names.split() == ["build", "context", "KV", "tok/s", "memory", "runs", "on"]
    assert {"ministral:8b:Q4_K_M", "ministral:8b:Q8_0"} <= {word for row in rows for word in row.split()}
    assert max(map(len, rows)) <= 80


def test_where_nothing_fits_each_line_says_what_it_lacks(localmag: RunLocalmag) -> None:
    done = localmag("fit", "magistral:BF16", "--ctx", "16000000")
    assert done.returncode == 4
    assert "lacks" in done.stdout
    assert "16,000,000 tokens need" in done.stderr


def test_a_model_of_ones_own_without_a_shape_cannot_be_told(localmag: RunLocalmag) -> None:
    own_model()
    done = localmag("fit", "mine")
    assert done.returncode == 3
    assert "models.toml" in done.stderr


def test_what_cannot_run_yet_is_said_to(localmag: RunLocalmag) -> None:
    assert "cannot run Mistral Small 4 yet" in localmag("fit", "mistral-small:4").stderr


def test_no_context_is_too_large_to_be_refused(localmag: RunLocalmag) -> None:
    for number in ("16777217", "9" * 400, "9" * 5000):
        done = localmag("fit", "--ctx", number)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
