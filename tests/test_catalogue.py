"""The catalogue: names, aliases, builds, and kind failures."""

from __future__ import annotations

import pytest

from localmag import catalogue
from localmag.errors import NotFound


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
