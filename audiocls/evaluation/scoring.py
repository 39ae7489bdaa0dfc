"""Score the saved model on held-out clips: probabilities, metrics, and the tables and plots of a report."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader
from transformers import PreTrainedModel

from audiocls.batches import Collator, WindowAverager, choose_loading, count_windows, cut_into_windows
from audiocls.features import open_clips
from audiocls.files import replacing
from audiocls.metrics import ClipScores, confusion, per_class_metrics
from audiocls.models import labels_of, load_model
from audiocls.plots import draw_confusion
from audiocls.progress import progress_bar
from audiocls.splits import PreparedData
from audiocls.training import choose_device, prepare_model

WINDOWED: Final = "clips_scored_by_windows"
_IDENTITY: Final = ("clip_id", "source", "path", "group", "split", "label")
_ROW_GROUP_CLIPS: Final = 8_192

WritePredictions = Callable[[pd.DataFrame], None]
"""Receives the rows of some clips."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Metrics named `test/...` and `validation/...`, and the folder of their tables and plots."""

    metrics: dict[str, float]
    folder: Path


def evaluate(model_folder: Path, data: PreparedData, folder: Path) -> Evaluation:
    """Score the saved model on validation and, once, on test.

    Args:
        model_folder: The saved model; it is reloaded, so that exactly the saved model is scored.
        data: The run's.
        folder: Gets `predictions.parquet`, `classification_report.json` and `.csv`, `confusion_matrix.csv` and `.png`.
    """
    table, params = pd.read_parquet(data.split_clips), data.params
    model, extractor = load_model(model_folder)
    prepare_model(model, params.training)
    model.to(choose_device(params.training))
    labels = labels_of(model)
    metrics: dict[str, float] = {}
    held_out = {split: table[table["split"] == split] for split in ("validation", "test")}
    with (
        progress_bar("evaluating", sum(map(len, held_out.values()))) as bar,
        _predictions_file(table, labels, folder / "predictions.parquet") as append,
    ):

        def write(rows: pd.DataFrame) -> None:
            append(rows)
            bar.advance(len(rows))

        for split, clips in held_out.items():
            windows = count_windows(clips, params.audio)
            scores = _score(window_logits(model, extractor, clips, data), clips, labels, windows, write)
            metrics[f"{split}/{WINDOWED}"] = float((windows > 1).sum())
            metrics |= {f"{split}/{name}": value for name, value in scores.metrics().items()}
    per_class = _write_test_report(scores.targets, scores.predicted, labels, metrics, folder)
    return Evaluation(metrics | per_class, folder)


def predict(model: PreTrainedModel, extractor: Any, clips: pd.DataFrame, data: PreparedData) -> NDArray[np.float32]:
    """Return the logits of each clip, shape (num_clips, num_classes), averaged over the windows of long clips."""
    averager = WindowAverager(np.repeat(np.arange(len(clips)), count_windows(clips, data.params.audio)))
    return np.concatenate([averager.add(batch) for batch in window_logits(model, extractor, clips, data)])


def window_logits(
    model: PreTrainedModel, extractor: Any, clips: pd.DataFrame, data: PreparedData
) -> Iterator[NDArray[np.float32]]:
    """Yield the logits of the clips' windows in batches, each (windows, num_classes)."""
    audio, batch_size = data.params.audio, data.params.training.eval_batch_size
    dataset = open_clips(cut_into_windows(clips, audio), labels_of(model), extractor, data)
    options = choose_loading(model.device.type).loader_options()
    collator = Collator(extractor, audio, leave_to_device=model.device.type != "cpu")
    for batch in DataLoader(dataset, batch_size=batch_size, collate_fn=collator, **options):
        batch.pop("labels")
        inputs = collator.finish({name: tensor.to(model.device, non_blocking=True) for name, tensor in batch.items()})
        # Not around the loop: the caller's code between batches must not run in inference mode.
        with torch.inference_mode():
            logits = model(**inputs).logits
        yield logits.float().cpu().numpy()


def _score(
    logits: Iterator[NDArray[np.float32]],
    clips: pd.DataFrame,
    labels: list[str],
    windows: NDArray[np.int64],
    write: WritePredictions,
) -> ClipScores:
    """Score clips from the logits of their windows, and write one row per clip."""
    index = {label: i for i, label in enumerate(labels)}
    clip = np.repeat(np.arange(len(clips)), windows)
    scores = ClipScores(clip, clips["label"].map(index).to_numpy(np.int64))
    done = 0
    for batch in logits:
        averaged = scores.add(batch)
        part = slice(done, done + len(averaged))
        write(_predictions(clips.iloc[part], averaged, labels, windows[part]))
        done = part.stop
    return scores


@contextmanager
def _predictions_file(clips: pd.DataFrame, labels: list[str], target: Path) -> Iterator[WritePredictions]:
    """Yield a function that appends rows to a Parquet file, which appears once it is complete."""
    # Types from all clips, because a column may be empty in some of them.
    fields = [pa.Schema.from_pandas(clips[[*_IDENTITY]], preserve_index=False).field(name) for name in _IDENTITY]
    text = fields[0].type
    fields += [("predicted", text), ("correct", pa.bool_()), ("windows", pa.int64()), ("probability", pa.float32())]
    schema = pa.schema(fields + [(f"probability/{label}", pa.float32()) for label in labels])
    waiting: list[pa.Table] = []

    def flush() -> None:
        writer.write_table(pa.concat_tables([schema.empty_table(), *waiting]).combine_chunks())
        waiting.clear()

    def write(rows: pd.DataFrame) -> None:
        waiting.append(pa.Table.from_pandas(rows, schema=schema, preserve_index=False))
        if sum(map(len, waiting)) >= _ROW_GROUP_CLIPS:
            flush()

    with replacing(target) as part, pq.ParquetWriter(part, schema, compression="zstd") as writer:
        yield write
        flush()


def _predictions(
    clips: pd.DataFrame, logits: NDArray[np.float32], labels: list[str], windows: NDArray[np.int64]
) -> pd.DataFrame:
    probabilities = torch.softmax(torch.from_numpy(logits), dim=1).numpy()
    table = clips[[*_IDENTITY]].reset_index(drop=True)
    table["predicted"] = [labels[i] for i in logits.argmax(axis=1)]
    table["correct"] = table["label"] == table["predicted"]
    table["windows"] = windows
    table["probability"] = probabilities.max(axis=1)
    return table.join(pd.DataFrame(probabilities, columns=[f"probability/{name}" for name in labels]))


def _write_test_report(
    targets: NDArray[np.int64], predicted: NDArray[np.int64], labels: list[str], metrics: dict[str, float], folder: Path
) -> dict[str, float]:
    """Write tables and plots of the test split; return precision, recall and F1 of each class."""
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
