"""Weights on this machine, by name or path, made sure of and with all that goes with them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from localmag import amounts, catalogue, gguf, paths, shell
from localmag.catalogue import Build, Model
from localmag.errors import BadFile, LocalmagError, NotFound
from localmag.store import cache, inventory, places, rebuild, records
from localmag.store.installed import PROMPT, TOKENIZER, Installed, Meant, NotHere, of_catalogue, of_demo
from localmag.store.inventory import Here, Inventory
from localmag.store.look import Look, fresh
from localmag.store.places import Found
from localmag.store.recognise import model_of, refuted

_UNKNOWN_CONTEXT = 8192  # tokens, for a file that does not say what it was trained for
_TEMPERATURE, _TOP_P = 0.7, 0.95  # the sampling of every Magistral card


def meant(name: str, quant: str | None) -> Meant:
    """See `local.meant`."""
    if catalogue.is_name(name):
        model, quant = catalogue.find(name, quant)
        return of_demo(model, quant) if model.name == catalogue.DEMO else _of_catalogue(model, quant)
    path = paths.expanded(name)
    like_path = _looks_like_path(name)
    if like_path and _exists(path):
        return _at(path)
    there = inventory.take()
    if copies := there.meant(name):
        if all(one.state == "missing" for one in copies):  # before anybody asks what could run it
            raise _gone(copies[0])
        title = copies[0].model.title if copies[0].model else copies[0].name
        return Meant(title, *_backends(copies, ()), lambda backend: _first_ready(_for(backend, copies)))
    if _exists(path):
        return _at(path)
    if like_path and "@" not in name:
        raise NotFound(f"There is no file {path}.", "Check the path.")
    raise unknown(name, there)


# ── By name ───────────────────────────────────────────────────────────────────────────────────────


def _of_catalogue(model: Model, quant: str | None) -> Meant:
    """The best copy for a backend; where no quant is asked for, of the catalogue's first that is here."""
    copies = inventory.take().of(model, quant)
    if quant is not None and not copies:
        quant = model.build(quant).quant  # raises NotFound for one that there is not
    builds = [b for b in model.builds if quant is None or b.has_quant(quant)]
    title = f"{model.title} {quant}" if quant else model.title

    def ready(backend: str | None) -> Installed:
        mine = _for(backend, copies)
        if not mine or mine[0].state == "partial":
            raise _not_here(model, quant, backend, mine, copies)
        return _first_ready(mine)

    usable = tuple((copy.backend, copy.quant) for copy in copies if copy.usable)
    return Meant(title, *_backends(copies, builds), ready, model, usable)


def _for(backend: str | None, copies: list[Here]) -> list[Here]:
    return [one for one in copies if backend is None or one.backend in (backend, "")]


