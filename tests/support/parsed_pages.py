"""HTML as a browser's parser sees it: elements with attributes and text."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

_VOID = {"meta", "img", "input", "br", "link"}


@dataclass(eq=False)
class Element:
    """An element; `text` is that of all elements in it."""

    tag: str
    attributes: dict[str, str | None]
    inside: tuple[Element, ...]
    parts: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return " ".join("".join(self.parts).split())


class ParsedPage(HTMLParser):
    """The elements of a page, in their order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self._open: list[Element] = []
        self.feed(html)
        assert not self._open, f"not closed: {[each.tag for each in self._open]}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, dict(attrs), tuple(self._open))
        self.elements.append(element)
        self.handle_data(" ")
        if tag not in _VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, dict(attrs), tuple(self._open)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.parts.append(data)

    def all(self, tag: str, **attributes: str) -> list[Element]:
        """Return the elements with a tag and attributes."""
        return [
            each
            for each in self.elements
            if each.tag == tag and attributes.items() <= {k: v or "" for k, v in each.attributes.items()}.items()
        ]

    def section(self, name: str) -> str:
        """Return the text of a section."""
        (found,) = self.all("section", id=name)
        return found.text

    def rows(self, section: str) -> list[list[str]]:
        """Return the cells of the body rows of a section's tables."""
        rows: dict[Element, list[str]] = {}
        for cell in self.elements:
            around = {each.tag: each for each in cell.inside}
            if (
                cell.tag in ("td", "th")
                and "tbody" in around
                and around.get("section", cell).attributes["id"] == section
            ):
                rows.setdefault(around["tr"], []).append(cell.text)
        return [*rows.values()]

    def data(self, name: str) -> Any:
        """Return the JSON of a script element."""
        (found,) = self.all("script", id=name)
        return json.loads("".join(found.parts))
