"""Compare a model of several labels with a classifier of label sets, and splits with a plain group split.

    OMP_NUM_THREADS=1 python benchmarks/multi_label.py WORKSPACE [--clips N] [--voices N] [--epochs N] [--seeds N ...]
    python benchmarks/multi_label.py WORKSPACE --splits N

The first form trains on the built-in mixtures of digits, on the same split and with the same budget: a model that
scores each label on its own, and a classifier whose classes are the sets of labels that training has. Both answer all
test clips; the probability of a label in the second is the sum over the sets with it. It prints a JSON line for each
seed: mean average precision, label-weighted label-ranking average precision, macro-F1 and exact match of both. In the
second, F1 and exact match are those of the most probable set.

The second form makes N corpora of 40 groups with 50 sets of 12 labels, and prints the mean absolute deviation of the
labels' fractions in the splits from 0.7, 0.15 and 0.15, of ours and of scikit-learn's GroupShuffleSplit.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray
from sklearn.metrics import f1_score
from sklearn.model_selection import GroupShuffleSplit

from audiocls.inference import Classifier
from audiocls.metrics import multi_label_metrics
from audiocls.sources import NO_LABEL, SPLITS, by_label, targets_of
from audiocls.sources.label_sets import with_label_sets
from audiocls.splits.stratification import labels_to_stratify, split_groups

SHARES = np.array([0.7, 0.15, 0.15])


def train(params: dict[str, Any], file: Path) -> dict[str, Any]:
    """Train, and return what the command prints at its end."""
    file.write_text(yaml.safe_dump(params))
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", "train", str(file)], check=True, capture_output=True, text=True
    )
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def compare(asked: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Train both on one split, and score all its test clips."""
    workspace = Path(asked.workspace).absolute()
    workspace.mkdir(parents=True, exist_ok=True)
    common = {
        "workspace": str(workspace),
        "experiment": "multi-label",
        "seed": seed,
        "audio": {"max_seconds": 2.0},
        "training": {
            "epochs": asked.epochs, "batch_size": 32, "learning_rate": 3.0e-3, "schedule": "cosine",
            "weight_decay": 0.05,
        },
    }  # fmt: skip
    data = {"source": "sample", "labels": "multi", "clips": asked.clips, "voices": asked.voices}
    ours = train(common | {"data": data}, workspace / "labels.yaml")
    table = pd.read_parquet(Path(ours["model"]).parent / "evaluation" / "predictions.parquet")
    splits = max((workspace / "splits").glob("*.parquet"), key=lambda file: file.stat().st_mtime)
    clips = pd.read_parquet(splits)
    test = clips[clips["split"] == "test"]
    seen = set(clips.loc[clips["split"] == "train", "label"])
    listed = clips[clips["label"].isin(seen)]
    listed[["path", "label", "group", "split"]].to_csv(workspace / "sets.csv", index=False)
    of_sets = {"source": "table", "path": str(workspace / "sets.csv"), "group_column": "group", "split_column": "split"}
    sets = train(common | {"data": of_sets, "split": {"near_duplicates": "ignore"}}, workspace / "sets.yaml")
    labels = sorted({label for row in clips["labels"] for label in row})
    targets = targets_of(test, labels)
    rows = table[table["split"] == "test"].set_index("clip_id").loc[test["clip_id"]]
    found = np.array([[label in row for label in labels] for row in rows["predicted"]])
    probabilities = rows[[f"probability/{label}" for label in labels]].to_numpy()
    return {
        "seed": seed,
        "clips": len(clips),
        "test_clips": len(test),
        "sets": len(seen),
        "test_clips_of_unseen_sets": int((~test["label"].isin(seen)).sum()),
        "labels": scores(targets, probabilities, found),
        "label_sets": scores(targets, *answers_of_sets(sets["model"], test, labels)),
    }


