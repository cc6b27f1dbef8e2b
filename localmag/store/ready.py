"""Weights on this machine, by name or path, made sure of and with all that goes with them."""

from __future__ import annotations

import os
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from localmag import catalogue, gguf, paths
from localmag.catalogue import Build, Model
from localmag.errors import BadFile, LocalmagError, NotFound, RunFailed
from localmag.store import cache, inventory, places, rebuild, records
from localmag.store.installed import PROMPT, TOKENIZER, Installed, demo, of_catalogue
from localmag.store.inventory import Here, Inventory
from localmag.store.look import Look, fresh
from localmag.store.places import Found
from localmag.store.recognise import model_of, refuted

_UNKNOWN_CONTEXT = 8192  # tokens, for a file that does not say what it was trained for
_TEMPERATURE, _TOP_P = 0.7, 0.95  # the sampling of every Magistral card


def locate(name: str, quant: str | None) -> Installed:
    """See `local.locate`."""
    if catalogue.is_name(name):
        model, named = catalogue.find(name)
        if model.name == catalogue.DEMO:
            return demo(model, model.build(quant or named))
        return _of_catalogue(model, quant or named)
    path = paths.expanded(name)
    like_path = _looks_like_path(name)
    if like_path and _exists(path):
        return _at(path)
    there = inventory.take()
    if copies := there.meant(name):
        return _first_ready(copies)
    if _exists(path):
        return _at(path)
    if like_path and "@" not in name:
        raise NotFound(f"There is no file {path}.", "Check the path.")
    raise unknown(name, there)


def how_to_get(model: Model, build: Build) -> str:
    """One sentence: the command that brings this build to this machine."""
    size = f" ({build.gigabytes:.1f} GB)" if build.gigabytes else ""
    return f"Run `localmag pull {model.called(build)}`{size}, or try `localmag chat demo`."


# ── By name ───────────────────────────────────────────────────────────────────────────────────────


def _of_catalogue(model: Model, quant: str | None) -> Installed:
    """The best copy of that quant; where none is asked for, of the catalogue's first that is here."""
    copies = inventory.take().of(model, quant)
    if not copies or copies[0].state == "partial":
        build = copies[0].build if copies and copies[0].build else model.build(quant)
        raise NotFound(
            f"{model.title} {build.quant}: its weights are not on this machine.", how_to_get(model, build)
        )
    return _first_ready(copies)


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


def unknown(name: str, there: Inventory) -> NotFound:
    """The catalogue's own words, or the nearest name of something that is here."""
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
        raise NotFound(one.why, f"Bring it back, or forget it with `localmag rm {one.name}`.")
    if one.state == "partial" and one.model and one.build:
        raise NotFound(f"{one.name} is here in part only.", how_to_get(one.model, one.build))
    assert one.found and one.look
    if one.model and one.quant:
        return _loadable(one.found, one.look, one.model, name=one.model.name, build=one.quant)
    return _loadable(one.found, one.look, one.model, name=one.found.label, build=one.quant or one.path.name)


# ── By path ───────────────────────────────────────────────────────────────────────────────────────


def at_path(path: Path) -> Found:
    """The one set of weights at a path.

    Raises NotFound if there is none, or several; BadFile if what is there is no GGUF.
    """
    if not path.is_dir():
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
    raise NotFound(f"There is no GGUF file in {path}.", "Give a folder that holds one, or the file's path.")


def _at(path: Path) -> Installed:
    found = at_path(path)
    look = fresh(found)
    return _loadable(found, look, model_of(found, look), name=found.path.stem, build=found.path.name)


def _ignore(trouble: str) -> None:
    """Nobody asked for this folder's neighbours."""


def _exists(path: Path) -> bool:
    return os.path.exists(path)  # noqa: PTH110 - pathlib raises for a name too long


def _looks_like_path(name: str) -> bool:
    separators = [os.sep, *([os.altsep] if os.altsep else [])]
    return name.endswith(".gguf") or any(s in name for s in separators)


# ── What goes with the weights ────────────────────────────────────────────────────────────────────


def _loadable(found: Found, look: Look, model: Model | None, *, name: str, build: str) -> Installed:
    """Raises BadFile if it is not what it claims to be, RunFailed if localmag has no engine for it."""
    require_honest(found, look, model)
    if found.backend == "mlx":
        pull = f"`localmag pull {model.called(model.build())}` fetches one" if model else "Use one of those"
        raise RunFailed(
            f"{found.path} is an MLX build ({look.quant}), and this localmag runs GGUF builds only.",
            f"{pull}.",
        )
    tokenizer, notes = _tokenizer(found, model)
    prompt: Path | None = found.path.with_name(PROMPT)
    if not (prompt and prompt.is_file()):
        prompt = cache.find(model.repo, PROMPT) if model else None
    if model:
        known = of_catalogue(model, name, build, found.path, tokenizer, prompt, look.context)
        missing = "" if prompt or _has_no_prompt(model) else _without_prompt(model)
        return replace(known, notes=notes, no_prompt=missing)
    context = min(look.context, _UNKNOWN_CONTEXT) if look.context > 0 else _UNKNOWN_CONTEXT
    return Installed(
        model=name,
        title=look.title or name,
        build=build,
        backend="llama.cpp",
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
    """Its tekken.json, or one rebuilt from its vocabulary and a sentence that says so."""
    there = inventory.tokenizer_at(found, model)
    if there:
        return there, ()
    version = model.tokenizer if model else ""
    ids = model.shape.vocabulary if model and model.shape else 0
    rebuilt = rebuild.tokenizer(found.path, version, ids)
    version, file = rebuilt.version, found.label
    note = f"No tekken.json is beside {file}: its tokenizer ({version}) is rebuilt from its own vocabulary"
    own = f"; `{_how_to_complete(model)}` fetches the model's own" if model else ""
    return rebuilt.path, (f"{note}{own}.",)


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
