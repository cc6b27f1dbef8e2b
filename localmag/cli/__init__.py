"""The program's entry, and the one place that catches errors."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from localmag import __version__
from localmag.errors import LocalmagError, cut

if TYPE_CHECKING:
    from types import FrameType

_SIGINT_EXIT = 130
_LAST_S = 8.0  # from a SIGTERM or SIGHUP until the program is ended, whatever it waits for


def main() -> NoReturn:
    """Run the command line and leave with the contract's exit code; a traceback needs LOCALMAG_DEBUG=1."""
    try:
        _run()
        sys.stdout.flush()
    except SystemExit as exc:
        if isinstance(exc.__context__, BrokenPipeError):  # typer has made exit code 1 of it
            _leave_unread()
        raise
    except LocalmagError as exc:
        _fail(str(exc), exc.exit_code)
    except KeyboardInterrupt:
        _fail("Stopped.", _SIGINT_EXIT)
    except BrokenPipeError:
        _leave_unread()
    except OSError as exc:
        where = f": {exc.filename}" if exc.filename else ""
        _fail(
            cut(f"The operating system refused ({exc.strerror or exc}{where})."),
            1,
            "Check the disk, the permissions and where the output goes.",
        )
    except Exception as exc:
        _fail(
            f"Something failed that should not have: {type(exc).__name__}: {exc}.",
            1,
            "Run it again with LOCALMAG_DEBUG=1 to see where, and please report it.",
        )
    sys.exit(0)


def _run() -> None:
    _speak_utf8()
    if sys.argv[1:] in (["--version"], ["-V"]):  # scripts ask this often: answer before typer is imported
        print(f"localmag {__version__}")
        return
    _leave_cleanly_on_signals()
    from localmag.cli.app import app

    # Else typer fills in *, ~ and %VARIABLES% on Windows, also those in a question.
    app(prog_name="localmag", windows_expand_args=False)


def _leave_unread() -> NoReturn:
    """Whoever read us (`| head`) has gone, having read enough: that is no error."""
    # Else Python complains once more while it flushes on the way out.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(0)


def _fail(what: str, code: int, todo: str = "") -> NoReturn:
    if os.environ.get("LOCALMAG_DEBUG") == "1":
        import traceback

        traceback.print_exc()
    from localmag.cli.output import warn

    with suppress(OSError):  # nobody may be listening; the code still tells
        warn(" ".join(f"{what} {todo}".split()))
    sys.exit(code)


def _speak_utf8() -> None:
    """Pipes carry UTF-8 on every platform, and no byte that comes in or goes out may crash the program.

    A stream that was closed before the program began reads as empty, or swallows what is written.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123 - for good
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding=None if stream.isatty() else "utf-8", errors="replace")


def _leave_cleanly_on_signals() -> None:
    """SIGTERM and SIGHUP unwind the stack, so that a reply in progress is saved and the engine closed.

    One that is ignored stays ignored: that is what `nohup` asks for.
    """

    def leave(number: int, frame: FrameType | None) -> None:
        last = threading.Timer(_LAST_S, os._exit, (128 + number,))
        last.daemon = True
        last.start()
        sys.exit(128 + number)

    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, leave)
