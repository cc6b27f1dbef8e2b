"""What the user set once and for all, in one TOML file. The flags of a run go before it.

    # config.toml
    model = "magistral-small-2509:Q4_K_M"
    context = 40960
    temperature = 0.7
    show_thinking = false

A key left out keeps its default. An unknown key, a wrong type or a value out of range is refused by name.
"""

from __future__ import annotations

import dataclasses
import tomllib
import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from localmag import paths
from localmag.errors import WrongUsage

KVType = Literal["f16", "q8_0", "q4_0"]


@dataclass(frozen=True, slots=True)
class Config:
    """The settings of one run. None (and 0 for `context` and `threads`) leaves the choice to the program."""

    model: str | None = None
    """Name or name:quant, as `localmag list` prints it."""
    context: int = 0
    """Tokens, prompt and reply together; 0: what the model is meant for and the machine can hold."""
    kv_type: KVType | None = None
    """Number format of the KV cache; None: chosen to fit."""
    temperature: float | None = None
    """0 (greedy) to 5; None: as the model's card says."""
    top_p: float | None = None
    """0 to 1; None: as the model's card says."""
    max_tokens: int | None = None
    """Ids of one reply, reasoning and answer together; None: as the model's card says."""
    keep_reasoning: bool = False
    """Whether past reasoning stays in the prompt of later turns."""
    theme: str | None = None
    """A Textual theme's name."""
    show_thinking: bool | None = None
    """Whether the reasoning pane starts open; None: as it was left."""
    threads: int = 0
    """CPU threads; 0: the physical cores."""
    gpu_layers: int = -1
    """Layers on the GPU, counted from the top; -1: all that fit."""


_RANGES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "context": (lambda n: n >= 0, "0 or more"),
    "temperature": (lambda t: 0 <= t <= 5, "between 0 and 5"),
    "top_p": (lambda p: 0 <= p <= 1, "between 0 and 1"),
    "max_tokens": (lambda n: n >= 1, "1 or more"),
    "threads": (lambda n: 0 <= n <= 512, "between 0 and 512"),  # GGML_MAX_N_THREADS: more is a crash
    "gpu_layers": (lambda n: -1 <= n <= 9999, "between -1 and 9999"),
}
_TYPES = typing.get_type_hints(Config)
KEYS = tuple(field.name for field in dataclasses.fields(Config))


def file() -> Path:
    return paths.config() / "config.toml"


def load() -> Config:
    """Read the file where there is one. Raises WrongUsage, naming the file and the key."""
    path = file()
    return Config(**{key: _checked(key, value, path) for key, value in _read(path).items()})


def _read(path: Path) -> dict[str, Any]:
    try:
        # utf-8-sig: Windows' Notepad puts a byte order mark in front, which TOML does not know.
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as exc:
        raise WrongUsage(f"{path} cannot be read ({exc.strerror}).", "Check its permissions.") from exc
    except UnicodeDecodeError as exc:
        raise WrongUsage(f"{path} is not UTF-8 text.", "Save it again as UTF-8.") from exc
    except tomllib.TOMLDecodeError as exc:
        raise WrongUsage(
            f"{path} is not valid TOML: {exc}.", "Write each setting as `key = value`, text in quotes."
        ) from exc


def _checked(key: str, value: object, path: Path) -> Any:
    """`value` if it fits `key`, with a whole number made a float where a float is wanted."""
    if key not in _TYPES:
        raise WrongUsage(f"{path}: there is no setting `{key}`.", _meant(key))
    cannot = f"{path}: `{key}` cannot be {value!r}."
    allowed = set(typing.get_args(_TYPES[key])) or {_TYPES[key]}
    if choices := typing.get_args(KVType) if key == "kv_type" else ():
        if value not in choices:
            raise WrongUsage(cannot, f"Use one of {', '.join(choices)}.")
        return value
    if float in allowed and type(value) is int:
        value = float(value)
    # By exact type: a bool is an int to isinstance, and `threads = true` is a slip.
    if type(value) not in allowed:
        wanted = next(_WORDS[t] for t in _WORDS if t in allowed)
        raise WrongUsage(cannot, f"Give it {wanted}.")
    fits, words = _RANGES.get(key, (lambda _: True, ""))
    if not fits(value):
        raise WrongUsage(cannot, f"It must be {words}.")
    return value


_WORDS: dict[type, str] = {
    bool: "true or false, without quotes",
    float: "a number",
    int: "a whole number",
    str: "text in quotes",
}


def _meant(key: str) -> str:
    from difflib import get_close_matches

    if near := get_close_matches(key, KEYS, n=1):
        return f"Did you mean `{near[0]}`?"
    return f"The settings are {', '.join(KEYS)}."
