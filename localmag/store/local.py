"""A name → weights on this machine. Opens no socket.

What finds any but the demo is imported when it is needed: it takes a fifth of the time in which the program
starts.
"""

from __future__ import annotations

from collections.abc import Collection

from localmag import catalogue
from localmag.store.installed import Installed, Meant, bundled_as, of_demo


def meant(name: str, quant: str | None = None) -> Meant:
    """What `name` means: a catalogue name (`demo`, `magistral:1.1`, `magistral:Q5_K_M`), a name that
    `localmag list` shows, a GGUF file, or a folder that holds one or an MLX build.

    Raises NotFound if there is no such name, quant or file, BadFile if the file is not a GGUF. Opens no
    socket.
    """
    if name.lower().partition(":")[0] == catalogue.DEMO and catalogue.is_name(name):
        return of_demo(*catalogue.find(name, quant))
    if by_path := bundled_as(name):
        return of_demo(*catalogue.find(catalogue.DEMO, by_path))
    from localmag.store import ready

    return ready.meant(name, quant)


def locate(name: str, quant: str | None = None, backend: str | None = None) -> Installed:
    """The weights that `name` means, the best copy for that backend (or for whichever).

    Raises what `meant` does; NotHere if none are on this machine (saying how to get them), BadFile if they
    are cut short, are not what their name claims, or have a vocabulary other than Tekken; NotFound for an MLX
    build without a tokenizer. Opens no socket.
    """
    return meant(name, quant).ready(backend)


def newest(backends: Collection[str] = ("llama.cpp",)) -> str | None:
    """The name of the catalogue's best model of which one of these backends can run a build that is here;
    None if only the demo can be run.
    """
    from localmag.store import inventory

    for one in inventory.take().all:
        model = one.model
        if not model or model.name == catalogue.DEMO or model.not_yet:
            continue
        ready = one.backend != "mlx" or one.own_tokenizer  # which cannot be rebuilt there
        if one.usable and ready and one.backend in backends:
            return model.aliases[0] if model.aliases else model.name
    return None