def answers_of_sets(model: str, test: pd.DataFrame, labels: list[str]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the probability of each label, and whether it is in the most probable set."""
    classifier = Classifier.load(model)
    members = np.array([[label in name.split(" + ") for label in labels] for name in classifier.labels])
    assert all(name == NO_LABEL or row.any() for name, row in zip(classifier.labels, members, strict=True))
    rows = np.array([list(each.probabilities.values()) for each in classifier.predict(test["path"].tolist())])
    return rows @ members, members[rows.argmax(axis=1)]


def scores(targets: NDArray[np.float32], probabilities: NDArray[Any], found: NDArray[np.bool_]) -> dict[str, float]:
    """Return the metrics to compare."""
    ranked = multi_label_metrics(targets, probabilities, np.full(targets.shape[1], 0.5))
    return {
        "map_macro": round(ranked["map_macro"], 4),
        "lwlrap": round(ranked["lwlrap"], 4),
        "f1_macro": round(float(f1_score(targets, found, average="macro", zero_division=0.0)), 4),
        "exact_match": round(float((found == targets).all(axis=1).mean()), 4),
    }


def corpus(seed: int, groups: int = 40, sets: int = 50, labels: int = 12) -> pd.DataFrame:
    """Return clips of groups that have some of 50 sets of none to three of 12 labels; the labels are long-tailed."""
    rng = np.random.default_rng(seed)
    names = np.array([f"label {i}" for i in range(labels)])
    frequency = 10.0 ** -np.linspace(0, 1.2, labels)
    sizes = rng.choice(4, sets, p=[0.05, 0.35, 0.35, 0.25])
    drawn = [rng.choice(names, size, replace=False, p=frequency / frequency.sum()) for size in sizes]
    rows, of = [], []
    for group in range(groups):
        own = rng.choice(sets, 4)
        for number in rng.choice(own, rng.poisson(5) + 1):
            rows.append(drawn[number].tolist())
            of.append(f"group {group}")
    return with_label_sets(pd.DataFrame({"group": of}), rows)


def deviation(clips: pd.DataFrame, made: Any) -> tuple[float, int]:
    """Return the mean absolute deviation of the fractions, and how many labels a split lacks."""
    labelled = by_label(clips.assign(split=made))
    counts = pd.crosstab(labelled["label"], labelled["split"]).reindex(columns=list(SPLITS), fill_value=0)
    fractions = counts.div(counts.sum(axis=1), axis=0)
    return float(np.abs(fractions - SHARES).to_numpy().mean()), int((counts == 0).to_numpy().sum())


def compare_splits(number: int) -> dict[str, Any]:
    """Split corpora in both ways."""
    ours, plain = [], []
    for seed in range(number):
        clips = corpus(seed)
        ours.append(deviation(clips, split_groups(clips["group"], labels_to_stratify(clips), 0.15, 0.15, seed)))
        splitter = GroupShuffleSplit(1, test_size=0.3, random_state=seed)
        _, held_out = next(splitter.split(clips, groups=clips["group"]))
        rest = clips["group"].iloc[held_out]
        validation, test = next(GroupShuffleSplit(1, test_size=0.5, random_state=seed).split(rest, groups=rest))
        made = np.full(len(clips), "train", dtype=object)
        made[held_out[validation]], made[held_out[test]] = "validation", "test"
        plain.append(deviation(clips, made))
    (our_deviation, our_missing), (deviation_of_plain, missing) = np.mean(ours, axis=0), np.mean(plain, axis=0)
    return {
        "corpora": number,
        "deviation": round(our_deviation, 4),
        "deviation_group_shuffle_split": round(deviation_of_plain, 4),
        "missing_labels": round(our_missing, 2),
        "missing_labels_group_shuffle_split": round(missing, 2),
    }


def main(arguments: list[str]) -> int:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description="Several labels a clip.")
    parser.add_argument("workspace")
    parser.add_argument("--clips", type=int, default=4_000)
    parser.add_argument("--voices", type=int, default=240)
    parser.add_argument("--epochs", type=float, default=10.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[17, 18, 19])
    parser.add_argument("--splits", type=int, default=0)
    asked = parser.parse_args(arguments)
    if asked.splits:
        print(json.dumps(compare_splits(asked.splits)))
        return 0
    for seed in asked.seeds:
        print(json.dumps(compare(asked, seed)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
