#!/usr/bin/env python3
"""Measure the overhead of the command line outside the stages of a flow, for this checkout and another one.

    python benchmarks/start.py [--before CHECKOUT] [--repeats 3] [--params params/quickstart.yaml] [--folder DIR]

Alternates between the checkouts, and runs the help, a misspelled key, and a training with the params file, whose corpus
is decoded before the measurement. Prints one JSON line with the medians in seconds, for each checkout:

- `help` and `mistake`: CPU time, and wall-clock time (`_wall`);
- `begin`: CPU and wall-clock time until the flow begins;
- `checked`: the same until the end of the first stage that Prefect reports, including its imports;
- `total`: of the training, including the CPU time of its server;
- `outside`: wall-clock time outside of the stages in the training's JSON. Imports within a stage belong to the stage;
  opening the MLflow run counts as outside if it is not a stage.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

HOME = Path(__file__).resolve().parents[1]
TICKS = os.sysconf("SC_CLK_TCK")
OVERRIDES = ("training.epochs=1",)


def main() -> None:
    """Measure both checkouts in turn, so that whatever else the machine does slows both."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--before", type=Path, metavar="CHECKOUT", help="another checkout to compare with")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--params", default="params/quickstart.yaml")
    parser.add_argument("--folder", type=Path, help="workspaces and Prefect's folders; default: one for this run")
    arguments = parser.parse_args()
    checkouts = {"after": HOME} | ({"before": arguments.before.resolve()} if arguments.before else {})
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        seconds: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in checkouts}
        for name, checkout in checkouts.items():
            train(checkout, arguments.params, folder / name)
        for _ in range(arguments.repeats):
            for name, checkout in checkouts.items():
                for measure, value in measure_once(checkout, arguments.params, folder / name).items():
                    seconds[name][measure].append(value)
    medians = {n: {m: round(statistics.median(v), 2) for m, v in found.items()} for n, found in seconds.items()}
    sys.stdout.write(json.dumps({"repeats": arguments.repeats, "cores": os.cpu_count(), **medians}) + "\n")


def measure_once(checkout: Path, params: str, folder: Path) -> dict[str, float]:
    """Measure one checkout once."""
    found = {}
    for name, arguments in (("help", ["--help"]), ("mistake", [params, "training.epoch=3"])):
        found[name], found[f"{name}_wall"] = cost(checkout, arguments, folder)
    return found | train(checkout, params, folder)


def cost(checkout: Path, arguments: list[str], folder: Path) -> tuple[float, float]:
    """Return the processor's and the clock's seconds of a command that ends at once."""
    before, start = children_seconds(), time.perf_counter()
    subprocess.run(command(checkout, arguments), cwd=checkout, env=environment(checkout, folder), capture_output=True)
    return children_seconds() - before, time.perf_counter() - start


def train(checkout: Path, params: str, folder: Path) -> dict[str, float]:
    """Train, and note when the flow begins and when its first stage is over."""
    arguments = [params, f"workspace={folder / 'workspace'}", *OVERRIDES]
    found, said, before, start = {}, [], children_seconds(), time.perf_counter()
    with subprocess.Popen(
        command(checkout, arguments), cwd=checkout, env=environment(checkout, folder), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout
        assert process.stderr
        for line in process.stderr:
            said.append(line)
            for name, sign in (("begin", "Beginning flow run"), ("checked", "Task run ")):
                if sign in line and name not in found:
                    found[name], found[f"{name}_wall"] = own_seconds(process.pid), time.perf_counter() - start
        printed = process.stdout.read()
    if process.returncode:
        raise SystemExit(f"{checkout}: the training failed:\n{''.join(said)}")
    found["total"], found["total_wall"] = children_seconds() - before, time.perf_counter() - start
    stages = sum(json.loads(printed.splitlines()[-1])["seconds"].values())
    return found | {"outside_wall": found["total_wall"] - stages}


def command(checkout: Path, arguments: list[str]) -> list[str]:
    """Return the command of a checkout: `audiocls train`, or what there was before it."""
    module = ["flows.cli", "train"] if (checkout / "flows" / "cli.py").exists() else ["flows.train"]
    return [sys.executable, "-m", *module, *arguments]


def environment(checkout: Path, folder: Path) -> dict[str, str]:
    """Return this process's variables with a Prefect server and a checkout of its own."""
    own = {"PYTHONPATH": str(checkout), "PREFECT_HOME": str(folder / "prefect"), "HF_HUB_OFFLINE": "1"}
    return {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"} | own


def children_seconds() -> float:
    """Return the processor's seconds of all child processes that have ended, and of theirs that they waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def own_seconds(pid: int) -> float:
    """Return the processor's seconds of a process that runs, without its children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


if __name__ == "__main__":
    main()
