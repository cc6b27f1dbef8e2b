"""A run made to hold: how much context, what cache and how many layers on a GPU this machine has room for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from localmag import gguf, mlxfiles
from localmag.cli.options import Run
from localmag.cli.output import warn
from localmag.errors import DoesNotFit
from localmag.fit import Setting, Way, best, memory, mlx, weights
from localmag.fit.weights import Weights
from localmag.hardware import Machine
from localmag.shape import Shape

_TRIFLE = 512 * 2**20
"""Bytes that any machine has: what needs no more is not weighed, which saves half a second."""


def fitted(run: Run, machine: Callable[[], Machine] | None = None, tell: Callable[[str], None] = warn) -> Run:
    """The run as this machine can hold it; `tell` is told, in one line, of what had to give way.

    What the user asked for (a context, a KV type, GPU layers) is kept, or refused. Raises DoesNotFit, saying
    what is lacking and what would fit, and what `gguf.read_model` does.
    """
    known = measured(run.spec.backend, run.spec.weights)
    if known is None:
        return run
    shape, held = known
    spec = run.spec
    kv_type = run.asked_kv_type or "f16"
    if spec.backend == "mlx":
        plain = mlx.need(shape, held, spec.context, kv_type)
    else:
        (plain,) = memory.llama_cpp(shape, held, Setting(spec.context, kv_type))
    if plain.total <= _TRIFLE:
        return run
    here = (machine or _machine)()

    def way(*, exact: bool, kv_type: bool = True) -> Way:
        return best(
            shape,
            held,
            here,
            backend=spec.backend,
            wanted=spec.context,
            exact=exact,
            kv_type=run.asked_kv_type if kv_type else None,
            gpu_layers=spec.gpu_layers,
        )

    chosen = way(exact=run.asked_context)
    if not chosen.fits:
        named = " ".join(dict.fromkeys((run.installed.title, run.installed.build)))
        raise DoesNotFit(
            f"{named} does not fit this machine: {chosen.refusal}",
            _instead(way(exact=False, kv_type=False)),
        )
    _say_what_gave_way(run, chosen, shape.layers, tell)
    setting = chosen.setting
    return replace(
        run,
        spec=replace(
            spec,
            context=setting.context,
            kv_type=setting.kv_type,
            gpu_layers=setting.gpu_layers,
            cpu_experts=shape.dense_layers + setting.cpu_experts if setting.cpu_experts else 0,
        ),
        max_tokens=min(run.max_tokens, setting.context),
    )


def measured(backend: str, path: Path) -> tuple[Shape, Weights] | None:
    """What the weights at `path` are; None where nobody can tell.

    Raises what `gguf.read_model` and `mlxfiles.measured` do.
    """
    if backend == "llama.cpp":
        header = gguf.read_model(path)
        return header.shape(), weights.of_header(header)
    if backend == "mlx" and (told := mlxfiles.measured(path)):
        shape, contents = told
        return shape, weights.of_folder(contents)
    return None


def _machine() -> Machine:
    from localmag.engines import devices
    from localmag.store import cache

    return devices.machine(cache.root())


def _instead(other: Way) -> str:
    if not other.fits:
        return "See what would fit with `localmag fit`, or try `localmag chat demo`."
    kv_type = "" if other.setting.kv_type == "f16" else f" --kv-type {other.setting.kv_type}"
    return f"Use --ctx {other.setting.context}{kv_type}, or see what else would fit with `localmag fit`."


def _say_what_gave_way(run: Run, way: Way, layers: int, tell: Callable[[str], None]) -> None:
    """Nothing gives way silently."""
    setting, gave = way.setting, []
    if setting.context < run.spec.context:
        gave.append(f"the context is {setting.context:,} tokens instead of {run.spec.context:,}")
    if setting.kv_type != (run.asked_kv_type or "f16"):
        gave.append(f"its cache is in {setting.kv_type}")
    if setting.cpu_experts:
        gave.append(f"the experts of {setting.cpu_experts} layers stay on the CPU")
    elif run.spec.gpu_layers < 0 and not way.whole:
        gave.append(f"{setting.gpu_layers} of {layers + 1} layers are on the GPU")
    if gave:
        said = ", ".join(gave[:-1]) + (" and " if gave[1:] else "") + gave[-1]
        tell(f"To fit this machine, {said}.")
