"""Tables of clips as MLflow passes them to a model, and tables of answers.

A row of the input is one clip, in one of three forms:

| column | value |
|---|---|
| `audio` | bytes of a file, or the same as base64 text, as in JSON; or samples, then with `rate_hz` |
| `path` | path or URI of a file, instead of `audio`; not read while MLflow serves the model |
| `rate_hz` | rate of the samples; null with bytes, text and paths, which say it themselves |

Samples are an array of shape (frames,) or (frames, channels), of floats of full scale 1.0 or of integers, whose type
says their full scale; a list, as in JSON, holds floats.

A row of the output has `label`, `probability` and `probabilities` (of each class), or else a `reason`, as in
quarantine, and its `detail`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Hashable, Mapping
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audiocls.decoding import UnusableClipError
from audiocls.errors import ParamsError
from audiocls.inference import Classifier, Prediction, Samples, Source

INPUTS: Final = ("audio", "path", "rate_hz")
OUTPUTS: Final = ("label", "probability", "probabilities", "reason", "detail")


def classify_table(
    classifier: Classifier, table: pd.DataFrame, *, threshold: float | None, read_paths: bool
) -> pd.DataFrame:
    """Classify the clip of each row; a clip that cannot be used has a reason, and the others are answered.

    Args:
        classifier: The model.
        table: With the columns `audio`, `path` and `rate_hz`, as far as they are used.
        threshold: Answers of a lower probability get the label "unknown"; of a model that gives any number of labels,
            it replaces the thresholds of all.
        read_paths: Whether `path` may name a file of this machine.

    Returns:
        A table with the index of the input and the columns OUTPUTS; that of a model that gives any number of labels has
        the list of them in `labels` as well.

    Raises:
        ParamsError: The table has no column of clips.
    """
    if not {"audio", "path"} & set(table.columns):
        raise ParamsError(
            "the input has neither a column `audio` nor a column `path`: give a table such as "
            'pandas.DataFrame({"path": ["clip.wav"]}), or in JSON {"dataframe_records": [{"audio": "<base64>"}]}'
        )
    answers: list[Prediction | None] = []
    sources: list[Source] = []
    for row in table.to_dict(orient="records"):
        try:
            sources.append(_source_of(row, read_paths=read_paths))
            answers.append(None)
        except UnusableClipError as error:
            answers.append(Prediction("", reason=error.reason, detail=error.detail))
    found = classifier.predict_each(sources, threshold=threshold)
    rows = [_row(next(found) if answer is None else answer) for answer in answers]
    columns = [*OUTPUTS, "labels"] if classifier.settings.multi_label else [*OUTPUTS]
    # Of objects: a number that is not there is null in JSON, and as NaN would not be JSON at all.
    return pd.DataFrame(rows, index=table.index, columns=columns, dtype=object)


def _source_of(row: Mapping[Hashable, Any], *, read_paths: bool) -> Source:
    audio, path, rate_hz = (None if _is_missing(row.get(name)) else row[name] for name in INPUTS)
    if path is None and audio is None:
        raise UnusableClipError("missing", "the row has neither audio nor path")
    if path is not None and audio is not None:
        raise UnusableClipError("unreadable", "the row has both audio and path; give one of them")
    if path is not None:
        return _path(path, read_paths=read_paths)
    if isinstance(audio, bytes | bytearray | memoryview):
        return bytes(audio)
    if isinstance(audio, str):
        return _decoded(audio)
    samples = _samples(audio)
    if rate_hz is None:
        raise UnusableClipError("unreadable", "samples need rate_hz")
    # A column of whole numbers that has gaps is one of floats.
    whole = isinstance(rate_hz, float | np.floating) and float(rate_hz).is_integer()
    return Samples(samples, int(rate_hz) if whole else rate_hz)


def _path(path: Any, *, read_paths: bool) -> str:
    if not isinstance(path, str):
        raise UnusableClipError("unreadable", f"path is {path!r}, which is not text")
    if not read_paths:
        raise UnusableClipError(
            "unreadable",
            "paths are not read while the model is served, as any client could name any file; send the file as base64 "
            "text in `audio`, or load the model with the model_config read_paths=true",
        )
    return path


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise UnusableClipError(
            "unreadable", f"audio is text that is not base64 ({error}); a file's path belongs in `path`"
        ) from error


def _samples(given: Any) -> NDArray[Any]:
    if isinstance(given, np.ndarray) and given.dtype != object:
        return given
    try:
        samples = np.asarray(given.tolist() if isinstance(given, np.ndarray) else given, np.float64)
    except (TypeError, ValueError) as error:
        kind = type(given).__name__
        raise UnusableClipError("unreadable", f"audio is a {kind} that holds no samples; a row is one clip") from error
    if samples.size and np.abs(samples).max() > 1 and (samples == np.round(samples)).all():
        raise UnusableClipError(
            "unreadable", "audio is a list of integers, which does not say their full scale; divide them by it"
        )
    return samples


def _is_missing(value: Any) -> bool:
    return value is None or (pd.api.types.is_scalar(value) and bool(pd.isna(value)))


def _row(answer: Prediction) -> dict[str, Any]:
    values = {name: getattr(answer, name) for name in OUTPUTS}
    labels = None if answer.reason is not None else list(answer.labels)
    return values | {"probabilities": answer.probabilities or None, "labels": labels}
