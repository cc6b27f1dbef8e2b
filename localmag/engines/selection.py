"""A name → the backend to run it on, and the weights on this machine for that backend."""

from __future__ import annotations

from collections.abc import Callable, Collection

from localmag import catalogue, store
from localmag.engines import select
from localmag.engines.select import Choice, Host
from localmag.hardware import Machine, Note
from localmag.store import Installed, Meant, NotHere


def unnamed(quant: str | None, wanted: str, host: Host) -> str | None:
    """The model that is meant where none is named; None for the demo, in place of a better one.

    Whoever asks for a quant or a backend means the newest Magistral, here or not: of the demo nobody would.
    """
    name = store.newest(host.able(wanted))
    return catalogue.NEWEST if name is None and (quant or wanted != "auto") else name


def ready(
    name: str,
    quant: str | None,
    wanted: str,
    host: Host,
    machine: Callable[[], Machine] | None = None,
) -> tuple[Choice, Installed]:
    """Choose the backend first, then the best copy for it.

    `wanted` is a backend's name or "auto"; a quant that only one backend has implies it. `machine` is asked
    only where two backends could run what is here, which takes half a second.

    Raises what `select.choose` and `store.locate` do. Where a build is here that only what is missing could
    run, the error has the command that brings that, too.
    """
    meant = store.meant(name, quant)
    choice = select.choose(
        host,
        wanted=wanted,
        offered=meant.offered,
        here=meant.here,
        too_large=too_large(meant, host, wanted, machine or _machine),
        model=meant.title,
    )
    try:
        return choice, meant.ready(choice.backend)
    except NotHere as exc:
        if how := _remedy(host, meant.here):
            todo = f"Run `{how}`, which brings what runs that one; or {exc.todo[:1].lower()}{exc.todo[1:]}"
            raise NotHere(exc.what, todo, exc.model, exc.quant) from exc
        raise


def idle(host: Host) -> Note | None:
    """On a model of the catalogue that is here and cannot be run for want of a package, if there is one."""
    missing = [runner for runner in host.obstacles if runner in host.remedies]
    if not missing or (name := store.newest(missing)) is None:
        return None
    here = store.meant(name).here
    runner = next(runner for runner in missing if runner in here)
    what = f"{name} is here, and cannot be run: {host.obstacles[runner]}."
    return Note(what, f"Run `{host.remedies[runner]}`.")


def _remedy(host: Host, here: Collection[str]) -> str:
    return next((host.remedies[r] for r in select.RUNNERS if r in here and r in host.remedies), "")


def too_large(meant: Meant, host: Host, wanted: str, machine: Callable[[], Machine]) -> set[str]:
    """Of two backends that could both run what is here, those whose every build here does not fit.

    Nothing is weighed where that would decide nothing.
    """
    rivals = wanted == "auto" and host.apple_silicon and len(host.able()) > 1 and len(meant.here) > 1
    if not rivals or meant.model is None or meant.model.shape is None:
        return set()
    from localmag import fit  # rarely needed, so rarely imported

    unfit = {(p.backend, p.build.quant) for p in fit.plans(meant.model, machine()) if not p.fits}
    return set(meant.here) - {backend for backend, quant in meant.builds if (backend, quant) not in unfit}


def _machine() -> Machine:
    from localmag.engines import devices
    from localmag.store import cache

    return devices.machine(cache.root())
