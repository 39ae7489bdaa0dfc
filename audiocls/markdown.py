"""Escape text so that Markdown shows it unchanged."""

from __future__ import annotations

import re
from typing import Final

# Characters with a meaning in Markdown or HTML, except underscores inside words, which are common and harmless.
_MARKUP: Final = re.compile(r"""[&<>"'|\\`*~\[\]]|(?<![^\W_])_|_(?![^\W_])""")


def escaped(text: str) -> str:
    """Escape a text so that it is not parsed as HTML, as Markdown, or as several table cells."""
    return _MARKUP.sub(lambda found: f"&#{ord(found[0])};", " ".join(text.split()))
