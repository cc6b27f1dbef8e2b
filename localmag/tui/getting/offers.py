"""What the user may choose from: each build as it would run here, and what of it is on the disk already."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from localmag import catalogue
from localmag.catalogue import Build, Model
from localmag.config import KVType
from localmag.tui.opening import Opening

GET = "Get a model"
"""What the command palette calls it."""


@dataclass(frozen=True, slots=True)
class Offer:
    """One build of a model. `context` is tokens, `speed` tokens per second when writing; 0: not known.

    `why` says what it takes here, or why it cannot be had, which `lacks` says in brief. `here` is the bytes
    of it on this disk, and `usable` whether that is all of it.
    """

    model: Model
    build: Build
    fits: bool = True
    why: str = ""
    lacks: str = ""
    context: int = 0
    kv_type: str = ""
    where: str = ""
    speed: float = 0.0
    chosen: bool = False
    here: int = 0
    usable: bool = False

    @property
    def name(self) -> str:
        """What the command line calls it."""
        return self.model.called(self.build)

    @property
    def title(self) -> str:
        return f"{self.model.title} {self.build.quant}"

    @property
    def demo(self) -> bool:
        return self.model.name == catalogue.DEMO

    @property
    def bytes(self) -> float:
        """To be downloaded in all, as far as the catalogue knows."""
        return self.build.gigabytes * 1e9


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for on the command line. `model` is a name of the catalogue, "" if none was; `quant` the
    build to begin at; `context` tokens, 0 for what the model's card advises.
    """

    model: str = ""
    quant: str | None = None
    backend: str = "auto"
    context: int = 0
    kv_type: KVType | None = None


@dataclass(frozen=True, slots=True)
class Sight:
    """The machine in one line, what could run on it, and what its owner should know."""

    machine: str
    offers: tuple[Offer, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Models:
    """Where models come from. Both are called in a thread, take their time, and raise LocalmagError."""

    look: Callable[[], Sight]
    opening: Callable[[Offer], Opening]
    """The conversation with a model that is here."""
    wish: Wish = Wish()
    """What `look` was told to look for."""


def demo() -> Offer:
    model, _ = catalogue.find(catalogue.DEMO)
    return Offer(model, model.build(), why="Tiny, and here already: simple arithmetic.", usable=True)


def offline(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the user told every program to leave the hub alone, as huggingface_hub reads it."""
    return any(
        environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE")
        for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    )
