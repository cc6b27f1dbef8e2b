"""`localmag pull`: bring a model's weights here, having said what that means."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from localmag import amounts, catalogue, paths
from localmag.catalogue import Build, Model
from localmag.cli import options
from localmag.cli.output import confirm, note, say, warn
from localmag.errors import Cancelled, NotFound
from localmag.store import cache
from localmag.store.inventory import take

if TYPE_CHECKING:
    from rich.progress import Progress, Task, TaskID

    from localmag.store.pull import Plan, Step, Wanted

_REDRAW = 0.1  # seconds between two looks at the progress
_BESIDE_NAME = 46  # cells: "114.2 of 114.2 kB", "104.0 MB/s, 3 h 20 min" and what is left of the bar


def pull(
    model: Annotated[
        str, typer.Argument(metavar="MODEL[:QUANT]", help="As `magistral` or `magistral:Q8_0`.")
    ],
    backend: options.Backend = options.BackendChoice.auto,
    quant: options.Quant = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    without_weights: Annotated[
        bool, typer.Option("--without-weights", help="Only what goes with weights that are already here.")
    ] = False,
) -> None:
    """Fetch a model into the Hugging Face cache, and verify it.

    The weights, and all that goes with them: what will be fetched is shown first. Where no quant is named, it
    is the build that fits this machine best, as `localmag fit` shows. Stopped at any moment, the same command
    goes on where it was. The path of the weights goes to stdout.
    """
    found, quant = catalogue.find(model, quant)
    if found.not_yet:
        warn(f"localmag cannot run {found.title} yet: {found.not_yet}.")
    if without_weights or found.shape is None:
        build = _named(found, quant, backend.value)
    else:
        build = _weighed(found, quant, backend.value)
    from localmag.store import pull as store  # 0.3 s: only here is the hub's client needed

    plan = store.plan(found, build, warn, weights=not without_weights)
    if not plan.done:
        _show(plan)
        if not without_weights:
            _tell_of_copies(found, build)
        if not yes:
            confirm(f"Fetch {amounts.size(plan.missing)}?")
        _fetch(plan, store.fetch(plan))
        for line in store.contradictions(plan):
            warn(f"{line}.")
    elif sys.stderr.isatty():
        warn(f"{found.title} {build.quant} is here already, and verified.")
    say(str(plan.weights))


def _tell_of_copies(model: Model, build: Build) -> None:
    """Nobody should fetch 14 GB that another tool has brought already."""
    for one in take().of(model, build.quant):
        if one.usable and one.place != "Hugging Face cache":
            how = f"`localmag pull {model.called(build)} --without-weights` is enough to use it"
            note(f"  {paths.shortened(one.path)} is this build already ({one.place}); {how}.")


def _weighed(model: Model, quant: str | None, backend: str) -> Build:
    """The build that is named, or that this machine should have; on stderr, what speaks for or against it.

    Raises NotFound if there is none such, DoesNotFit if none is named and this machine holds none.
    """
    from localmag.engines import advice, devices, select  # half a second: llama.cpp is asked what it can use

    begun = [b for b in _begun(model) if backend in ("auto", b.backend)]
    build = _named(model, quant, backend) if quant else None
    if build in begun:
        return build
    machine = devices.machine(cache.root())
    advised = advice.advise(model, machine, select.host(), quant=quant, backend=backend)
    if advised.obstacle:
        warn(advised.obstacle)
    if build is None:
        build, why = advice.to_pull(advised, begun)
        if why:
            name = model.aliases[0] if model.aliases else model.name
            warn(f"{why}. `localmag fit {name}` shows the others, and --quant gets another.")
    elif not advised.best.fits:
        warn(f"{model.called(build)} does not fit this machine: {advised.best.why}")
    return build


def _begun(model: Model) -> list[Build]:
    """What is in the Hugging Face cache of its builds, whole or in part."""
    return [
        one.build
        for one in take().of(model)
        if one.build and one.place == "Hugging Face cache" and one.state != "refused"
        if one.found is None or one.found.repo == one.build.repo
    ]


def _named(model: Model, quant: str | None, backend: str) -> Build:
    """The build of that quant, or the first for that backend."""
    builds = [b for b in model.builds if backend in ("auto", b.backend)]
    build = model.build(quant) if quant or not builds else builds[0]
    if build in builds:
        return build
    there = ", ".join(model.called(b) for b in builds) or "another model"
    raise NotFound(f"{model.called(build)} is no build for {backend}.", f"Choose {there}.")


def _show(plan: Plan) -> None:
    note(f"{plan.model.title} {plan.build.quant}, licence {plan.licence or plan.model.licence}")
    repo = ""
    for file in plan.files:
        if file.repo != repo:
            repo = file.repo
            note(f"  from {repo} at {file.commit[:7]}")
        note(f"    {amounts.size(file.size):>9}  {file.path}{_state(file)}")
    note(f"  into {paths.shortened(plan.folder)}, {amounts.size(plan.free)} free")


def _state(file: Wanted) -> str:
    if file.verified:
        return " (here)"
    if file.here == file.size:
        return " (here, to be checked)"
    return f" ({amounts.size(file.here)} of it here)" if file.here else ""


def _fetch(plan: Plan, steps: Iterator[Step]) -> None:
    try:
        if sys.stderr.isatty():
            _draw(plan, steps)
        else:
            for _ in steps:
                pass
    except KeyboardInterrupt as exc:
        raise Cancelled(
            "Stopped; what has arrived is kept.", f"`localmag pull {_name(plan)}` goes on from there."
        ) from exc
    warn(f"{plan.model.title} {plan.build.quant} is here, verified. Run `localmag chat {_name(plan)}`.")


def _name(plan: Plan) -> str:
    alias = plan.model.aliases[0] if plan.model.aliases else plan.model.name
    return alias if plan.build == plan.model.build() else f"{alias}:{plan.build.quant}"


def _draw(plan: Plan, steps: Iterator[Step]) -> None:
    """A bar for each file, with what became of it, and one for all of them, with rate and time left."""
    from rich import progress as rich
    from rich.console import Console
    from rich.table import Column

    console = Console(stderr=True)
    name = Column(no_wrap=True, max_width=max(12, console.width - _BESIDE_NAME))
    columns = (
        rich.TextColumn("{task.description}", markup=False, table_column=name),
        rich.BarColumn(),  # which gives way where the line is short
        rich.TextColumn("{task.fields[part]}", table_column=Column(no_wrap=True, justify="right")),
        rich.TextColumn("{task.fields[told]}", table_column=Column(no_wrap=True)),
    )
    with rich.Progress(*columns, console=console) as bars:
        _follow(plan, steps, bars)


def _follow(plan: Plan, steps: Iterator[Step], bars: Progress) -> None:
    from localmag.store.pull import Checking, Fetching, Verified, Waiting

    bar = {f.path: _add(bars, f.path, f.here, f.size) for f in plan.files}
    everything = _add(bars, "all", plan.total - plan.missing, plan.total)
    drawn, arrived, waited = 0.0, plan.total - plan.missing, ""
    for step in steps:
        match step:
            case Fetching(file, done):
                if (now := time.monotonic()) - drawn > _REDRAW:
                    drawn = now
                    _update(bars, bar[file.path], done)
                    _update(bars, everything, arrived + done - file.here)
                    bars.update(everything, told=_pace(bars.tasks[everything]))
            case Checking(file, done):
                _update(bars, bar[file.path], done, "checking")
            case Verified(file):
                arrived += file.size - file.here
                _update(bars, bar[file.path], file.size, "verified")
                _update(bars, everything, arrived)
                bars.update(everything, told=_pace(bars.tasks[everything]))
            case Waiting(why, seconds) if why != waited:
                bars.console.print(f"{why}; trying again in {seconds:.0f} s", markup=False, highlight=False)
        waited = step.why if isinstance(step, Waiting) else ""


def _add(bars: Progress, name: str, done: int, total: int) -> TaskID:
    return bars.add_task(name, total=total, completed=done, part=amounts.part(done, total), told="")


def _update(bars: Progress, task: TaskID, done: int, told: str = "") -> None:
    part = amounts.part(done, bars.tasks[task].total or 0)
    bars.update(task, completed=done, part=part, told=told)


def _pace(task: Task) -> str:
    """Bytes per second, and how long it takes yet; empty as long as nobody can tell."""
    rate = task.finished_speed or task.speed
    if not rate:
        return ""
    rest = 0 if task.finished else task.time_remaining
    return f"{amounts.size(rate)}/s" + (f", {amounts.left(rest)}" if rest else "")
