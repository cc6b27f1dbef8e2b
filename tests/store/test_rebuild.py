"""Tokenizers rebuilt from a GGUF: the same as the shipped ones, or refused with the reason."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localmag.errors import BadFile
from localmag.prompt import Codec
from localmag.store import rebuild
from localmag.types import Message
from tests import tekken
from tests.conftest import Demo
from tests.store.make import BYTES, CONTROL, NORMAL, magistral, tiny, vocabulary

CORPUS = (
    "What is 478 + 356?",
    "Quelle est la somme de 12 et de 30 ? Réponds « en détail », s'il te plaît…",
    "[THINK]not a thought[/THINK] [INST] </s><s><unk>[TOOL_CALLS][SYSTEM_PROMPT]",
    "<SPECIAL_36><SPECIAL_999>[IMG]\x00\x01\x1b[2J\x7f\ufeff",
    "  leading, trailing  \t\r\n\n\n\u2028\u2029\u00a0\u3000 ",
    "日本語とEnglishが混ざる文。Ünïcödé, ﷽, 🧑‍🚀👩🏽‍💻🇫🇷, \U0010ffff, e\u0301",
    'fn main() { println!("{}", 1u64 << 40); } // \\frac{a+b}{c} $x_i^2$',
    "aAaAaAAAA iPhone McDonald's I'm THEY'RE 3.14159e-10 1234567890" * 20,
    "\ud800 lone surrogate",
    "Ġ Ċ ĉ Ā letters that stand for bytes elsewhere",
)


def same(ours: Codec, theirs: Codec) -> None:
    assert ours.version == theirs.version
    assert ours.pieces == theirs.pieces
    assert ours.control == theirs.control
    for text in CORPUS:
        talk = [Message.of("system", text), Message.of("user", text)]
        ids = ours.encode(talk, keep_reasoning=False)
        assert ids == theirs.encode(talk, keep_reasoning=False)
        assert ours.text_of(ids) == theirs.text_of(ids)


# ── Identical ─────────────────────────────────────────────────────────────────────────────────────


def test_the_demos_is_the_one_it_ships_with(demo: Demo) -> None:
    rebuilt = rebuild.tokenizer(demo.weights)
    assert rebuilt.version == "v13"
    same(Codec.load(rebuilt.path), Codec.load(demo.tokenizer))


def test_a_full_vocabulary_is_the_one_it_was_made_from(tmp_path: Path) -> None:
    weights = magistral(tmp_path / "m.gguf")
    rebuilt = rebuild.tokenizer(weights, "v13", 131_072)
    same(Codec.load(rebuilt.path), tekken.codec("v13"))


@given(st.text(max_size=200))
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_becomes_the_same_ids(demo: Demo, text: str) -> None:
    global _CODECS
    if not _CODECS:
        _CODECS = (Codec.load(rebuild.tokenizer(demo.weights).path), Codec.load(demo.tokenizer))
    ours, theirs = _CODECS
    talk = [Message.of("user", f"x{text}")]
    assert ours.encode(talk, keep_reasoning=False) == theirs.encode(talk, keep_reasoning=False)


_CODECS: tuple[Any, ...] = ()


@pytest.mark.parametrize(
    ("names", "version"),
    [
        (tekken.NAMES, "v13"),
        (tekken.NAMES[:34], "v11"),
        (tekken.NAMES[:20], "v7"),
        (tekken.NAMES[:17], "v3"),
    ],
)
def test_the_version_of_an_unknown_model_is_told_by_its_control_tokens(
    tmp_path: Path, names: tuple[str, ...], version: str
) -> None:
    weights = tmp_path / "m.gguf"
    weights.write_bytes(tiny(vocabulary(names)))
    rebuilt = rebuild.tokenizer(weights)
    assert rebuilt.version == version
    codec = Codec.load(rebuilt.path)
    assert (codec.version, codec.vocabulary) == (version, 1_256)
    assert codec.control.names[999] == "<SPECIAL_999>"


# ── Once, and anew when the file changes ──────────────────────────────────────────────────────────


def test_it_is_kept_until_the_file_changes(tmp_path: Path) -> None:
    weights = tmp_path / "m.gguf"
    weights.write_bytes(tiny())
    first = rebuild.tokenizer(weights)
    made = first.path.stat().st_mtime_ns
    assert rebuild.tokenizer(weights) == first
    assert first.path.stat().st_mtime_ns == made
    weights.write_bytes(tiny(vocabulary(words=["ab"])))
    second = rebuild.tokenizer(weights)
    assert second.path != first.path
    assert Codec.load(second.path).vocabulary == 1_257


def test_the_same_bytes_elsewhere_share_it(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_bytes(tiny())
    os.link(tmp_path / "a.gguf", tmp_path / "b.gguf")
    assert rebuild.tokenizer(tmp_path / "a.gguf") == rebuild.tokenizer(tmp_path / "b.gguf")


def test_only_the_newest_few_are_kept(tmp_path: Path) -> None:
    weights = tmp_path / "m.gguf"
    for count in range(20):
        weights.write_bytes(tiny(vocabulary(words=["ab", "abc", *[f"a{n}" for n in range(count)]])))
        newest = rebuild.tokenizer(weights)
    there = list(newest.path.parent.parent.iterdir())
    assert len(there) == 16
    assert newest.path.parent in there


# ── Refused ───────────────────────────────────────────────────────────────────────────────────────


def swapped(tokens: list[str], one: int, other: int) -> list[str]:
    tokens = tokens.copy()
    tokens[one], tokens[other] = tokens[other], tokens[one]
    return tokens


def changed(tokens: list[str], id: int, text: str) -> list[str]:
    return [*tokens[:id], text, *tokens[id + 1 :]]


WRONG: dict[str, tuple[Callable[[], bytes], str]] = {
    "bytes out of order": (lambda: tiny(swapped(vocabulary(), 1_065, 1_066)), "single bytes"),
    "no bytes": (lambda: tiny(vocabulary()[:1_000]), "single bytes"),
    "bytes cut": (lambda: tiny(vocabulary()[:1_200]), "single bytes"),
    "no vocabulary": (lambda: tiny([""]), "single bytes"),
    "a token that spells no bytes": (lambda: tiny(vocabulary(words=["a b"])), "spells no bytes"),
    "a token that is not UTF-8": (lambda: tiny(vocabulary(words=["\udcff"])), "is no text"),
    "an empty token": (lambda: tiny(vocabulary(words=[""])), "means nothing"),
    "a token twice": (lambda: tiny(vocabulary(words=["ab", "ab"])), "mean the same"),
    "a control token twice": (lambda: tiny(changed(vocabulary(), 36, "[INST]")), "one name"),
    "a control token without a name": (lambda: tiny(changed(vocabulary(), 36, "")), "has none"),
    "a control token with an escape": (lambda: tiny(changed(vocabulary(), 36, "\x1b[2J")), "has none"),
    "no [THINK] at 34": (lambda: tiny(swapped(vocabulary(), 34, 35)), "id 34 is '[/THINK]'"),
    "[INST] elsewhere": (lambda: tiny(swapped(vocabulary(), 3, 4)), r"id 3 is '\[/INST\]'"),
    "no [TOOL_CONTENT]": (lambda: tiny(changed(vocabulary(), 19, "x")), "id 19 is 'x'"),
    "control among text": (
        lambda: tiny(types=[CONTROL] * 1_000 + [NORMAL] * 255 + [CONTROL]),
        "id 1255 is marked as a control",
    ),
    "text among control": (lambda: tiny(types=[NORMAL] + [CONTROL] * 999 + [NORMAL] * 256), "id 0 is marked"),
    "types of another number": (lambda: tiny(types=[CONTROL] * 1_000), "differ in number"),
    "settings that no GGUF has": (lambda: tiny(changed(vocabulary(), 36, "[MODEL_SETTINGS]")), "v15"),
    "another vocabulary": (lambda: tiny(**{"tokenizer.ggml.pre": "llama-bpe"}), "not Mistral's Tekken"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_not_tekken_is_refused_with_the_reason(tmp_path: Path, case: str) -> None:
    weights = tmp_path / "m.gguf"
    make, why = WRONG[case]
    weights.write_bytes(make())
    with pytest.raises(BadFile, match=why.replace("[", r"\[") if "\\" not in why else why):
        rebuild.tokenizer(weights)
    assert not list(tmp_path.rglob("tekken.json"))


def test_another_number_of_ids_than_the_model_has_is_refused(tmp_path: Path) -> None:
    weights = tmp_path / "m.gguf"
    weights.write_bytes(tiny())
    with pytest.raises(BadFile, match="1,256 ids where the model has 131,072"):
        rebuild.tokenizer(weights, "v13", 131_072)


def test_another_version_than_the_models_is_refused(tmp_path: Path) -> None:
    weights = tmp_path / "m.gguf"
    weights.write_bytes(tiny(vocabulary(tekken.NAMES[:34])))
    with pytest.raises(BadFile, match=r"id 34 is '<SPECIAL_34>', and .THINK. in v13"):
        rebuild.tokenizer(weights, "v13")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 25_000), st.binary(min_size=1, max_size=40))
def test_bytes_written_over_it_never_crash(tmp_path: Path, at: int, junk: bytes) -> None:
    weights, whole = tmp_path / "m.gguf", tiny()
    weights.write_bytes(whole[:at] + junk + whole[at + len(junk) :])
    try:
        rebuilt = rebuild.tokenizer(weights)
    except BadFile:
        return
    assert len(json.loads(rebuilt.path.read_bytes())["vocab"]) >= 256
    Codec.load(rebuilt.path)


def test_the_bytes_are_those_of_gpt2() -> None:
    assert BYTES[32] == "Ġ"
    assert BYTES[10] == "Ċ"
    assert BYTES[65] == "A"
