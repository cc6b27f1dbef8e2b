"""models.toml → Model and Build: what localmag knows by name, before anything is on disk.

A user's own `models.toml` in the config folder, in the same form, adds models and replaces those of the same
name. Every field is explained here; what a model's card does not say is left out.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Literal

from localmag import files, forms, paths
from localmag.config import MOST_CONTEXT
from localmag.errors import NotFound, WrongUsage
from localmag.forms import Range, Text
from localmag.shape import Shape

DEMO = "demo"
NEWEST = "magistral"


@dataclass(frozen=True, slots=True)
class Build:
    """One set of weights of a model. `gigabytes` is 10⁹ bytes to download, 0 where it ships with us.

    `file` is a name in `repo`, or a pattern (`*Q6_K.gguf`) that one file must match; a file split into
    `-00001-of-0000N` parts is meant as a whole, and so are the `*.safetensors` of an MLX build. `confirmed`
    means that someone saw that very file there; the hub's own listing decides in any case.
    """

    backend: Literal["llama.cpp", "mlx"]
    quant: str
    file: str
    repo: str = ""
    gigabytes: float = 0.0
    confirmed: bool = False

    def has_quant(self, quant: str) -> bool:
        """Whether it is of that quant, in capitals or not."""
        return self.quant.lower() == quant.lower()


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
    builds: tuple[Build, ...] = field(default=(), metadata={"key": "build"})

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
            if build.has_quant(quant):
                return build
        there = ", ".join(b.quant for b in self.builds)
        raise NotFound(f"{self.title} has no build {quant!r} in the catalogue.", f"Choose one of: {there}.")


@dataclass(frozen=True, slots=True)
class _File:
    models: tuple[Model, ...] = field(default=(), metadata={"key": "model"})


_ONE_WORD = Text(r"[^\s@\x00-\x1f\x7f-\x9f]{1,100}", "one word, without @")
_REPOSITORY = Text(
    r"(?!.*(--|\.\.))[A-Za-z0-9_][A-Za-z0-9._-]{0,95}/[A-Za-z0-9_][A-Za-z0-9._-]{0,95}|", "owner/name"
)
_LINE = Text(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]{0,500}", "one line")
_COUNT, _PERHAPS = Range(1, 2**24), Range(0, 2**24)

RULES: forms.Rules = {
    "name": _ONE_WORD,
    "aliases": _ONE_WORD,
    **dict.fromkeys(("title", "licence", "tokenizer", "efforts", "mmproj", "not_yet"), _LINE),
    "context": Range(1, MOST_CONTEXT),
    "advised": Range(1, MOST_CONTEXT),
    "max_tokens": Range(1, MOST_CONTEXT),
    "temperature": Range(0, 5),
    "top_p": Range(0, 1),
    "repo": _REPOSITORY,
    "mmproj_repo": _REPOSITORY,
    # of a build
    "quant": Text(r"(\d{1,2}bit|(?!\w*bit$)[\w.-]{1,50})", "as Q4_K_M or 4bit"),
    "file": _LINE,
    "gigabytes": Range(0, 100_000),
    # of a shape
    "layers": Range(1, 1000),
    **dict.fromkeys(("width", "heads", "kv_heads", "head_size", "ffn", "vocabulary"), _COUNT),
    **dict.fromkeys(("experts", "active", "shared", "expert_ffn", "dense_layers"), _PERHAPS),
    **dict.fromkeys(("q_rank", "kv_rank", "rope_size", "value_size"), _PERHAPS),
}
_AT_MOST = (
    ("advised", "context"),
    ("kv_heads", "heads"),
    ("active", "experts"),
    ("dense_layers", "layers"),
    ("rope_size", "head_size"),
)
"""What may not be larger than what."""


def models() -> tuple[Model, ...]:
    """Every model: the catalogue's in its order, with the user's own in place of their namesakes, or after.

    Raises WrongUsage if a file is malformed, or if two models share a name.
    """
    own = paths.config() / "models.toml"
    changed = 0
    with suppress(OSError):  # what may not be looked at is told by whoever reads it
        changed = own.stat().st_mtime_ns
    return _merged(own, changed)


def find(name: str, quant: str | None = None) -> tuple[Model, str | None]:
    """`magistral`, `magistral:1.1`, `demo`, `magistral:Q5_K_M` → the model and the quant asked for, if any.

    It may be asked for apart from the name, as `quant`. Raises NotFound with the nearest names, WrongUsage
    for two quants.
    """
    known = {alias.lower(): model for model in models() for alias in (model.name, *model.aliases)}
    if model := known.get(name.lower()):
        return model, quant
    stem, _, named = name.rpartition(":")
    if model := known.get(stem.lower()):
        named = model.build(named).quant
        if quant and quant.lower() != named.lower():
            raise WrongUsage(f"{name} and --quant {quant} are two builds.", "Name one of them.")
        return model, named
    near = get_close_matches(name.lower(), known, n=1)
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
    users = _read(own)
    named = {model.name: model for model in users}
    merged = [named.get(model.name, model) for model in shipped]
    merged += [model for model in users if model not in merged]
    seen: dict[str, Model] = {}
    for model in merged:
        for name in (model.name, *model.aliases):
            if (other := seen.setdefault(name.lower(), model)) != model:
                raise WrongUsage(
                    f"{own}: {model.name!r} and {other.name!r} are both named {name!r}.",
                    "Give one of them another name.",
                )
    return tuple(merged)


def _shipped() -> Path:
    """The wheel carries models.toml inside the package; a source checkout has it one folder up."""
    here = Path(__file__).parent
    inside = here / "models.toml"
    return inside if inside.exists() else here.parent / "models.toml"


def _read(path: Path) -> tuple[Model, ...]:
    found = forms.made(_File, files.toml(path), path, RULES).models
    for model in found:
        _require_consistent(path, model)
    return found


def _require_consistent(path: Path, model: Model) -> None:
    """What no key could be refused for alone. Raises WrongUsage."""
    named = f"{path}: {model.name!r}"
    if path != _shipped() and model.name == DEMO:
        raise WrongUsage(f"{named} is the bundled model.", "Give your model another name.")
    if not model.builds:
        raise WrongUsage(f"{named} has no build.", "Add a [[model.build]] to it.")
    if model.name != DEMO and not all((model.repo, *(build.repo for build in model.builds))):
        raise WrongUsage(f"{named} lacks a `repo`, its own or a build's.", "Write each as owner/name.")
    there = [(build.backend, build.quant.lower()) for build in model.builds]
    if twice := next((one for one in there if there.count(one) > 1), None):
        raise WrongUsage(
            f"{named} has two builds with the backend {twice[0]!r} and the quant {twice[1]!r}.",
            "Remove one of them.",
        )
    for part in filter(None, (model, model.shape)):
        for less, more in _AT_MOST:
            if hasattr(part, less) and getattr(part, less) > getattr(part, more):
                raise WrongUsage(f"{named} has a larger `{less}` than `{more}`.", "Mend one of them.")
