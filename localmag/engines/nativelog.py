"""llama.cpp's log: into a file, never onto the terminal, its last errors kept to explain a failure."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, ClassVar

import llama_cpp.llama_cpp as native

_DEBUG, _ERROR, _CONTINUED = 1, 4, 5  # ggml_log_level, from ggml.h


class NativeLog:
    """There is one per process, because llama.cpp has one log per process."""

    _only: ClassVar[NativeLog | None] = None

    def __init__(self) -> None:
        self._file: IO[str] | None = None
        self._path: Path | None = None
        self._level = 0
        self._errors: deque[str] = deque(maxlen=50)
        self._callback = native.llama_log_callback(self._write)  # must outlive every native call
        native.llama_log_set(self._callback, None)

    @classmethod
    def to(cls, path: Path | None) -> NativeLog:
        """The process's log, from now on appended to `path` (None: kept nowhere but in memory)."""
        if cls._only is None:
            native.llama_backend_init()
            cls._only = cls()
        cls._only._open(path)
        return cls._only

    def _open(self, path: Path | None) -> None:
        old, self._file = self._file, path.open("a", encoding="utf-8", buffering=1) if path else None
        self._path = path
        self._errors.clear()
        if old:
            old.close()

    def _write(self, level: int, text: bytes | None, _: Any) -> None:
        if level != _CONTINUED:
            self._level = level
        if self._level == _DEBUG or text is None:
            return
        line = text.decode("utf-8", "replace")
        if self._level == _ERROR and line.strip():
            self._errors.append(line.strip())
        if self._file:
            with suppress(OSError, ValueError):  # a full disk, a file just closed: no reason to stop
                self._file.write(line)

    def forget(self) -> None:
        """Start anew: errors survived are not the cause of later ones."""
        self._errors.clear()

    def errors(self) -> tuple[str, ...]:
        """Error lines since it was opened or asked to forget, oldest first."""
        return tuple(self._errors)

    def reason(self) -> str:
        """The words of the first error, the cause of those after it, without the function that said it."""
        if not self._errors:
            return "it did not say why"
        return self._errors[0].split(": ", 1)[-1].removeprefix("error loading model: ").rstrip(".")

    def advice(self) -> str:
        """The second sentence of an error that only the log can explain."""
        return f"The log has the details: {self._path}." if self._path else "Try again."
