"""Which backend runs a model, and every reason for it. Pure, but for one look at what is installed."""

from __future__ import annotations

import platform
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Literal

from localmag.errors import NotFound, WrongUsage
from localmag.hardware import rebuild

Runner = Literal["llama.cpp", "mlx"]
RUNNERS: tuple[Runner, ...] = ("llama.cpp", "mlx")
_NAMES = {"llama.cpp": "llama.cpp", "mlx": "MLX"}
_NEEDS: dict[Runner, tuple[str, ...]] = {
    "llama.cpp": ("llama_cpp",),
    "mlx": ("mlx", "mlx_lm"),
}
"""The packages that it stands on."""
_REMEDIES: dict[Runner, Callable[[], str]] = {"llama.cpp": rebuild.llama_cpp, "mlx": rebuild.mlx}


@dataclass(frozen=True, slots=True)
class Choice:
    """`why` decided it, in one line; `reasons` is all that was weighed, one line each.

    `open` is whether there was anything to choose: two that could run the model, and nobody named one.
    """

    backend: Runner
    why: str
    reasons: tuple[str, ...]
    open: bool = False


@dataclass(frozen=True, slots=True)
class Host:
    """What a machine decides: whether MLX is at home on it, and why a backend cannot run, where it cannot.

    `remedies` are the shell commands that would mend that, for backends that have one.
    """

    apple_silicon: bool
    obstacles: Mapping[Runner, str]
    remedies: Mapping[Runner, str] = field(default_factory=dict[Runner, str])

    def able(self, wanted: str = "auto") -> tuple[Runner, ...]:
        """The backends that can run, of the one that is wanted if one is."""
        return tuple(r for r in RUNNERS if r not in self.obstacles and wanted in ("auto", r))


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # its parent is missing, or half installed
        return False


def host(there: Callable[[str], bool] = _installed) -> Host:
    """The machine that this runs on. `there` says whether a module could be imported; none is."""
    obstacles = {runner: why for runner in RUNNERS if (why := _obstacle(runner, there))}
    return Host(
        apple_silicon=platform.system() == "Darwin" and platform.machine() == "arm64",
        obstacles=obstacles,
        remedies={runner: how for runner in obstacles if (how := _REMEDIES[runner]())},
    )


def choose(
    host: Host,
    *,
    wanted: str = "auto",
    offered: Collection[str] = RUNNERS,
    here: Collection[str] = (),
    better: str | None = None,
    too_large: Collection[str] = (),
    model: str = "the model",
) -> Choice:
    """The backend for one model.

    `offered` are the backends that the model has builds for, `here` those whose builds are on this machine.
    Where that was weighed, `better` is the one whose build fits this machine better, and `too_large` are
    those whose builds here do not fit it at all.

    Of its own accord ("auto") it takes MLX on Apple silicon if a build for it is here (and fits), or if none
    at all is and MLX's fits better; otherwise llama.cpp, and MLX elsewhere only where llama.cpp cannot.

    Raises WrongUsage if the backend wanted, or any, cannot run on this machine; NotFound if `model` has no
    build for it.
    """
    reasons = _reasons(host, offered, here, better, too_large)
    able = [r for r in RUNNERS if r not in host.obstacles and r in offered]
    if wanted != "auto":
        return Choice(_wanted(host, wanted, offered, model), "--backend asks for it", reasons)
    if not able:
        raise _nothing(host, offered, model, reasons)
    if len(able) == 1:
        return Choice(able[0], _only(host, able[0], model), reasons)
    backend, why = _auto(host, [r for r in here if r not in too_large] or here, here, better)
    # Elsewhere than on Apple silicon, MLX is to be reckoned with only if a build for it is here.
    return Choice(backend, why, reasons, open=host.apple_silicon or "mlx" in here)


