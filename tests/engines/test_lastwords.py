"""Deaths for want of memory: what Macs and others left in their logs, and processes that really die."""

from __future__ import annotations

import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from localmag.engines import host, lastwords
from localmag.errors import DoesNotFit, EngineDied
from localmag.stream import fold
from localmag.types import Event, Text
from tests.engines.hosting import ASKED, HELLO, LONG, Hosted, Spec, begins, posix, reply

METAL = (
    "libc++abi: terminating due to uncaught exception of type std::runtime_error: [METAL] Command buffer"
    " execution failed: Insufficient Memory (00000008:kIOGPUCommandBufferCallbackErrorOutOfMemory)"
)
STACKS = """
Fatal Python error: Aborted

Thread 0x00000001f5a2a0c0 (most recent call first):
  File "localmag/engines/mlx.py", line 190 in _logits

Current thread 0x000000016f0b7000 (most recent call first):
  <no Python frame>

Extension modules: mlx.core, numpy._core._multiarray_umath (total: 2)
"""

MEMORY = {
    "mlx, ml-explore/mlx #479": METAL,
    "older libc++": METAL.replace("due to", "with"),
    "mlx on Linux": (
        "terminate called after throwing an instance of 'std::runtime_error'\n"
        "  what():  [malloc] Unable to allocate 34359738368 bytes."
    ),
    "C++ on Linux": (
        "terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc"
    ),
    "CUDA": (
        "CUDA error: out of memory\n  current device: 0, in function alloc at ggml-cuda.cu:521\n"
        "  cuMemCreate(&handle, reserve_size, &prop, 0)\nggml-cuda.cu:106: CUDA error"
    ),
    "llama.cpp on Metal, ggml-org/llama.cpp #9701": (
        "ggml_metal_synchronize: error: command buffer 0 failed with status 5\n"
        "error: Insufficient Memory (00000008:kIOGPUCommandBufferCallbackErrorOutOfMemory)\n"
        "ggml-metal-context.m:235: fatal error"
    ),
    "Vulkan": (
        "terminate called after throwing an instance of 'vk::OutOfDeviceMemoryError'\n"
        "  what():  vk::Queue::submit: ErrorOutOfDeviceMemory"
    ),
}
OTHER = {
    "nothing": "",
    "mlx-vlm #270": METAL.replace(
        "Insufficient Memory (00000008:kIOGPUCommandBufferCallbackErrorOutOfMemory)",
        "Invalid Resource (00000009:kIOGPUCommandBufferCallbackErrorInvalidResource)",
    ),
    "a CUDA that is amiss": (
        "CUDA error: an illegal memory access was encountered\nggml-cuda.cu:106: CUDA error"
    ),
    "another error of Metal": (
        "error: Caused GPU Timeout Error (00000002:kIOGPUCommandBufferCallbackErrorTimeout)\n"
        "ggml-metal-context.m:235: fatal error"
    ),
    "a failure survived": "ggml_backend_cpu_buffer_type_alloc_buffer: failed to allocate buffer of size 9",
    "an assertion": "GGML_ASSERT(n_tokens > 0) failed",
}


@pytest.mark.parametrize("said", MEMORY.values(), ids=MEMORY)
def test_want_of_memory_is_recognised(said: str) -> None:
    assert lastwords.died_of_memory(-signal.SIGABRT, f"some log\n{said}\n{STACKS}")


@pytest.mark.parametrize("said", OTHER.values(), ids=OTHER)
def test_other_ends_are_not_taken_for_it(said: str) -> None:
    assert not lastwords.died_of_memory(-signal.SIGABRT, f"some log\n{said}\n{STACKS}")


@pytest.mark.parametrize("code", [-9, -signal.SIGSEGV, 1, None])
def test_what_was_survived_is_not_what_another_end_is_due_to(code: int | None) -> None:
    assert not lastwords.died_of_memory(code, f"{METAL}\n{STACKS}")


