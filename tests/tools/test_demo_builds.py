"""The demo model's MLX builds, the file that keeps scores, and the comparison of two engines."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf.quants import dequantize

from localmag.prompt import Codec
from tests.conftest import Demo
from tools import mlx_build
from tools.demo_model import comparing, evaluation
from tools.demo_model.__main__ import parsed
from tools.demo_model.builds import BUILDS, EVALUATED, SOURCE
from tools.demo_model.comparing import Pair, Parting
from tools.demo_model.conversations import FAMILIES
from tools.demo_model.scores import BARS, Job, Score, keep, kept, missed, table

JOB = Job("Q8_0", "w", "greedy", "sorting", "en", 200, "q")


@pytest.fixture
def folder(demo: Demo, tmp_path: Path) -> Path:
    """A folder of builds, in which the shipped GGUF stands for the one in 16 bits."""
    for name in ("demo-Q8_0.gguf", SOURCE):
        shutil.copy(demo.weights, tmp_path / name)
    shutil.copy(demo.tokenizer, tmp_path)
    return tmp_path


def test_an_mlx_build_is_made_of_the_gguf_that_is_there_now(folder: Path) -> None:
    build = BUILDS["mlx-4bit"]
    build.prepare(folder)
    first = build.digest(folder)
    build.prepare(folder)
    assert build.digest(folder) == first != ""
    assert {path.name for path in (folder / build.file).iterdir()} == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    }
    assert (folder / build.file / "model.safetensors").stat().st_size < 2_100_000


def test_both_builds_that_ship_are_of_the_same_weights(demo: Demo) -> None:
    """Each as far from what they were made of as 8 bits are."""
    import mlx.core as mx

    theirs = mx.load(str(demo.mlx / "model.safetensors"))
    assert isinstance(theirs, dict)
    for tensor in gguf.GGUFReader(demo.weights).tensors:
        name = mlx_build._name(tensor.name)
        mine = dequantize(tensor.data, tensor.tensor_type)
        stem = name.removesuffix(".weight")
        packed = (theirs[f"{stem}.{part}"] for part in ("weight", "scales", "biases"))
        other = mx.dequantize(*packed, group_size=mlx_build.GROUP, bits=8) if mine.ndim == 2 else theirs[name]
        assert np.abs(np.array(other) - mine).max() <= np.abs(mine).max() / 100, tensor.name


def test_replies_are_measured_once_and_shown_while_weights_and_questions_are_the_same(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "FAMILIES", ("addition",))
    monkeypatch.setattr(evaluation, "PROCESSES", 1)
    monkeypatch.setattr(
        evaluation, "_measured", lambda at, wanted: (evaluation.measure(at, j) for j in wanted)
    )
    evaluation.report(folder, ["Q8_0", "F16"], ["greedy"], 1)
    shown = capsys.readouterr().out
    assert "| addition | en | 100.0 % | 100.0 % |" in shown
    assert "4 replies" in shown
    evaluation.report(folder, ["Q8_0"], ["greedy"], 1)
    again = capsys.readouterr().out
    assert "replies" not in again
    assert again.splitlines()[:4] == shown.splitlines()[:4]
    with (folder / "demo-Q8_0.gguf").open("ab") as file:
        file.write(b"other")
    assert {score.job.build for score in evaluation.current(folder)} == {"F16"}
    monkeypatch.setattr(evaluation, "questions", lambda *_: "others")
    assert not evaluation.current(folder)


def test_scores_are_added_one_by_one(tmp_path: Path) -> None:
    assert kept(tmp_path) == []
    keep(tmp_path, Score(JOB, 150, 9, 1.0))
    keep(tmp_path, Score(replace(JOB, lang="fr"), 190, 9, 1.0))
    keep(tmp_path, Score(replace(JOB, weights="newer"), 180, 9, 1.0))
    assert {(s.job.lang, s.job.weights, s.percent) for s in kept(tmp_path)} == {
        ("fr", "w", 95.0),
        ("en", "newer", 90.0),
    }


def test_the_table_has_a_column_for_what_was_measured_only() -> None:
    scores = [Score(JOB, 180, 1, 1.0), Score(replace(JOB, build="mlx-8bit", problems=20), 19, 1, 1.0)]
    head, _, row = table(scores).splitlines()
    assert head == "| family | language | Q8_0, greedy | MLX 8bit, greedy |"
    assert row == "| sorting | en | 90.0 % of 200 | 95.0 % of 20 |"
    assert missed(scores) == ["sorting"]
    assert set(evaluation.SAMPLING) == set(BARS)


def test_what_is_asked_does_not_change_with_the_run() -> None:
    for family in FAMILIES:
        first = evaluation.held_out_conversations(family, "fr", 3)
        evaluation.held_out_conversations.cache_clear()
        assert evaluation.held_out_conversations(family, "fr", 3) == first


def test_greedy_replies_of_both_engines_agree_on_the_same_numbers(folder: Path) -> None:
    BUILDS["mlx-f32"].prepare(folder)
    pairs = comparing._pairs(folder, "mlx-f32", range(1))
    # Of logits that spread over 38: a product with Q8_0 rounds both its factors.
    assert all(pair.noise and max(pair.noise) < 1.0 for pair in pairs)
    assert not any(pair.parting for pair in pairs)


def test_a_difference_is_told_with_both_ids_and_their_distance(demo: Demo) -> None:
    codec = Codec.load(demo.tokenizer)
    parting = Parting("addition, en", "What is 2 + 2?", 7, (1_050, 1_040), (0.001, 0.002))
    noise = tuple(np.linspace(0.0, 0.01, 100))
    said = comparing.told("mlx-bf16", [Pair(noise, None), Pair(noise, parting)], codec)
    assert "1 of 2 greedy replies identical" in said
    assert "| 7 |" in said
    assert "1040" in said
    assert "by 0.0010" in said
    assert "by 0.0020" in said


def test_evaluation_measures_the_gguf_builds_unless_told_otherwise() -> None:
    assert set(parsed(["eval"]).builds) == {"F16", "Q8_0"}
    assert parsed(["eval", "--builds", "all", "--builds", "mlx-4bit"]).builds == ["mlx-4bit"]
    assert set(EVALUATED) <= set(BUILDS)
