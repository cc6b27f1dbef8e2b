from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.conftest import Demo
from tools import synthetic_gguf


@pytest.fixture(scope="session")
def talker(tmp_path_factory: pytest.TempPathFactory, demo: Demo) -> Path:
    """A folder with a model of random weights that never stops talking: it cannot draw a control token."""
    folder = tmp_path_factory.mktemp("talker")
    shutil.copy(demo.tokenizer, folder)
    shape = synthetic_gguf.llama()
    synthetic_gguf.write(folder / "talker.gguf", demo.tokenizer, shape, context=1 << 23, talkative=True)
    return folder
