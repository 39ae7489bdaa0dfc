"""Writes a trained model as MLflow keeps it: with its code, signature, input example and pinned requirements."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import soundfile
from mlflow.environment_variables import MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR
from mlflow.models import Model, ModelSignature
from mlflow.pyfunc import save_model
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import AnyType, Array, Map
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

import audiocls
from audiocls.models import has_settings, load_settings
from audiocls.registry.requirements import pinned_requirements
from audiocls.tracking import TrackedRun, log_logged_model

_CODE: Final = Path(__file__).with_name("pyfunc_model.py")
_PACKAGE: Final = Path(audiocls.__file__).parent

_LABELS: Final = ColSpec(Array(DataType.string), "labels", required=False)

SIGNATURE: Final = ModelSignature(
    inputs=Schema(
        [
            ColSpec(AnyType(), "audio", required=False),
            ColSpec(DataType.string, "path", required=False),
            ColSpec(AnyType(), "rate_hz", required=False),
        ]
    ),
    outputs=Schema(
        [
            ColSpec(DataType.string, "label", required=False),
            ColSpec(DataType.double, "probability", required=False),
            ColSpec(Map(DataType.double), "probabilities", required=False),
            ColSpec(DataType.string, "reason", required=False),
            ColSpec(DataType.string, "detail", required=False),
        ]
    ),
    params=ParamSchema([ParamSpec("threshold", DataType.double, 0.0)]),
)

MODEL_CONFIG: Final = {"device": "auto", "runtime": "torch", "read_paths": None}
"""What `mlflow.pyfunc.load_model(..., model_config={...})` can change: device and runtime, as in `Classifier.load`, and
whether `path` is read; None: not while MLflow serves the model."""

_RUNTIMES: Final = ("onnxruntime",)
_EXAMPLE_RATE_HZ: Final = 16_000
_LONGEST_DESCRIPTION: Final = 5_000


def log_model(run: TrackedRun, folder: Path, metrics: Mapping[str, float], step: int) -> None:
    """Log a model folder in MLflow as a model of a run, with metrics.

    Args:
        run: That trained it.
        folder: With weights, config, feature extractor, `inference.json` and the model card `README.md`.
        metrics: Such as `test/f1_macro`; they become the run's too.
        step: Of training, at which the model was kept.
    """
    card = (folder / "README.md").read_text(encoding="utf-8")
    description = card.rpartition("\n---\n")[2].strip()[:_LONGEST_DESCRIPTION]
    tags = {MLFLOW_RUN_NOTE: description}
    log_logged_model(run, lambda path, record: save_pyfunc(folder, path, record), metrics, step, tags)


def save_pyfunc(folder: Path, path: Path, record: Model | None = None) -> None:
    """Write a model folder as one that `mlflow.pyfunc.load_model` and `mlflow models serve` take.

    Args:
        folder: With weights, config, feature extractor and `inference.json`.
        path: Is created.
        record: Becomes `MLmodel`; None: a new one.
    """
    if not MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.is_set():
        MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.set(False)
    save_model(
        path=str(path),
        python_model=str(_CODE),
        artifacts={"model": str(folder)},
        code_paths=[str(_PACKAGE)],
        pip_requirements=pinned_requirements(_RUNTIMES if any(folder.glob("*.onnx")) else ()),
        signature=_signature(load_settings(folder).multi_label if has_settings(folder) else False),
        input_example=_example(),
        model_config=MODEL_CONFIG,
        mlflow_model=record,
    )


def _signature(multi_label: bool) -> ModelSignature:
    if not multi_label:
        return SIGNATURE
    outputs = Schema([*SIGNATURE.outputs.inputs, _LABELS])
    return ModelSignature(inputs=SIGNATURE.inputs, outputs=outputs, params=SIGNATURE.params)


def _example() -> pd.DataFrame:
    """Return one row: a faint noise of half a second, as a WAV file in base64."""
    rate_hz = _EXAMPLE_RATE_HZ
    samples = np.random.default_rng(0).normal(0, 0.05, rate_hz // 2)
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format="WAV", subtype="PCM_16")
    return pd.DataFrame({"audio": [base64.b64encode(file.getvalue()).decode()]})
