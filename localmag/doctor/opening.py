"""What `localmag chat` would open here, how it would run, and on which backend."""

from __future__ import annotations

from collections.abc import Iterator

from localmag import catalogue, config, fit, store
from localmag.catalogue import Model
from localmag.doctor.report import Check
from localmag.engines import select
from localmag.hardware import Machine
from localmag.store.inventory import Inventory


def opening(found: Machine, weights: Inventory) -> tuple[select.Choice, list[Check]]:
    """What `localmag chat` would open, and on which backend; as long as that is the demo, how the newest
    Magistral would run. Raises what keeps it from doing so.
    """
    settings = config.load()
    wanted = settings.model or store.newest()
    opened = store.locate(wanted or catalogue.DEMO)
    newest, _ = catalogue.find(catalogue.NEWEST)
    model = _model(opened) if wanted else newest
    host = select.host()
    plan = _best(model, found, host)
    choice = _choice(host, opened, model, weights, plan)
    name = f"{opened.title} {opened.build}"
    told = [*_fit(plan), *(Check("backend", reason) for reason in choice.reasons)]
    told.append(Check("backend", f"{choice.backend} it is: {choice.why}"))
    told.append(Check("chat", f"opens {name} with {opened.backend}"))
    told += [Check("chat", note, "note") for note in (*opened.notes, opened.no_prompt) if note]
    if why := too_large(opened, settings, found):
        todo = f"Run `localmag fit {opened.model}` to see what does."
        told.append(Check("chat", f"{name} does not fit: {why}", "problem", todo))
    if not wanted:
        todo = f"Run `localmag pull {catalogue.NEWEST}` to fetch it."
        told.append(Check("chat", f"{newest.title} is not here yet.", "note", todo))
    return choice, told


def _model(opened: store.Installed) -> Model | None:
    return catalogue.find(opened.model)[0] if catalogue.is_name(opened.model) else None


def _best(model: Model | None, found: Machine, host: select.Host) -> fit.Plan | None:
    """The build that runs best here, of the backends that can; None where nothing is known to reckon with."""
    if model is None or model.shape is None:
        return None
    return fit.plans(model, found, backend="llama.cpp" if "mlx" in host.obstacles else "auto")[0]


def _fit(plan: fit.Plan | None) -> Iterator[Check]:
    if plan is None:
        return
    name = plan.model.called(plan.build)
    if plan.fits:
        pace = f", about {plan.speed:.0f} tokens/s" if plan.speed else ""
        yield Check("fit", f"best is {name}: {plan.setting.context:,} tokens of context, {plan.where}{pace}")
    else:
        said = f"{plan.model.title} does not fit: {plan.why}"
        yield Check("fit", said, "note", "Run `localmag fit` to see what does.")


def _choice(
    host: select.Host,
    opened: store.Installed,
    model: Model | None,
    weights: Inventory,
    plan: fit.Plan | None,
) -> select.Choice:
    if model is None:
        return select.choose(host, offered=(opened.backend,), here=(opened.backend,), model=opened.title)
    here = {one.backend for one in weights.of(model) if one.usable}
    return select.choose(
        host,
        offered=here | {build.backend for build in model.builds},
        here=here,
        better=plan.backend if plan and plan.fits and not host.obstacles else None,
        model=model.title,
    )


def too_large(opened: store.Installed, settings: config.Config, found: Machine) -> str:
    """Why it would not fit as chat opens it; empty if it does, or if nobody can tell."""
    model = _model(opened)
    if model is None or model.shape is None or opened.build not in [build.quant for build in model.builds]:
        return ""
    plan, *_ = fit.plans(
        model,
        found,
        context=settings.context or opened.context,
        quant=opened.build,
        kv_type=settings.kv_type,
        backend=opened.backend,
    )
    return "" if plan.fits else plan.why
