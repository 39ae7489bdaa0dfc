"""Finished runs side by side on the same test clips: what differs, by how much, and on which clips."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd

from audiocls.comparison.paired import Compared, as_numbers
from audiocls.comparison.run_answers import RunAnswers, read_runs
from audiocls.comparison.run_facts import Facts, changed_cells, count_flips, gather_facts
from audiocls.comparison.run_page import render_page
from audiocls.comparison.run_summary import summarise_runs
from audiocls.errors import ParamsError
from audiocls.files import replacing, write_table

FEWEST_RUNS: Final = 2


@dataclass(frozen=True, slots=True)
class RunComparison:
    """The result of a comparison of runs; `verdicts` are those of macro-F1, or of mAP, against the first run."""

    runs: list[str]
    clips: int
    groups: int
    metric: str
    differences: list[dict[str, Any]]
    flips: list[dict[str, int]]
    folder: Path
    summary: str


def compare_runs(asked: Sequence[str], workspace: Path, uri: str, out: Path | None = None) -> RunComparison:
    """Compare runs with the first of them, and write the result.

    Args:
        asked: Of each run its folder, its id, the beginning of its id, or its name.
        workspace: Whose `runs` are looked at first.
        uri: Of the MLflow store that knows the runs.
        out: Gets `comparison.html`, `comparison.json`, `flipped.csv` and `flipped.parquet`; None: a folder in the
            workspace, named by the runs.

    Raises:
        ParamsError: There are fewer than two runs, or there is no such run.
        DataError: The runs have no test clip in common.
    """
    if len(asked) < FEWEST_RUNS:
        raise ParamsError("compare: name two or more runs: audiocls compare RUN RUN.")
    with tempfile.TemporaryDirectory(prefix="compared-") as scratch:
        runs = read_runs(asked, workspace, uri, Path(scratch))
    facts = gather_facts(runs)
    folder = out or workspace / "comparisons" / _digest(runs)
    write_comparison(facts, folder)
    leading = facts.metrics[0]
    return RunComparison(
        runs=[run.run_id or run.asked for run in runs],
        clips=len(facts.common.clips),
        groups=facts.num_groups,
        metric=leading.metric,
        differences=[
            as_numbers(gain) | {"verdict": verdict}
            for gain, verdict in zip(leading.differences, leading.verdicts, strict=True)
        ],
        flips=[count_flips(table) for table in facts.flips],
        folder=folder,
        summary=summarise_runs(facts, folder),
    )


def _digest(runs: Sequence[RunAnswers]) -> str:
    return hashlib.sha256("\n".join(run.run_id or run.asked for run in runs).encode()).hexdigest()[:12]


def write_comparison(facts: Facts, folder: Path) -> None:
    """Write the page, the JSON and the tables of flipped clips."""
    folder.mkdir(parents=True, exist_ok=True)
    tables = zip(facts.names[1:], facts.flips, strict=True)
    flips = pd.concat([table.assign(run=name) for name, table in tables], ignore_index=True)
    flips = flips[["run", *flips.columns[:-1]]]
    write_table(flips, folder / "flipped.parquet")
    with replacing(folder / "flipped.csv") as part:
        flips.to_csv(part, index=False)
    with replacing(folder / "comparison.json") as part:
        part.write_text(json.dumps(as_json(facts), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    with replacing(folder / "comparison.html") as part:
        part.write_text(render_page(facts), encoding="utf-8")


def as_json(facts: Facts) -> dict[str, Any]:
    """Return all of a comparison but the flipped clips, ready for JSON."""
    common = facts.common
    return {
        "runs": [
            {"run": letter, "asked": run.asked, "run_id": run.run_id, "name": run.name}
            | {"test_clips": len(run.clips), "only": only}
            for letter, run, only in zip(facts.names, facts.runs, common.only, strict=True)
        ],
        "clips": {
            "common": len(common.clips),
            "groups": facts.num_groups,
            "relabelled": common.relabelled,
            "replaced": common.replaced,
        },
        "differences": common.differences,
        "params": facts.params,
        "metrics": [_compared(each) for each in facts.metrics],
        "classes": [
            {"label": each.label, "clips": each.clips, "groups": each.groups}
            | {"metrics": [_compared(one) for one in each.metrics]}
            for each in facts.classes
        ],
        "confusion": [
            {"run": name, "cells": changed_cells(facts.confusions[0], counts)}
            for name, counts in zip(facts.names[1:], facts.confusions[1:], strict=False)
        ],
        "flips": [{"run": name} | count_flips(table) for name, table in zip(facts.names[1:], facts.flips, strict=True)],
    }


def _compared(each: Compared) -> dict[str, Any]:
    gains = zip(each.differences, each.verdicts, strict=True)
    return {
        "metric": each.metric,
        "runs": [as_numbers(score) for score in each.scores],
        "differences": [as_numbers(gain) | {"verdict": verdict} for gain, verdict in gains],
    }
