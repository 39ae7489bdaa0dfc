"""How names are spelled: composed or decomposed letters, characters that cannot be seen, and names that look alike."""

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
# Not behind a point, so that v1.05 and v1.5 stay two names.
_LEADING_ZEROS: Final = re.compile(r"(?<![0-9.,])0+(?=[0-9])")
_WITHOUT_SELECTORS: Final = dict.fromkeys(map(ord, "\ufe0e\ufe0f"))  # which choose between two pictures of a letter


def composed(text: str) -> str:
    """Return a text in NFC: é as one letter, where macOS and some editors write e and an accent."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def spelled_on_disk(path: str) -> str:
    """Return a local path as the disk spells it, each name composed or decomposed; as given where it leads nowhere."""
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
    """Find the names that differ in case, white space, invisible characters, leading zeros, or as 1 and 1.0 alone.

    Returns:
        Sets of two or more names, sorted.
    """
    alike: defaultdict[str, set[str]] = defaultdict(set)
    for name in names:
        alike[_as_seen(name)].add(name)
    return sorted(tuple(sorted(found)) for found in alike.values() if len(found) > 1)


def hides_characters(name: str) -> bool:
    """Say whether a name holds what cannot be seen: a control or zero-width character, or an odd space."""
    return not name.isprintable()


def _as_seen(name: str) -> str:
    """Return what a reader takes a name for."""
    seen = name
    if not name.isprintable():
        seen = "".join(c for c in name if c.isspace() or unicodedata.category(c) not in ("Cf", "Cc"))
    seen = composed(" ".join(seen.translate(_WITHOUT_SELECTORS).split()).casefold())
    if _NUMBER.fullmatch(seen):
        return str(Decimal(seen).normalize())
    return _LEADING_ZEROS.sub("", seen)