def _nothing(host: Host, offered: Collection[str], model: str, reasons: tuple[str, ...]) -> WrongUsage:
    """Of a model with builds for one backend, the command that brings that, if there is one."""
    needed = [runner for runner in RUNNERS if runner in offered]
    if len(needed) == 1 and (how := host.remedies.get(needed[0])):
        name, why = _NAMES[needed[0]], host.obstacles[needed[0]]
        return WrongUsage(f"{model} is for {name}, which cannot run here: {why}.", f"Run `{how}`.")
    return WrongUsage(
        f"Nothing that is installed can run {model}: {'; '.join(reasons)}.",
        "Run `localmag doctor` to see what is missing.",
    )


def _only(host: Host, only: Runner, model: str) -> str:
    other = next(r for r in RUNNERS if r != only)
    if obstacle := host.obstacles.get(other):
        return f"{_NAMES[other]} cannot run here, {obstacle}"
    return f"{model} has no build for {_NAMES[other]}"


def _auto(
    host: Host, fitting: Collection[str], here: Collection[str], better: str | None
) -> tuple[Runner, str]:
    """Of two that could; `fitting` are those with a build here that the machine holds."""
    if host.apple_silicon and "mlx" in fitting:
        return "mlx", "this is Apple silicon, and its MLX build is here"
    if host.apple_silicon and "mlx" in here and "llama.cpp" in fitting:
        return "llama.cpp", "the MLX build that is here does not fit this machine, and llama.cpp's does"
    if host.apple_silicon and not here and better == "mlx":
        return "mlx", "this is Apple silicon, and its MLX build fits better"
    if here and "llama.cpp" not in here:
        return "mlx", "its only build that is here is for MLX"
    if not host.apple_silicon:
        return "llama.cpp", "this is no Apple silicon"
    return "llama.cpp", "its llama.cpp build is here" if here else "no MLX build is here, or fits better"


def _wanted(host: Host, wanted: str, offered: Collection[str], model: str) -> Runner:
    runner = next((r for r in RUNNERS if r == wanted), None)
    if runner is None:
        raise WrongUsage(f"There is no backend {wanted!r}.", f"Choose auto, {' or '.join(RUNNERS)}.")
    if obstacle := host.obstacles.get(runner):
        how = host.remedies.get(runner)
        raise WrongUsage(
            f"{_NAMES[runner]} cannot run here: {obstacle}.",
            f"Run `{how}`, or leave --backend out." if how else "Leave --backend out, or choose another.",
        )
    if runner not in offered:
        raise NotFound(
            f"{model} has no build for {_NAMES[runner]}.", f"Choose --backend {' or '.join(offered)}."
        )
    return runner


def _reasons(
    host: Host,
    offered: Collection[str],
    here: Collection[str],
    better: str | None,
    too_large: Collection[str],
) -> tuple[str, ...]:
    return tuple(f"{_NAMES[r]}: {_standing(r, host, offered, here, better, too_large)}" for r in RUNNERS)


def _standing(
    runner: Runner,
    host: Host,
    offered: Collection[str],
    here: Collection[str],
    better: str | None,
    too_large: Collection[str],
) -> str:
    if obstacle := host.obstacles.get(runner):
        return f"cannot run here, {obstacle}" + (
            "; a build on this machine lies idle" if runner in here else ""
        )
    said = ["can run here"]
    if runner == "mlx" and not host.apple_silicon:
        said.append("though without Apple silicon only slowly")
    if runner not in offered:
        said.append("the model has no build for it")
    elif runner in here:
        said.append("a build is on this machine" + (", and too large for it" if runner in too_large else ""))
    if runner == better:
        said.append("its build fits better")
    return ", ".join(said)


def _obstacle(runner: Runner, there: Callable[[str], bool]) -> str:
    """Why it cannot run, empty if it can."""
    missing = [name for name in _NEEDS[runner] if not there(name)]
    return f"{' and '.join(missing)} {'are' if len(missing) > 1 else 'is'} not installed" if missing else ""
