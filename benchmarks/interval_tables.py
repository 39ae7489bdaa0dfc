"""Print the tables of `docs/intervals.md` from what `benchmarks/intervals.py` measured.

python benchmarks/interval_tables.py coverage.jsonl
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from audiocls.metrics.intervals import FEWEST_GROUPS, FEWEST_SEEDS

COUNTED = ("accuracy", "f1_macro", "balanced_accuracy")
KINDS = {"gain": "The difference of two equal systems", "level": "One system"}


def by_cell(lines: Path) -> pd.DataFrame:
    """Return one row per corpus, spread, metric and kind: its coverage in percent."""
    wide = pd.read_json(lines, lines=True)
    keys = ["groups", "seeds", "corpus", "seed_spread"]
    cells = wide.drop(columns="f1_macro_gain_bootstrap", errors="ignore").melt(keys, value_name="covered").dropna()
    cells[["metric", "kind"]] = cells["variable"].str.rsplit("_", n=1).to_list()
    return cells.assign(covered=100 * cells["covered"])


def by_groups_and_seeds(cells: pd.DataFrame) -> list[str]:
    """Return a table of the mean and the range, one row per number of groups."""
    seeds = sorted(cells["seeds"].unique())
    rows = [f"| groups | {' | '.join('1 seed' if each == 1 else f'{each} seeds' for each in seeds)} |"]
    rows.append("|" + "---|" * (len(seeds) + 1))
    for num_groups, of_groups in cells.groupby("groups"):
        found = of_groups.groupby("seeds")["covered"].agg(["mean", "min", "max"]).round(1)
        rows.append(f"| {num_groups} | " + " | ".join(f"{mean} ({low} to {high})" for mean, low, high in found.values))
        rows[-1] += " |"
    return rows


def by_corpus(cells: pd.DataFrame) -> list[str]:
    """Return a table of the mean by corpus and metric: the difference / one system."""
    found = cells.groupby(["corpus", "metric", "kind"], sort=False)["covered"].mean().round(1).unstack("kind")
    shown = (found["gain"].astype(str) + " / " + found["level"].astype(str)).unstack("metric")
    metrics = [name for name in (*COUNTED, "auroc") if name in shown]
    rows = [f"| corpus | {' | '.join(metrics)} |", "|" + "---|" * (len(metrics) + 1)]
    return rows + [f"| `{name}` | {' | '.join(row)} |" for name, row in shown[metrics].iterrows()]


def outside(cells: pd.DataFrame) -> list[str]:
    """Return a table of the fraction of single cells outside 93 to 97 %, by the number of seeds."""
    rows = ["| seeds | cells | below 93 % | above 97 % | lowest | highest |", "|---|---|---|---|---|---|"]
    for num_seeds, of_seeds in cells.groupby("seeds"):
        covered = of_seeds["covered"]
        below, above = 100 * (covered < 93).mean(), 100 * (covered > 97).mean()
        range_of = f"{covered.min():.1f} | {covered.max():.1f}"
        rows.append(f"| {num_seeds} | {len(covered)} | {below:.1f} % | {above:.1f} % | {range_of} |")
    return rows


def main(file: str) -> None:
    """Print all tables."""
    cells = by_cell(Path(file))
    given = cells[(cells["groups"] >= FEWEST_GROUPS) & ((cells["seeds"] == 1) | (cells["seeds"] >= FEWEST_SEEDS))]
    for title, metrics in (("accuracy, macro-F1, balanced accuracy", COUNTED), ("AUROC", ("auroc",))):
        of_metrics, of_given = (each[each["metric"].isin(metrics)] for each in (cells, given))
        if of_metrics.empty:
            continue
        for kind, name in KINDS.items():
            print(f"{name}, {title}:", "", *by_groups_and_seeds(of_metrics[of_metrics["kind"] == kind]), "", sep="\n")
        print(f"By corpus, {title}:", "", *by_corpus(of_given), "", sep="\n")
        print(f"Outside 93 to 97 %, {title}:", "", *outside(of_given), "", sep="\n")


if __name__ == "__main__":
    main(sys.argv[1])
