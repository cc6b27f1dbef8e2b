"""Which weights are on this machine, and where. Opens no socket."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from localmag import catalogue, gguf, paths
from localmag.catalogue import Build, Model
from localmag.errors import NotFound
from localmag.store import cache

_UNKNOWN_CONTEXT = 8192  # tokens, for a file that does not say what it was trained for
TOKENIZER = "tekken.json"
PARAMS = "params.json"
EXTRAS = ("SYSTEM_PROMPT.txt", PARAMS)  # of a base repository, where it has them
_CARD = {"temperature": 0.7, "top_p": 0.95}  # the sampling of every Magistral card


@dataclass(frozen=True, slots=True)
class Installed:
    """Weights on disk, ready to be loaded, with what their model's card says of them.

    `context` is the tokens to open by default, `trained` the most the weights were trained for; 0: unknown.
    """

    model: str
    title: str
    build: str
    backend: str
    weights: Path
    tokenizer: Path
    system_prompt: Path | None
    context: int
    trained: int
    max_tokens: int
    temperature: float
    top_p: float


def locate(name: str, quant: str | None = None) -> Installed:
    """The weights that `name` means: a catalogue name (`demo`, `magistral:1.1`), a GGUF file, or a folder.

    Raises NotFound if there are none (saying how to get them), BadFile if the file is not a GGUF, is cut
    short, or has a vocabulary other than Tekken. Opens no socket.
    """
    if catalogue.is_name(name):
        model, named = catalogue.find(name)
        build = model.build(quant or named)
        return _bundled(model, build) if model.name == catalogue.DEMO else _fetched(model, build)
    if _looks_like_path(name):
        return _at(paths.expanded(name))
    catalogue.find(name)
    raise AssertionError("find raises for every name that is_name refuses")


def newest() -> str | None:
    """The name of the best model whose weights are already here, None if only the demo is."""
    for model in catalogue.models():
        for build in model.builds:
            if model.repo and cache.weights(build.repo, build.file) and cache.find(model.repo, TOKENIZER):
                return f"{model.name}:{build.quant}"
    return None


def how_to_get(model: Model, build: Build) -> str:
    """One sentence: the command that brings this build to this machine."""
    size = f" ({build.gigabytes:.1f} GB)" if build.gigabytes else ""
    return f"Run `localmag pull {model.called(build)}`{size}, or try `localmag chat demo`."


def bundled(build: Build) -> Path:
    """The weights that ship with localmag."""
    return Path(catalogue.__file__).parent / "demo" / build.file


def _bundled(model: Model, build: Build) -> Installed:
    weights = bundled(build)
    return _installed(model, build, weights, weights.with_name(TOKENIZER), weights.with_name(EXTRAS[0]))


def _fetched(model: Model, build: Build) -> Installed:
    weights = cache.weights(build.repo, build.file)
    tokenizer = cache.find(model.repo, TOKENIZER)
    if not weights or tokenizer is None:
        what = "weights are" if not weights else "tokenizer (tekken.json) is"
        raise NotFound(
            f"{model.title} {build.quant}: its {what} not on this machine.", how_to_get(model, build)
        )
    return _installed(model, build, weights[0], tokenizer, cache.find(model.repo, EXTRAS[0]))


def _installed(
    model: Model, build: Build, weights: Path, tokenizer: Path, system_prompt: Path | None
) -> Installed:
    return Installed(
        model=model.name,
        title=model.title,
        build=build.quant,
        backend=build.backend,
        weights=weights,
        tokenizer=tokenizer,
        system_prompt=system_prompt,
        context=model.advised,
        trained=model.context,
        max_tokens=model.max_tokens,
        temperature=model.temperature,
        top_p=model.top_p,
    )


def _looks_like_path(name: str) -> bool:
    separators = [os.sep, *([os.altsep] if os.altsep else [])]
    return name.endswith(".gguf") or any(s in name for s in separators) or os.path.exists(name)  # noqa: PTH110 - pathlib raises for a name too long


def _at(path: Path) -> Installed:
    """A GGUF the user points at, with tekken.json (and, where there is one, SYSTEM_PROMPT.txt) beside it."""
    if path.is_dir():
        path = _only_gguf_in(path)
    header = gguf.read(path)
    gguf.require_tekken(path, header)
    tokenizer = path.parent / TOKENIZER
    if not tokenizer.is_file():
        raise NotFound(
            f"There is no tekken.json beside {path.name}, so its prompts cannot be encoded exactly.",
            "Put the tekken.json of the model's own repository into the same folder.",
        )
    prompt = path.parent / EXTRAS[0]
    trained = header.trained_context
    context = min(trained, _UNKNOWN_CONTEXT) if trained else _UNKNOWN_CONTEXT
    return Installed(
        model=path.stem,
        title=str(header.metadata.get("general.name") or path.stem),
        build=path.name,
        backend="llama.cpp",
        weights=path,
        tokenizer=tokenizer,
        system_prompt=prompt if prompt.is_file() else None,
        context=context,
        trained=trained,
        max_tokens=context,
        **_CARD,
    )


def _only_gguf_in(folder: Path) -> Path:
    files = sorted(p for p in folder.glob("*.gguf") if "mmproj" not in p.name)
    if len(files) == 1:
        return files[0]
    if files:
        names = ", ".join(p.name for p in files[:6])
        raise NotFound(f"{folder} holds {len(files)} GGUF files: {names}.", "Give the path of one of them.")
    raise NotFound(f"There is no GGUF file in {folder}.", "Give a folder that holds one, or the file's path.")
