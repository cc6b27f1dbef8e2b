"""A name → weights on this machine. Opens no socket.

What finds any but the demo is imported when it is needed: it takes a fifth of the time in which the program
starts.
"""

from __future__ import annotations

from localmag import catalogue
from localmag.store.installed import Installed, demo


def locate(name: str, quant: str | None = None) -> Installed:
    """The weights that `name` means: a catalogue name (`demo`, `magistral:1.1`, `magistral:Q5_K_M`), a name
    that `localmag list` shows, a GGUF file, or a folder that holds one.

    Raises NotFound if there are none (saying how to get them), BadFile if the file is not a GGUF, is cut
    short, is not what its name claims, or has a vocabulary other than Tekken; RunFailed if it is of a kind
    that localmag cannot run. Opens no socket.
    """
    if name.lower().partition(":")[0] == catalogue.DEMO and catalogue.is_name(name):
        model, named = catalogue.find(name)
        return demo(model, model.build(quant or named))
    from localmag.store import ready

    return ready.locate(name, quant)


def newest() -> str | None:
    """The name of the catalogue's best model whose weights can be used here, None if only the demo can."""
    from localmag.store import inventory

    for one in inventory.take().all:
        if one.model and one.model.name != catalogue.DEMO and one.usable and one.backend != "mlx":
            return one.name
    return None
