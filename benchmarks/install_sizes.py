#!/usr/bin/env python3
"""Measure the two sizes of installation: megabytes on disk, distributions, and seconds to install.

    python benchmarks/install_sizes.py [--folder FOLDER]

Builds the wheel, and installs it with pip and constraints.txt into a new virtual environment for each size: small is
`audiocls`, which loads a model and classifies recordings, and pipeline is `audiocls[pipeline]`, which trains one.
Megabytes are of the installed files, without bytecode. Seconds are wall-clock time, and depend on the network and on
pip's cache, which the first size fills for the second. Prints a JSON line.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from typing import Any

HOME = Path(__file__).resolve().parents[1]
SIZES = {"small": "", "pipeline": "[pipeline]"}


def build_wheel(folder: Path) -> Path:
    pip(sys.executable, "wheel", "--no-deps", "--wheel-dir", str(folder), str(HOME))
    (wheel,) = folder.glob("*.whl")
    return wheel


def measure(wheel: Path, extras: str, folder: Path) -> dict[str, Any]:
    """Install into a new environment in `folder`."""
    venv.create(folder, with_pip=True)
    python, before = folder / "bin" / "python", size_mb(folder)
    present = distributions(python)
    start = time.perf_counter()
    requirement = f"audiocls{extras} @ {wheel.as_uri()}"
    pip(python, "install", "--no-compile", "--constraint", str(HOME / "constraints.txt"), requirement)
    seconds = time.perf_counter() - start
    return {
        "mb": round(size_mb(folder) - before),
        "distributions": len(distributions(python) - present),
        "seconds": round(seconds),
    }


def pip(python: str | Path, *arguments: str) -> str:
    command = [python, "-m", "pip", "--disable-pip-version-check", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def distributions(python: Path) -> set[str]:
    return {found["name"] for found in json.loads(pip(python, "list", "--format", "json"))}


def size_mb(folder: Path) -> float:
    files = (path for path in folder.rglob("*") if "__pycache__" not in path.parts and not path.is_symlink())
    return sum(path.stat().st_size for path in files if path.is_file()) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, help="where the environments are left; none: removed")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        wheel = build_wheel(Path(temporary) / "wheel")
        sizes = {name: measure(wheel, extras, folder / name) for name, extras in SIZES.items()}
    print(json.dumps(sizes))


if __name__ == "__main__":
    main()
