"""The subcommands of `audiocls` that help to write a params file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from flows.command_line import exit_status

app = typer.Typer()

_SET_UP = "Set up"


@app.command(rich_help_panel=_SET_UP)
def schema() -> None:
    """Print the JSON schema of a params file, for editors that complete and check YAML."""
    from audiocls.params.run import json_schema

    sys.stdout.write(json_schema() + "\n")


@app.command(rich_help_panel=_SET_UP)
def init(
    source: Annotated[
        str, typer.Argument(metavar="FOLDER_OR_TABLE", help="A folder of recordings, or a table with one row per clip.")
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The params file to write.")] = Path("params.yaml"),
) -> None:
    """Inspect a folder or a table of recordings, and write a params file to start from.

    Reports the classes, clips and groups found. An existing file is not overwritten.
    """

    def work() -> None:
        from audiocls.params_file import write_starter

        look = write_starter(source, out)
        said = [*look.seen, f"Wrote {out}. Review it, then run: audiocls train {out}"]
        sys.stdout.write("\n".join(said) + "\n")

    raise typer.Exit(exit_status(work))
