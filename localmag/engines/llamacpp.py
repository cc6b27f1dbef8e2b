"""llama.cpp as a TokenModel, on the low-level functions of llama-cpp-python (called here and in nativelog).

The package's high-level class is avoided: it spends time on every token that grows with the reply, renders
a template found in the GGUF, and redirects this process's own output (its README's `verbose=False`).
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import llama_cpp
import llama_cpp.llama_cpp as native
import numpy as np

from localmag import gguf
from localmag.engines import EngineSpec, lastwords
from localmag.engines.nativelog import NativeLog
from localmag.engines.prefix import reusable
from localmag.engines.sampler import Sampler
from localmag.errors import BadFile, LocalmagError, RunFailed
from localmag.hardware.cores import physical_cores
from localmag.types import Cancel, Prefill, Sampling

if TYPE_CHECKING:
    from numpy.typing import NDArray

_KV_TYPES = {"f16": native.GGML_TYPE_F16, "q8_0": native.GGML_TYPE_Q8_0, "q4_0": native.GGML_TYPE_Q4_0}
_BATCH = 2048  # most ids in one llama_decode; llama.cpp's own default
_LEAST_CHUNK = 32  # fewer ids at once would read the weights too often for too little
_POLL_S = 0.04  # how often `cancel` is looked at while native code runs
_ABORTED = 2  # llama_decode's answer when the abort callback said so
_STATE = "kv.llama"


class LlamaCpp:
    """One model and its one context of `spec.context` tokens.

    `on_load` is called with fractions from 0 to 1 while weights load; what it raises stops the loading and
    comes out of here.

    Raises NotFound and BadFile for the file, DoesNotFit for memory, RunFailed otherwise.
    """

    def __init__(self, spec: EngineSpec, on_load: Callable[[float], None] = lambda fraction: None) -> None:
        self.context = spec.context
        self._spec = spec
        self._model: int | None = None
        self._ctx: int | None = None
        self.library = f"llama-cpp-python {llama_cpp.__version__}"
        self.held: list[int] = []
        self.rate = 0.0
        self._ids = np.zeros(_BATCH, np.int32)
        pointer = self._ids.ctypes.data_as(ctypes.POINTER(native.llama_token))
        self._batch = native.llama_batch(token=pointer)  # null positions: llama.cpp counts on by itself
        self._logits_at = 0
        self._logits = np.empty(0, np.float32)
        self._abort = _AbortFlag()
        header = gguf.read_model(spec.weights)
        self._log = NativeLog.to(spec.log)
        try:
            self._load_model(header, on_load)
            self._make_context()
            self._log.forget()
        except BaseException:
            self.close()
            raise

    # ── Loading ───────────────────────────────────────────────────────────────────────────────────

    def _load_model(self, header: gguf.Header, on_load: Callable[[float], None]) -> None:
        stopped: list[BaseException] = []

        def progress(fraction: float, _: Any) -> bool:
            try:
                on_load(fraction)
            except BaseException as exc:  # it cannot fly through native frames: carried around them
                stopped.append(exc)
            return not stopped

        params = native.llama_model_default_params()
        params.n_gpu_layers = self._spec.gpu_layers
        if not self._offloaded() and any(map(_repacked, header.tensors)):
            # Mapped, the pages of what was copied would stay beside the copies: up to twice the memory.
            params.load_mode = native.LLAMA_LOAD_MODE_NONE
        if self._spec.cpu_experts:
            self._kept = _kept_in_memory(self._spec.cpu_experts)  # must outlive the loading
            params.tensor_buft_overrides = ctypes.addressof(self._kept)
        params.progress_callback = native.llama_progress_callback(progress)
        self._model = native.llama_model_load_from_file(os.fsencode(self._spec.weights), params)
        if stopped:
            raise stopped[0]
        if not self._model:
            raise self._load_error()
        self._ids_known = native.llama_vocab_n_tokens(native.llama_model_get_vocab(self._model))

    def _make_context(self) -> None:
        params = native.llama_context_default_params()
        params.n_ctx = self.context
        params.n_batch = min(_BATCH, self.context)
        params.n_outputs_max = 1  # logits of the last id only: the default reserves them for a whole batch
        params.n_threads = params.n_threads_batch = self._spec.threads or physical_cores()
        params.type_k = params.type_v = _KV_TYPES[self._spec.kv_type]
        if self._spec.kv_type == "f16":
            params.flash_attn_type = native.LLAMA_FLASH_ATTN_TYPE_AUTO
        else:  # a quantized V cache works with flash attention only
            params.flash_attn_type = native.LLAMA_FLASH_ATTN_TYPE_ENABLED
        params.abort_callback = self._abort.callback
        params.abort_callback_data = self._abort.data
        self._ctx = native.llama_init_from_model(self._model, params)
        if not self._ctx:
            raise self._load_error()
        self._memory = native.llama_get_memory(self._ctx)
        # CPU and Metal hear the abort callback; other GPUs do not, so there chunks bound how long a cancel
        # waits. Elsewhere they are for progress only, and longer ones read faster.
        self._chunk_s = 0.1 if self._offloaded() and sys.platform != "darwin" else 0.5

    def _offloaded(self) -> bool:
        return bool(native.llama_supports_gpu_offload()) and self._spec.gpu_layers != 0

    def _load_error(self) -> LocalmagError:
        """What the log says of a model that did not load, in words for the user."""
        name, said = self._spec.weights.name, "\n".join(self._log.errors())
        if lastwords.is_lack_of_memory(said):
            return lastwords.does_not_fit(name, self.context)
        if "unknown model architecture" in said:
            return BadFile(
                f"{name} has an architecture this llama.cpp does not know.",
                "Update localmag, or choose a build of a Magistral or Ministral model.",
            )
        if self._model:
            return RunFailed(f"llama.cpp could not set up {name} ({self._log.reason()}).", self._log.advice())
        return BadFile(
            f"llama.cpp cannot load {name} ({self._log.reason()}).", "Fetch it again, or verify it."
        )

    def vocabulary(self) -> list[bytes]:
        """Every id's text as the file spells it: GPT-2's letters for bytes, control tokens by name."""
        vocab = native.llama_model_get_vocab(self._model)
        text_of = native.llama_vocab_get_text
        return [text_of(vocab, id) for id in range(self._ids_known)]

    # ── Generating ────────────────────────────────────────────────────────────────────────────────

    def generate(self, ids: Sequence[int], sampling: Sampling, cancel: Cancel) -> Generator[Prefill | int]:
        """See TokenModel. A cancelled chunk or id is rolled back out of the KV cache."""
        if self._ctx is None:
            raise RunFailed("The model is closed.", "Load it again.")
        self._trim(reusable(self.held, ids, self.context))
        with self._abort.when(cancel):
            yield Prefill(len(self.held), len(ids))
            while len(self.held) < len(ids):
                if cancel.is_set() or not self._read_chunk(ids):
                    return
                yield Prefill(len(self.held), len(ids))
            draw = Sampler(sampling)
            for _ in range(self.context - len(ids)):
                if cancel.is_set():
                    return
                id = draw(self._last_logits())
                yield id
                self._ids[0] = id
                if not self._decode(1):
                    return
                self.held.append(id)

    def _trim(self, count: int) -> None:
        """Forget what the cache holds after its first `count` ids."""
        if not native.llama_memory_seq_rm(self._memory, 0, count, -1):
            # Some architectures cannot forget the end alone.
            native.llama_memory_clear(self._memory, False)
            count = 0
        del self.held[count:]

    def _read_chunk(self, ids: Sequence[int]) -> bool:
        """Decode the prompt's next chunk, sized by the speed of the last one; False if aborted."""
        start = len(self.held)
        size = int(self.rate * self._chunk_s) // _LEAST_CHUNK * _LEAST_CHUNK
        whole = min(max(size, _LEAST_CHUNK), _BATCH)
        size = min(whole, len(ids) - start)
        self._ids[:size] = ids[start : start + size]
        began = time.perf_counter()
        if not self._decode(size):
            return False
        native.llama_synchronize(self._ctx)  # a GPU returns before it has computed
        rate = size / (time.perf_counter() - began)
        if size == whole or rate > self.rate:  # a prompt's short end is no measure
            self.rate = rate
        self.held += ids[start : start + size]
        return True

    def _decode(self, size: int) -> bool:
        """Decode the first `size` of `_ids`; False if aborted, with the cache as it was."""
        self._batch.n_tokens = size
        answer = native.llama_decode(self._ctx, self._batch)
        if answer == 0:
            return True
        self._trim(len(self.held))
        if answer == _ABORTED:
            self._log.forget()  # an abort is logged as errors, which later ones are not due to
            return False
        raise RunFailed(
            f"llama.cpp failed while computing (code {answer}, {self._log.reason()}).",
            self._log.advice(),
        )

    def _last_logits(self) -> NDArray[np.float32]:
        """Logits of the last id decoded: a view of llama.cpp's own buffer, good until the next decode."""
        pointer = native.llama_get_logits_ith(self._ctx, -1)
        at = ctypes.addressof(pointer.contents)
        if at != self._logits_at:
            self._logits = np.frombuffer((ctypes.c_float * self._ids_known).from_address(at), np.float32)
            self._logits_at = at
        return self._logits

    # ── Keeping the KV cache ──────────────────────────────────────────────────────────────────────

    def state_bytes(self, count: int) -> int:
        """See TokenModel."""
        whole = native.llama_state_seq_get_size(self._ctx, 0)
        return whole * count // len(self.held) if self.held else 0

    def save_state(self, folder: Path, count: int) -> None:
        """See TokenModel."""
        self._log.forget()
        self._trim(count)
        if len(self.held) != count:
            raise RunFailed("This model's context cannot be kept in part.", "It is read again next time.")
        path = folder / _STATE
        ids = (native.llama_token * count)(*self.held)
        written = native.llama_state_seq_save_file(self._ctx, os.fsencode(path), 0, ids, count)
        if not written or path.stat().st_size != written:
            raise RunFailed(
                f"The context could not be written to {folder.parent} ({self._log.reason()}).",
                "Check that its disk has room; nothing is lost, it is read again next time.",
            )

    def load_state(self, folder: Path, ids: Sequence[int]) -> None:
        """See TokenModel."""
        self._log.forget()
        self._trim(0)
        got, count = (native.llama_token * len(ids))(), ctypes.c_size_t()
        path = os.fsencode(folder / _STATE)
        read = native.llama_state_seq_load_file(self._ctx, path, 0, got, len(ids), ctypes.byref(count))
        self.held[:] = ids
        if not read or got[: count.value] != list(ids):
            self._trim(0)
            raise BadFile(
                f"llama.cpp does not take what was kept of the context ({self._log.reason()}).",
                "The conversation is read again.",
            )

    def close(self) -> None:
        """Free context and model, in that order. Safe to call twice."""
        if self._ctx:
            native.llama_free(self._ctx)
        if self._model:
            native.llama_model_free(self._model)
        self._ctx = self._model = None
        self.held.clear()
        self._logits_at, self._logits = 0, np.empty(0, np.float32)


