"""A build's bytes before it is here, beside the bytes that files of true publishers have."""

from __future__ import annotations

from dataclasses import replace

import pytest

from localmag import catalogue
from localmag.fit import weights

HEADER = 8e6
"""Bytes of metadata, vocabulary and merges of a full-size GGUF, give or take a tenth."""


@pytest.mark.parametrize(
    ("name", "quant", "published"),
    [
        ("ministral:3b", "Q4_K_M", 2_147_021_472),
        ("ministral:8b", "Q4_K_M", 5_198_910_368),
        ("ministral:14b", "Q4_K_M", 8_239_591_488),
    ],
)
def test_the_bytes_of_a_mix_are_those_of_the_published_file(name: str, quant: str, published: int) -> None:
    model, _ = catalogue.find(name)
    assert model.shape
    blank = replace(model.build(quant), gigabytes=0.0)
    assert weights.of_build(model.shape, blank).total + HEADER == pytest.approx(published, rel=0.0005)


def test_the_parts_are_the_whole() -> None:
    model, _ = catalogue.find("mistral-small:4")
    assert model.shape
    held = weights.of_build(model.shape, model.build("Q4_K_M"))
    assert held.total == held.embedding + sum(held.layers) + held.output
    assert len(held.layers) == len(held.experts) == 36
    assert sum(held.experts) > 0.9 * held.total  # of 119 billion parameters, 113 are routed experts


def test_of_an_unknown_mix_the_bytes_told_are_shared_out() -> None:
    model, _ = catalogue.find("magistral")
    assert model.shape
    build = replace(model.build("Q4_K_M"), quant="UD-Q4_K_XL", gigabytes=14.6)
    assert weights.of_build(model.shape, build).total == pytest.approx(14.6e9, rel=1e-6)


@pytest.mark.parametrize(("quant", "bits"), [("4bit", 4.5), ("6bit", 6.5), ("8bit", 8.5), ("bf16", 16)])
def test_mlxs_quants_carry_a_scale_and_a_bias_for_64_weights(quant: str, bits: float) -> None:
    model, _ = catalogue.find("magistral")
    assert model.shape
    build = replace(model.build("4bit"), quant=quant, gigabytes=0.0)
    assert weights.of_build(model.shape, build).total * 8 / model.shape.parameters == pytest.approx(bits)
