"""An MLX build that could see: what is left out of it is said on every way in, once."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from tests.conftest import Demo, RunLocalmag
from tests.store.make import mlx, studio

pytest.importorskip("mlx_lm", reason="MLX is for Apple silicon, and for Linux with glibc 2.35 or newer")

QUESTION = "What is 478 + 356?"
SAID = "has weights for images (602.1 kB), which are not loaded: it reads text only"


@pytest.fixture
def seeing(demo: Demo, tmp_path: Path) -> Path:
    """The demo in the form of Magistral 1.2's builds."""
    import mlx.core as mx

    folder = tmp_path / "seeing-MLX-8bit"
    folder.mkdir()
    for name in ("tekken.json", "SYSTEM_PROMPT.txt"):
        shutil.copy(demo.folder / name, folder)
    config = json.loads((demo.mlx / "config.json").read_text("utf-8"))
    told = {
        "model_type": "mistral3",
        "text_config": config | {"model_type": "mistral"},
        "vision_config": {"model_type": "pixtral"},
        "quantization": config["quantization"],
    }
    (folder / "config.json").write_text(json.dumps(told), "utf-8")
    weights = {
        f"language_model.{name}": array
        for name, array in dict(mx.load(str(demo.mlx / "model.safetensors"))).items()
    }
    weights["vision_tower.patch_conv.weight"] = mx.ones((256, 14, 14, 3))
    mx.save_safetensors(str(folder / "model.safetensors"), weights)
    return folder


def test_ask_and_chat_say_it_once(localmag: RunLocalmag, seeing: Path) -> None:
    asked = localmag("ask", str(seeing), QUESTION, "--temp", "0", "--hide-thinking")
    assert asked.returncode == 0, asked.stderr
    assert "834" in asked.stdout
    assert asked.stderr.count(SAID) == 1
    piped = localmag("chat", str(seeing), "--temp", "0", stdin=f"{QUESTION}\n{QUESTION}\n")
    assert piped.returncode == 0, piped.stderr
    assert piped.stdout.count("834") >= 2
    assert piped.stderr.count(SAID) == 1
    assert SAID not in piped.stdout


def test_an_import_is_shown_and_weighed_without_it(localmag: RunLocalmag, seeing: Path) -> None:
    assert localmag("import", str(seeing), "--name", "seer").returncode == 0
    shown = localmag("show", "seer")
    assert "602.1 kB of its weights, not used: it reads text only" in shown.stdout
    (copy,) = json.loads(localmag("show", "seer", "--json").stdout)["copies"]
    assert copy["unused_image_bytes"] == 256 * 14 * 14 * 3 * 4
    (plan,) = json.loads(localmag("fit", "seer", "--json").stdout)["plans"]
    whole = (seeing / "model.safetensors").stat().st_size
    assert plan["needs"][0]["weights"] == pytest.approx(whole - copy["unused_image_bytes"], rel=0.01)


def test_so_does_a_copy_of_a_model_of_the_catalogue(localmag: RunLocalmag, home: Path) -> None:
    mlx(studio(home, "lmstudio-community") / "Magistral-Small-2509-MLX-4bit", images=2_500_000)
    shown = localmag("show", "magistral").stdout
    assert "magistral:4bit  for images: 2.5 MB of its weights, not used" in shown
    assert "magistral:4bit" in localmag("list").stdout


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_the_screen_says_it(seeing: Path) -> None:
    from tests.tui.terminal import Terminal

    with Terminal(["chat", str(seeing)]) as it:
        it.until("Ask anything. Enter sends", "602.1")
        it.type("\x11")
        assert it.end() == 0
