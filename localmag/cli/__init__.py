"""The program's entry, and the one place that catches errors."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

from localmag import __version__
from localmag.errors import LocalmagError

if TYPE_CHECKING:
    from types import FrameType

_SIGINT_EXIT = 130


def main() -> NoReturn:
    """Run the command line and leave with the contract's exit code; a traceback needs LOCALMAG_DEBUG=1."""
    if sys.argv[1:] in (["--version"], ["-V"]):  # scripts ask this often: answer before typer is imported
        print(f"localmag {__version__}")
        sys.exit(0)
    _speak_utf8()
    _leave_cleanly_on_signals()
    try:
        from localmag.cli.app import app

        app(prog_name="localmag")
    except LocalmagError as exc:
        _fail(str(exc), exc.exit_code)
    except KeyboardInterrupt:
        _fail("Stopped.", _SIGINT_EXIT)
    except BrokenPipeError:
        _discard_stdout()  # whoever read us (`| head`) has gone: that is not an error
        sys.exit(0)
    except Exception as exc:
        _fail(
            f"Something failed that should not have: {type(exc).__name__}: {exc}.",
            1,
            "Run it again with LOCALMAG_DEBUG=1 to see where, and please report it.",
        )
    sys.exit(0)


def _fail(what: str, code: int, todo: str = "") -> NoReturn:
    if os.environ.get("LOCALMAG_DEBUG") == "1":
        import traceback

        traceback.print_exc()
    print(f"localmag: {what} {todo}".rstrip(), file=sys.stderr)
    sys.exit(code)


def _speak_utf8() -> None:
    """Pipes carry UTF-8 on every platform, and no byte that comes in or goes out may crash the program."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding=None if stream.isatty() else "utf-8", errors="replace")


def _leave_cleanly_on_signals() -> None:
    """SIGTERM and SIGHUP unwind the stack, so that a reply in progress is saved and the engine closed."""

    def leave(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, leave)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, leave)


def _discard_stdout() -> None:
    """Else Python complains once more while it flushes on the way out."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
