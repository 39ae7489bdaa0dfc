"""A saved model that is to be evaluated, and the params of its evaluation."""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from audiocls.errors import ParamsError
from audiocls.files import masked
from audiocls.inference import find_model, load_torch
from audiocls.models import InferenceSettings, has_settings
from audiocls.params import RunParams
from audiocls.tracking import download_model, find_run

logger = logging.getLogger(__name__)

_RUN_ID: Final = re.compile(r"[0-9a-f]{32}")
_MLFLOW: Final = ("models:/", "runs:/")
# They say what is done with the corpus, and nothing of the model's input.
_OF_THE_CORPUS: Final = ("store", "min_seconds", "max_file_seconds", "silence_db", "cache_features")


@dataclass(frozen=True, slots=True)
class SavedModel:
    """A model as it is used.

    Attributes:
        asked: What the user named it by, without passwords.
        folder: With `config.json`.
        settings: Of its use; defaults if it is of another library.
        run_id: The MLflow run that trained it; None if unknown.
        params: Of the evaluation, with the audio of the model.
        notes: What in the params is not used, a sentence each.
    """

    asked: str
    folder: Path
    settings: InferenceSettings
    run_id: str | None
    params: RunParams
    notes: tuple[str, ...] = ()


def find_saved_model(asked: str, params: RunParams) -> SavedModel:
    """Find a model, and let its own preprocessing replace that of the params.

    Args:
        asked: A folder; the id of a run, its beginning or its name; an MLflow URI such as `models:/name@alias`; or a
            name on the hub.
        params: Of the corpus.

    Raises:
        ParamsError: There is no such model, or it gives one label and the params several, or the reverse.
    """
    folder = _find_folder(asked, params)
    settings = load_torch(folder, "cpu")[1]
    if settings.multi_label != params.is_multi_label:
        gives, needed = ("any number of labels", "multi") if settings.multi_label else ("one label", "single")
        raise ParamsError(f"{masked(asked)}: the model gives a recording {gives}; set data.labels={needed}.")
    ours, models = params.audio, settings.audio
    notes = []
    for key in sorted(ours.model_fields_set - set(_OF_THE_CORPUS)):
        own, given = getattr(models, key), getattr(ours, key)
        if own != given:
            notes.append(f"audio.{key} = {given} is not used: the model has {own}.")
    if not has_settings(folder):
        notes.append("The model has no inference.json: how it cuts and pads recordings is a default.")
    audio = models.model_copy(update={key: getattr(ours, key) for key in _OF_THE_CORPUS})
    for note in notes:
        logger.warning(note)
    with_audio = params.model_copy(update={"audio": audio})
    return SavedModel(masked(asked), folder, settings, _run_of(folder), with_audio, tuple(notes))


def _find_folder(asked: str, params: RunParams) -> Path:
    if Path(asked).exists():
        return find_model(asked)
    name = asked
    if not asked.startswith(_MLFLOW):
        known = find_run(asked, params.tracking_uri)
        name = known.run_id if known else asked
        kept = params.workspace / "runs" / name
        if (kept / "model" / "config.json").is_file():
            return find_model(kept)
        if known is None and not _RUN_ID.fullmatch(asked):
            return find_model(asked)
    try:
        return download_model(name, params.tracking_uri)
    except ParamsError:
        # Without that variable MLflow would create a database in the current folder, and not find the model there.
        if params.tracking.uri is not None or not os.environ.get("MLFLOW_TRACKING_URI"):
            raise
    return download_model(name)


def _run_of(folder: Path) -> str | None:
    """Return the run that trained a model: MLflow's record above its folder names it, or the folder of the run."""
    for parent in folder.parents:
        record = parent / "MLmodel"
        if record.is_file():
            said = yaml.safe_load(record.read_text(encoding="utf-8"))
            return said.get("run_id") if isinstance(said, dict) else None
    name = folder.absolute().parent.name
    return name if _RUN_ID.fullmatch(name) else None
