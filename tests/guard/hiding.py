"""Packages that are installed here, and are not as far as a Python process can tell."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import Distribution, DistributionFinder, MetadataPathFinder
from types import ModuleType


def hide(modules: Iterable[str]) -> None:
    """Hide top-level modules, and the distributions that they come from (llama_cpp: llama-cpp-python).

    What looks for files does not find theirs, which is what a machine without them looks like: no import is
    made to fail that somebody could catch as another error.
    """
    names = frozenset(modules)
    sys.meta_path[sys.meta_path.index(PathFinder)] = _Finder(names)


class _Finder(MetadataPathFinder):
    def __init__(self, hidden: frozenset[str]) -> None:
        self._hidden = hidden

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return None if name.partition(".")[0] in self._hidden else PathFinder.find_spec(name, path, target)

    def find_distributions(  # type: ignore[override]  # a static method there
        self, context: DistributionFinder.Context | None = None
    ) -> Iterator[Distribution]:
        for found in PathFinder.find_distributions(context or DistributionFinder.Context()):
            name = (found.metadata["Name"] or "").lower().replace("-", "_").removesuffix("_python")
            if name not in self._hidden:
                yield found

    def invalidate_caches(self) -> None:  # type: ignore[override]  # a class method there
        PathFinder.invalidate_caches()
