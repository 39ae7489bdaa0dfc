"""The packages that a logged model needs, with the versions that are installed."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

_SERVED_WITH: Final = ("mlflow", "pandas")
_IF_INSTALLED: Final = ("av",)
# torch names their exact versions itself, which differ between its builds.
_OF_TORCH: Final = ("nvidia-", "cuda-", "triton")


def pinned_requirements(more: Sequence[str] = ()) -> list[str]:
    """Return `name==version` of all that `pip install audiocls` installs, and of MLflow, pandas and the decoders.

    audiocls itself comes as code with the model.

    Args:
        more: Packages that this model needs as well, if they are installed.
    """
    closure = _closure(distribution("audiocls"))
    for name in (*_SERVED_WITH, *_IF_INSTALLED, *more):
        try:
            closure.setdefault(name, distribution(name))
        except PackageNotFoundError:
            if name in _SERVED_WITH:
                raise
    chosen = {name: each for name, each in closure.items() if not name.startswith(_OF_TORCH)}
    # Of torch 2.13.0+cpu an index has 2.13.0.
    return [f"{name}=={Version(each.version).public}" for name, each in sorted(chosen.items())]


def _closure(root: Distribution) -> dict[str, Distribution]:
    """Return all distributions that one requires, and that these require."""
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()
    waiting = _required(root, "")
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        found.setdefault(name, distribution(requirement.name))
        for extra in {"", *requirement.extras}:
            if (name, extra) not in seen:
                seen.add((name, extra))
                waiting += _required(found[name], extra)
    return found


def _required(of: Distribution, extra: str) -> list[Requirement]:
    every = (Requirement(text) for text in of.requires or [])
    return [each for each in every if each.marker is None or each.marker.evaluate({"extra": extra})]
