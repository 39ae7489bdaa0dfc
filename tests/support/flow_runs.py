"""Flows that tests run as the command line does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prefect import Flow

from flows import command_line


def run_flow(flow: Flow[..., Any], argv: Sequence[str], **more: Any) -> int:
    """Run a flow on a params file, overrides and further arguments, and return the exit status."""
    return command_line.run_flow(lambda: flow, argv[0], argv[1:], more=more)
