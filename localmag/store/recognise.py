"""Which model of the catalogue a set of weights is: told by its names, held against its shape.

A file is taken for the model whose name's words are all in one of its own names: `Magistral-Small-2509` in
`mistralai_Magistral-Small-2509-Q4_K_M.gguf`, in Ollama's `magistral:24b-small-2509-q4_K_M`, in a folder's
name, or in what the header calls it. Words beyond those, its quant and its publisher make it another model:
someone's finetune. A name is a claim; a header of another shape refutes it.
"""

from __future__ import annotations

import re
from functools import cache

from localmag import catalogue
from localmag.catalogue import Build, Model
from localmag.store.cache import belongs
from localmag.store.look import ARCHITECTURES, DIMENSIONS, Look, quant_named
from localmag.store.places import Found

_WORD = re.compile(r"[a-z0-9]+")
_SIZE = re.compile(r"\d+(b|bit)")
_PACKAGING = frozenset(
    "gguf mlx hf co com www huggingface registry ollama ai library latest ud i1 imat imatrix main "
    "mistralai mistral lmstudio lm studio community unsloth bartowski ggml org mradermacher bf16 f16".split()
)
"""Words of names that speak of who packed the weights and how, and not of what they are."""


def model_of(found: Found, look: Look) -> Model | None:
    """The model that one of its names means, its own before those around it; None if none does."""
    models = catalogue.models()
    for model in models:
        if any(_is(build, found) for build in model.builds):
            return model
    for name in (found.label, *found.hints, look.title):
        words = set(_WORD.findall(name.lower()))
        claims = [m for m in models if m.repo and _words(m.repo) <= words]
        if claims:
            claimed = max(claims, key=lambda m: len(_words(m.repo)))
            return claimed if all(map(_says_nothing, words - _words(claimed.repo) - _quant(name))) else None
    return None


def build_of(model: Model, found: Found, look: Look) -> Build | None:
    """The catalogue's build that it is, or is the like of; None for a quant that the catalogue lacks."""
    for build in model.builds:
        if _is(build, found):
            return build
    quant = quant_of(found, look)
    return next((b for b in model.builds if b.backend == found.backend and b.has_quant(quant)), None)


def quant_of(found: Found, look: Look) -> str:
    """As its names tell it, which are finer than the header; "" if nothing does."""
    if found.backend == "mlx":
        return look.quant
    named = (quant_named(name) for name in (found.label, *found.hints))
    return next(filter(None, named), look.quant)


def refuted(model: Model, found: Found, look: Look) -> str:
    """Why it cannot be that model, in one sentence; "" if nothing speaks against it."""
    claim = f"{found.path} claims to be {model.title}, but"
    if not look.tekken:
        return f"{claim} its vocabulary is not Mistral's Tekken."
    if look.architecture not in ARCHITECTURES:
        return f"{claim} its architecture is {look.architecture!r}."
    if model.shape is None:
        return ""
    for name in _DIMENSIONS_OF_MIXTURES if model.shape.experts else DIMENSIONS:
        theirs, ours = look.shape.get(name), getattr(model.shape, name)
        if theirs is not None and theirs != ours:
            return f"{claim} its {_SPELLED[name]} {theirs:,} and not {ours:,}."
    return ""


_DIMENSIONS_OF_MIXTURES = ("layers", "width", "heads", "vocabulary")
"""Of experts and latent attention a card and a file may count the rest each in its own way."""

_SPELLED = {
    "layers": "layers are",
    "width": "width is",
    "heads": "attention heads are",
    "kv_heads": "KV heads are",
    "head_size": "head size is",
    "ffn": "feed-forward width is",
    "vocabulary": "vocabulary is",
}


def _says_nothing(word: str) -> bool:
    """Whether a word of a name tells no model from another."""
    return word in _PACKAGING or bool(_SIZE.fullmatch(word))


def _quant(name: str) -> set[str]:
    return set(_WORD.findall(quant_named(name).lower()))


def _is(build: Build, found: Found) -> bool:
    """Whether it is that very build, from its own repository."""
    if not build.repo or (build.repo, build.backend) != (found.repo, found.backend):
        return False
    return found.backend == "mlx" or belongs(build.file, found.inside)


@cache
def _words(repo: str) -> frozenset[str]:
    return frozenset(_WORD.findall(repo.rpartition("/")[2].lower()))
