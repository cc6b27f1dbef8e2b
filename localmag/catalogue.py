"""models.toml → Model and Build: what localmag knows by name, before anything is on disk.

A user's own `models.toml` in the config folder, in the same form, adds models and replaces those of the same
name. Every field is explained here; what a model's card does not say is left out.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from localmag import paths
from localmag.errors import NotFound, WrongUsage
from localmag.shape import Shape

DEMO = "demo"
NEWEST = "magistral"

_REPO = re.compile(r"[A-Za-z0-9_][\w.-]{0,95}/[A-Za-z0-9_][\w.-]{0,95}", re.ASCII)
_TOML: dict[Any, tuple[type, ...]] = {str: (str,), int: (int,), float: (float, int), bool: (bool,)}

_T = TypeVar("_T", bound="Model | Build | Shape")


@dataclass(frozen=True, slots=True)
class Build:
    """One set of weights of a model. `gigabytes` is 10⁹ bytes to download, 0 where it ships with us.

    `file` is a name in `repo`, or a pattern (`*Q6_K.gguf`) that one file must match; a file split into
    `-00001-of-0000N` parts is meant as a whole, and so are the `*.safetensors` of an MLX build. `confirmed`
    means that someone saw that very file there; the hub's own listing decides in any case.
    """

    backend: str
    quant: str
    file: str
    repo: str = ""
    gigabytes: float = 0.0
    confirmed: bool = False


@dataclass(frozen=True, slots=True)
class Model:
    """One model. `context` and `advised` are tokens; `max_tokens` counts reasoning and answer together.

    `repo` holds tekken.json, and SYSTEM_PROMPT.txt where there is one; `tokenizer` is the version of the
    former. `think` is how reasoning is marked: by control tokens, which localmag tells apart, or by plain
    text, which it shows as the answer's own. What encodes images for a model with `vision` is the file
    `mmproj` (a name or a pattern) of `mmproj_repo`. `efforts` are the values that its reasoning effort may
    have. `not_yet` says why localmag cannot talk to it yet; empty if it can.
    """

    name: str
    title: str
    licence: str
    context: int
    advised: int
    max_tokens: int
    temperature: float
    top_p: float
    aliases: tuple[str, ...] = ()
    repo: str = ""
    tokenizer: str = ""
    think: Literal["tokens", "text"] = "tokens"
    vision: bool = False
    tools: bool = False
    efforts: tuple[str, ...] = ()
    mmproj_repo: str = ""
    mmproj: str = ""
    not_yet: str = ""
    shape: Shape | None = None
    builds: tuple[Build, ...] = ()

    def called(self, build: Build) -> str:
        """What the command line calls one of its builds: `magistral:Q4_K_M`."""
        return f"{self.aliases[0] if self.aliases else self.name}:{build.quant}"

    def bits(self, build: Build) -> float:
        """Bits per weight of one of its builds, scales included; 0 where shape or size is not known."""
        return build.gigabytes * 8e9 / self.shape.parameters if self.shape else 0.0

    def build(self, quant: str | None = None) -> Build:
        """The build of that quant, or the first. Raises NotFound naming those there are."""
        if quant is None:
            return self.builds[0]
        for build in self.builds:
            if build.quant.lower() == quant.lower():
                return build
        there = ", ".join(b.quant for b in self.builds)
        raise NotFound(f"{self.title} has no build {quant!r} in the catalogue.", f"Choose one of: {there}.")


def models() -> tuple[Model, ...]:
    """Every model: the catalogue's in its order, with the user's own in place of their namesakes, or after.

    Raises WrongUsage if a file is malformed, or if two models share a name.
    """
    own = paths.config() / "models.toml"
    return _merged(own, own.stat().st_mtime_ns if own.is_file() else 0)


def find(name: str) -> tuple[Model, str | None]:
    """`magistral`, `magistral:1.1`, `demo`, `magistral:Q5_K_M` → the model and the quant asked for, if any.

    Raises NotFound with the nearest names.
    """
    known = {alias.lower(): model for model in models() for alias in (model.name, *model.aliases)}
    wanted = name.lower()
    if wanted in known:
        return known[wanted], None
    stem, _, quant = wanted.rpartition(":")
    if stem in known:
        return known[stem], known[stem].build(quant).quant
    near = get_close_matches(wanted, known, n=1)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    names = ", ".join((*model.aliases, model.name)[0] for model in models())
    raise NotFound(
        f"There is no model named {name!r}.",
        f"{hint}Known are {names}, and any GGUF file by its path.",
    )


def is_name(name: str) -> bool:
    """Whether `find` would find it."""
    try:
        find(name)
    except NotFound:
        return False
    return True


@cache
def _merged(own: Path, changed: int) -> tuple[Model, ...]:
    """The models; `changed` is when the user's file was, so that what is remembered is never stale."""
    shipped = _read(_shipped())
    users = {model.name: model for model in _read(own)} if changed else {}
    merged = tuple(users.pop(model.name, model) for model in shipped) + tuple(users.values())
    seen: dict[str, Model] = {}
    for model in merged:
        for name in (model.name, *model.aliases):
            if (other := seen.setdefault(name.lower(), model)) is not model:
                raise WrongUsage(
                    f"{own}: {model.name!r} and {other.name!r} are both named {name!r}.",
                    "Give one of them another name.",
                )
    return merged


