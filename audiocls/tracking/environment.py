"""The environment of a run: interpreter, machine, packages and the revision of this code."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import torch


def describe_environment() -> dict[str, Any]:
    """Return the interpreter, the machine and every installed package with its version, ready for JSON."""
    packages = {d.metadata["Name"]: d.version for d in distributions() if d.metadata["Name"]}
    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "packages": dict(sorted(packages.items(), key=lambda item: item[0].lower())),
    }


def git_revision() -> tuple[str, bool] | None:
    """Return the commit of this code and whether it has uncommitted changes; None outside of a git repository."""
    here = Path(__file__).parent
    try:
        # If this code is installed inside another project's checkout, that project's commit does not describe it.
        _git(here, "ls-files", "--error-unmatch", Path(__file__).name)
        commit = _git(here, "rev-parse", "HEAD")
        return commit, bool(_git(here, "status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    result = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return result.stdout.strip()
