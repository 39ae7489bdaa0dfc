"""What a saved model needs to be used as it was trained: `inference.json` beside its `config.json`."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, ValidationError, model_validator

from audiocls.errors import ParamsError
from audiocls.files import masked_values, replacing
from audiocls.params import AudioParams, Params, Pooling, RunParams

logger = logging.getLogger(__name__)

FILE_NAME: Final = "inference.json"
VERSION: Final = 1
_VERSIONED: Final = ("audiocls", "torch", "transformers")


class InferenceSettings(Params):
    """Everything between a recording and its labels that the weights and the config of a model do not say."""

    version: Literal[1] = Field(1, description="Of this file's layout.")
    audio: AudioParams = Field(description="Rate, limits, length of the input, padding, and overlap of windows.")
    labels: list[str] = Field(min_length=1, description="Class names; the position is the class index.")
    pooling: Pooling = Field("mean", description="How the windows of a recording become one answer.")
    temperature: float = Field(1.0, gt=0, description="Logits are divided by it before the softmax.")
    feature_statistics: dict[str, float] = Field(
        default_factory=dict, description="Mean and deviation that the feature extractor takes out, if it has any."
    )
    multi_label: bool = Field(False, description="Whether a recording may have any number of the labels.")
    thresholds: dict[str, float] = Field(
        default_factory=dict,
        description="With `multi_label`: the probability from which on each label is given, as chosen on validation. A "
        "label that is not named has 0.5.",
    )
    segmentation: dict[str, float] = Field(
        default_factory=dict, description="Thresholds and durations of segments, as tuned on validation."
    )
    data_digest: str | None = Field(None, description="Of the corpus that the model was trained on.")
    params: dict[str, Any] = Field(default_factory=dict, description="Of the run that trained it.")
    versions: dict[str, str] = Field(default_factory=dict, description="Of the libraries that trained it.")

    @model_validator(mode="before")
    @classmethod
    def _check_version(cls, fields: Any) -> Any:
        version = fields.get("version", VERSION) if isinstance(fields, dict) else VERSION
        if isinstance(version, int) and version > VERSION:
            raise ValueError(f"version {version} was written by a newer audiocls; this one reads up to {VERSION}")
        return fields


def settings_of(
    params: RunParams, labels: Sequence[str], extractor: Any, data_digest: str | None = None
) -> InferenceSettings:
    """Return the settings of a model that a run trained. Secrets in URIs are masked, and the store is left out.

    Args:
        params: Of the run.
        labels: Class names; the position is the class index.
        extractor: Saved with the model.
        data_digest: Of the corpus that the model was trained on.
    """
    statistics = {name: getattr(extractor, name, None) for name in ("mean", "std")}
    return InferenceSettings(
        audio=params.audio.model_copy(update={"store": None}),
        labels=list(labels),
        multi_label=params.is_multi_label,
        feature_statistics={name: float(value) for name, value in statistics.items() if isinstance(value, int | float)},
        data_digest=data_digest,
        params=masked_values(params.model_dump(mode="json")),
        versions=_versions(),
    )


def _versions() -> dict[str, str]:
    found = {}
    for name in _VERSIONED:
        with contextlib.suppress(PackageNotFoundError):  # a checkout on the path that is not installed
            found[name] = version(name)
    return found


def write_settings(settings: InferenceSettings, folder: Path) -> Path:
    """Write the settings into a model folder, whole or not at all."""
    target = folder / FILE_NAME
    with replacing(target) as part:
        part.write_text(settings.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return target


def read_settings(
    folder: Path, labels: Sequence[str], rate_hz: int, window_seconds: float | None, *, multi_label: bool | None = None
) -> InferenceSettings:
    """Read the settings of a model folder; a folder without them gets defaults, which are logged.

    Args:
        folder: With `config.json`.
        labels: Of the config; the position is the class index.
        rate_hz: Of the feature extractor.
        window_seconds: Length of the model's input as its extractor has it; None if it takes any length.
        multi_label: Whether the config says that a recording may have any number of labels; None: not known.

    Raises:
        ParamsError: The file is damaged, of a newer version, or contradicts the model.
    """
    file = folder / FILE_NAME
    if not has_settings(folder):
        defaults = _defaults(folder, labels, rate_hz, window_seconds)
        return defaults.model_copy(update={"multi_label": bool(multi_label)})
    settings = load_settings(folder)
    for name, found, expected in (
        ("labels", settings.labels, list(labels)),
        ("audio.sample_rate_hz", settings.audio.sample_rate_hz, rate_hz),
        ("multi_label", settings.multi_label, settings.multi_label if multi_label is None else multi_label),
    ):
        if found != expected:
            raise ParamsError(f"{file}: {name} = {found}, and the model has {expected}; the file is of another model")
    return settings


def has_settings(folder: Path) -> bool:
    """Return whether a model folder has its settings; one of another library has none."""
    return (folder / FILE_NAME).exists()


def load_settings(folder: Path) -> InferenceSettings:
    """Read the settings of a model folder that has them.

    Raises:
        ParamsError: The file is damaged, or of a newer version.
    """
    file = folder / FILE_NAME
    try:
        return InferenceSettings.model_validate(json.loads(file.read_text(encoding="utf-8")))
    except (ValidationError, ValueError) as error:
        raise ParamsError(
            f"{file}: {_first_line(error)}. Copy the file again from the run that trained the model."
        ) from error


def note_choices(
    folder: Path,
    pooling: Pooling,
    segmentation: dict[str, float] | None,
    thresholds: dict[str, float] | None = None,
    temperature: float = 1.0,
) -> None:
    """Write what was chosen on validation into the settings of a model folder.

    Args:
        folder: With `inference.json`.
        pooling: How windows are pooled.
        segmentation: Thresholds and durations of segments; None keeps those that are there.
        thresholds: Of each label, if a recording may have any number.
        temperature: That logits are divided by.
    """
    settings = load_settings(folder)
    chosen: dict[str, Any] = {"pooling": pooling, "thresholds": thresholds or {}, "temperature": temperature}
    chosen |= {} if segmentation is None else {"segmentation": segmentation}
    write_settings(settings.model_copy(update=chosen), folder)


def _defaults(folder: Path, labels: Sequence[str], rate_hz: int, window_seconds: float | None) -> InferenceSettings:
    audio = AudioParams(sample_rate_hz=rate_hz, max_seconds=window_seconds or AudioParams().max_seconds)
    logger.warning(
        "%s has no %s: recordings are resampled to %d Hz, cut into windows of %g s that overlap by %g, padded with "
        "zeros, and the probabilities of the windows averaged.",
        folder, FILE_NAME, rate_hz, audio.max_seconds, audio.window_overlap,
    )  # fmt: skip
    return InferenceSettings(audio=audio, labels=list(labels))


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first: Mapping[str, Any] = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        return f"{where}: {first['msg']}" if where else str(first["msg"])
    return " ".join(str(error).split())
