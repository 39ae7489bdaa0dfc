"""The saved model on clips it was not trained on: probabilities, metrics, and the tables and pictures of a report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader
from transformers import PreTrainedModel

from audiocls.atomic import write_table
from audiocls.batches import ClipDataset, Collator
from audiocls.features import map_features
from audiocls.mapped import MappedWaveforms
from audiocls.metrics import confusion, per_class_metrics, summary_metrics
from audiocls.models.families import load_model
from audiocls.params import AudioParams, RunParams
from audiocls.plots import draw_confusion
from audiocls.training import choose_device
from audiocls.windows import CLIP, average_windows, count_windows, cut_into_windows

WINDOWED: Final = "clips_scored_by_windows"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Metrics named `test/...` and `validation/...`, and the folder with their tables and pictures."""

    metrics: dict[str, float]
    folder: Path


def evaluate(
    model_folder: Path, split_clips: Path, store: Path, params: RunParams, folder: Path, features: Path | None = None
) -> Evaluation:
    """Score the saved model on validation and, once, on test.

    Args:
        model_folder: What training saved; it is loaded anew, so that what is scored is what is kept.
        split_clips: The clips table with its splits.
        store: The waveform store.
        params: The whole run's.
        folder: Gets `predictions.parquet`, `classification_report.json` and `.csv`, `confusion_matrix.csv` and `.png`.
        features: The feature store, where there is one.
    """
    table = pd.read_parquet(split_clips)
    model, extractor = load_model(model_folder)
    model.to(choose_device(params.training))
    labels = [model.config.id2label[i] for i in range(model.config.num_labels)]
    metrics: dict[str, float] = {}
    predictions = []
    for split in ("validation", "test"):
        clips = table[table["split"] == split]
        logits = predict(
            model, extractor, clips, store, labels, params.audio, params.training.eval_batch_size, features
        )
        windows = count_windows(clips, params.audio)
        metrics[f"{split}/{WINDOWED}"] = float((windows > 1).sum())
        predictions.append(_predictions(clips, logits, labels, windows))
        targets = clips["label"].map(model.config.label2id).to_numpy(np.int64)
        metrics |= {f"{split}/{name}": value for name, value in summary_metrics(targets, logits.argmax(axis=1)).items()}
        metrics[f"{split}/loss"] = _cross_entropy(logits, targets)
    per_class = _write_test_report(targets, logits.argmax(axis=1), labels, metrics, folder)
    write_table(pd.concat(predictions, ignore_index=True), folder / "predictions.parquet")
    return Evaluation(metrics | per_class, folder)


@torch.inference_mode()
def predict(
    model: PreTrainedModel,
    extractor: Any,
    clips: pd.DataFrame,
    store: Path,
    labels: Sequence[str],
    audio: AudioParams,
    batch_size: int,
    features: Path | None = None,
) -> NDArray[np.float32]:
    """Return the logits of each clip, shape (num_clips, num_classes), averaged over the windows of long ones."""
    windows = cut_into_windows(clips, audio)
    kept = None if features is None else map_features(features, windows, extractor, audio)
    dataset = ClipDataset(windows, MappedWaveforms(windows, store), labels, audio, training=False, features=kept)
    logits = []
    collator = Collator(extractor, audio, leave_to_device=model.device.type != "cpu")
    for batch in DataLoader(dataset, batch_size=batch_size, collate_fn=collator):
        batch.pop("labels")
        inputs = collator.finish({name: tensor.to(model.device) for name, tensor in batch.items()})
        logits.append(model(**inputs).logits.float().cpu().numpy())
    return average_windows(np.concatenate(logits, dtype=np.float32), windows[CLIP].to_numpy(np.int64))


def _predictions(
    clips: pd.DataFrame, logits: NDArray[np.float32], labels: list[str], windows: NDArray[np.int64]
) -> pd.DataFrame:
    probabilities = torch.softmax(torch.from_numpy(logits), dim=1).numpy()
    table = clips[["clip_id", "source", "path", "group", "split", "label"]].reset_index(drop=True)
    table["predicted"] = [labels[i] for i in logits.argmax(axis=1)]
    table["correct"] = table["label"] == table["predicted"]
    table["windows"] = windows
    table["probability"] = probabilities.max(axis=1)
    return table.join(pd.DataFrame(probabilities, columns=[f"probability/{name}" for name in labels]))


def _cross_entropy(logits: NDArray[np.float32], targets: NDArray[np.int64]) -> float:
    return float(torch.nn.functional.cross_entropy(torch.from_numpy(logits), torch.tensor(targets)))


def _write_test_report(
    targets: NDArray[np.int64], predicted: NDArray[np.int64], labels: list[str], metrics: dict[str, float], folder: Path
) -> dict[str, float]:
    """Write tables and pictures of the test split; return precision, recall and F1 of each class."""
    folder.mkdir(parents=True, exist_ok=True)
    per_class = per_class_metrics(targets, predicted, labels)
    per_class.to_csv(folder / "classification_report.csv", index=False)
    summary = {name.removeprefix("test/"): value for name, value in metrics.items() if name.startswith("test/")}
    classes = per_class.replace({np.nan: None}).to_dict(orient="records")
    report = json.dumps({"summary": summary, "classes": classes}, indent=2, ensure_ascii=False)
    (folder / "classification_report.json").write_text(report + "\n", encoding="utf-8")
    counts = confusion(targets, predicted, labels)
    counts.to_csv(folder / "confusion_matrix.csv")
    title = f"test: {len(targets)} clips, macro-F1 {summary['f1_macro']:.3f}"
    draw_confusion(counts, title, folder / "confusion_matrix.png")
    scored = per_class[per_class["clips"] > 0]
    return {
        f"test/{metric}/{row.label}": float(getattr(row, metric))
        for row in scored.itertuples()
        for metric in ("precision", "recall", "f1")
    }
