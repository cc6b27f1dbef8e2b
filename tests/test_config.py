from __future__ import annotations

from pathlib import Path

import pytest

from localmag import config
from localmag.config import Config
from localmag.errors import WrongUsage


def write(text: str | bytes) -> Path:
    path = config.file()
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_without_a_file_there_are_the_defaults() -> None:
    assert config.load() == Config()


def test_the_file_sets_what_it_names() -> None:
    write('model = "demo"\ncontext = 4096\ntemperature = 0\nkeep_reasoning = true\nkv_type = "q8_0"\n')
    got = config.load()
    assert got == Config(model="demo", context=4096, temperature=0.0, keep_reasoning=True, kv_type="q8_0")
    assert type(got.temperature) is float


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("temprature = 1", ["temprature", "Did you mean `temperature`?"]),
        ("colour = 'red'", ["colour", "theme"]),
        ("context = '4096'", ["context", "'4096'", "whole number"]),
        ("threads = true", ["threads", "whole number"]),
        ("show_thinking = 'no'", ["show_thinking", "true or false"]),
        ("top_p = -0.1", ["top_p", "between 0 and 1"]),
        ("top_p = nan", ["top_p", "between 0 and 1"]),
        ("temperature = -0.1", ["temperature", "between 0 and 5"]),
        ("threads = 100000", ["threads", "between 0 and 512"]),
        ("gpu_layers = 99999999999", ["gpu_layers", "9999"]),
        ("max_tokens = 0", ["max_tokens", "between 1 and 16777216"]),
        ("kv_type = 'q5_0'", ["kv_type", "f16, q8_0, q4_0"]),
        ("kv_type = []", ["kv_type", "f16, q8_0, q4_0"]),
        ("[model]\nname = 'demo'", ["model", "text in quotes"]),
        ("context = ]", ["TOML", "line 1"]),
        (b"theme = '\xff'", ["UTF-8"]),
        (f"context = {'9' * 400}", ["context", "99...99", "between 0 and 16777216"]),
        (f"context = {'9' * 5000}", ["TOML"]),
        (f"context = 0x{'f' * 5000}", ["context", "so large a number"]),
        (f"theme = {'[' * 20_000}", ["nested"]),
        (f"theme = {'[' * 50}{']' * 50}", ["theme", "text in quotes"]),
        (" " * 5_000_000, ["larger than 4 MiB"]),
        (b"\xff\xfec\0o\0", ["UTF-8"]),
    ],
)
def test_what_is_wrong_is_named_with_its_file(text: str | bytes, names: list[str]) -> None:
    path = write(text)
    with pytest.raises(WrongUsage) as caught:
        config.load()
    assert str(path) in caught.value.what
    for name in names:
        assert name in str(caught.value)


def test_a_byte_order_mark_is_no_part_of_the_first_key() -> None:
    write(b"\xef\xbb\xbfcontext = 1024\r\n")
    assert config.load().context == 1024
