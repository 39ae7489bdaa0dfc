"""Finds the folder of a model that is named in one of several ways."""

from __future__ import annotations

import re
from pathlib import Path

from audiocls.errors import MissingExtraError, ParamsError

_RUN_ID = re.compile(r"[0-9a-f]{32}")
_MLFLOW = ("models:/", "runs:/")


def find_model(model: str | Path) -> Path:
    """Return the folder of a model, downloaded if it is elsewhere.

    Args:
        model: A folder with `config.json`; a folder of a run, which has it in `model/`; the id of an MLflow run; an
            MLflow URI; or a name on the Hugging Face hub.

    Raises:
        ParamsError: There is no such model.
    """
    folder = Path(model)
    for found in (folder, folder / "model"):
        if (found / "config.json").is_file():
            return found
    name = str(model)
    if name.startswith(_MLFLOW) or _RUN_ID.fullmatch(name):
        return _from_mlflow(name)
    if folder.exists():
        raise ParamsError(f"{model}: has no config.json; give the folder of a saved model, such as runs/RUN_ID/model")
    if re.fullmatch(r"[\w.-]+(?:/[\w.-]+)?", name) and not name.startswith("."):
        return _from_hub(name)
    raise ParamsError(f"{model}: there is no such folder")


def _from_mlflow(name: str) -> Path:
    try:
        from audiocls.tracking import download_model
    except ImportError as error:
        raise MissingExtraError(f"{name}: models in MLflow need: pip install 'audiocls[pipeline]'") from error
    return download_model(name)


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.safetensors", "*.txt"]))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise ParamsError(f"{name}: is no folder here, and cannot be loaded from the hub: {first}") from error