@pytest.mark.parametrize(
    "said",
    [
        "[metal::malloc] Attempting to allocate 34359738368 bytes which is greater than the maximum allowed"
        " buffer size of 30150672384 bytes.",
        "[malloc_or_wait] Unable to allocate 8589934592 bytes.",
        "[METAL] Command buffer execution failed: Insufficient Memory"
        " (00000008:kIOGPUCommandBufferCallbackErrorOutOfMemory).",
        "std::bad_alloc",
    ],
)
def test_exceptions_of_mlx_are_recognised(said: str) -> None:
    assert lastwords.is_lack_of_memory(said)


@pytest.mark.parametrize("said", ["[matmul] Last dimension of first input must match", "[Load] not found"])
def test_other_exceptions_are_not(said: str) -> None:
    assert not lastwords.is_lack_of_memory(said)


def test_only_the_end_of_a_log_is_read(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"before\n" + b"\xff" * 2**20 + b"\nthe end")
    read = lastwords.tail(log)
    assert len(read) <= 2**17
    assert read.endswith("the end")
    assert lastwords.tail(log, lastwords.size(log) - 3) == "end"
    assert lastwords.tail(log, 2**21) == lastwords.tail(tmp_path / "none") == lastwords.tail(None) == ""
    assert lastwords.size(tmp_path / "none") == lastwords.size(None) == 0


# ── Real processes ────────────────────────────────────────────────────────────────────────────────

DYING = """
import os, sys
sys.path.insert(0, sys.argv.pop())
from localmag.engines import local, worker
from localmag.types import TextDelta
whole = local.LocalEngine.reply

def reply(self, turn, cancel):
    for event in whole(self, turn, cancel):
        yield event
        if isinstance(event, TextDelta):
            import time; time.sleep(0.5)  # so that it has left
            os.write(2, {said!r}.encode())
            os.abort()

local.LocalEngine.reply = reply
worker.main()
"""
DYING_LOADING = "import os; os.write(2, {said!r}.encode()); os.abort()"
UNCAUGHT = """
import ctypes, faulthandler
faulthandler.enable()
ctypes.CDLL("libstdc++.so.6")._ZSt17__throw_bad_allocv()
"""


@posix
def test_dying_in_a_reply_for_want_of_memory(
    hosted: Hosted, scripted: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "_CODE", DYING.format(said=METAL + "\n"))
    engine = hosted(scripted(LONG, HELLO))
    seen: list[Event] = []
    with pytest.raises(DoesNotFit, match="ran out of memory while replying") as raised:
        seen.extend(engine.reply(ASKED, threading.Event()))
    (text,) = fold(seen)
    assert isinstance(text, Text) and text.text.startswith("x")
    assert "--ctx" in raised.value.todo
    assert str(engine.log) in raised.value.todo
    monkeypatch.undo()
    assert begins(engine)


@posix
def test_dying_while_loading_for_want_of_memory(
    hosted: Hosted, scripted: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "_CODE", DYING_LOADING.format(said=METAL + "\n"))
    engine = hosted(scripted(HELLO))
    with pytest.raises(DoesNotFit, match=r"ran out of memory while loading script\.json"):
        reply(engine)


@posix
def test_what_an_earlier_engine_said_is_not_this_one_s(
    hosted: Hosted, scripted: Spec, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    log.write_text(METAL + "\n")
    monkeypatch.setattr(host, "_CODE", "import os; os.abort()")
    engine = hosted(replace(scripted(HELLO), log=log))
    with pytest.raises(EngineDied, match="SIGABRT"):
        reply(engine)


@pytest.mark.skipif(sys.platform != "linux", reason="it is GNU's C++ library that is made to throw")
def test_a_real_exception_that_nobody_catches(
    hosted: Hosted, scripted: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "_CODE", UNCAUGHT)
    engine = hosted(scripted(HELLO))
    with pytest.raises(DoesNotFit, match="ran out of memory"):
        reply(engine)
