"""What is noted at a version when it is registered: scores, data, code, and its answers to the smoke sounds."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Final

import pandas as pd
from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT, MLFLOW_RUN_NOTE

from audiocls.errors import ParamsError
from audiocls.registry.smoke import SMOKE_TAG, smoke_answers
from audiocls.registry.versions import open_registry
from audiocls.tracking import KnownRun, download_file, download_model

RESULT_TAG: Final = "audiocls.result"
METRICS_TAG: Final = "audiocls.metrics"
DATA_TAG: Final = "audiocls.data_digest"
SPLIT_TAG: Final = "audiocls.split_digest"
CODE_TAG: Final = "audiocls.git_revision"

_PREDICTIONS: Final = "evaluation/predictions.parquet"


def version_tags(run: KnownRun) -> dict[str, str]:
    """Return the tags of the version that a run's model becomes; its model is loaded and answers the smoke sounds.

    Raises:
        ParamsError: The run has no model.
    """
    with open_registry(run.uri) as client:
        found = client.get_run(run.run_id)
    metrics = {name: value for name, value in found.data.metrics.items() if name.startswith("test/")}
    digests = {each.dataset.name: each.dataset.digest for each in found.inputs.dataset_inputs}
    tags = {
        RESULT_TAG: found.data.tags.get(MLFLOW_RUN_NOTE, "").strip().partition("\n")[0],
        METRICS_TAG: json.dumps(metrics, sort_keys=True),
        DATA_TAG: ", ".join(f"{name}: {digest}" for name, digest in sorted(digests.items())),
        SPLIT_TAG: _split_digest(run),
        CODE_TAG: found.data.tags.get(MLFLOW_GIT_COMMIT, ""),
        SMOKE_TAG: json.dumps(smoke_answers(str(download_model(run.run_id, run.uri)))),
    }
    return {name: text for name, text in tags.items() if text}


def _split_digest(run: KnownRun) -> str:
    """Return a digest of which clips with which labels were validation and test."""
    with tempfile.TemporaryDirectory(prefix="predictions-") as folder:
        file = download_file(run, _PREDICTIONS, Path(folder))
        if file is None:
            raise ParamsError(
                f"run {run.run_id} has no {_PREDICTIONS}; only a finished training run can be registered."
            )
        table = pd.read_parquet(file, columns=["clip_id", "split", "label"]).sort_values("clip_id")
    rows = table.astype(str).agg("\t".join, axis=1)
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()[:16]
