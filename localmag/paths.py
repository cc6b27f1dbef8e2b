"""Where localmag keeps its things. Functions, so that nothing is read or made at import.

Each makes its folder if need be, and raises WrongUsage where that fails; `config`, only ever read, does not.

`LOCALMAG_HOME`, where set, holds all of it in one folder (tests and portable installs use this);
otherwise the platform's own folders are used (XDG on Linux).
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from platformdirs import PlatformDirs

from localmag.errors import WrongUsage

_DIRS = PlatformDirs("localmag", appauthor=False)
_ANOTHER_FOLDER = "Set LOCALMAG_HOME to a folder that can be written to."


def expanded(path: str) -> Path:
    """`~` made the home folder, as the shell does: a name that the system does not know stays as typed.

    Raises WrongUsage for nothing, which would be the current folder to pathlib.
    """
    if not path:
        raise WrongUsage("The path is empty.", "Give that of a file or a folder.")
    return Path(os.path.expanduser(path))  # noqa: PTH111 - pathlib's own raises for an unknown user


def shortened(text: str | Path) -> str:
    """A path, or a text with paths, as people read it: with ~ for the home folder. Not for commands."""
    home = os.path.expanduser("~") + os.sep  # noqa: PTH111 - pathlib's own raises where there is none
    return re.sub(rf"(?<![^\s(]){re.escape(home)}", lambda _: f"~{os.sep}", str(text))


def _place(kind: str, users: str) -> Path:
    home = os.environ.get("LOCALMAG_HOME")
    if home:
        return expanded(home) / kind
    try:
        place: Path = getattr(_DIRS, users)
    except RuntimeError as exc:  # platformdirs' own, for a user whom the system gives no home
        raise WrongUsage("This user has no home folder.", _ANOTHER_FOLDER) from exc
    return place


def _folder(kind: str, users: str) -> Path:
    """`kind` in LOCALMAG_HOME, or platformdirs' folder by the name of `users`."""
    path = _place(kind, users)
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)  # conversations are nobody else's
    except OSError as exc:
        raise WrongUsage(f"The folder {path} cannot be made ({exc.strerror}).", _ANOTHER_FOLDER) from exc
    return path


def data() -> Path:
    """Conversations: what must never be lost."""
    return _folder("data", "user_data_path")


def cache() -> Path:
    """What can be made again."""
    return _folder("cache", "user_cache_path")


def contexts() -> Path:
    """KV states of conversations, a folder for each, by the conversation's id; not made here."""
    return cache() / "contexts"


def config() -> Path:
    """What the user wrote: `config.toml`, more models, key maps."""
    with suppress(WrongUsage):
        return _folder("config", "user_config_path")
    return _place("config", "user_config_path")


def logs() -> Path:
    """Logs of the native libraries, one file per engine process, the newest few kept."""
    return _folder("logs", "user_log_path")


def database() -> Path:
    return data() / "sessions.db"
