"""Tokenizer files that are damaged, or no tokenizer at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from localmag.errors import BadFile, NotFound
from localmag.prompt import Codec
from tests import tekken


def swap_control_tokens(made: dict[str, Any]) -> None:
    made["special_tokens"][34]["rank"], made["special_tokens"][35]["rank"] = 35, 34


def no_end(made: dict[str, Any]) -> None:
    made["special_tokens"][2]["token_str"] = "<END>"


@pytest.mark.parametrize(
    "damage",
    [
        lambda made: made.pop("config"),
        lambda made: made.pop("vocab"),
        lambda made: made.pop("special_tokens"),
        lambda made: made["config"].pop("version"),
        lambda made: made["config"].update(version="v99"),
        lambda made: made["config"].update(pattern="("),
        lambda made: made["config"].update(pattern=7),
        lambda made: made["config"].update(default_vocab_size="many"),
        lambda made: made["config"].update(default_vocab_size=1_100),
        lambda made: made["config"].update(default_vocab_size=2_000),
        lambda made: made.update(vocab=made["vocab"][::-1]),
        lambda made: made["vocab"][299].update(token_bytes="%"),
        lambda made: made["vocab"][299].update(token_bytes=None),
        lambda made: made["special_tokens"].append({"rank": 36}),
        lambda made: made["special_tokens"].append(made["special_tokens"][0]),
        swap_control_tokens,
        no_end,
    ],
)
def test_a_damaged_file(tmp_path: Path, damage: Callable[[dict[str, Any]], object]) -> None:
    made = tekken.tekken("v13", 300)
    Codec.load(tekken.write(made, tmp_path / "whole"))
    damage(made)
    with pytest.raises(BadFile) as error:
        Codec.load(tekken.write(made, tmp_path / "damaged"))
    assert "damaged" in error.value.what
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"7", b"null", b"\xff\xfe", b"[" * 100_000, b"GGUF\3\0\0\0"]
)
def test_another_file_altogether(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "tekken.json"
    path.write_bytes(content)
    with pytest.raises(BadFile):
        Codec.load(path)


def test_a_truncated_file(tmp_path: Path) -> None:
    path = tmp_path / "tekken.json"
    path.write_text(json.dumps(tekken.tekken("v13", 300))[:-1_000], encoding="utf-8")
    with pytest.raises(BadFile):
        Codec.load(path)


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.model"
    path.write_bytes(b"\x0a\x0e")
    with pytest.raises(BadFile):
        Codec.load(path)


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        Codec.load(tmp_path / "tekken.json")
    with pytest.raises(BadFile):
        Codec.load(tmp_path)
