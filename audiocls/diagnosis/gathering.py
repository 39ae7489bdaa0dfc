"""Measure a run for its diagnosis, once, and keep what was measured in the run's folder.

diagnosis/clips.parquet    a sample of training clips, validation and test, with the model's answers
diagnosis/measured.json    the params, the counts of training, and what else is a number
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.special import softmax

from audiocls.batches import count_windows
from audiocls.diagnosis.evidence import Answered, Evidence, Probed
from audiocls.diagnosis.probe import probe
from audiocls.errors import DataError
from audiocls.evaluation import predict
from audiocls.files import replacing, write_table
from audiocls.models import build_model, labels_of, load_model, load_settings
from audiocls.params import RunParams
from audiocls.sources import targets_of
from audiocls.splits import PreparedData
from audiocls.training import choose_device, prepare_model, read_history

MOST_CLIPS: Final = 2_000
_FEWEST_WINDOWS: Final = 300
# Of the clips that training was served: scoring one costs about a third of a step, so it is 3 % of training.
_WINDOWS_PER_CLIP_SERVED: Final = 0.1
_KEPT: Final = (
    "clip_id", "path", "label", "group", "split", "duration_seconds", "num_samples", "source_rate_hz",
    "clipped_fraction", "rms_db",
)  # fmt: skip
_PROBABILITY: Final = "probability/"
_PROBES: Final = ("probe_kept", "probe_whole")
_NOT_PROBED: Final = -1


def folder_of(run: Path) -> Path:
    """Return the folder of a run's diagnosis."""
    return run / "diagnosis"


