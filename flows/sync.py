"""Send to MLflow what the runs of a workspace kept: `audiocls sync PARAMS`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from audiocls.errors import ParamsError, TrackingError, counted
from audiocls.files import masked
from flows.command_line import print_result


def sync_command(params_file: Path, overrides: Sequence[str]) -> None:
    """Send everything, report each run on stderr, and print the result.

    Raises:
        ParamsError: There is a mistake in the params file or the arguments.
        TrackingError: Not everything could be sent.
    """
    workspace, uri = _find_workspace(params_file, overrides)
    from audiocls.tracking import sync  # imported late: MLflow takes a second to import

    synced = sync(workspace, uri)
    for run in synced:
        left = f"; {run.unsent:,} kept: {masked(run.reason)}" if run.reason else ""
        sys.stderr.write(f"run {run.run_id}: {counted(run.sent, 'record')} sent{left}\n")
    sent, unsent = sum(run.sent for run in synced), sum(run.unsent for run in synced)
    print_result({"sent": sent, "unsent": unsent, "runs": [asdict(run) for run in synced]})
    failed = sum(run.reason is not None for run in synced)
    if failed:
        raise TrackingError(
            f"{counted(unsent, 'record')} of {counted(failed, 'run')} could not be sent to MLflow. They are kept in "
            f"{workspace / 'runs'}; run this again once the server is back."
        )


def _find_workspace(params_file: Path, overrides: Sequence[str]) -> tuple[Path, str | None]:
    """Return the workspace, and the MLflow store that the params name."""
    if params_file.is_dir():
        if overrides:
            raise ParamsError(f"{params_file}: it is a folder, so there are no params to override: {overrides[0]}")
        if not (params_file / "runs").is_dir():
            raise ParamsError(f"{params_file}: it has no folder `runs`, so it is not a workspace with runs.")
        return params_file, None
    from audiocls.params_file import load_params

    params = load_params(params_file, overrides)
    return params.workspace, params.tracking.uri
