"""`localmag list`, `show`, `import` and `rm`: which weights are here, whose, and what may go."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from localmag import amounts, catalogue, paths, shell
from localmag.catalogue import Build, Model
from localmag.cli import options
from localmag.cli.columns import columns, headed
from localmag.cli.output import confirm, note, one_line, say, warn
from localmag.engines import select
from localmag.errors import NotFound
from localmag.shape import Shape
from localmag.store import imports
from localmag.store.adopt import adopt
from localmag.store.inventory import Here, Inventory, take
from localmag.store.ready import unknown

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def list_(
    as_json: Json = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Also other tools' weights that localmag cannot run, and why.")
    ] = False,
) -> None:
    """List the models on this machine, and whose they are.

    Shows where each is, and whether it is verified. Looks into the Hugging Face cache, LM Studio's and
    Ollama's folders, and at what was imported.
    """
    there = take()
    found = [h for h in there.all if everything or h.ours]
    for trouble in there.unread:
        warn(one_line(paths.shortened(trouble)))
    if as_json:
        say(json.dumps([_entry(h) for h in found], ensure_ascii=False))
        return
    rows: list[tuple[str, ...]] = []
    for one in found:
        rows.append((one.name, _bytes(one), _owner(one), _state(one)))
        if one.state != "bundled":
            rows.append(("", _short(one.path)))
    for line in columns(headed(("name", "size", "from", "state"), rows), right=(1,)):
        say(one_line(line))
    others = len(there.all) - len(found)
    if others:
        note(f"Not shown: {others} of models that localmag cannot run. `localmag list --all` shows all.")
    if all(h.state == "bundled" for h in found):
        note("No Magistral is here yet. Fetch it with `localmag pull magistral`.")


def show(
    model: Annotated[
        str, typer.Argument(metavar="MODEL[:QUANT]", help="As `magistral` or `magistral:Q8_0`.")
    ],
    backend: options.Backend = options.BackendChoice.auto,
    quant: options.Quant = None,
    as_json: Json = False,
) -> None:
    """Show a model and its builds.

    Which of them are here, too; with --backend or --quant only those.
    """
    there = take()
    asked = (backend.value, "") if backend is not options.BackendChoice.auto else (*select.RUNNERS, "")
    if not catalogue.is_name(model):
        copies = there.meant(model)
        if not copies:
            raise unknown(model, there)
        _show_copies([h for h in copies if h.backend in asked and _is(h, quant)], model, as_json)
        return
    found, quant = catalogue.find(model, quant)
    copies = [h for h in there.of(found, quant) if h.backend in asked]
    if quant and copies and not any(build.has_quant(quant) for build in found.builds):
        _show_copies(copies, model, as_json)
        return
    builds = tuple(b for b in ((found.build(quant),) if quant else found.builds) if b.backend in asked)
    if not builds:
        raise _no_such_build(found.title, model)
    _show_builds(found, builds, copies, as_json)


def _is(one: Here, quant: str | None) -> bool:
    return quant is None or one.quant.lower() == quant.lower()


def _no_such_build(title: str, name: str) -> NotFound:
    return NotFound(f"{title} has no such build.", f"{_command('show', name)} lists those that it has.")


def _show_builds(found: Model, builds: tuple[Build, ...], copies: list[Here], as_json: bool) -> None:
    """What the catalogue says of a model, and which of these builds are here."""
    best = {h.build: h for h in reversed(copies)}
    if as_json:
        told = asdict(found)
        told["builds"] = [asdict(b) | {"here": _entry(best[b]) if b in best else None} for b in builds]
        told["copies"] = [_entry(h) for h in copies]
        say(json.dumps(told, ensure_ascii=False))
        return
    for line in _card(found):
        say(line)
    for line in columns([_row(found, build, best.get(build)) for build in builds], right=(1, 2)):
        say(one_line(line))
    for one in copies:
        if one is not best.get(one.build) or one.build is None:
            say(one_line(f"  {one.name}  {_bytes(one)}  {_state(one)} ({_short(one.path)})"))
    for one in copies:
        if said := _images(one):
            say(one_line(f"  {one.name}  for images: {said}"))


def _show_copies(copies: list[Here], name: str, as_json: bool) -> None:
    """Of weights that the catalogue does not know, what they say of themselves."""
    if not copies:
        raise _no_such_build(name, name)
    if as_json:
        say(json.dumps({"copies": [_entry(h) for h in copies]}, ensure_ascii=False))
        return
    for one in copies:
        look = one.look
        facts = {
            "path": _short(one.path),
            "from": _owner(one),
            "size": _bytes(one),
            "state": _state(one),
            "calls itself": one_line(look.title) if look else "",
            "quant": one.quant,
            "context": f"{look.context:,} tokens" if look and look.context > 0 else "",
            "shape": _stated(look.shape) if look else "",
            "for images": _images(one),
        }
        say(one_line(one.name))
        for key, fact in facts.items():
            if fact:
                say(f"  {key:<12}  {fact}")


def import_(
    path: Annotated[
        str, typer.Argument(metavar="PATH", help="A GGUF file, or a folder that holds one or an MLX build.")
    ],
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="What to call it; else by its file's name.")
    ] = None,
) -> None:
    """Make a file or folder of weights known by a name.

    It stays where it is: nothing is copied. The name goes to stdout. `localmag rm NAME` forgets it again, and
    leaves the files.
    """
    one = adopt(paths.expanded(path), name)
    if name not in (None, one.name):
        warn(f"It was known already, as {one.name}: that remains its name.")
    elif sys.stderr.isatty():
        note(f"Known from now on; {_command('chat', one.name)} uses it.")
    say(one.name)


def rm(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL[:QUANT]", help="A model, one of its builds, or a name that list shows."
        ),
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove a model that localmag fetched.

    What would go is shown first. What another program brought stays. So do the files of what was imported:
    only the import is forgotten.
    """
    there = take()
    copies = there.meant(model)
    links = [h for h in copies if h.place == "import"]
    if links and not any(h.fetched for h in copies):
        _forget(links, yes)
        return
    if not catalogue.is_name(model):
        raise _not_ours(copies, model, there)
    found, quant = catalogue.find(model)
    from localmag.store import remove  # 0.3 s: the hub's client knows whether a file is being fetched

    for one in copies:
        if one.place in ("LM Studio", "Ollama", "import"):
            warn(f"{one.name} stays: it is {_whose(one)}.")
    removal = remove.plan(found, (found.build(quant),) if quant else found.builds)
    if removal.names:
        note("To be removed:")
    for name in removal.names:
        note(f"  {name}")
    for path in removal.kept:
        warn(f"{path.name} stays: another program fetched it.")
    if not yes:
        confirm(f"Remove these, and free {amounts.size(removal.freed)}?")
    remove.remove(removal)
    warn(f"Freed {amounts.size(removal.freed)}.")


