"""The header reader: a small GGUF written by hand, then cut, bent and lied about in every place."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localmag import gguf
from localmag.errors import BadFile, NotFound


def _string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def small(pre: str = "tekken", floats: int = 64) -> bytes:
    """One F32 tensor, a few metadata of each kind."""
    pairs = [
        _string("general.architecture") + struct.pack("<I", 8) + _string("llama"),
        _string("tokenizer.ggml.model") + struct.pack("<I", 8) + _string("gpt2"),
        _string("tokenizer.ggml.pre") + struct.pack("<I", 8) + _string(pre),
        _string("llama.context_length") + struct.pack("<II", 4, 1024),
        _string("tokens") + struct.pack("<IIQ", 9, 8, 2) + _string("a") + _string("é"),
        _string("kinds") + struct.pack("<IIQ3i", 9, 5, 3, 1, -2, 3),
    ]
    tensor = _string("output.weight") + struct.pack("<IQIQ", 1, floats, 0, 0)
    head = b"GGUF" + struct.pack("<IQQ", 3, 1, len(pairs)) + b"".join(pairs) + tensor
    head += b"\0" * (-len(head) % 32)
    return head + b"\0" * (4 * floats)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "small.gguf"
    file.write_bytes(small())
    return file


def test_it_reads_what_the_file_says(path: Path) -> None:
    header = gguf.read(path)
    assert header.architecture == "llama"
    assert header.trained_context == 1024
    assert header.metadata["tokens"] == ["a", "é"]
    assert header.metadata["kinds"] == [1, -2, 3]
    (tensor,) = header.tensors
    assert (tensor.name, tensor.shape, tensor.nbytes) == ("output.weight", (64,), 256)
    assert tensor.offset + 256 == path.stat().st_size


def test_a_missing_file_and_a_folder_are_not_found(tmp_path: Path) -> None:
    for nowhere in (tmp_path / "none.gguf", tmp_path):
        with pytest.raises(NotFound):
            gguf.read(nowhere)


@pytest.mark.parametrize("content", [b"", b"GG", b"not a model at all", b"GGML" + b"\0" * 64])
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "x.gguf"
    file.write_bytes(content)
    with pytest.raises(BadFile) as caught:
        gguf.read(file)
    assert caught.value.exit_code == 6


def test_cut_anywhere_it_is_named_damaged_or_cut_short(path: Path) -> None:
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(BadFile, match=r"cut short|damaged|not a GGUF"):
            gguf.read(path)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(4, 260), st.binary(min_size=1, max_size=12))
def test_bytes_written_over_it_never_crash_or_hang(path: Path, at: int, junk: bytes) -> None:
    whole = small()
    path.write_bytes(whole[:at] + junk + whole[at + len(junk) :])
    try:
        gguf.read(path)
    except BadFile as exc:
        assert str(path) in exc.what


def test_a_count_that_lies_is_caught_before_it_allocates(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    whole[8:16] = struct.pack("<Q", 2**60)
    path.write_bytes(whole)
    with pytest.raises(BadFile, match="more than the file can hold"):
        gguf.read(path)


def test_only_a_tekken_vocabulary_passes(path: Path) -> None:
    gguf.require_tekken(path, gguf.read(path))
    path.write_bytes(small(pre="llama-bpe"))
    with pytest.raises(BadFile, match=r"'llama-bpe'.*not Mistral's Tekken"):
        gguf.require_tekken(path, gguf.read(path))


def test_a_look_leaves_lists_of_strings_out_and_still_checks_them(path: Path) -> None:
    header = gguf.read(path, strings=False)
    assert header.metadata["tokens"] == []
    assert header.metadata["kinds"] == [1, -2, 3]
    assert header.tensors == gguf.read(path).tensors
    whole = bytearray(path.read_bytes())
    at = whole.index(_string("a") + _string("é"))
    whole[at : at + 8] = struct.pack("<Q", 2**40)
    path.write_bytes(whole)
    with pytest.raises(BadFile, match="more than the file can hold"):
        gguf.read(path, strings=False)


@pytest.mark.parametrize("kind", [0, 7, 8, 9, 12], ids=["bytes", "bools", "strings", "lists", "doubles"])
def test_a_list_without_end_is_refused_at_once(path: Path, kind: int) -> None:
    """As long as the file allows: of 40 GB, none of them on the disk."""
    lists = _string("x") + struct.pack("<IIQ", 9, kind, 2**30)
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 1, 2) + lists)
    os.truncate(path, 40 * 2**30)
    with pytest.raises(BadFile, match="counts more"):
        gguf.read(path)


@pytest.mark.parametrize(("tensors", "pairs"), [(1, 2**30), (2**30, 1), (2**23, 2**16)])
def test_a_header_without_end_is_refused_soon(path: Path, tensors: int, pairs: int) -> None:
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, tensors, pairs))
    os.truncate(path, 40 * 2**30)
    with pytest.raises(BadFile):
        gguf.read(path)
