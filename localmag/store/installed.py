"""Weights on disk as an engine wants to know of them, and what a model's card says of any of its builds."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from localmag import catalogue, paths
from localmag.catalogue import Build, Model
from localmag.errors import NotFound

TOKENIZER = "tekken.json"
PROMPT = "SYSTEM_PROMPT.txt"
PARAMS = "params.json"
EXTRAS = (PROMPT, PARAMS)  # of a base repository, where it has them


@dataclass(frozen=True, slots=True)
class Installed:
    """Weights on disk, ready to be loaded, with what their model's card says of them.

    `context` is the tokens to open by default, `trained` the most the weights were trained for; 0: unknown.
    `notes` are sentences that the user should read; `no_prompt` is one more where the model has a system
    prompt of its own that is not at hand.
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
    notes: tuple[str, ...] = ()
    no_prompt: str = ""


@dataclass(frozen=True, slots=True)
class Meant:
    """What a name means, before it is known what shall run it.

    `offered` are the backends that there are builds for, `here` those whose builds are on this machine.
    `model` is None for what the catalogue does not know, or what is meant by its path.
    """

    title: str
    offered: tuple[str, ...]
    here: tuple[str, ...]
    ready: Callable[[str | None], Installed]
    """The best copy for a backend (None: for whichever). Raises what `store.locate` does."""
    model: Model | None = None
    builds: tuple[tuple[str, str], ...] = ()
    """(backend, quant) of the model's builds that can be used here."""


class NotHere(NotFound):
    """A model that the catalogue knows, and that is not on this machine: it can be fetched."""

    def __init__(self, what: str, todo: str, model: Model, quant: str | None = None) -> None:
        super().__init__(what, todo)
        self.model = model
        self.quant = quant


def of_catalogue(
    model: Model,
    name: str,
    build: str,
    weights: Path,
    tokenizer: Path,
    system_prompt: Path | None,
    *,
    backend: str = "llama.cpp",
    trained: int = 0,
) -> Installed:
    """A model that the catalogue knows, `trained` for as many tokens as the file says."""
    trained = min(model.context, trained if trained > 0 else model.context)
    return Installed(
        model=name,
        title=model.title,
        build=build,
        backend=backend,
        weights=weights,
        tokenizer=tokenizer,
        system_prompt=system_prompt,
        context=min(model.advised, trained),
        trained=trained,
        max_tokens=model.max_tokens,
        temperature=model.temperature,
        top_p=model.top_p,
    )


def of_demo(model: Model, quant: str | None) -> Meant:
    """What ships with localmag. Raises NotFound for a quant that it does not come in."""
    builds = (model.build(quant),) if quant else model.builds
    backends = tuple(dict.fromkeys(build.backend for build in builds))

    def ready(backend: str | None) -> Installed:
        build = next(b for b in builds if backend in (None, b.backend))
        weights = bundled(build)
        tokenizer, prompt = weights.with_name(TOKENIZER), weights.with_name(PROMPT)
        return of_catalogue(model, model.name, build.quant, weights, tokenizer, prompt, backend=build.backend)

    title = f"{model.title} {builds[0].quant}" if quant else model.title
    return Meant(title, backends, backends, ready, model)


def bundled_as(name: str) -> str | None:
    """The quant of what ships with localmag, if `name` is a path to it."""
    path = paths.expanded(name)
    for build in catalogue.find(catalogue.DEMO)[0].builds:
        with suppress(OSError, ValueError):  # most are not there, and some can be no path at all
            if path.name == build.file and path.samefile(bundled(build)):
                return build.quant
    return None


def bundled(build: Build) -> Path:
    """The weights that ship with localmag: a GGUF file, or the folder of an MLX build."""
    return Path(catalogue.__file__).parent / "demo" / build.file
