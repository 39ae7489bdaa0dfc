"""Print the Markdown summary of a flow on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from rich.console import Console, ConsoleOptions
from rich.markdown import Markdown, TableElement
from rich.table import Table


class _FoldedTable(TableElement):
    """A table that wraps long names, which rich would truncate."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table]:
        for table in super().__rich_console__(console, options):
            assert isinstance(table, Table)
            for column in table.columns:
                column.overflow = "fold"
            yield table


class _Summary(Markdown):
    elements: ClassVar = Markdown.elements | {"table_open": _FoldedTable}


def print_summary(markdown: str) -> None:
    """Write Markdown to stderr."""
    Console(stderr=True).print(_Summary(markdown))