def _backends(copies: list[Here], builds: Sequence[Build]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Those that there are builds for at all, and those whose builds are here; what is refused comes last."""
    there = [c for c in copies if c.state != "partial" and c.backend]
    here = [c for c in there if c.usable] or there
    offered = (*(c.backend for c in copies if c.backend), *(b.backend for b in builds))
    return tuple(dict.fromkeys(offered)), tuple(dict.fromkeys(c.backend for c in here))


def _not_here(
    model: Model, quant: str | None, backend: str | None, mine: list[Here], all_: list[Here]
) -> NotHere:
    """What is missing, and the one command that fetches it."""
    begun = mine[0].build if mine else None
    command = f"localmag pull {model.called(begun) if begun else _called(model, quant)}"
    idle = next((one for one in all_ if one.usable and one.backend != backend), None)
    what = f"{model.title}{f' {quant}' if quant else ''}: its weights are not on this machine."
    if begun:
        what = f"{model.called(begun)} is here in part only."
    elif idle and backend:
        what = f"{model.title}: the build that is here, {idle.path}, is not one for {backend}."
    if not begun and not quant and backend not in (None, model.builds[0].backend):
        command += f" --backend {backend}"
    return NotHere(what, f"Run `{command}`, or try `localmag chat demo`.", model, quant)


def _called(model: Model, quant: str | None) -> str:
    name = model.aliases[0] if model.aliases else model.name
    return f"{name}:{quant}" if quant else name


def _first_ready(copies: list[Here]) -> Installed:
    """The best copy that can be used, and why not a better one; if none can, what is wrong with the best."""
    failures: list[LocalmagError] = []
    for one in copies:
        try:
            ready = _ready(one)
        except LocalmagError as exc:
            failures.append(exc)
        else:
            passed_over = tuple(f"{exc.what} {one.path} is used instead." for exc in failures[:1])
            return replace(ready, notes=(*passed_over, *ready.notes))
    raise failures[0]


def _gone(one: Here) -> NotFound:
    forget = shell.joined("localmag", "rm", one.name)
    return NotFound(one.why, f"Bring it back, or forget it with `{forget}`.")


def unknown(name: str, there: Inventory) -> NotFound:
    """The catalogue's own words, or the nearest name of something that is here."""
    if _looks_like_path(name) and _exists(paths.expanded(name)):  # of a command that takes names only
        how = f"`{shell.joined('localmag', 'import', name)}` gives it one, or tells the one that it has."
        return NotFound(f"{name} is a path, and no name.", how)
    theirs = {n.lower(): h.name for h in there.all if h.ours for n in (h.name, *h.names)}
    ours = {n for model in catalogue.models() for n in (model.name, *model.aliases)}
    near = get_close_matches(name.lower(), {*theirs, *ours}, n=1, cutoff=0.7)
    if near and near[0] not in ours:
        return NotFound(f"There is no model named {name!r}.", f"Did you mean {theirs[near[0]]!r}?")
    try:
        catalogue.find(name)
    except NotFound as exc:
        return exc
    raise AssertionError("what the catalogue finds is not unknown")


def _ready(one: Here) -> Installed:
    if one.state == "missing":
        raise _gone(one)
    if one.state == "partial" and one.model:
        raise _not_here(one.model, one.quant, one.backend, [one], [one])
    assert one.found and one.look
    if one.model and one.quant:
        return _loadable(one.found, one.look, one.model, name=one.model.name, build=one.quant)
    return _loadable(one.found, one.look, one.model, name=one.found.label, build=one.quant or one.path.name)


# ── By path ───────────────────────────────────────────────────────────────────────────────────────


def at_path(path: Path) -> Found:
    """The one set of weights at a path.

    Raises NotFound if there is none, or several; BadFile for a file that is no GGUF.
    """
    if not os.path.isdir(path):  # noqa: PTH112 - pathlib raises for a name too long
        gguf.read(path, strings=False)
        found = places.at(path)
        assert found is not None, "what could be read is a regular file"
        return found
    there = list(places.in_folder(path, "import", _ignore, depth=0))
    if len(there) == 1:
        return there[0]
    if there:
        names = ", ".join(f.path.name for f in there[:6])
        raise NotFound(f"{path} holds {len(there)} GGUF files: {names}.", "Give the path of one of them.")
    raise NotFound(
        f"There are no weights in {path}.", "Give a GGUF file, or a folder that holds one or an MLX build."
    )


def _at(path: Path) -> Meant:
    found = at_path(path)
    look = fresh(found)
    model = model_of(found, look)

    def ready(backend: str | None) -> Installed:
        return _loadable(found, look, model, name=found.path.stem, build=found.path.name)

    return Meant(found.path.name, (found.backend,), (found.backend,), ready)


def _ignore(trouble: str) -> None:
    """Nobody asked for this folder's neighbours."""


def _exists(path: Path) -> bool:
    return os.path.exists(path)  # noqa: PTH110 - pathlib raises for a name too long


def _looks_like_path(name: str) -> bool:
    separators = [os.sep, *([os.altsep] if os.altsep else [])]
    return name.endswith(".gguf") or any(s in name for s in separators)


# ── What goes with the weights ────────────────────────────────────────────────────────────────────


def _loadable(found: Found, look: Look, model: Model | None, *, name: str, build: str) -> Installed:
    """Raises BadFile if it is not what it claims to be, NotFound for an MLX build without a tokenizer."""
    require_honest(found, look, model)
    tokenizer, notes = _tokenizer(found, model)
    if look.images:
        notes += (_without_images(found, look),)
    beside = (found.path if found.backend == "mlx" else found.path.parent) / PROMPT
    prompt = beside if beside.is_file() else (cache.find(model.repo, PROMPT) if model else None)
    if model:
        known = of_catalogue(
            model,
            name,
            build,
            found.path,
            tokenizer,
            prompt,
            backend=found.backend,
            trained=look.context,
        )
        missing = "" if prompt or _has_no_prompt(model) else _without_prompt(model)
        return replace(known, notes=notes, no_prompt=missing)
    context = min(look.context, _UNKNOWN_CONTEXT) if look.context > 0 else _UNKNOWN_CONTEXT
    return Installed(
        model=name,
        title=look.title or name,
        build=build,
        backend=found.backend,
        weights=found.path,
        tokenizer=tokenizer,
        system_prompt=prompt,
        context=context,
        trained=max(look.context, 0),
        max_tokens=context,
        temperature=_TEMPERATURE,
        top_p=_TOP_P,
        notes=notes,
    )


def require_honest(found: Found, look: Look, model: Model | None) -> None:
    """Raises BadFile if something speaks against it, or against its name."""
    if look.problem:
        raise BadFile(look.problem, look.todo)
    if model and (why := refuted(model, found, look)):
        raise BadFile(why, "Fetch the model's own build, or rename the file if it is another model.")


def _tokenizer(found: Found, model: Model | None) -> tuple[Path, tuple[str, ...]]:
    """Its tekken.json, or one rebuilt from its vocabulary and a sentence that says so.

    Raises NotFound for an MLX build that has none, BadFile if its vocabulary is not Tekken.
    """
    there = inventory.tokenizer_at(found, model)
    if there:
        return there, ()
    if found.backend == "mlx":  # whose tokenizer.json is not the one that this family's prompts are made by
        how = f"Run `{_how_to_complete(model)}` to fetch it." if model else "Put the model's own beside it."
        raise NotFound(f"{found.path} has no tekken.json, and cannot be used without.", how)
    version = model.tokenizer if model else ""
    ids = model.shape.vocabulary if model and model.shape else 0
    rebuilt = rebuild.tokenizer(found.path, version, ids)
    version, file = rebuilt.version, found.label
    note = f"No tekken.json is beside {file}: its tokenizer ({version}) is rebuilt from its own vocabulary"
    own = f"; `{_how_to_complete(model)}` fetches the model's own" if model else ""
    return rebuilt.path, (f"{note}{own}.",)


def _without_images(found: Found, look: Look) -> str:
    return (
        f"{found.label} has weights for images ({amounts.size(look.images)}), which are not loaded: "
        "it reads text only, and no image can be given to it."
    )


def _has_no_prompt(model: Model) -> bool:
    """Whether the model's repository was fetched, and had none."""
    return any(r.repo == model.repo and r.path == TOKENIZER and r.changed for r in records.every())


def _without_prompt(model: Model) -> str:
    return (
        f"The system prompt of {model.title} is not on this machine, so none is sent; "
        f"`{_how_to_complete(model)}` fetches it."
    )


def _how_to_complete(model: Model) -> str:
    """The command that brings tokenizer and system prompt."""
    return f"localmag pull {model.aliases[0] if model.aliases else model.name} --without-weights"
