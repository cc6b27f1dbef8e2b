"""`localmag list`, `show` and `rm`: which weights are here, what the catalogue knows, and making room."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Annotated

import typer

from localmag import catalogue
from localmag.catalogue import Build, Model
from localmag.cli.output import confirm, say, warn
from localmag.cli.pull import size
from localmag.shape import Shape
from localmag.store.inventory import Here, here

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def list_(as_json: Json = False) -> None:
    """List the weights on this machine, and whether they are verified."""
    found = here()
    if as_json:
        say(json.dumps([_entry(h) for h in found], ensure_ascii=False))
        return
    wide = max(len(h.name) for h in found)
    for one in found:
        say(f"{one.name:<{wide}}  {size(one.size):>9}  {_state(one)}")
    if all(h.state == "bundled" for h in found):
        print("No Magistral is here yet. Fetch it with `localmag pull magistral`.", file=sys.stderr)


def show(
    model: Annotated[
        str, typer.Argument(metavar="MODEL[:QUANT]", help="As `magistral` or `magistral:Q8_0`.")
    ],
    as_json: Json = False,
) -> None:
    """Show what the catalogue knows of a model, and which of its builds are here."""
    found, quant = catalogue.find(model)
    builds = (found.build(quant),) if quant else found.builds
    there = {h.build: h for h in here((found,))}
    if as_json:
        told = asdict(found)
        told["builds"] = [asdict(b) | {"here": _entry(there[b]) if b in there else None} for b in builds]
        say(json.dumps(told, ensure_ascii=False))
        return
    for line in _card(found):
        say(line)
    for build in builds:
        say(f"  {build.quant:<8} {_expected(build):>9}  {_place(build, there.get(build))}")


def rm(
    model: Annotated[
        str, typer.Argument(metavar="MODEL[:QUANT]", help="All builds of a model that are here, or one.")
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove weights that localmag fetched, having said what would go.

    What another program brought into the shared cache stays.
    """
    found, quant = catalogue.find(model)
    from localmag.store import remove  # 0.3 s: the hub's client knows how to take files out of its cache

    removal = remove.plan(found, (found.build(quant),) if quant else found.builds)
    for name in removal.names:
        print(f"  {name}", file=sys.stderr)
    for path in removal.kept:
        warn(f"{path.name} stays: another program fetched it.")
    if not yes:
        confirm(f"Remove these, and free {size(removal.freed)}?")
    remove.remove(removal)
    warn(f"Freed {size(removal.freed)}.")


def _state(one: Here) -> str:
    match one.state:
        case "partial":
            return f"partial, of {size(one.total)}: `localmag pull {one.name}` goes on"
        case "no tokenizer":
            return f"no tokenizer: `localmag pull {one.name}` adds it"
        case "unverified":
            return f"not verified: `localmag pull {one.name}` checks it"
        case _:
            return one.state


def _entry(one: Here) -> dict[str, object]:
    return {
        "name": one.name,
        "model": one.model.name,
        "build": one.build.quant,
        "backend": one.build.backend,
        "state": one.state,
        "bytes": one.size,
        "total_bytes": one.total,
        "path": str(one.path),
    }


def _card(model: Model) -> list[str]:
    facts = {
        "licence": model.licence,
        "context": f"{model.context:,} tokens; {model.advised:,} advised",
        "replies": f"up to {model.max_tokens:,} tokens, reasoning and answer together",
        "sampling": f"temperature {model.temperature}, top_p {model.top_p}",
        "reasoning": _reasoning(model),
        "abilities": ", ".join(name for name in ("vision", "tools") if getattr(model, name)),
        "shape": _shape(model.shape) if model.shape else "",
        "tokenizer": " ".join(filter(None, ("Tekken", model.tokenizer, model.repo and f"from {model.repo}"))),
    }
    names = ", ".join((model.name, *model.aliases))
    told = [f"  {key:<9}  {fact}" for key, fact in facts.items() if fact]
    return [f"{model.title} ({names})", *told, "builds"]


def _reasoning(model: Model) -> str:
    if model.think == "text":
        return "marked by plain text: localmag cannot tell it from the answer"
    return "marked by control tokens: shown beside the answer"


def _shape(shape: Shape) -> str:
    return (
        f"{shape.parameters / 1e9:.1f} billion parameters: {shape.layers} layers, width {shape.width}, "
        f"{shape.heads} heads ({shape.kv_heads} KV) of {shape.head_size}"
    )


def _expected(build: Build) -> str:
    return f"{build.gigabytes:.1f} GB" if build.gigabytes else ""


def _place(build: Build, one: Here | None) -> str:
    if one:
        return f"{_state(one)} ({one.path})"
    return f"from {build.repo}" + ("" if build.confirmed else ", its name unconfirmed")
