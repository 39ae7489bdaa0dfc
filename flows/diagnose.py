"""Say what is wrong with a finished run: `audiocls diagnose RUN`."""

from __future__ import annotations

from pathlib import Path

from audiocls.errors import ParamsError
from flows.command_line import print_result


def diagnose_command(run: str, workspace: Path) -> None:
    """Diagnose a run by what its folder keeps, and print the findings.

    Raises:
        ParamsError: There is no such run.
        DataError: The run was not measured.
    """
    folder = _find(run, workspace)
    from audiocls.diagnosis import diagnose_again  # imported late: it loads torch, and mistakes are reported before

    found = diagnose_again(folder)
    print_result({"run": str(folder), **found.described(), "summary": found.markdown})


def _find(run: str, workspace: Path) -> Path:
    """Return the run's folder, of its path or its id."""
    for folder in (Path(run), workspace / "runs" / run):
        if (folder / "evaluation").is_dir():
            return folder
    raise ParamsError(
        f"{run}: it is neither the folder of a finished run nor the id of one in {workspace / 'runs'}. Name "
        "workspace/runs/RUN_ID, or give --workspace."
    )