def _shipped() -> Path:
    """The wheel carries models.toml inside the package; a source checkout has it one folder up."""
    here = Path(__file__).parent
    inside = here / "models.toml"
    return inside if inside.exists() else here.parent / "models.toml"


def _read(path: Path) -> tuple[Model, ...]:
    try:
        tables = tomllib.loads(path.read_bytes().decode("utf-8-sig")).get("model", [])
        if not isinstance(tables, list):
            raise ValueError("write [[model]], not [model]")
    except ValueError as exc:  # of TOML and of UTF-8, too
        raise WrongUsage(f"{path} is not a catalogue of models ({exc}).", "Restore or mend it.") from exc
    except OSError as exc:
        raise WrongUsage(f"{path} cannot be read ({exc.strerror}).", "Check its permissions.") from exc
    return tuple(_model(path, table) for table in tables)


def _model(path: Path, table: dict[str, Any]) -> Model:
    told = dict(table)
    builds = tuple(_make(Build, path, b) for b in told.pop("build", []))
    if path != _shipped():
        _require_repos(path, told, builds)
    if not builds:
        raise WrongUsage(f"{path}: model {told.get('name')!r} has no build.", "Add a [[model.build]] to it.")
    if "shape" in told:
        told["shape"] = _make(Shape, path, told["shape"])
    lists = {key: tuple(told.get(key, [])) for key in ("aliases", "efforts")}
    return _make(Model, path, told | lists | {"builds": builds})


def _require_repos(path: Path, told: dict[str, Any], builds: tuple[Build, ...]) -> None:
    """What a user adds is fetched, so it needs repositories; the demo, which needs none, is ours."""
    if told.get("name") == DEMO:
        raise WrongUsage(f"{path}: {DEMO!r} is the bundled model.", "Give your model another name.")
    for repo in (told.get("repo"), *(b.repo for b in builds)):
        if not isinstance(repo, str) or not _REPO.fullmatch(repo) or "--" in repo or ".." in repo:
            raise WrongUsage(
                f"{path}: {told.get('name')!r} has no repository {repo!r}.", "Write each as owner/name."
            )


def _make(kind: type[_T], path: Path, table: dict[str, Any]) -> _T:
    known = {f.name for f in fields(kind)}
    if unknown := table.keys() - known:
        raise WrongUsage(f"{path}: unknown key {min(unknown)!r}.", f"Keys are: {', '.join(sorted(known))}.")
    for key, value in _mistyped(kind, table):
        raise WrongUsage(f"{path}: {key} cannot be {value!r}.", f"Write it as in {_shipped()}.")
    try:
        return kind(**table)
    except TypeError as exc:
        raise WrongUsage(f"{path}: {exc}.", "Add what is missing.") from exc


def _mistyped(kind: type[_T], table: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Values that their field cannot hold; a whole number will do for a float."""
    wanted = get_type_hints(kind)
    for key, value in table.items():
        choices = get_args(wanted[key]) if get_origin(wanted[key]) is Literal else ()
        allowed = _TOML.get(wanted[key])
        if (choices and value not in choices) or (allowed and type(value) not in allowed):
            yield key, value
