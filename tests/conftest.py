"""What every test stands on: an empty home, no network, a time limit (pyproject.toml), the real program.

Environment variables are what child processes inherit, so they carry all of it across: a test that
starts `localmag`, or an engine in its own process, is as fenced in as the test itself.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest
from hypothesis import settings

from localmag.prompt import Codec
from localmag.sessions import Sessions
from tests.guard import sitecustomize as _guard  # noqa: F401  (installs its audit hook)

ROOT = Path(__file__).resolve().parent.parent
GUARD = ROOT / "tests" / "guard"
FOREIGN = ("LOCALMAG_", "MAKE", "MFLAGS", "HF_", "XDG_", "HUGGING", "LLAMA_", "GGML_", "PYTEST_ADDOPTS")
TERMINAL = ("NO_COLOR", "FORCE_COLOR", "CLICOLOR", "COLUMNS", "LINES", "TTY_COMPATIBLE", "COLORTERM")

# A busy machine is no reason to call a property false.
settings.register_profile("house", deadline=None)
settings.load_profile("house")


def fenced(home: Path) -> dict[str, str]:
    """The environment of a newcomer whose home folder is `home` and who has no network."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.upper().startswith(FOREIGN)
        and name not in TERMINAL
        and not name.upper().endswith("_PROXY")
        and name not in ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONSTARTUP")
    }
    return kept | {
        "HOME": str(home),
        "USERPROFILE": str(home),
        "APPDATA": str(home / "AppData" / "Roaming"),
        "LOCALAPPDATA": str(home / "AppData" / "Local"),
        "XDG_DATA_HOME": str(home / ".local" / "share"),
        "XDG_STATE_HOME": str(home / ".local" / "state"),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "LOCALMAG_HOME": str(home / "localmag"),
        "HF_HOME": str(home / "hf"),
        "OLLAMA_MODELS": str(home / ".ollama" / "models"),
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "PYTHONPATH": os.pathsep.join((str(GUARD), str(ROOT))),
        "PYTHONUTF8": "1",
        "TERM": "xterm-256color",
        "OMP_WAIT_POLICY": "passive",  # engines that spin at barriers starve each other
    }


def _enter(patch: pytest.MonkeyPatch, home: Path) -> None:
    wanted = fenced(home)
    for name in set(os.environ) - set(wanted) - {"PYTEST_CURRENT_TEST", "PYTEST_VERSION"}:
        patch.delenv(name)
    for name, value in wanted.items():
        patch.setenv(name, value)


@pytest.fixture(scope="session", autouse=True)
def _session_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """For fixtures that outlive a test, such as an engine shared by a module."""
    with pytest.MonkeyPatch.context() as patch:
        _enter(patch, tmp_path_factory.mktemp("session-home"))
        yield


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder of this test's own; `LOCALMAG_HOME` and `HF_HOME` lie in it."""
    folder = tmp_path_factory.mktemp("home")
    _enter(monkeypatch, folder)
    return folder


class RunLocalmag(Protocol):
    def __call__(
        self, *args: str, stdin: str = "", env: Mapping[str, str] | None = None, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]: ...


@pytest.fixture
def localmag() -> RunLocalmag:
    """Runs the program as a user would, without a terminal: `localmag("ask", "demo", "Hello").stdout`."""

    def run(
        *args: str, stdin: str = "", env: Mapping[str, str] | None = None, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "localmag", *args],
            input=stdin,
            env={**os.environ, **(env or {})},
            timeout=timeout,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )

    return run


@dataclass(frozen=True, slots=True)
class Demo:
    """Files of the bundled model."""

    folder: Path

    @property
    def weights(self) -> Path:
        return self.folder / "demo-Q8_0.gguf"

    @property
    def mlx(self) -> Path:
        return self.folder / "demo-8bit"

    @property
    def tokenizer(self) -> Path:
        return self.folder / "tekken.json"

    @property
    def system_prompt(self) -> Path:
        return self.folder / "SYSTEM_PROMPT.txt"


@pytest.fixture(scope="session")
def codec() -> Codec:
    """Magistral's, at full size."""
    from tests import tekken  # mistral-common takes long to import

    return tekken.codec()


@pytest.fixture
def sessions() -> Iterator[Sessions]:
    """The conversations of this test's home."""
    with Sessions() as store:
        yield store


@pytest.fixture(scope="session")
def demo() -> Demo:
    return Demo(ROOT / "localmag" / "demo")