def _forget(links: list[Here], yes: bool) -> None:
    """Of an import, the record goes and nothing else."""
    for one in links:
        note(f"  {one.name}: {_short(one.path)}, which stays where it is")
    if not yes:
        confirm("Forget these imports?")
    for one in links:
        imports.forget(one.path)
    warn("Forgotten. No file was removed.")


def _not_ours(copies: list[Here], name: str, there: Inventory) -> NotFound:
    if not copies:
        return unknown(name, there)
    one = copies[0]
    how = f"Remove it there: {_short(one.path)}."
    if one.found and one.place == "Ollama":
        how = f"`{shell.joined('ollama', 'rm', one.found.label)}` removes it."
    return NotFound(f"{one.name} is {_whose(one)}, so localmag leaves it alone.", how)


def _command(*words: str) -> str:
    return f"`{shell.joined('localmag', *words)}`"


def _whose(one: Here) -> str:
    match one.place:
        case "Hugging Face cache":
            return "another program's, in the Hugging Face cache"
        case "import":
            return "an import"
        case place:
            return f"{place}'s"


def _short(path: Path) -> str:
    """A path as people write it, and without anything that could pass for another line."""
    return one_line(paths.shortened(path))


def _owner(one: Here) -> str:
    """Who brought it here, which is whom to ask about it."""
    return "localmag" if one.fetched else one.place


