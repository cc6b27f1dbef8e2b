"""Which build of llama.cpp suits this machine, if it needs one: `probe()` asks, `choose()` decides, purely.

Both run before anything is installed, under whatever Python the machine has (3.8 or newer).

What CUDA needs (NVIDIA's release notes): the first toolkit that knows a compute capability, the driver
branch that runs a toolkit's major version, and the capability below which CUDA 13 no longer compiles.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass, replace

MLX = "mlx"
"""Instead of llama.cpp: on Apple silicon, where MLX comes as a wheel and llama.cpp must be compiled."""

BACKENDS = ("cpu", "cuda", "vulkan", "metal", "rocm", MLX)

FIRST_TOOLKIT = {(5, 0): (9, 0), (8, 0): (11, 0), (8, 6): (11, 1), (8, 9): (11, 8), (10, 0): (12, 8)}
FIRST_DRIVER = {11: 450, 12: 525, 13: 580}
LAST_WITHOUT = {13: (7, 5)}

NVIDIA_QUERY = ("--query-gpu=name,compute_cap,driver_version", "--format=csv,noheader")
OFF_PATH = {
    "nvidia-smi": ("/usr/lib/wsl/lib/nvidia-smi",),
    "nvcc": ("/usr/local/cuda/bin/nvcc", "/opt/cuda/bin/nvcc"),
}


@dataclass(frozen=True)
class Output:
    """What a command printed (stdout, then stderr) and its exit status."""

    text: str
    status: int = 0


@dataclass(frozen=True)
class Probe:
    """What this machine says about itself; None where the command is not there."""

    system: str  # platform.system(): Linux, Darwin, Windows
    machine: str  # platform.machine(): x86_64, AMD64, arm64, aarch64
    release: str = ""  # platform.release(): names Microsoft under WSL
    nvidia_smi: Output | None = None  # of NVIDIA_QUERY
    nvcc: Output | None = None  # of --version
    nvcc_path: str = ""
    vulkaninfo: Output | None = None  # of --summary
    glslc: Output | None = None  # of --version
    clang: Output | None = None  # of xcrun --find clang
    translated: Output | None = None  # of sysctl -n sysctl.proc_translated: 1 under Rosetta

    @property
    def apple_silicon(self) -> bool:
        """Whether MLX is at home; under Rosetta it is not."""
        return self.system == "Darwin" and self.machine == "arm64"


@dataclass(frozen=True)
class Choice:
    """One build: its backend, what CMake is told, where a prebuilt wheel comes from, and why."""

    backend: str
    why: str
    cmake_args: tuple[str, ...] = ()
    index: str = ""
    advice: str = ""  # what would make it faster, if anything

    @property
    def slug(self) -> str:
        """A folder name that no other build shares."""
        return re.sub(r"[^A-Za-z0-9]+", "-", "-".join((self.backend, *self.cmake_args))).strip("-")


@dataclass(frozen=True)
class Card:
    name: str
    capability: tuple[int, int] | None  # None: the driver is too old to say
    driver: int  # its branch, 0 where unknown


# ── Deciding ──────────────────────────────────────────────────────────────────────────────────────


def choose(
    probe: Probe,
    wanted: str = "",
    index: str = "",
    cmake_args: tuple[str, ...] = (),
    *,
    llama: bool = False,
) -> Choice:
    """The build for this machine, or the one `wanted` (one of BACKENDS) names.

    `index` is a wheel index the user trusts for llama-cpp-python; `cmake_args` are the user's own. `llama` is
    whether llama.cpp must be there, also where MLX would do. Raises ValueError if `wanted` is none of
    BACKENDS, or MLX where that does not run.
    """
    if wanted and wanted not in BACKENDS:
        raise ValueError(f"LOCALMAG_BACKEND is {wanted!r}; it may be {', '.join(BACKENDS)}.")
    if wanted == MLX and not probe.apple_silicon:
        raise ValueError("LOCALMAG_BACKEND is 'mlx', which is for Apple silicon: leave it out.")
    if wanted == MLX:
        return Choice(MLX, "LOCALMAG_BACKEND asks for it")
    if index:
        backend = wanted or _hardware(probe)
        return Choice(backend, "LOCALMAG_LLAMA_INDEX names an index of prebuilt wheels", index=index)
    if wanted:
        choice = Choice(
            wanted, "LOCALMAG_BACKEND asks for it", _cmake_args(probe, wanted), advice=_compiler(probe)
        )
    else:
        choice = _detect(probe, llama or bool(cmake_args))
    return replace(choice, cmake_args=choice.cmake_args + cmake_args)


def _detect(probe: Probe, llama: bool) -> Choice:
    if probe.system == "Darwin":
        return _apple(probe, llama)
    cards = nvidia_cards(probe)
    if cards:
        return _nvidia(probe, cards)
    if probe.nvidia_smi is not None:
        said = (probe.nvidia_smi.text.strip().splitlines() or ["nothing"])[0]
        return Choice(
            "cpu",
            f"nvidia-smi is here but finds no card (it says: {said})",
            advice="Mend the NVIDIA driver, then run the install again.",
        )
    gpu = discrete_vulkan_gpu(probe)
    if gpu and probe.glslc:
        return Choice("vulkan", f"found {gpu} and the Vulkan SDK", _cmake_args(probe, "vulkan"))
    if gpu:
        return Choice(
            "cpu",
            f"found {gpu}, but not the Vulkan SDK's shader compiler, glslc",
            advice="Install the Vulkan SDK, then run the install again.",
        )
    return Choice("cpu", "found no GPU that llama.cpp could use")


def _apple(probe: Probe, llama: bool) -> Choice:
    if probe.apple_silicon and llama:
        return Choice("metal", "this is Apple Silicon", advice=_compiler(probe))
    if probe.apple_silicon:
        return Choice(
            MLX,
            "this is Apple Silicon, where it needs no compiler",
            advice="For GGUF builds, too: LOCALMAG_BACKEND=metal make install, which compiles llama.cpp.",
        )
    if _said(probe.translated) == "1":
        return Choice(
            "cpu",
            "this Python runs translated from Intel code on Apple Silicon, where Metal does not build",
            _cmake_args(probe, "cpu"),
            advice="Remove .venv and run it again with an arm64 Python.",
        )
    return Choice("cpu", "this is an Intel Mac, whose GPU llama.cpp serves badly", _cmake_args(probe, "cpu"))


def _compiler(probe: Probe) -> str:
    """How a Mac gets a compiler, if it has none."""
    missing = probe.system == "Darwin" and not _said(probe.clang)
    return "Install the compiler first: xcode-select --install" if missing else ""


def _nvidia(probe: Probe, cards: list[Card]) -> Choice:
    names = " and ".join(card.name for card in cards)
    why_not, advice = _cuda_obstacle(probe, cards)
    if not why_not:
        version = ".".join(map(str, toolkit(probe) or ()))
        return Choice("cuda", f"found {names} and CUDA {version}", _cmake_args(probe, "cuda"))
    if probe.glslc and "microsoft" not in probe.release.lower():  # WSL has no Vulkan driver for the card
        why = f"found {names}, {why_not}, and the Vulkan SDK"
        return Choice("vulkan", why, _cmake_args(probe, "vulkan"), advice=advice)
    return Choice("cpu", f"found {names}, {why_not}", advice=advice)


def _cuda_obstacle(probe: Probe, cards: list[Card]) -> tuple[str, str]:
    """Why CUDA cannot be compiled for any of the cards, and what to do; both empty if it can."""
    again = (
        "then run the install again; or set LOCALMAG_LLAMA_INDEX to the index of prebuilt CUDA wheels"
        " that the llama-cpp-python project's README names."
    )
    have = toolkit(probe)
    least = min((_first_toolkit(card.capability) for card in cards if card.capability), default=None)
    at_least = f" {least[0]}.{least[1]} or newer" if least else ""
    if have is None:
        return "but not CUDA's compiler, nvcc", f"Install the CUDA toolkit{at_least}, {again}"
    if not any(_compiles(have, card) for card in cards):
        version = f"{have[0]}.{have[1]}"
        if any(card.capability and card.capability < LAST_WITHOUT.get(have[0], (0, 0)) for card in cards):
            return f"but CUDA {version} has dropped it", f"Install a CUDA 12 toolkit, {again}"
        return (
            f"but CUDA {version} is too old for it",
            f"Install the CUDA toolkit{at_least}, {again}",
        )
    needed = FIRST_DRIVER.get(have[0], 0)
    if all(0 < card.driver < needed for card in cards):
        return (
            f"but its driver {cards[0].driver} is too old for CUDA {have[0]}",
            f"Install an NVIDIA driver {needed} or newer, {again}",
        )
    return "", ""


def _cmake_args(probe: Probe, backend: str) -> tuple[str, ...]:
    if backend == "cuda":
        args = ["-DGGML_CUDA=on"]
        have = toolkit(probe)
        cards = [card for card in nvidia_cards(probe) if have is None or _compiles(have, card)]
        capabilities = sorted({card.capability for card in cards if card.capability})
        if capabilities:  # one architecture compiles in minutes; the default set takes an hour
            known = ";".join(f"{major}{minor}" for major, minor in capabilities)
            args.append(f"-DCMAKE_CUDA_ARCHITECTURES={known}")
        if probe.nvcc_path:
            args.append(f"-DCMAKE_CUDA_COMPILER={probe.nvcc_path}")
        return tuple(args)
    if backend == "cpu":  # on a Mac llama.cpp would turn Metal on by itself
        return ("-DGGML_METAL=off",) if probe.system == "Darwin" else ()
    return {"vulkan": ("-DGGML_VULKAN=on",), "rocm": ("-DGGML_HIP=on",), "metal": ()}[backend]


def _hardware(probe: Probe) -> str:
    if probe.system == "Darwin":
        return "metal" if probe.machine == "arm64" else "cpu"
    return "cuda" if nvidia_cards(probe) else "cpu"


# ── Reading what was probed ───────────────────────────────────────────────────────────────────────


def nvidia_cards(probe: Probe) -> list[Card]:
    """The cards that a working nvidia-smi lists."""
    cards = []
    for line in _said(probe.nvidia_smi).splitlines():
        fields = [field.strip() for field in line.rsplit(",", 2)]
        if len(fields) < 3:
            continue
        name, capability, driver = fields
        found = re.fullmatch(r"(\d+)\.(\d+)", capability)
        branch = re.match(r"\d+", driver)
        cards.append(
            Card(
                name,
                (int(found[1]), int(found[2])) if found else None,
                int(branch[0]) if branch else 0,
            )
        )
    return cards


def toolkit(probe: Probe) -> tuple[int, int] | None:
    """The CUDA version nvcc belongs to."""
    found = re.search(r"release (\d+)\.(\d+)", _said(probe.nvcc))
    return (int(found[1]), int(found[2])) if found else None


def discrete_vulkan_gpu(probe: Probe) -> str:
    """The first card with memory of its own that vulkaninfo lists; an integrated GPU gains little."""
    found = re.search(r"TYPE_DISCRETE_GPU\s+deviceName\s*=\s*(.+)", _said(probe.vulkaninfo))
    return found[1].strip() if found else ""


def _first_toolkit(capability: tuple[int, int]) -> tuple[int, int]:
    return max((first for known, first in FIRST_TOOLKIT.items() if known <= capability), default=(9, 0))


def _compiles(have: tuple[int, int], card: Card) -> bool:
    if card.capability is None:
        return True
    return _first_toolkit(card.capability) <= have and card.capability >= LAST_WITHOUT.get(have[0], (0, 0))


def _said(output: Output | None) -> str:
    """What a command that succeeded printed; nothing if it is not there or failed."""
    return output.text.strip() if output is not None and output.status == 0 else ""


# ── Probing ───────────────────────────────────────────────────────────────────────────────────────


def probe() -> Probe:
    """Ask this machine; each question takes at most a few seconds, and none needs a right."""
    nvcc = _find("nvcc")
    on_mac = platform.system() == "Darwin"
    return Probe(
        platform.system(),
        platform.machine(),
        platform.release(),
        _run(_find("nvidia-smi"), *NVIDIA_QUERY),
        _run(nvcc, "--version"),
        "" if nvcc == shutil.which("nvcc") else nvcc,
        _run(_find("vulkaninfo"), "--summary"),
        _run(_find("glslc"), "--version"),
        _run(_find("xcrun"), "--find", "clang") if on_mac else None,
        _run(_find("sysctl"), "-n", "sysctl.proc_translated") if on_mac else None,
    )


def _find(command: str) -> str:
    """Where a command is, also where its installer leaves it outside PATH; empty if nowhere."""
    homes = [os.environ[name] for name in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(name)]
    at_home = [os.path.join(home, "bin", command) for home in homes]  # noqa: PTH118  (a PATH search)
    places = (command, *at_home, *OFF_PATH.get(command, ()))
    return next(filter(None, map(shutil.which, places)), "")


def _run(path: str, *args: str) -> Output | None:
    if not path:
        return None
    try:
        done = subprocess.run(
            [path, *args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        return Output(str(exc), 1)
    return Output(done.stdout.decode("utf-8", "replace"), done.returncode)
