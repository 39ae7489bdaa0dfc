"""A plain recipe for fine-tuning an audio classifier, as the baseline of our own training.

It follows transformers' example `run_audio_classification.py`: a `datasets` dataset whose `Audio` column decodes and
resamples clips on access, a transform that cuts training clips at random positions and calls the feature extractor,
and a Trainer that pads each batch to its longest clip.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import soundfile
import soxr
from numpy.typing import NDArray
from transformers import EvalPrediction, PreTrainedModel, PrinterCallback, Trainer, TrainerCallback, TrainingArguments

Transform = Callable[[dict[str, list[Any]]], dict[str, Any]]


def decoder() -> str:
    """Say what decodes: torchcodec, with which `datasets` does it, or a stand-in where that cannot be loaded."""
    try:
        import torchcodec  # noqa: F401
    except (ImportError, OSError, RuntimeError):
        return "soundfile and soxr, as torchcodec cannot be loaded"
    return "torchcodec"


def build_recipe(
    clips: pd.DataFrame,
    labels: list[str],
    model: PreTrainedModel,
    extractor: Any,
    max_seconds: float,
    arguments: dict[str, Any],
    callbacks: list[TrainerCallback],
    folder: Path,
) -> Trainer:
    """Set up the recipe's Trainer.

    Args:
        clips: Columns `path` (absolute), `label` and `split`.
        labels: Class names; the position is the class index.
        model: To be trained.
        extractor: The model's.
        max_seconds: Length to which training clips are cut.
        arguments: Of TrainingArguments, those that both sides share.
        callbacks: Of the Trainer.
        folder: Gets the checkpoints.
    """
    rate_hz = extractor.sampling_rate
    training = as_dataset(clips[clips["split"] == "train"], labels, rate_hz)
    validation = as_dataset(clips[clips["split"] == "validation"], labels, rate_hz)
    training.set_transform(transform(extractor, max_seconds))
    validation.set_transform(transform(extractor, None))
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(folder), remove_unused_columns=False, report_to="none", disable_tqdm=True,
            log_level="error", logging_steps=10, **arguments,
        ),
        train_dataset=training,
        eval_dataset=validation,
        compute_metrics=accuracy,
        processing_class=extractor,
        callbacks=callbacks,
    )  # fmt: skip
    trainer.remove_callback(PrinterCallback)
    return trainer


def as_dataset(clips: pd.DataFrame, labels: list[str], rate_hz: int) -> datasets.Dataset:
    """Return a data set with the columns `audio` and `label`."""
    index = {label: i for i, label in enumerate(labels)}
    listed = datasets.Dataset.from_dict({"audio": clips["path"].tolist(), "label": clips["label"].map(index).tolist()})
    decodes = decoder() == "torchcodec"
    return listed.cast_column("audio", datasets.Audio(sampling_rate=rate_hz, decode=decodes))


def transform(extractor: Any, max_seconds: float | None) -> Transform:
    """Return what turns a batch of rows into the model's inputs; None for `max_seconds` cuts nothing."""
    name = extractor.model_input_names[0]
    rng = np.random.default_rng(1)

    def apply(rows: dict[str, list[Any]]) -> dict[str, Any]:
        waveforms = [waveform_of(audio, extractor.sampling_rate) for audio in rows["audio"]]
        if max_seconds is not None:
            waveforms = [subsample(clip, round(max_seconds * extractor.sampling_rate), rng) for clip in waveforms]
        inputs = extractor(waveforms, sampling_rate=extractor.sampling_rate)
        return {name: inputs[name], "labels": rows["label"]}

    return apply


def waveform_of(audio: Any, rate_hz: int) -> NDArray[np.float32]:
    """Return the samples of a cell of the `audio` column, decoding it here where `datasets` did not."""
    if not isinstance(audio, dict):  # a decoder of torchcodec's
        return np.asarray(audio["array"], np.float32)
    content = audio["path"] if audio["bytes"] is None else io.BytesIO(audio["bytes"])
    signal, source_hz = soundfile.read(content, dtype="float32", always_2d=True)
    resampled: NDArray[np.float32] = soxr.resample(signal.mean(axis=1), source_hz, rate_hz)
    return resampled


def subsample(waveform: NDArray[np.float32], samples: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Cut a longer clip at a random place."""
    if len(waveform) <= samples:
        return waveform
    start = int(rng.integers(len(waveform) - samples))
    return waveform[start : start + samples]


def accuracy(prediction: EvalPrediction) -> dict[str, float]:
    """Return the share of clips whose class is right."""
    return {"accuracy": float((np.argmax(prediction.predictions, axis=1) == prediction.label_ids).mean())}
