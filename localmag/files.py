"""Small files that others may have written: only regular ones are read, and only so much of them.

A pipe or a device would be waited on for ever, and no settings are as large as memory.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any

from localmag.errors import WrongUsage

_MOST = 4 * 2**20  # bytes; true ones are a few thousand


def read(path: Path, most: int = _MOST) -> bytes:
    """Its bytes. Raises OSError, also if it is no regular file or has more than `most` bytes."""
    about = path.stat()
    if not stat.S_ISREG(about.st_mode):
        raise OSError(errno.EINVAL, "it is no regular file", os.fspath(path))
    if about.st_size > most:
        raise OSError(errno.EFBIG, f"it is larger than {most // 2**20} MiB", os.fspath(path))
    with path.open("rb") as file:
        return file.read(most)


def discard(path: Path) -> None:
    """Remove it, a folder with all that is in it, as far as that can be done; of a link, the link."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def json_object(path: Path, most: int = _MOST) -> dict[str, Any]:
    """The JSON object that it holds; {} if it is not there, or holds none."""
    try:
        told = json.loads(read(path, most))
    except (OSError, ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def toml(path: Path) -> dict[str, Any]:
    """What the user wrote in it; {} if it is not there. Raises WrongUsage if that is not TOML."""
    try:
        # utf-8-sig: Windows' Notepad puts a byte order mark in front, which TOML does not know.
        return tomllib.loads(read(path).decode("utf-8-sig"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as exc:
        raise WrongUsage(
            f"{path} cannot be read ({exc.strerror}).", "Make it a file that you may read, or remove it."
        ) from exc
    except UnicodeDecodeError as exc:
        raise WrongUsage(f"{path} is not UTF-8 text.", "Save it again as UTF-8.") from exc
    except ValueError as exc:  # tomllib's own among them
        raise WrongUsage(
            f"{path} is not valid TOML: {exc}.", "Write each setting as `key = value`, text in quotes."
        ) from exc
    except RecursionError as exc:
        raise WrongUsage(f"{path} is nested too deeply.", "Take the brackets out that are too many.") from exc
