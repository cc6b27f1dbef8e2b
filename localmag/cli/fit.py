"""`localmag fit`: what of a model this machine can hold, before anything is fetched."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from localmag import amounts, catalogue, fit, shell, store
from localmag.catalogue import Build, Model
from localmag.cli import options
from localmag.cli.columns import columns
from localmag.cli.fitting import measured
from localmag.cli.output import say, warn
from localmag.config import KVType
from localmag.engines import select, selection
from localmag.engines.advice import Advice, advise, does_not_fit, runnable
from localmag.errors import NotFound
from localmag.fit import Plan
from localmag.hardware import Machine
from localmag.store import cache

_UNKNOWN = 2**24  # tokens, for weights that do not say what they were trained for


def fit_(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL[:QUANT]", help="As `magistral` or `ministral:8b`; a name that list shows, a file."
        ),
    ] = catalogue.NEWEST,
    ctx: options.Ctx = None,
    backend: options.Backend = options.BackendChoice.auto,
    quant: options.Quant = None,
    kv_type: options.KV = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show which builds this machine can hold, and which to take.

    For each build: how much context it has room for, how fast it would be, and what it lacks. The
    first line is the one to take. Weights that are here are measured by what they say of themselves.
    Nothing is fetched.
    """
    from localmag.engines import devices  # half a second: llama.cpp is asked what it can compute on

    machine = devices.machine(cache.root())
    wanted = _Wanted(ctx or 0, kv_type.value if kv_type else None, backend.value)
    advised = _catalogued(model, quant, machine, wanted) or _at_hand(model, quant, machine, wanted)
    if as_json:
        say(json.dumps(_object(machine, advised.plans, advised.smaller), ensure_ascii=False))
    else:
        _show(machine, advised)
    if advised.obstacle:
        warn(advised.obstacle)
    best = advised.best
    if best.setting.context > (most := best.model.context):
        warn(f"It was trained for {most:,} tokens, and is refused with more. Use --ctx {most} or less.")
    if not best.fits:
        raise does_not_fit(advised)


@dataclass(frozen=True, slots=True)
class _Wanted:
    context: int
    kv_type: KVType | None
    backend: str


def _catalogued(name: str, quant: str | None, machine: Machine, wanted: _Wanted) -> Advice | None:
    """The builds of a model of the catalogue; None for other names, and for quants that it does not list."""
    if not catalogue.is_name(name):
        return None
    model, quant = catalogue.find(name, quant)
    listed = quant is None or any(build.has_quant(quant) for build in model.builds)
    if not listed or (model.shape is None and store.meant(name, quant).here):
        return None
    if model.not_yet:
        warn(f"localmag cannot run {model.title} yet: {model.not_yet}.")
    return advise(
        model,
        machine,
        select.host(),
        context=wanted.context,
        kv_type=wanted.kv_type,
        quant=quant,
        backend=wanted.backend,
    )


def _at_hand(name: str, quant: str | None, machine: Machine, wanted: _Wanted) -> Advice:
    """Weights on this machine, as they are. Raises what `selection.ready` and `gguf.read_model` do."""
    choice, found = selection.ready(name, quant, wanted.backend, select.host(), lambda: machine)
    known = measured(found.backend, found.weights)
    if known is None:
        raise NotFound(
            f"What {found.title} takes cannot be told: its shape is not known.",
            "Try it: chat and ask refuse what does not load.",
        )
    shape, weights = known
    build = Build(choice.backend, found.build, found.weights.name, gigabytes=weights.total / 1e9)
    model = Model(
        name,
        found.title,
        licence="",
        context=found.trained or _UNKNOWN,
        advised=found.context,
        max_tokens=found.max_tokens,
        temperature=found.temperature,
        top_p=found.top_p,
        shape=shape,
        builds=(build,),
    )
    context, kv_type = wanted.context, wanted.kv_type
    plan = fit.of_file(model, build, shape, weights, machine, context=context, kv_type=kv_type)
    able = runnable(select.host(), wanted.backend)
    return Advice((plan,), fit.sibling(plan, machine, able, context=context, kv_type=kv_type), choice)


def _show(machine: Machine, advised: Advice) -> None:
    best, smaller = advised.best, advised.smaller
    say(_machine(machine))
    rows: list[tuple[str, ...]] = [("", "build", "context", "KV", "tok/s", "memory", "runs on")]
    rows += [_row("→" if plan is best and plan.fits else "", plan) for plan in advised.plans]
    if smaller:
        rows.append(_row("or", smaller))
    for line in columns(rows, right=(2, 4, 5)):
        say(line)
    if best.fits:
        takes = " and ".join(
            f"{amounts.memory(n.total)} of {_place(n.place, machine)}" for n in best.needs if n.total
        )
        why = f" ({best.why})" if best.why else ""
        # An obstacle has a command of its own, and with more than it was trained for nothing opens it.
        runs = not advised.obstacle and best.setting.context <= best.model.context
        then = f" {_next(best)}" if runs else ""
        warn(f"{_name(best)} takes {takes}{why}.{then}")
    for note in machine.notes:
        warn(f"{note.what} {note.todo}".strip())


def _row(mark: str, plan: Plan) -> tuple[str, ...]:
    if not plan.fits:
        return mark, _name(plan), f"lacks {amounts.memory(plan.way.missing)} of memory"
    return (
        mark,
        _name(plan),
        f"{plan.setting.context:,}",
        plan.setting.kv_type,
        f"{plan.speed:.0f}" if plan.speed else "",
        amounts.memory(sum(n.total for n in plan.needs)),
        plan.where,
    )


def _place(place: str, machine: Machine) -> str:
    if place == "memory":
        return place
    return "the GPU's memory" if len(machine.devices) == 1 else f"{place}'s memory"


def _next(plan: Plan) -> str:
    from localmag.store.inventory import take

    here = not plan.build.repo or any(one.usable for one in take().of(plan.model, plan.build.quant))
    return f"Run `{shell.joined('localmag', 'chat' if here else 'pull', _name(plan))}`."


def _name(plan: Plan) -> str:
    """As the command line calls it: weights at hand by the word that was given for them."""
    if plan.build.repo:
        return plan.model.called(plan.build)
    name = plan.model.name
    of_several = catalogue.is_name(name) and catalogue.find(name)[1] is None
    return f"{name}:{plan.build.quant}" if of_several else name


def _machine(machine: Machine) -> str:
    parts = [
        machine.cpu,
        f"{amounts.memory(machine.memory_free)} of {amounts.memory(machine.memory_total)} memory free",
    ]
    for device in machine.devices:
        parts.append(
            f"{device.name} with {amounts.memory(device.free)} of {amounts.memory(device.total)} free"
        )
    return " · ".join(filter(None, parts))


def _object(machine: Machine, made: tuple[Plan, ...], smaller: Plan | None) -> dict[str, object]:
    return {
        "machine": asdict(machine),
        "plans": [_plan(plan) for plan in made],
        "sibling": _plan(smaller) if smaller else None,
    }


def _plan(plan: Plan) -> dict[str, object]:
    return {
        "model": plan.model.name,
        "build": plan.build.quant,
        "backend": plan.backend,
        "fits": plan.fits,
        "why": plan.why,
        "context": plan.setting.context,
        "kv_type": plan.setting.kv_type,
        "gpu_layers": plan.setting.gpu_layers,
        "cpu_experts": plan.setting.cpu_experts,
        "where": plan.where,
        "tokens_per_second": round(plan.speed, 1) or None,
        "needs": [asdict(n) | {"total": n.total} for n in plan.needs],
        "rooms": [asdict(r) | {"usable": r.usable} for r in plan.rooms],
    }
