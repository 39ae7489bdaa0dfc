"""Change 5 % of the labels of training and test, train, and measure how many of them the ranked list finds.

    python benchmarks/corpora.py data phrases
    OMP_NUM_THREADS=1 python benchmarks/label_errors.py --workspace /tmp/label_errors

The changed labels are drawn by `--seed`, and each becomes another class at random. Validation keeps its labels.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from preparation import prepare

from audiocls.balance.selection import balance
from audiocls.evaluation.label_errors import confident_learning, judge_held_out, judge_training
from audiocls.evaluation.out_of_fold import out_of_fold
from audiocls.evaluation.scoring import evaluate
from audiocls.features.embeddings import embed_clips
from audiocls.models.families import labels_of, load_model
from audiocls.params_file.reading import load_params
from audiocls.splits.prepared_data import PreparedData
from audiocls.training.run import fit

CHANGED = 0.05


def plant(corpus: Path, seed: int, target: Path) -> pd.DataFrame:
    """Write the table of the corpus with changed labels; return it with `wrong`."""
    table, rng = pd.read_csv(corpus / "manifest.csv"), np.random.default_rng(seed)
    names = sorted(table["label"].unique())
    rows = np.flatnonzero(table["split"].isin(["train", "test"]))
    chosen = rng.choice(rows, round(CHANGED * len(rows)), replace=False)
    table["wrong"] = np.isin(np.arange(len(table)), chosen)
    others = [rng.choice([name for name in names if name != label]) for label in table.loc[chosen, "label"]]
    table.loc[chosen, "label"] = others
    table["path"] = [str((corpus / path).resolve()) for path in table["path"]]
    target.parent.mkdir(parents=True, exist_ok=True)
    table.drop(columns="wrong").to_csv(target, index=False)
    return table


def found(judged: pd.DataFrame) -> dict[str, Any]:
    """Return precision and recall of the clips called wrong, and of the 5 % of the lowest quality."""
    wrong, called = judged["planted"], judged["wrong"]
    lowest = judged["quality"].rank(method="first") <= round(CHANGED * len(judged))
    return {
        "clips": len(judged),
        "planted": int(wrong.sum()),
        "called_wrong": int(called.sum()),
        **rates("called", wrong, called),
        **rates("at_5_percent", wrong, lowest),
    }


def rates(name: str, wrong: pd.Series, chosen: pd.Series) -> dict[str, float]:
    hits = int((wrong & chosen).sum())
    return {
        f"{name}_precision": round(hits / max(int(chosen.sum()), 1), 3),
        f"{name}_recall": round(hits / max(int(wrong.sum()), 1), 3),
    }


def with_embeddings(clips: pd.DataFrame, labels: list[str], data: PreparedData, model_folder: Path) -> float:
    """Return the recall among as many training clips, by heads on the embeddings of the model that trained on them."""
    model, extractor = load_model(model_folder)
    vectors = embed_clips(model, extractor, clips, data)
    rows, probabilities = out_of_fold(clips, vectors, labels, data.params.seed)
    targets = clips["label"].map({name: i for i, name in enumerate(labels)}).to_numpy()[rows]
    called = confident_learning(targets, probabilities)[1]
    planted = clips["planted"].to_numpy()[rows]
    return round(float((called & planted).sum() / planted.sum()), 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, default=Path("data/phrases"))
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=17)
    options = parser.parse_args()
    manifest = options.workspace / "manifest.csv"
    planted = plant(options.corpus, options.seed, manifest).set_index("path")["wrong"]
    overrides = [f"data.path={manifest}", f"workspace={options.workspace}", "evaluation.robustness_clips=0"]
    data = prepare(load_params(Path("params/phrases.yaml"), overrides))
    balanced = balance(data.split_clips, data.params.balance, data.params.seed, options.workspace)
    model = fit(data, balanced, options.workspace / "run", lambda metrics, step: None)
    evaluation = evaluate(model.folder, data, options.workspace / "run" / "evaluation")
    table = pd.read_parquet(data.split_clips)
    table["planted"] = table["path"].map(planted)
    labels = labels_of(load_model(model.folder)[0])
    training = table[table["split"] == "train"]
    start = time.process_time()
    judged = pd.concat(
        [
            judge_held_out(pd.read_parquet(evaluation.folder / "predictions.parquet"), labels),
            judge_training(training, labels, data),
        ]
    )
    seconds = time.process_time() - start
    judged["planted"] = judged["clip_id"].map(table.set_index("clip_id")["planted"]).astype(bool)
    facts = {"of_training_and_test": found(judged[judged["split"] != "validation"])}
    facts |= {str(split): found(rows) for split, rows in judged.groupby("split")}
    recall = with_embeddings(training, labels, data, model.folder)
    print(json.dumps(facts | {"cpu_seconds": round(seconds, 1), "train_called_recall_by_embeddings": recall}))


if __name__ == "__main__":
    main()