def _bytes(one: Here) -> str:
    return amounts.size(one.size) if one.size else ""


def _state(one: Here) -> str:
    match one.state:
        case "partial":
            return f"partial, of {amounts.size(one.total)}: {_command('pull', one.name)} goes on"
        case "refused":
            return f"refused: {one.why.replace(str(one.path), 'it')}"
        case "missing":
            return paths.shortened(one.why)
        case "unverified":
            return _unverified(one)
        case _:
            return one.state


def _unverified(one: Here) -> str:
    told = "not verified"
    if one.build and one.found and one.found.repo == one.build.repo:
        told += f": {_command('pull', one.name)} checks it"
    if one.backend == "mlx":
        return f"MLX, {told}"
    return told if one.own_tokenizer else f"{told}; its tokenizer is rebuilt from it"


def _entry(one: Here) -> dict[str, object]:
    return {
        "name": one.name,
        "model": one.model.name if one.model else None,
        "build": one.quant,
        "backend": one.backend,
        "place": one.place,
        "fetched_by_localmag": one.fetched,
        "state": one.state,
        "why": one.why,
        "bytes": one.size,
        "total_bytes": one.total,
        "path": str(one.path),
        "tokenizer": "own" if one.own_tokenizer else "rebuilt",
        "unused_image_bytes": one.look.images if one.look else 0,
    }


def _images(one: Here) -> str:
    """Of an MLX build that could see; "" for any other."""
    if not one.look or not one.look.images:
        return ""
    return f"{amounts.size(one.look.images)} of its weights, not used: it reads text only"


def _card(model: Model) -> list[str]:
    facts = {
        "licence": model.licence,
        "context": f"{model.context:,} tokens; {model.advised:,} advised",
        "replies": f"up to {model.max_tokens:,} tokens, reasoning and answer together",
        "sampling": f"temperature {model.temperature}, top_p {model.top_p}",
        "reasoning": _reasoning(model),
        "effort": ", ".join(model.efforts),
        "abilities": _abilities(model),
        "images": f"{model.mmproj} from {model.mmproj_repo}" if model.mmproj else "",
        "shape": _shape(model.shape) if model.shape else "",
        "tokenizer": " ".join(filter(None, ("Tekken", model.tokenizer, model.repo and f"from {model.repo}"))),
    }
    names = ", ".join((model.name, *model.aliases))
    if model.not_yet:
        facts["not yet"] = model.not_yet
    told = [f"  {key:<9}  {fact}" for key, fact in facts.items() if fact]
    return [f"{model.title} ({names})", *told, "builds"]


def _abilities(model: Model) -> str:
    told = " and ".join(name for name in ("vision", "tools") if getattr(model, name))
    return f"{told}, which localmag does not use yet" if told else ""


def _reasoning(model: Model) -> str:
    if model.think == "text":
        return "marked by plain text: localmag cannot tell it from the answer"
    return "marked by control tokens: shown beside the answer"


def _shape(shape: Shape) -> str:
    active = f" ({shape.active_parameters / 1e9:.1f} active)" if shape.experts else ""
    return (
        f"{shape.parameters / 1e9:.1f} billion parameters{active}: {shape.layers} layers, "
        f"width {shape.width}, {shape.heads} heads ({shape.kv_heads} KV) of {shape.head_size}"
    )


def _stated(shape: dict[str, int]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {number:,}" for name, number in shape.items())


def _row(model: Model, build: Build, one: Here | None) -> tuple[str, ...]:
    """A build and its best copy here, or where it would come from."""
    expected = amounts.size(build.gigabytes * 1e9) if build.gigabytes else ""
    bits = f"{model.bits(build):.2f} bits" if model.shape else ""  # per weight
    place = f"from {build.repo}" + ("" if build.confirmed else ", its name unconfirmed")
    return (
        f"  {build.quant}",
        _bytes(one) if one and one.usable else expected,
        bits,
        build.backend,
        f"{_state(one)} ({_short(one.path)})" if one else place,
    )
