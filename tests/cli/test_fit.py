"""`localmag fit`: a table that a narrow terminal holds, and what to run next."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Demo, RunLocalmag
from tests.engines.conftest import mlx_runs
from tests.hub.own import own_model


def test_each_build_is_a_line_that_80_columns_hold(localmag: RunLocalmag) -> None:
    done = localmag("fit", "ministral")
    machine, names, *rows = done.stdout.splitlines()
    assert machine
    assert names.split() == ["build", "context", "KV", "tok/s", "memory", "runs", "on"]
    assert {"ministral:8b:Q4_K_M", "ministral:8b:Q8_0"} <= {word for row in rows for word in row.split()}
    assert max(map(len, rows)) <= 80


def test_where_nothing_fits_each_line_says_what_it_lacks(localmag: RunLocalmag) -> None:
    done = localmag("fit", "magistral:BF16", "--ctx", "16000000")
    assert done.returncode == 4
    assert "lacks" in done.stdout
    assert "16,000,000 tokens need" in done.stderr


def test_a_model_of_ones_own_without_a_shape_cannot_be_told(localmag: RunLocalmag) -> None:
    own_model()
    done = localmag("fit", "mine")
    assert done.returncode == 3
    assert "models.toml" in done.stderr


def test_what_cannot_run_yet_is_said_to(localmag: RunLocalmag) -> None:
    assert "cannot run Mistral Small 4 yet" in localmag("fit", "mistral-small:4").stderr


def test_no_context_is_too_large_to_be_refused(localmag: RunLocalmag) -> None:
    for number in ("16777217", "9" * 400, "9" * 5000):
        done = localmag("fit", "--ctx", number)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr


# ── Weights that are here ─────────────────────────────────────────────────────────────────────────


def test_a_file_is_measured_by_what_it_says_of_itself(localmag: RunLocalmag, demo: Demo) -> None:
    done = localmag("fit", str(demo.weights), "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    (plan,) = told["plans"]
    assert (plan["fits"], plan["context"], plan["backend"]) == (True, 1024, "llama.cpp")
    assert sum(need["weights"] for need in plan["needs"]) == pytest.approx(
        demo.weights.stat().st_size, rel=0.1
    )
    assert f"`localmag chat {demo.weights}`" in localmag("fit", str(demo.weights)).stderr


def test_the_command_can_be_pasted_whatever_the_file_is_called(
    localmag: RunLocalmag, demo: Demo, tmp_path: Path
) -> None:
    file = shutil.copy(demo.weights, tmp_path / "my model.gguf")
    told = localmag("fit", str(file)).stderr
    assert f"chat {subprocess.list2cmdline([str(file)])}`" in told.replace("'", '"')


def test_more_context_than_it_was_trained_for_is_told_before_chat_refuses_it(localmag: RunLocalmag) -> None:
    told = localmag("fit", "demo", "--ctx", "5000").stderr
    assert "1,024 tokens, and is refused with more. Use --ctx 1024 or less." in told
    assert "localmag chat" not in told
    assert "Use --ctx 131072 or less." in localmag("fit", "magistral", "--ctx", "200000").stderr


@mlx_runs
def test_so_is_an_mlx_build_by_its_name_and_by_its_folder(
    localmag: RunLocalmag, demo: Demo, tmp_path: Path
) -> None:
    folder = tmp_path / "demo-8bit"
    shutil.copytree(demo.mlx, folder)
    shutil.copy(demo.tokenizer, folder)
    for named, called in ((("demo", "--backend", "mlx"), "demo:8bit"), ((str(folder),), str(folder))):
        assert f"`localmag chat {called}`" in localmag("fit", *named).stderr
        done = localmag("fit", *named, "--json")
        assert done.returncode == 0, done.stderr
        (plan,) = json.loads(done.stdout)["plans"]
        assert (plan["fits"], plan["backend"]) == (True, "mlx")
        (need,) = plan["needs"]
        assert need["weights"] == pytest.approx((folder / "model.safetensors").stat().st_size, rel=0.01)
        assert need["kv"] == plan["context"] * 5 * 2 * 3 * 32 * 4  # it computes in 32 bits


def test_so_is_what_was_imported_by_its_name(localmag: RunLocalmag, demo: Demo, tmp_path: Path) -> None:
    file = shutil.copy(demo.weights, tmp_path / "mine.gguf")
    assert localmag("import", str(file), "--name", "tiny").returncode == 0
    done = localmag("fit", "tiny", "--ctx", "512", "--kv-type", "q8_0")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[2].split()[:4] == ["→", "tiny", "512", "q8_0"]
    assert "`localmag chat tiny`" in done.stderr


def test_a_context_that_no_machine_holds_is_refused_for_a_file_as_well(
    localmag: RunLocalmag, demo: Demo
) -> None:
    done = localmag("fit", str(demo.weights), "--ctx", "16000000", "--kv-type", "f16")
    trained = "trained for 1,024 tokens"
    assert (done.returncode == 4 and "--ctx" in done.stderr) or trained in done.stderr


def test_what_is_no_model_is_named(localmag: RunLocalmag, tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"GGUF or not")
    assert localmag("fit", str(tmp_path / "x.gguf")).returncode == 6
    assert localmag("fit", str(tmp_path / "y.gguf")).returncode == 3
    assert localmag("fit", "magistrall").returncode == 3


def test_the_smaller_model_is_weighed_at_the_context_that_is_asked_for(localmag: RunLocalmag) -> None:
    told = json.loads(localmag("fit", "magistral:BF16", "--ctx", "4096", "--json").stdout)
    assert told["sibling"] is None or told["sibling"]["context"] == 4096
