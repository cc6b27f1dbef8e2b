"""Which files of which repositories a build is made of."""

from __future__ import annotations

from fnmatch import fnmatchcase

from localmag.catalogue import Build, Model
from localmag.errors import NotFound
from localmag.store import cache, hub
from localmag.store.hub import Listing, Remote, Tell
from localmag.store.installed import EXTRAS, TOKENIZER

MLX_CONFIG = "config.json"
"""Without it, an MLX build cannot be loaded."""
MLX_EXTRAS = ("model.safetensors.index.json",)


def of_build(build: Build) -> set[tuple[str, str]]:
    """(repository, name or pattern) of what this build alone needs."""
    config = (MLX_CONFIG, *MLX_EXTRAS) if build.backend == "mlx" else ()
    return {(build.repo, name) for name in (build.file, *config)}


def of_model(model: Model) -> set[tuple[str, str]]:
    """(repository, name or pattern) of what all builds of the model share."""
    images = {found for build in model.builds if (found := mmproj(model, build))}
    return {(model.repo, name) for name in (TOKENIZER, *EXTRAS)} | images


def mmproj(model: Model, build: Build) -> tuple[str, str] | None:
    """(repository, name or pattern) of what encodes images for this build; None if nothing does.

    An MLX build has that among its own weights.
    """
    if not model.vision or not model.mmproj or build.backend == "mlx":
        return None
    return model.mmproj_repo or build.repo, model.mmproj


def listed(model: Model, build: Build, tell: Tell, *, weights: bool = True) -> list[tuple[Listing, Remote]]:
    """What of it the hub has, the weights first.

    Raises what `hub.listing` does, and NotFound, with the names that are there, where that is not enough.
    """
    there = hub.listing(build.repo if weights else model.repo, tell)
    base = there if model.repo == there.repo else hub.listing(model.repo, tell)
    chosen = [(there, f) for f in _weights(there, build)] if weights else []
    chosen += _images(model, build, there, tell) if weights else []
    chosen += [(base, _named(base, TOKENIZER))]
    return chosen + [(base, f) for f in base.files if f.path in EXTRAS]


def _weights(there: Listing, build: Build) -> list[Remote]:
    remotes = {f.path: f for f in there.files}
    if build.backend == "mlx":
        tensors = sorted(name for name in remotes if fnmatchcase(name, build.file))
        if not tensors:
            raise _missing(there, build.file, (".safetensors",))
        config = _named(there, MLX_CONFIG)
        return [remotes[n] for n in tensors] + [config] + [f for f in there.files if f.path in MLX_EXTRAS]
    if chosen := cache.choose(build.file, remotes):
        return [remotes[name] for name in chosen]
    raise _missing(there, build.file, (".gguf",))


def _images(model: Model, build: Build, there: Listing, tell: Tell) -> list[tuple[Listing, Remote]]:
    """What encodes images, from its own publisher. Without it the model still reads text, so that is told."""
    wanted = mmproj(model, build)
    if wanted is None:
        return []
    repo, pattern = wanted
    try:
        listing = there if repo == build.repo else hub.listing(repo, tell)
        remotes = {f.path: f for f in listing.files}
        if not (chosen := cache.choose(pattern, remotes)):
            raise _missing(listing, pattern, (".gguf",))
    except (NotFound, hub.Refused) as exc:
        tell(f"{exc.what} Without it {model.title} reads text only.")
        return []
    return [(listing, remotes[name]) for name in chosen]


def _named(there: Listing, name: str) -> Remote:
    for file in there.files:
        if file.path == name:
            return file
    raise _missing(there, name, (".json", ".txt"))


def _missing(there: Listing, name: str, kinds: tuple[str, ...]) -> NotFound:
    names = [f.path for f in there.files if f.path.endswith(kinds)] or [f.path for f in there.files]
    shown = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
    return NotFound(
        f"{there.repo} has no file {name} (or more than one like it).",
        f"It has {shown}: choose a quant that is there, or name the file in a catalogue of your own.",
    )
