"""Unicode forms of names (composed or decomposed), invisible characters, and names that look alike."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Final

_NUMBER: Final = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?")
# Not after a decimal point, so that v1.05 and v1.5 remain different names.
_LEADING_ZEROS: Final = re.compile(r"(?<![0-9.,])0+(?=[0-9])")
_WITHOUT_SELECTORS: Final = dict.fromkeys(map(ord, "\ufe0e\ufe0f"))  # they select the text or emoji form of a character


def composed(text: str) -> str:
    """Normalize a text to NFC: é as one character, not e and an accent as on macOS and in some editors."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def spelled_on_disk(path: str) -> str:
    """Return a local path in the form that the disk uses, NFC or NFD for each name; unchanged if it does not exist."""
    if path.isascii() or os.path.lexists(path):
        return path
    parts = Path(path).parts
    found = Path()
    for part in parts:
        forms = (part, *(unicodedata.normalize(form, part) for form in ("NFC", "NFD")))
        known = next((form for form in forms if os.path.lexists(found / form)), None)
        if known is None:
            return path
        found /= known
    return str(found)


def look_alikes(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Find names that differ only in case, white space, invisible characters, leading zeros, or as 1 and 1.0.

    Returns:
        Sets of two or more names, sorted.
    """
    alike: defaultdict[str, set[str]] = defaultdict(set)
    for name in names:
        alike[_as_seen(name)].add(name)
    return sorted(tuple(sorted(found)) for found in alike.values() if len(found) > 1)


def hides_characters(name: str) -> bool:
    """Return whether a name contains control or zero-width characters, or unusual spaces."""
    return not name.isprintable()


def _as_seen(name: str) -> str:
    """Reduce a name to what a reader distinguishes."""
    seen = name
    if not name.isprintable():
        seen = "".join(c for c in name if c.isspace() or unicodedata.category(c) not in ("Cf", "Cc"))
    seen = composed(" ".join(seen.translate(_WITHOUT_SELECTORS).split()).casefold())
    if _NUMBER.fullmatch(seen):
        return str(Decimal(seen).normalize())
    return _LEADING_ZEROS.sub("", seen)
