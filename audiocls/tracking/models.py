"""Models that MLflow keeps."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from mlflow import MlflowException, artifacts, get_tracking_uri

from audiocls.errors import ParamsError
from audiocls.files import masked

_RUN_ID: Final = re.compile(r"[0-9a-f]{32}")


def download_model(name: str) -> Path:
    """Return a local folder of a model, downloaded from MLflow if it is elsewhere.

    Args:
        name: The id of a run, or an MLflow URI such as `models:/name@alias`. The store is that of MLFLOW_TRACKING_URI.

    Raises:
        ParamsError: The store has no such model.
    """
    uri = f"runs:/{name}/model" if _RUN_ID.fullmatch(name) else name
    try:
        folder = Path(artifacts.download_artifacts(uri))
    except (MlflowException, OSError) as error:
        first = masked(" ".join(str(error).split()))
        raise ParamsError(
            f"{name}: not found in {masked(get_tracking_uri())}: {first}. Set MLFLOW_TRACKING_URI to the store that "
            "has it."
        ) from error
    return next((path.parent for path in sorted(folder.rglob("config.json"))), folder)
