"""Compare balance methods on long-tailed recordings with training without balancing.

    OMP_NUM_THREADS=1 python benchmarks/long_tail.py WORKSPACE [even] [sample] [letters]

even     Spoken digits of 400 synthetic voices, 100 : 1 in training and validation, and balanced in test, as in the
         long-tailed CIFAR of Cui et al. 2019 (arXiv:1901.05555): test has enough clips of the rare classes to
         distinguish the methods. Five seeds, each with a model without balancing and one per end-to-end method.
sample   The same digits with a test split as long-tailed as training, five seeds.
letters  Spoken letters in 20 languages, unmodified (`make letters`), one model and heads with five seeds.

Runs the steps of `balance-flow` without Prefect and MLflow. Prints one JSON line per corpus, which includes the
table of docs/benchmarks.md in Markdown.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from preparation import prepare

from audiocls.comparison.methods import compare, plan_trainings, train_candidate
from audiocls.params.run import RunParams
from audiocls.sources.sample import build_sample_corpus, class_counts

# As the quickstart.
TRAINING = {
    "batch_size": 32, "learning_rate": 3.0e-3, "schedule": "cosine", "weight_decay": 0.05,
    "best_metric": "loss",
}  # fmt: skip
EVEN_CLIPS = 12_000
VOICES = {"train": 130, "validation": 130, "test": 140}
TAIL_CLIPS, TAIL_RATIO = 800, 100.0  # of training and of validation
CORPORA = {
    "even": {
        "audio": {"max_seconds": 1.0},
        # Two voices of one synthesiser may sound alike: one pair is found, and neither is a copy of the other.
        "split": {"near_duplicates": "ignore"},
        "comparison": {"seeds": 5, "end_to_end": ["weighted_loss", "logit_adjusted", "ldam"]},
        "training": TRAINING | {"epochs": 10},
    },
    "sample": {
        "data": {"source": "sample", "clips": 8_000, "voices": 400, "imbalance_ratio": 100.0},
        "audio": {"max_seconds": 1.0},
        "split": {"test_fraction": 0.65, "validation_fraction": 0.2},
        "comparison": {"seeds": 5, "end_to_end": ["weighted_loss"]},
        "training": TRAINING | {"epochs": 6},
    },
    "letters": {
        "data": {"source": "table", "path": "data/letters/manifest.csv", "group_column": "group"},
        "audio": {"max_seconds": 2.0},
        "split": {"test_fraction": 0.3, "validation_fraction": 0.2, "near_duplicates": "move"},
        "comparison": {"seeds": 5},
        "training": TRAINING | {"epochs": 10},
    },
}


def main(arguments: list[str]) -> int:
    """Measure the corpora that are named, or all that are here."""
    if not arguments or arguments[0].startswith("-") or not set(arguments[1:]) <= set(CORPORA):
        sys.stderr.write(f"usage: long_tail.py WORKSPACE {' '.join(f'[{name}]' for name in CORPORA)}\n")
        return 2
    for name in arguments[1:] or CORPORA:
        if name == "letters" and not Path("data/letters/manifest.csv").exists():
            sys.stderr.write("SKIPPED: letters are not here; `make letters` fetches them (Debian and Ubuntu).\n")
            continue
        print(json.dumps(measure(name, Path(arguments[0]))), flush=True)
    return 0


def measure(name: str, workspace: Path) -> dict[str, object]:
    """Train and compare on one corpus."""
    start, start_cpu = time.perf_counter(), time.process_time()
    data = {"data": long_tailed_training(workspace)} if name == "even" else {}
    params = RunParams.model_validate(CORPORA[name] | data | {"workspace": workspace})
    folder = workspace / "long_tail" / name
    prepared = prepare(params)
    trained = [train_candidate(each, prepared) for each in plan_trainings(params, folder)]
    compared = compare(trained, prepared, folder)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - start_cpu
    scores, clips = pd.read_parquet(compared.folder / "scores.parquet"), pd.read_parquet(prepared.split_clips)
    counts = clips.groupby(["split", "label"]).size().unstack(fill_value=0)
    better = scores.loc[(scores["split"] == "test") & (scores["f1_macro_gain_low"] > 0), "method"].tolist()
    return {
        "corpus": name,
        "better_than_none": better,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu_seconds, 1),
        "clips": {split: row.to_dict() for split, row in counts.iterrows()},
        "groups": clips.groupby("split")["group"].nunique().to_dict(),
        "verdict": compared.verdict,
        "table": markdown_table(scores),
        "scores": scores.round(4).to_dict(orient="records"),
    }


def long_tailed_training(workspace: Path) -> dict[str, object]:
    """Return a table of digits whose test alone has as many clips of each class, and no voice in two splits."""
    all_voices = sum(VOICES.values())
    even = build_sample_corpus(workspace / "even", voices=all_voices, clips=EVEN_CLIPS, imbalance_ratio=1.0, seed=1)
    clips = pd.read_csv(even)
    clips["path"] = [str(even.parent.absolute() / path) for path in clips["path"]]
    voices = np.random.default_rng(1).permutation(clips["group"].unique())
    splits = np.repeat(list(VOICES), list(VOICES.values()))
    clips["split"] = clips["group"].map(dict(zip(voices, splits, strict=True)))
    parts = [clips[clips["split"] == "test"]]
    for split in ("train", "validation"):
        shuffled = clips[clips["split"] == split].sample(frac=1.0, random_state=1)
        for label, count in class_counts(TAIL_CLIPS, TAIL_RATIO).items():
            parts.append(shuffled[shuffled["label"] == label].head(count))
            assert len(parts[-1]) == count, (split, label)
    table = workspace / "even.csv"
    pd.concat(parts).to_csv(table, index=False)
    return {"source": "table", "path": table, "group_column": "group", "split_column": "split"}


def markdown_table(scores: pd.DataFrame) -> str:
    """Return the table of docs/benchmarks.md, as Markdown: test alone, gains over `none` with 95 % intervals."""
    lines = [
        "| method | macro-F1 | over `none` | rarest third, over `none` | most frequent third, over `none` |",
        "|---|---|---|---|---|",
    ]
    for _, row in scores[scores["split"] == "test"].iterrows():
        gains = [
            ""
            if row["method"] == "none"
            else f"{row[f'{metric}_gain']:+.3f} ({row[f'{metric}_gain_low']:+.3f} to {row[f'{metric}_gain_high']:+.3f})"
            for metric in ("f1_macro", "f1_rarest_third", "f1_most_frequent_third")
        ]
        level = f"{row['f1_macro']:.3f} ({row['f1_macro_low']:.3f} to {row['f1_macro_high']:.3f})"
        lines.append(f"| {' | '.join([row['method'], level, *gains])} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
