"""One model or several whose probabilities are averaged, and what tells them from others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from itertools import tee
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import xxhash

from audiocls.decoding import ALGORITHM
from audiocls.errors import ParamsError, name_some
from audiocls.inference.classifier import Classifier, Prediction
from audiocls.inference.loading import find_model
from audiocls.inference.runtime import choose_device

_READ_BYTES: Final = 1 << 22
# Other versions of these may give other samples or other rounding.
_PACKAGES: Final = ("torch", "transformers", "numpy", "soxr", "soundfile", "av")


class Answer(NamedTuple):
    """The answer on one file; without probabilities there is a reason."""

    probabilities: list[float]
    seconds: float | None = None
    windows: int = 0
    reason: str | None = None
    detail: str | None = None


class Ensemble:
    """Classifiers with the same labels; a recording that one of them refuses is refused."""

    def __init__(self, classifiers: Sequence[Classifier], names: Sequence[str]) -> None:
        """Average classifiers.

        Raises:
            ParamsError: Their labels are not the same; the order may differ.
        """
        self.labels = classifiers[0].labels
        for classifier, name in zip(classifiers, names, strict=True):
            odd = set(self.labels) ^ set(classifier.labels)
            if odd:
                raise ParamsError(
                    f"{names[0]} and {name} have different labels, so they cannot be averaged: only one of them has "
                    f"{name_some(sorted(odd))}."
                )
        self._classifiers = classifiers
        # Position of each of our labels in each classifier.
        self._orders = [[each.labels.index(label) for label in self.labels] for each in classifiers]

    @classmethod
    def load(cls, models: Sequence[str], *, device: str = "auto", threads: int | None = None) -> Ensemble:
        """Load models, each named as for `Classifier.load`.

        Raises:
            ParamsError: There is no such model, or their labels are not the same.
        """
        return cls([Classifier.load(model, device=device, threads=threads) for model in models], models)

    def answer_groups(self, groups: Iterable[Sequence[str]]) -> Iterator[list[Answer]]:
        """Yield the answers of each group of files in its turn; on a CPU they do not depend on the other groups."""
        copies = tee(groups, len(self._classifiers))
        found = [each.predict_groups(copy) for each, copy in zip(self._classifiers, copies, strict=True)]
        for of_models in zip(*found, strict=True):
            yield [self._average(predictions) for predictions in zip(*of_models, strict=True)]

    def _average(self, predictions: Sequence[Prediction]) -> Answer:
        for refused in predictions:
            if refused.reason is not None:
                return Answer([], reason=refused.reason, detail=refused.detail)
        rows = [
            np.array(list(each.probabilities.values()))[order]
            for each, order in zip(predictions, self._orders, strict=True)
        ]
        return Answer(np.mean(rows, axis=0).tolist(), predictions[0].seconds, predictions[0].windows)


def fingerprint_of(models: Sequence[Path], device: str) -> dict[str, Any]:
    """Return what the answers depend on besides the recordings: weights, settings, device and versions."""
    return {
        "models": [_digest(folder) for folder in models],
        "device": choose_device(device),
        "decoding": ALGORITHM,
        "versions": {name: _version(name) for name in _PACKAGES},
    }


def find_models(models: Sequence[str]) -> list[Path]:
    """Return the folder of each model, downloaded if it is elsewhere.

    Args:
        models: Each named as for `Classifier.load`, or several separated by commas.

    Raises:
        ParamsError: There is no such model.
    """
    names = [name for each in models for name in ([each] if Path(each).exists() else each.split(",")) if name]
    if not names:
        raise ParamsError("MODEL: no model is named.")
    return [find_model(name) for name in names]


def _digest(folder: Path) -> str:
    total = xxhash.xxh3_128()
    for file in sorted([*folder.glob("*.json"), *folder.glob("*.safetensors")]):
        total.update(f"{file.name}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as opened:
            while part := opened.read(_READ_BYTES):
                total.update(part)
    return total.hexdigest()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
