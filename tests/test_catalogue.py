"""The catalogue: names, aliases, builds, and kind failures."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest

from localmag import catalogue, paths
from localmag.catalogue import Build, Model
from localmag.errors import NotFound, WrongUsage
from localmag.fit import weights
from localmag.forms import Range
from localmag.shape import Shape

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


def test_an_unknown_quant_is_echoed_as_typed_and_says_which_there_are() -> None:
    with pytest.raises(NotFound, match=r"no build 'Q2_x'.*Q4_K_M, Q5_K_M"):
        catalogue.find("Magistral:Q2_x")


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
        ("[[model]]", "[[model", "not valid TOML"),
        ("[[model]]", "[model]", "under a heading"),
        ('licence = "MIT"', "", "licence"),
        ("context = 32768", 'context = "32k"', "context"),
        ("context = 32768", "context = true", "context"),
        ("top_p = 1", "top_p = 1\nthink = 'loud'", "think"),
        ("top_p = 1", "top_p = 1\nshape = {layers = 3}", "width"),
        ("quant", "quantum", "quantum"),
        ('aliases = ["mine"]', 'aliases = ["magistral"]', "magistral"),
        ("[[model.build]]", "[other]", "no key `other`"),
        ("[[model.build]]", "[[models]]", "Did you mean `model`?"),
        ("[[model.build]]", "[[model.builds]]", "Did you mean `build`?"),
        (OWN[OWN.index("[[model.build]]") :], "", "no build"),
        ('name = "my-finetune"', "", "`name` of model 1 is missing"),
        ('name = "my-finetune"', 'name = "a b"', "one word"),
        ('licence = "MIT"', 'licence = "MIT\\u001b[31m"', "one line"),
        ('aliases = ["mine"]', "aliases = 3", "a list in brackets"),
        ('aliases = ["mine"]', "aliases = [3]", "text in quotes"),
        ('aliases = ["mine"]', 'aliases = "mine"', "a list in brackets"),
        ("top_p = 1", "top_p = 1\nshape = 3", "`shape` of model 1"),
        (OWN[OWN.index("[[model.build]]") :], "build = 3", "`build` of model 1"),
        (OWN[OWN.index("[[model.build]]") :], 'build = ["a"]', "heading in brackets"),
        (OWN, "model = [1]", "`model` cannot be 1"),
        (OWN, 'model = ["ab"]', "`model` cannot be 'ab'"),
        (OWN, f"model = {'[' * 20_000}", "nested too deeply"),
        (OWN, f"model = {'[' * 100}{']' * 100}", "`model` cannot be [["),
        ('file = "*', 'confirmed = 1\nfile = "*', "`confirmed` of build 1 of model 1"),
        ('quant = "Q4_K_M"', 'quant = "hugebit"', "`quant`"),
        ('backend = "llama.cpp"', 'backend = "vllm"', "llama.cpp, mlx"),
        ("top_p = 1", 'top_p = 1\nmmproj_repo = "../x"', "owner/name"),
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


SHAPED = """
[model.shape]
layers = 40
width = 5120
heads = 32
kv_heads = 8
head_size = 128
ffn = 32768
vocabulary = 131072
"""


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("gigabytes", value) for value in ("inf", "nan", "1e308", "-1", "-inf", "9" * 400)),
        *(("layers", value) for value in ("-4", "0", "9" * 400, "1001", "1.0")),
        ("width", "9" * 400),
        ("width", "0x" + "f" * 5000),
        ("kv_heads", "0"),
        ("advised", "-1"),
        ("context", "0"),
        ("context", "9" * 400),
        ("top_p", "-7"),
        ("top_p", "nan"),
        ("temperature", "nan"),
        ("temperature", "-0.1"),
        ("max_tokens", "0"),
    ],
)
def test_a_number_out_of_bounds_is_refused_with_what_is_allowed(own: Path, key: str, value: str) -> None:
    lines = f"{OWN.replace('[[model.build]]', SHAPED + '[[model.build]]')}gigabytes = 14.3\n".splitlines()
    own.write_text("\n".join(f"{key} = {value}" if line.startswith(f"{key} =") else line for line in lines))
    with pytest.raises(WrongUsage, match=r"between [^ ]+ and [^ ]+") as caught:
        catalogue.models()
    assert f"{own}: `{key}` of " in caught.value.what
    assert len(str(caught.value)) < len(str(own)) + 200


def test_every_number_of_the_catalogue_and_the_settings_has_its_bounds() -> None:
    for kind in (Model, Build, Shape):
        numbers = {f.name for f in fields(kind) if f.type in ("int", "float")}
        assert numbers <= {key for key, rule in catalogue.RULES.items() if isinstance(rule, Range)}


@pytest.mark.parametrize(
    ("less", "more"), [("advised = 32769", "context"), ("kv_heads = 33", "heads"), ("active = 3", "experts")]
)
def test_a_part_is_no_larger_than_the_whole(own: Path, less: str, more: str) -> None:
    key = less.split()[0]
    text = OWN.replace("[[model.build]]", f"{SHAPED}active = 0\n[[model.build]]")
    own.write_text("\n".join(less if line.startswith(f"{key} =") else line for line in text.splitlines()))
    with pytest.raises(WrongUsage, match=f"a larger `{key}` than `{more}`"):
        catalogue.models()


def test_two_builds_of_one_kind_are_refused(own: Path) -> None:
    build = OWN[OWN.index("[[model.build]]") :]
    own.write_text(OWN + build.replace("Q4_K_M", "q4_k_m"))
    with pytest.raises(WrongUsage, match=r"two builds with the backend 'llama\.cpp' and the quant 'q4_k_m'"):
        catalogue.models()
    own.write_text(OWN + build.replace("Q4_K_M", "Q8_0"))
    assert len(catalogue.find("mine")[0].builds) == 2


def test_two_models_of_one_name_are_refused(own: Path) -> None:
    own.write_text(OWN + OWN.replace("mine", "other"))
    with pytest.raises(WrongUsage, match="both named 'my-finetune'"):
        catalogue.models()


def test_a_quant_may_be_named_once_or_twice_but_not_two() -> None:
    assert catalogue.find("magistral:Q4_K_M", "q4_k_m")[1] == "Q4_K_M"
    assert catalogue.find("magistral", "Q4_K_M")[1] == "Q4_K_M"
    with pytest.raises(WrongUsage, match="two builds"):
        catalogue.find("magistral:Q5_K_M", "Q4_K_M")
