"""What `localmag chat` would open here, how it would run, and on which backend."""

from __future__ import annotations

from collections.abc import Iterator

from localmag import catalogue, config, fit, gguf, store
from localmag.catalogue import Model
from localmag.doctor.report import Check
from localmag.engines import selection
from localmag.engines.advice import Advice, advise
from localmag.engines.select import Choice, Host
from localmag.errors import LocalmagError
from localmag.hardware import Machine
from localmag.store.inventory import Inventory


def opening(
    found: Machine,
    weights: Inventory,
    host: Host,
    *,
    backend: str = "auto",
    quant: str | None = None,
) -> tuple[Choice, list[Check]]:
    """What `localmag chat` would open, and on which backend; as long as that is the demo, how the newest
    Magistral would run. `backend` and `quant` are those that chat would be given. Raises what keeps it from
    opening anything.
    """
    settings = config.load()
    wanted = settings.model or selection.unnamed(quant, backend, host)
    choice, opened = selection.ready(wanted or catalogue.DEMO, quant, backend, host, lambda: found)
    newest, _ = catalogue.find(catalogue.NEWEST)
    if opened.backend == "llama.cpp":
        gguf.read_model(opened.weights)
    model = _model(opened) if wanted else newest
    advised = _advised(model, found, host, backend, weights)
    name = f"{opened.title} {opened.build}"
    told = [*_fit(advised)]
    weighed = advised.choice if advised and advised.choice and not wanted else choice
    told += (Check("backend", reason) for reason in weighed.reasons)
    if not wanted and model and (weighed.backend, weighed.why) != (choice.backend, choice.why):
        told.append(Check("backend", f"{weighed.backend} it would be for {model.title}: {weighed.why}"))
    told.append(Check("backend", f"{choice.backend} it is: {choice.why}"))
    told.append(Check("chat", f"opens {name} with {opened.backend}"))
    told += [Check("chat", note, "note") for note in (*opened.notes, opened.no_prompt) if note]
    if why := too_large(opened, settings, found):
        todo = f"Run `localmag fit {opened.model}` to see what does."
        told.append(Check("chat", f"{name} does not fit: {why}", "problem", todo))
    if not wanted and (lies := selection.idle(host)):
        told.append(Check("chat", lies.what, "note", lies.todo))
    elif not wanted:
        todo = f"Run `localmag pull {catalogue.NEWEST}` to fetch it."
        told.append(Check("chat", f"{newest.title} is not here yet.", "note", todo))
    return choice, told


def _model(opened: store.Installed) -> Model | None:
    return catalogue.find(opened.model)[0] if catalogue.is_name(opened.model) else None


def _advised(
    model: Model | None, found: Machine, host: Host, backend: str, weights: Inventory
) -> Advice | None:
    """The builds of a model, weighed; None where nothing is known to reckon with."""
    if model is None or model.shape is None:
        return None
    here = {one.backend for one in weights.of(model) if one.usable}
    try:
        return advise(model, found, host, backend=backend, here=here)
    except LocalmagError:  # of the backend that is asked for it has no build
        return None


def _fit(advised: Advice | None) -> Iterator[Check]:
    if advised is None:
        return
    plan = advised.best
    if plan.fits:
        yield Check("fit", advised.why)
    else:
        said = f"{plan.model.title} does not fit: {plan.why}"
        yield Check("fit", said, "note", "Run `localmag fit` to see what does.")
    if advised.smaller:
        name = plan.model.called(plan.build) if plan.fits else plan.model.title
        other = advised.smaller.model.called(advised.smaller.build)
        yield Check("fit", f"{other} is smaller than {name}, and would be quicker")


def too_large(opened: store.Installed, settings: config.Config, found: Machine) -> str:
    """Why it would not fit as chat opens it; empty if it does, or if nobody can tell."""
    model = _model(opened)
    if model is None or model.shape is None or opened.build not in [build.quant for build in model.builds]:
        return ""
    plan, *_ = fit.plans(
        model,
        found,
        context=min(settings.context, opened.trained or settings.context),  # else it is opened with less
        quant=opened.build,
        kv_type=settings.kv_type,
        backend=opened.backend,
    )
    return "" if plan.fits else plan.why
