"""README blocks follow the program."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import check_readme

STALE = (
    "# Title\n\n```text localmag --version\nlocalmag 0.0.0\n```\n\n```console\n$ localmag --version\n```\n"
)


@pytest.fixture
def readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "README.md"
    path.write_text(STALE)
    monkeypatch.setattr(check_readme, "README", path)
    return path


def test_a_stale_block_is_told_and_left(readme: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check_readme.main([]) == 1
    assert "-localmag 0.0.0" in capsys.readouterr().err
    assert readme.read_text() == STALE


def test_write_renews_the_marked_blocks_only(readme: Path) -> None:
    assert check_readme.main(["--write"]) == 0
    text = readme.read_text()
    assert "localmag 0.0.0" not in text
    assert text.startswith("# Title\n\n```text localmag --version\nlocalmag ")
    assert text.endswith("```console\n$ localmag --version\n```\n")
    assert check_readme.main([]) == 0


def test_a_readme_that_shows_nothing_is_an_error(readme: Path) -> None:
    readme.write_text("# Title\n")
    assert check_readme.main([]) == 1