def measure(model_folder: Path, data: PreparedData, run: Path) -> None:
    """Score a sample of the training clips as validation is scored, and keep all that the diagnoses need.

    Args:
        model_folder: The saved model.
        data: The run's.
        run: The run's folder, with `evaluation/predictions.parquet` and `history.jsonl`.
    """
    params, table = data.params, pd.read_parquet(data.split_clips)
    training = table[table["split"] == "train"]
    model, extractor = load_model(model_folder)
    prepare_model(model, params.training)
    model.to(choose_device(params.training))
    labels = labels_of(model)
    sample = _sample(training, data)
    # Stored features are of whole training clips, and not of the windows that are scored.
    logits = predict(model, extractor, sample, replace(data, features=None)) / np.float32(
        load_settings(model_folder).temperature
    )
    sample = _with_probabilities(sample, softmax(logits, axis=1), labels)
    probed = probe(sample, targets_of(sample, labels), data.waveforms, params.audio, params.seed)
    for name, found in zip(_PROBES, (probed.kept, probed.whole) if probed else (None, None), strict=True):
        column = np.full(len(sample), _NOT_PROBED)
        if probed is not None:
            column[probed.rows] = found
        sample[name] = column
    columns = [*_KEPT, *(f"{_PROBABILITY}{label}" for label in labels), *_PROBES]
    clips = pd.concat([sample[columns], _held_out(table, run, labels)[columns]], ignore_index=True)
    write_table(clips, folder_of(run) / "clips.parquet")
    sizes = training["group"].value_counts().to_numpy(np.float64)
    measured = {
        "params": params.model_dump(mode="json", exclude_unset=True),
        "labels": labels,
        "counts": [int((training["label"] == label).sum()) for label in labels],
        "groups": len(sizes),
        "effective_groups": float(sizes.sum() ** 2 / (sizes**2).sum()),
        "weight_size": _first_weight_size(params, labels),
    }
    with replacing(folder_of(run) / "measured.json") as part:
        part.write_text(json.dumps(measured, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _first_weight_size(params: RunParams, labels: list[str]) -> float | None:
    """Return the root mean square of the weight matrices before training; None if they were pretrained."""
    if params.model.pretrained is not None:
        return None
    with torch.random.fork_rng():
        torch.manual_seed(params.seed)
        model, _ = build_model(params.model, params.audio, labels)
    weights = [weight.detach().double() for weight in model.parameters() if weight.ndim > 1]
    total = sum(float(weight.square().sum()) for weight in weights)
    return float(np.sqrt(total / max(1, sum(weight.numel() for weight in weights))))


def _sample(training: pd.DataFrame, data: PreparedData) -> pd.DataFrame:
    """Draw training clips that have few enough windows together, in the order of the store."""
    most = np.clip(_WINDOWS_PER_CLIP_SERVED * _served(len(training), data.params), _FEWEST_WINDOWS, MOST_CLIPS)
    order = np.random.default_rng([data.params.seed, 4]).permutation(len(training))[:MOST_CLIPS]
    windows = np.cumsum(count_windows(training.iloc[order], data.params.audio))
    chosen = order[: max(1, int(np.searchsorted(windows, most, side="right")))]
    return training.iloc[np.sort(chosen)].reset_index(drop=True)


def _served(clips: int, params: RunParams) -> float:
    """Return about how many clips training is served."""
    training = params.training
    if training.max_steps is None:
        return clips * training.epochs
    return training.max_steps * training.batch_size * training.gradient_accumulation_steps


def _held_out(table: pd.DataFrame, run: Path, labels: list[str]) -> pd.DataFrame:
    """Return validation and test with the answers that the evaluation wrote."""
    answers = pd.read_parquet(run / "evaluation" / "predictions.parquet")
    columns = [f"{_PROBABILITY}{label}" for label in labels]
    clips = table[table["split"].isin(("validation", "test"))]
    joined = clips.merge(answers[["clip_id", *columns]], on="clip_id", validate="one_to_one")
    return joined.assign(**dict.fromkeys(_PROBES, _NOT_PROBED))


def _with_probabilities(clips: pd.DataFrame, probabilities: NDArray[Any], labels: list[str]) -> pd.DataFrame:
    columns = pd.DataFrame(probabilities, columns=[f"{_PROBABILITY}{label}" for label in labels])
    return clips.join(columns.astype(np.float32))


def read_evidence(run: Path) -> Evidence:
    """Read what `measure` kept of a run, and what its audit and its evaluation wrote.

    Raises:
        DataError: The folder has no measurements.
    """
    file = folder_of(run) / "measured.json"
    if not file.exists():
        raise DataError(
            f"{run}: it has no {file.relative_to(run)}, so it is not the folder of a run that was measured. Name the "
            "folder of a finished run, workspace/runs/RUN_ID; runs of an older audiocls have to be trained again."
        )
    measured = json.loads(file.read_text(encoding="utf-8"))
    labels = tuple(measured["labels"])
    clips = pd.read_parquet(folder_of(run) / "clips.parquet")
    splits = {name: _answered(clips[clips["split"] == name], labels) for name in ("train", "validation", "test")}
    evaluation = run / "evaluation"
    return Evidence(
        params=RunParams.model_validate(measured["params"]),
        labels=labels,
        training=splits["train"],
        validation=splits["validation"],
        test=splits["test"],
        counts=np.array(measured["counts"], np.int64),
        groups=measured["groups"],
        effective_groups=measured["effective_groups"],
        history=read_history(run),
        weight_size=np.nan if measured["weight_size"] is None else measured["weight_size"],
        probed=_probed(splits["train"].clips),
        audit=_read_json(run / "data" / "audit.json"),
        slices=_read_csv(evaluation / "slices.csv"),
        label_errors=_read_csv(evaluation / "label_errors.csv"),
    )


def _answered(clips: pd.DataFrame, labels: tuple[str, ...]) -> Answered:
    clips = clips.reset_index(drop=True)
    probabilities = clips[[f"{_PROBABILITY}{label}" for label in labels]].to_numpy(np.float64)
    return Answered(clips, targets_of(clips, labels), probabilities)


def _probed(training: pd.DataFrame) -> Probed | None:
    rows = np.flatnonzero(training[_PROBES[0]] != _NOT_PROBED)
    if not len(rows):
        return None
    kept, whole = (training[name].to_numpy(np.int64)[rows] for name in _PROBES)
    return Probed(rows, kept, whole)


def _read_json(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return found


def _read_csv(file: Path) -> pd.DataFrame:
    return pd.read_csv(file, keep_default_na=False, na_values=[""]) if file.exists() else pd.DataFrame()
