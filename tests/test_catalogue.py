"""The catalogue: names, aliases, builds, and kind failures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from localmag import catalogue, paths
from localmag.catalogue import Model
from localmag.errors import NotFound, WrongUsage
from localmag.fit import weights

OWN = """
[[model]]
name = "my-finetune"
title = "My fine-tune"
aliases = ["mine"]
repo = "me/base"
licence = "MIT"
context = 32768
advised = 32768
max_tokens = 8192
temperature = 0.5
top_p = 1

[[model.build]]
backend = "llama.cpp"
quant = "Q4_K_M"
repo = "me/weights"
file = "*Q4_K_M.gguf"
"""


@pytest.mark.parametrize(
    ("name", "model", "quant"),
    [
        ("demo", "demo", None),
        ("magistral", "magistral-small-1.2", None),
        ("magistral:1.1", "magistral-small-1.1", None),
        ("Magistral:Q5_K_M", "magistral-small-1.2", "Q5_K_M"),
        ("magistral:1.1:q8_0", "magistral-small-1.1", "Q8_0"),
    ],
)
def test_a_name_an_alias_and_a_quant_find_their_model(name: str, model: str, quant: str | None) -> None:
    found, asked = catalogue.find(name)
    assert (found.name, asked) == (model, quant)


def test_an_unknown_name_says_the_nearest_one() -> None:
    with pytest.raises(NotFound, match="Did you mean 'magistral'") as caught:
        catalogue.find("magistrall")
    assert caught.value.exit_code == 3


def test_an_unknown_quant_says_which_there_are() -> None:
    with pytest.raises(NotFound, match="Q4_K_M, Q5_K_M"):
        catalogue.find("magistral:Q2_X")


def test_names_and_aliases_are_unique() -> None:
    names = [n for m in catalogue.models() for n in (m.name, *m.aliases)]
    assert len(names) == len(set(names))


def test_the_first_build_is_the_one_a_bare_name_means() -> None:
    model, _ = catalogue.find("magistral")
    assert model.build().quant == "Q4_K_M"


def test_every_model_has_card_numbers_that_make_sense() -> None:
    for model in catalogue.models():
        assert 0 < model.advised <= model.context
        assert 0 < model.max_tokens <= model.context
        assert 0 <= model.temperature <= 1
        assert 0 < model.top_p <= 1


def shaped() -> list[Model]:
    return [m for m in catalogue.models() if m.shape]


def test_the_sizes_told_are_those_of_the_shapes() -> None:
    assert len(shaped()) == 7
    for model in shaped():
        assert model.shape
        for build in model.builds:
            blank = replace(build, gigabytes=0.0)
            expected = weights.of_build(model.shape, blank).total / 1e9
            assert build.gigabytes == pytest.approx(expected, rel=0.02, abs=0.06), (model.name, build.quant)


def test_the_bits_of_a_build_are_those_its_name_promises() -> None:
    model, _ = catalogue.find("magistral")
    assert model.bits(model.build("Q4_K_M")) == pytest.approx(4.86, abs=0.02)
    assert model.bits(model.build("4bit")) == pytest.approx(4.5, abs=0.02)
    assert catalogue.find("demo")[0].bits(catalogue.find("demo")[0].build()) == 0


@pytest.mark.parametrize(
    ("name", "all_of_them", "of_a_token"),
    [("magistral", 24, 23), ("ministral:14b", 14, 13), ("ministral:3b", 3, 3), ("mistral-small:4", 119, 6)],
)
def test_a_model_has_the_parameters_it_is_sold_with(name: str, all_of_them: int, of_a_token: int) -> None:
    shape = catalogue.find(name)[0].shape
    assert shape
    assert (round(shape.parameters / 1e9), round(shape.active_parameters / 1e9)) == (all_of_them, of_a_token)


# ── A user's own models ───────────────────────────────────────────────────────────────────────────


@pytest.fixture
def own() -> Path:
    file = paths.config() / "models.toml"
    file.write_text(OWN, encoding="utf-8")
    return file


def test_a_user_adds_models_in_the_same_form(own: Path) -> None:
    model, quant = catalogue.find("mine:Q4_K_M")
    assert (model.name, quant, model.top_p) == ("my-finetune", "Q4_K_M", 1)
    assert catalogue.find("magistral")[0].name == "magistral-small-1.2"


def test_a_namesake_takes_the_place_of_the_shipped_one(own: Path) -> None:
    own.write_text(OWN.replace("my-finetune", "magistral-small-1.2").replace("mine", "magistral"))
    model, _ = catalogue.find("magistral")
    assert model.title == "My fine-tune"
    with pytest.raises(NotFound):
        catalogue.find("magistral:1.2")


def test_a_change_is_seen(own: Path) -> None:
    assert catalogue.is_name("mine")
    own.unlink()
    assert not catalogue.is_name("mine")


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("[[model]]", "[[model", "not a catalogue"),
        ("[[model]]", "[model]", "not a catalogue"),
        ('licence = "MIT"', "", "licence"),
        ("context = 32768", 'context = "32k"', "context"),
        ("context = 32768", "context = true", "context"),
        ("top_p = 1", "top_p = 1\nthink = 'loud'", "think"),
        ("top_p = 1", "top_p = 1\nshape = {layers = 3}", "width"),
        ("quant", "quantum", "quantum"),
        ('aliases = ["mine"]', 'aliases = ["magistral"]', "magistral"),
        ("[[model.build]]", "[other]", "no build"),
        ('repo = "me/base"', 'repo = "../base"', "owner/name"),
        ('repo = "me/weights"', "", "owner/name"),
        ('name = "my-finetune"', 'name = "demo"', "bundled"),
    ],
)
def test_a_slip_is_named_with_its_file(own: Path, before: str, after: str, said: str) -> None:
    own.write_text(OWN.replace(before, after))
    with pytest.raises(WrongUsage) as caught:
        catalogue.models()
    assert said in str(caught.value)
    assert str(own) in caught.value.what
