"""What llama.cpp, as it is built here, can compute on (or MLX, where that stands alone), asked in a process
of its own.

Finding devices starts their drivers, and a broken driver ends the process that called it. So `main` runs in a
child, as the engine itself does, and says what it found as one JSON object on stdout.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from localmag.hardware import Machine, probes, reading

_SECONDS = 30.0  # the first call into CUDA after a start compiles and loads for many
_TYPES = ("cpu", "gpu", "igpu", "accel", "meta")  # ggml_backend_dev_type, from ggml-backend.h


def machine(weights: Path) -> Machine:
    """All that is known of this machine; `weights` is the folder that weights go to, there or not yet.

    Takes about half a second, and as long as its time limits at worst. Never raises: what cannot be found out
    is in its notes.
    """
    return reading.read(probes.ask(ask, weights))


def ask() -> probes.Output:
    """What `main` says, from a new process."""
    return probes.python("from localmag.engines.devices import main; main()", _SECONDS)


# ── In the child ──────────────────────────────────────────────────────────────────────────────────


def main() -> None:
    """Print `{"backends": [...], "devices": [...]}`, or `{"problem": why}` if llama.cpp does not load.

    Where it is not installed, `{"missing": true, "metal": {"name": ..., "working_set": bytes}}`, or an empty
    `metal` for any but a Mac with MLX.
    """
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # native code prints as it likes
    os.environ.setdefault("GGML_NO_BACKTRACE", "1")  # else a crash starts a debugger on this process
    try:
        import llama_cpp.llama_cpp as native
    except ModuleNotFoundError as exc:
        missing = exc.name == "llama_cpp"
        json.dump(
            {"missing": True, "metal": _metal()} if missing else {"problem": f"it does not load: {exc}"},
            answer,
        )
    except (ImportError, OSError, RuntimeError) as exc:  # what its loader raises for a library that is amiss
        json.dump({"problem": f"it does not load: {exc}"}, answer)
    else:
        native.llama_backend_init()
        json.dump(_listed(_Ggml(native._base_path)), answer)
    answer.flush()
    os._exit(0)  # drivers that crash while they are unloaded have said what they had to say


def _metal() -> dict[str, Any]:
    """The GPU as MLX knows it."""
    if sys.platform != "darwin":
        return {}
    try:
        import mlx.core as mx

        return metal(mx.device_info())
    except (ImportError, OSError, RuntimeError, ValueError):  # some virtual Macs have no GPU
        return {}


def metal(facts: Mapping[str, str | int]) -> dict[str, Any]:
    """Of mx.device_info(), what reading.py wants to know; empty for a device that states no working set."""
    working_set = facts.get("max_recommended_working_set_size")
    if not isinstance(working_set, int) or working_set <= 0:
        return {}
    return {"name": facts.get("device_name", ""), "working_set": working_set}


class _Ggml:
    """The few functions of ggml-backend.h that list devices, from the libraries beside libllama."""

    def __init__(self, folder: Path) -> None:
        from llama_cpp._ctypes_extensions import load_shared_library

        self._ggml = load_shared_library("ggml", folder)
        self._base = load_shared_library("ggml-base", folder)

    def call(self, name: str, result: Any, *args: Any) -> Any:
        function = getattr(self._ggml, name, None) or getattr(self._base, name)
        function.restype = result
        return function(*args)

    def text(self, name: str, handle: ctypes.c_void_p) -> str:
        said: bytes | None = self.call(name, ctypes.c_char_p, handle)
        return (said or b"").decode("utf-8", "replace")

    def every(self, what: str) -> Iterator[ctypes.c_void_p]:
        """The handles of every `dev` or `reg`."""
        for index in range(self.call(f"ggml_backend_{what}_count", ctypes.c_size_t)):
            handle = self.call(f"ggml_backend_{what}_get", ctypes.c_void_p, ctypes.c_size_t(index))
            yield ctypes.c_void_p(handle)


def _listed(ggml: _Ggml) -> dict[str, Any]:
    return {
        "backends": [ggml.text("ggml_backend_reg_name", reg) for reg in ggml.every("reg")],
        "devices": [_device(ggml, device) for device in ggml.every("dev")],
    }


def _device(ggml: _Ggml, device: ctypes.c_void_p) -> dict[str, Any]:
    free, total = ctypes.c_size_t(0), ctypes.c_size_t(0)
    ggml.call("ggml_backend_dev_memory", None, device, ctypes.byref(free), ctypes.byref(total))
    kind = ggml.call("ggml_backend_dev_type", ctypes.c_int, device)
    registry = ctypes.c_void_p(ggml.call("ggml_backend_dev_backend_reg", ctypes.c_void_p, device))
    return {
        "name": ggml.text("ggml_backend_dev_name", device),
        "description": ggml.text("ggml_backend_dev_description", device),
        "backend": ggml.text("ggml_backend_reg_name", registry),
        "type": _TYPES[kind] if 0 <= kind < len(_TYPES) else "other",
        "free": free.value,
        "total": total.value,
    }
