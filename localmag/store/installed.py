"""Weights on disk as an engine wants to know of them, and what a model's card says of any of its builds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from localmag import catalogue
from localmag.catalogue import Build, Model

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


def of_catalogue(
    model: Model,
    name: str,
    build: str,
    weights: Path,
    tokenizer: Path,
    system_prompt: Path | None,
    trained: int = 0,
) -> Installed:
    """A model that the catalogue knows, `trained` for as many tokens as the file says."""
    trained = min(model.context, trained if trained > 0 else model.context)
    return Installed(
        model=name,
        title=model.title,
        build=build,
        backend="llama.cpp",
        weights=weights,
        tokenizer=tokenizer,
        system_prompt=system_prompt,
        context=min(model.advised, trained),
        trained=trained,
        max_tokens=model.max_tokens,
        temperature=model.temperature,
        top_p=model.top_p,
    )


def demo(model: Model, build: Build) -> Installed:
    """What ships with localmag."""
    weights = bundled(build)
    tokenizer, prompt = weights.with_name(TOKENIZER), weights.with_name(PROMPT)
    return of_catalogue(model, model.name, build.quant, weights, tokenizer, prompt)


def bundled(build: Build) -> Path:
    """The weights that ship with localmag."""
    return Path(catalogue.__file__).parent / "demo" / build.file
