"""Commands as one types them: what the user is told to run, whatever the files in it are called."""

from __future__ import annotations

import re
import shlex
import sys

_PLAIN = re.compile(r"[\w.:\\/=+-][\w.:\\/=+@-]*")  # to cmd.exe and to PowerShell


def joined(*words: str, system: str = sys.platform) -> str:
    """The words as that system's shell takes them: on Windows cmd.exe and PowerShell, whichever it is."""
    if system != "win32":
        return shlex.join(words)
    return " ".join(word if _PLAIN.fullmatch(word) else _quoted(word) for word in words)


def _quoted(word: str) -> str:
    r"""In quotes, in which nothing ends them or is run.

    `""` is a quote to both shells, and to the program that is started, which takes `\` before one as written
    twice. The backtick is for PowerShell alone, which reads `$` and typographic quotes inside of others.
    """
    word = re.sub(r'(\\*)("|$)', r"\1\1\2", word).replace('"', '""')
    escaped = re.sub("[`$“”„]", r"`\g<0>", word)
    return f'"{escaped}"'
