"""Which build of a model to take on a machine: what can run, and what fits, weighed together.

`fit`, `pull`, the table of the first run and `doctor` all ask here, so that they never disagree. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from localmag import fit
from localmag.catalogue import Build, Model
from localmag.config import KVType
from localmag.engines import select
from localmag.engines.select import Choice, Host
from localmag.errors import DoesNotFit, WrongUsage
from localmag.fit import Plan
from localmag.hardware import Machine


@dataclass(frozen=True, slots=True)
class Advice:
    """Every build of a model that was asked about, weighed, the one to take first; `smaller` is the largest
    other model that would write as fast as people read, where this one does not hold or is slow.

    `choice` is the backend to run it; None if nothing that is installed can, and `obstacle` says why, and
    what to do.
    """

    plans: tuple[Plan, ...]
    smaller: Plan | None
    choice: Choice | None
    obstacle: str = ""

    @property
    def best(self) -> Plan:
        return self.plans[0]

    @property
    def taken(self) -> Plan | None:
        """What this machine should take: the best build, the smaller model, or nothing."""
        return self.best if self.best.fits else self.smaller

    @property
    def why(self) -> str:
        """What speaks for the best build, in one line; empty if it does not fit."""
        plan = self.best
        if not plan.fits:
            return ""
        said = [f"{plan.setting.context:,} tokens of context", plan.where]
        if plan.speed:
            said.append(f"about {plan.speed:.0f} tokens/s" if plan.speed >= 1 else "under a token a second")
        ran = f"; {self.choice.why}" if self.choice and self.choice.open else ""
        return f"{plan.model.called(plan.build)} fits this machine best: {', '.join(said)}{ran}"


def advise(
    model: Model,
    machine: Machine,
    host: Host,
    *,
    context: int = 0,
    kv_type: KVType | None = None,
    quant: str | None = None,
    backend: str = "auto",
    here: Collection[str] = (),
) -> Advice:
    """Weigh the builds of a model, of that quant and backend where they are named.

    `context` and `kv_type` as `fit.plans` has them, `here` as `select.choose` does. Builds that are named
    are weighed even if nothing that is installed could run them.

    Raises NotFound if there are no such builds, or the model's shape is not known; WrongUsage if nobody named
    any, and none could be run.
    """
    named = bool(quant) or backend != "auto"
    among = _among(model, host, machine, quant, backend)
    plans = fit.plans(model, machine, context=context, quant=quant, kv_type=kv_type, backend=among)
    smaller = fit.sibling(plans[0], machine, runnable(host, backend), context=context, kv_type=kv_type)
    weighed = {plan.backend for plan in plans}  # without Apple silicon MLX is not, unless it is named
    better = plans[0].backend if plans[0].fits and len(weighed) > 1 else None
    try:
        choice = select.choose(
            host,
            wanted=backend,
            offered=dict.fromkeys(b.backend for b in model.builds if not quant or b.has_quant(quant)),
            here=weighed & set(here),
            better=better,
            model=f"{model.title} {quant}" if quant else model.title,
        )
    except WrongUsage as exc:
        if not named:
            raise
        return Advice(plans, smaller, None, str(exc))
    return Advice(_first(choice.backend, plans), smaller, choice)


def to_pull(advice: Advice, begun: Sequence[Build] = ()) -> tuple[Build, str]:
    """The build to fetch where nobody named one, and why, in one line; "" where that goes without saying.

    That is the best, unless others were `begun` (or are here whole): the same command goes on with those, as
    the memory that is free, and so what fits best, changes from day to day.

    Raises DoesNotFit, saying what would fit, if none was begun and the machine holds none.
    """
    best = advice.best
    if begun:
        if best.build in begun or not best.fits:
            return (best.build if best.build in begun else begun[0]), ""
        begun_name, best_name = (best.model.called(build) for build in (begun[0], best.build))
        why = f"{begun_name} is here, or a part of it, though {best_name} would fit this machine better"
        return begun[0], why
    if not best.fits:
        raise does_not_fit(advice)
    smaller = advice.smaller
    other = f"; {smaller.model.called(smaller.build)}, a smaller model, would be quicker" if smaller else ""
    return best.build, advice.why + other


def does_not_fit(advice: Advice) -> DoesNotFit:
    """What is lacking, and what would do."""
    best, smaller = advice.best, advice.smaller
    anyway = f"`localmag pull {best.model.called(best.build)}` fetches it all the same"
    todo = f"Free some memory; {anyway}." if best.build.repo else "Free some memory, or take a smaller --ctx."
    if smaller and best.build.repo:
        todo = f"`localmag pull {smaller.model.called(smaller.build)}` gets {smaller.model.title}; {anyway}."
    return DoesNotFit(f"{best.model.title} does not fit this machine: {best.why}", todo)


def _first(backend: str, plans: tuple[Plan, ...]) -> tuple[Plan, ...]:
    """Those for the backend that was chosen first, as far as they fit as well as the rest."""
    return tuple(sorted(plans, key=lambda plan: (not plan.fits, plan.backend != backend)))


def runnable(host: Host, backend: str) -> str:
    """What `fit.plans` calls the backends that could run here."""
    able = host.able()
    return able[0] if backend == "auto" and len(able) == 1 else backend


def _among(model: Model, host: Host, machine: Machine, quant: str | None, backend: str) -> str:
    """The same, but a quant that is named is one whatever is installed."""
    if backend != "auto" or not quant:
        return runnable(host, backend)
    of = {b.backend for b in model.builds if b.has_quant(quant)}
    return of.pop() if len(of) == 1 else runnable(host, backend)
