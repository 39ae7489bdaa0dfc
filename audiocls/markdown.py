"""Text that Markdown is to show as it is."""

from __future__ import annotations

import re
from typing import Final

# What Markdown or HTML could take for its own; an underscore inside a word is left, as it is common and harmless.
_MARKUP: Final = re.compile(r"""[&<>"'|\\`*~\[\]]|(?<![^\W_])_|_(?![^\W_])""")


def escaped(text: str) -> str:
    """Keep a text from being read as HTML, as Markdown, or as more than one cell of a table."""
    return _MARKUP.sub(lambda found: f"&#{ord(found[0])};", " ".join(text.split()))