def _repacked(tensor: gguf.Tensor) -> bool:
    """Whether a CPU works on a copy of it in interleaved blocks, as ggml-cpu/repack.cpp decides."""
    arm = platform.machine().lower() in ("arm64", "aarch64")
    kinds = ("Q4_0", "Q4_K", "IQ4_NL", "Q5_K", "Q6_K", "Q8_0") if arm else ("Q4_0", "Q4_K", "IQ4_NL")
    return tensor.type in {gguf.TYPES[kind] for kind in kinds} and tensor.name != "token_embd.weight"


class _Override(ctypes.Structure):
    """llama_model_tensor_buft_override: tensors whose name matches the pattern go into such a buffer."""

    _fields_ = (("pattern", ctypes.c_char_p), ("buffer_type", ctypes.c_void_p))


def _kept_in_memory(layers: int) -> ctypes.Array[_Override]:
    """The routed experts of so many layers, from the bottom; a null ends the list."""
    numbers = "|".join(map(str, range(layers)))
    pattern = rf"blk\.({numbers})\.ffn_(up|down|gate|gate_up)_exps\.".encode()
    return (_Override * 2)(_Override(pattern, _cpu_buffer_type()), _Override(None, None))


def _cpu_buffer_type() -> int | None:
    from llama_cpp._ctypes_extensions import load_shared_library

    function = load_shared_library("ggml-base", native._base_path).ggml_backend_cpu_buffer_type
    function.restype = ctypes.c_void_p
    return function()  # type: ignore[no-any-return]


class _AbortFlag:
    """A flag that native code reads without Python, before every node of the graph.

    The callback's type is `bool (*)(void *)`. Given a string of at most one character, the C library's
    strlen() is such a function: true once the first byte is not 0. A callback in Python takes the GIL each
    time instead, which took 5% of the speed of a model of 100 million parameters (measured; this: nothing).
    """

    def __init__(self) -> None:
        self._flag = ctypes.create_string_buffer(2)
        library = ctypes.CDLL("msvcrt" if sys.platform == "win32" else None)
        self.callback = ctypes.cast(library.strlen, native.ggml_abort_callback)
        self.data = ctypes.addressof(self._flag)

    @contextmanager
    def when(self, cancel: Cancel) -> Iterator[None]:
        """Abort native work within `_POLL_S` of `cancel` being set, while the block runs."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(_POLL_S):
                if cancel.is_set():
                    self._flag.value = b"1"
                    return

        watcher = threading.Thread(target=watch, name="cancel-watch", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()
            self._flag.value = b""
