"""Names of params, metrics and experiments in the form that MLflow accepts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

# MLflow's limit is 250; the rest is for suffixes that make names unique.
_LONGEST_NAME: Final = 240


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Flatten nested params to `section.key` and text, e.g. {"training.epochs": "10.0"}."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = json.dumps(value) if isinstance(value, (dict, list)) else str(value)
    return flat


def fit_names(names: Iterable[str]) -> dict[str, str]:
    """Map each name to a unique one that MLflow accepts."""
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
    """Convert a name to one that MLflow accepts and that, as a path, stays inside its folder."""
    parts = re.sub(r"[^\w\-. :/]", "_", name)[:_LONGEST_NAME].split("/")
    return "/".join("_" if part in ("", ".", "..") else part for part in parts)
