"""One model or several whose probabilities are averaged, and what tells them from others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from itertools import tee
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import xxhash

from audiocls.decoding import ALGORITHM
from audiocls.errors import ParamsError, name_some
from audiocls.inference.answers import Answer
from audiocls.inference.choices import RuntimeKind
from audiocls.inference.classifier import Classifier, Prediction
from audiocls.inference.loading import find_model
from audiocls.inference.onnx_runtime import ONNX_FILES
from audiocls.inference.parts import PartFinder, PartParams
from audiocls.inference.runtime import choose_device

_READ_BYTES: Final = 1 << 22
# Other versions of these may give other samples or other rounding.
_PACKAGES: Final = ("torch", "transformers", "numpy", "soxr", "soundfile", "av")


class Ensemble:
    """Classifiers with the same labels; a recording that one of them refuses is refused."""

    def __init__(
        self, classifiers: Sequence[Classifier], names: Sequence[str], parts: PartParams | None = None
    ) -> None:
        """Average classifiers, or ask one for the parts of recordings.

        Raises:
            ParamsError: Their labels are not the same (the order may differ), or they cannot be asked for the parts.
        """
        self.labels = classifiers[0].labels
        for classifier, name in zip(classifiers, names, strict=True):
            odd = set(self.labels) ^ set(classifier.labels)
            if odd:
                raise ParamsError(
                    f"{names[0]} and {name} have different labels, so they cannot be averaged: only one of them has "
                    f"{name_some(sorted(odd))}."
                )
        if parts is not None and len(classifiers) > 1:
            raise ParamsError(f"--{parts.kind} takes one model, and {len(classifiers)} are named.")
        self.rate_hz = classifiers[0].settings.audio.sample_rate_hz
        self._finder = None if parts is None else PartFinder(classifiers[0], parts)
        self._classifiers = classifiers
        # Position of each of our labels in each classifier.
        self._orders = [[each.labels.index(label) for label in self.labels] for each in classifiers]

    @classmethod
    def load(
        cls,
        models: Sequence[str],
        *,
        device: str = "auto",
        runtimes: Sequence[RuntimeKind] = ("torch",),
        threads: int | None = None,
        parts: PartParams | None = None,
    ) -> Ensemble:
        """Load models, each named as for `Classifier.load`.

        Args:
            models: Their names.
            device: Of those in PyTorch.
            runtimes: Of each model.
            threads: Batches at a time, each computed by one thread, so that answers do not depend on it.
            parts: What is asked for, if not whole recordings.

        Raises:
            ParamsError: There is no such model, or their labels are not the same.
        """
        classifiers = []
        for model, runtime in zip(models, runtimes, strict=True):
            on_cpu = runtime in ONNX_FILES or choose_device(device) == "cpu"
            at_a_time = threads or (torch.get_num_threads() if on_cpu else None)
            classifiers.append(Classifier.load(model, device=device, runtime=runtime, threads=at_a_time))
        return cls(classifiers, models, parts)

    def answer_groups(self, groups: Iterable[Sequence[str]]) -> Iterator[list[Answer]]:
        """Yield the answers of each group of files in its turn; on a CPU they do not depend on the other groups."""
        if self._finder is not None:
            yield from self._finder.answer_groups(groups)
            return
        copies = tee(groups, len(self._classifiers))
        found = [each.predict_groups(copy) for each, copy in zip(self._classifiers, copies, strict=True)]
        for of_models in zip(*found, strict=True):
            yield [self._average(predictions) for predictions in zip(*of_models, strict=True)]

    def _average(self, predictions: Sequence[Prediction]) -> Answer:
        for refused in predictions:
            if refused.reason is not None:
                return Answer(reason=refused.reason, detail=refused.detail)
        rows = [
            np.array(list(each.probabilities.values()))[order]
            for each, order in zip(predictions, self._orders, strict=True)
        ]
        return Answer(np.mean(rows, axis=0).tolist(), predictions[0].seconds, predictions[0].windows)


def fingerprint_of(
    models: Sequence[Path], runtimes: Sequence[RuntimeKind], device: str, parts: PartParams | None
) -> dict[str, Any]:
    """Return what the answers depend on besides the recordings, as JSON has it.

    That is the weights, the settings, the runtimes, the device, the versions, and which parts are asked for.
    """
    uses_onnx = any(kind in ONNX_FILES for kind in runtimes)
    return {
        "models": [_digest(folder, kind) for folder, kind in zip(models, runtimes, strict=True)],
        "runtimes": list(runtimes),
        "device": "cpu" if all(kind in ONNX_FILES for kind in runtimes) else choose_device(device),
        "parts": None if parts is None else asdict(parts) | {"ignore": list(parts.ignore)},
        "decoding": ALGORITHM,
        "versions": {name: _version(name) for name in (*_PACKAGES, *(("onnxruntime",) if uses_onnx else ()))},
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


def _digest(folder: Path, runtime: RuntimeKind) -> str:
    total = xxhash.xxh3_128()
    patterns = ("*.json", "*.safetensors", *((ONNX_FILES[runtime],) if runtime in ONNX_FILES else ()))
    for file in sorted(found for pattern in patterns for found in folder.glob(pattern)):
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
