"""`import`: weights that lie anywhere, made known. They are looked at closely, and stay where they are."""

from __future__ import annotations

from pathlib import Path

from localmag import catalogue, gguf
from localmag.errors import WrongUsage
from localmag.store import imports, inventory
from localmag.store.imports import Import
from localmag.store.inventory import Here
from localmag.store.look import fresh
from localmag.store.ready import at_path, require_honest
from localmag.store.recognise import model_of


def adopt(path: Path, name: str | None = None) -> Here:
    """Remember the weights at `path`, and say how they are called from now on; what is known already stays.

    Raises NotFound if there are none or several, BadFile if they are not whole, or not what they claim to be,
    WrongUsage if the name is taken.
    """
    found = at_path(path)
    look = fresh(found)
    require_honest(found, look, model_of(found, look))
    if found.backend == "llama.cpp":
        gguf.read_model(found.path)
    where = found.path.absolute()
    known = _known(where)
    if known and (known.place != "import" or name is None):
        return known
    if known:
        where = known.path  # which may be another link to it
    if name is not None:
        _require_free(name, where)
    imports.save(Import(name or "", where))
    here = _known(where)
    assert here, "what was just saved is there"
    return here


def _known(path: Path) -> Here | None:
    for one in inventory.take().all:
        if one.path.exists() and one.path.samefile(path):
            return one
    return None


def _require_free(name: str, path: Path) -> None:
    misread = name.startswith("-") or set(name) & set("@/\\")  # for an option, another place's copy, a path
    if not name or misread or catalogue.is_name(name) or inventory.plain(name) != name:
        raise WrongUsage(
            f"{name!r} cannot be the name of an import.", "Choose one word that is no model's name."
        )
    taken = next((h for h in inventory.take().named(name) if h.path != path), None)
    if taken:
        raise WrongUsage(f"{name!r} is the name of {taken.path}.", "Choose another with --name.")
