from __future__ import annotations

import shlex
import sys
from pathlib import Path

from localmag.hardware.rebuild import rebuild


def test_elsewhere_than_in_a_checkout_it_is_pip_in_this_very_python(tmp_path: Path) -> None:
    words = shlex.split(rebuild("cuda", root=tmp_path, system="linux"))
    assert words[:4] == [sys.executable, "-m", "pip", "install"]
    assert "cmake.args=-DGGML_CUDA=on" in words
    assert words[-1].startswith("llama-cpp-python==")


def test_in_a_checkout_it_is_the_set_up_that_looks_at_the_hardware(tmp_path: Path) -> None:
    (tmp_path / "tools" / "bootstrap").mkdir(parents=True)
    assert shlex.split(rebuild("vulkan", root=tmp_path, system="linux")) == [
        "make",
        "-C",
        str(tmp_path),
        "install",
    ]
    assert "python -m tools.bootstrap install" in rebuild("cuda", root=tmp_path, system="win32")


def test_a_build_that_does_not_load_is_replaced_as_it_was_chosen(tmp_path: Path) -> None:
    words = shlex.split(rebuild("cpu", root=tmp_path, system="darwin"))
    assert "--force-reinstall" in words
    assert "-C" not in words
