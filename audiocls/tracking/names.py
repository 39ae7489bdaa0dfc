"""Names of params, metrics and experiments in the form that MLflow takes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

# MLflow's limit is 250; the rest is for what keeps two names apart.
_LONGEST_NAME: Final = 240


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Write nested params as `section.key` to text, e.g. {"training.epochs": "10.0"}."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = json.dumps(value) if isinstance(value, (dict, list)) else str(value)
    return flat


def fit_names(names: Iterable[str]) -> dict[str, str]:
    """Return for each name one that MLflow takes, all of them different."""
    fit: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        candidate = safe(name)
        while candidate in taken:
            candidate += "_"
        taken.add(candidate)
        fit[name] = candidate
    return fit


def safe(name: str) -> str:
    """Make a name one that MLflow takes, and that as a path stays below where it starts."""
    parts = re.sub(r"[^\w\-. :/]", "_", name)[:_LONGEST_NAME].split("/")
    return "/".join("_" if part in ("", ".", "..") else part for part in parts)
