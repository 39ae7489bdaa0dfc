"""How far the answers of an exported model are from those of PyTorch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiocls.batches import input_samples
from audiocls.errors import ParamsError, counted, name_some
from audiocls.inference.classifier import Classifier, Prediction
from audiocls.inference.runtime import Runtime
from audiocls.inference.sources import Samples, Source
from audiocls.models import InferenceSettings


@dataclass(frozen=True, slots=True)
class Parity:
    """An exported model compared to PyTorch, on recordings."""

    clips: int
    windows: int
    artificial: bool
    """Whether the recordings are artificial sounds, as none were given."""
    unusable: int
    """Recordings that were left out, being unreadable, silent or too short."""
    max_abs_error: float
    """Of all logits."""
    logit_range: float
    """Difference between the largest and the smallest logit of PyTorch, to judge the error by."""
    disagreement: float
    """Fraction of recordings with another label."""
    f1_macro: float | None = None
    """Of the exported model, where the true labels are known."""
    f1_macro_torch: float | None = None


class _Recorder:
    """A runtime that keeps the logits that it returns."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.found: list[NDArray[np.float32]] = []

    def logits(self, windows: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Return the logits of windows, shape (num_windows, num_classes)."""
        self.found.append(self._runtime.logits(windows))
        return self.found[-1]


class ParityCheck:
    """What PyTorch answers on recordings, to compare exported models with."""

    def __init__(
        self,
        plain: Runtime,
        settings: InferenceSettings,
        clips: Sequence[Source] | None = None,
        labels: Sequence[str] | None = None,
    ) -> None:
        """Score the recordings.

        Args:
            plain: PyTorch.
            settings: Of the model.
            clips: Recordings; None: artificial sounds.
            labels: The true label of each clip, if known.

        Raises:
            ParamsError: No recording can be used, or the labels are not the model's, one for each clip.
        """
        if labels is not None:
            _check_labels(labels, clips, settings.labels)
        self._settings, self._labels, self._artificial = settings, labels, clips is None
        self._clips = list(_sounds(settings)) if clips is None else list(clips)
        self._predictions, self._logits = self._answers(plain)
        self._usable = [index for index, each in enumerate(self._predictions) if each.reason is None]
        if not self._usable:
            reason = f", the first being {self._predictions[0].reason}" if self._predictions else ""
            raise ParamsError(f"none of {counted(len(self._clips), 'clip')} can be used{reason}; give others")

    def compare(self, exported: Runtime) -> Parity:
        """Score the recordings by an exported model, and compare."""
        predictions, logits = self._answers(exported)
        expected, found = (
            [str(each[index].label) for index in self._usable] for each in (self._predictions, predictions)
        )
        scores: dict[str, Any] = {}
        if self._labels is not None:
            true = [self._labels[index] for index in self._usable]
            scores["f1_macro"] = _f1(true, found, self._settings.labels)
            scores["f1_macro_torch"] = _f1(true, expected, self._settings.labels)
        return Parity(
            clips=len(self._usable),
            windows=len(logits),
            artificial=self._artificial,
            unusable=len(self._clips) - len(self._usable),
            max_abs_error=float(np.abs(logits - self._logits).max()),
            logit_range=float(np.ptp(self._logits)),
            disagreement=float(np.mean(np.array(found) != np.array(expected))),
            **scores,
        )

    def _answers(self, runtime: Runtime) -> tuple[list[Prediction], NDArray[np.float32]]:
        recorder = _Recorder(runtime)
        predictions = list(Classifier(recorder, self._settings).predict_each(self._clips))
        return predictions, np.concatenate([np.zeros((0, len(self._settings.labels)), np.float32), *recorder.found])


def _check_labels(labels: Sequence[str], clips: Sequence[Source] | None, known: Sequence[str]) -> None:
    number = 0 if clips is None else len(clips)
    if len(labels) != number:
        raise ParamsError(f"{counted(len(labels), 'label')} for {counted(number, 'clip')}: give one for each")
    if unknown := sorted(set(labels) - set(known)):
        raise ParamsError(f"labels {name_some(unknown)} are not the model's: {name_some(known)}")


def _f1(true: Sequence[str], found: Sequence[str], labels: Sequence[str]) -> float:
    from audiocls.metrics import f1_macro

    truth, answers = (np.array(each)[:, None] == np.array(labels) for each in (true, found))
    counts = [np.asarray(each.sum(0), np.float64) for each in (truth, answers, truth & answers)]
    return float(f1_macro(*counts))


def _sounds(settings: InferenceSettings) -> Iterator[Samples]:
    """Yield noise, sweeps, tones, pulses and quiet sounds of the input's length, half of it, and twice."""
    audio = settings.audio
    rng = np.random.default_rng(0)
    for factor in (0.5, 1.0, 2.0):
        samples = max(round(factor * input_samples(audio)), round(audio.min_seconds * audio.sample_rate_hz) + 1)
        time = np.arange(samples) / audio.sample_rate_hz
        noise = rng.normal(0, 0.1, samples)
        fall = np.exp(-4 * time / time[-1])
        frequency = np.geomspace(80, 0.45 * audio.sample_rate_hz, samples)
        sweep = np.sin(2 * np.pi * np.cumsum(frequency) / audio.sample_rate_hz)
        tones = sum(np.sin(2 * np.pi * 220 * k * time) / k for k in (1, 2, 3, 5))
        pulses = noise * (np.sin(2 * np.pi * 8 * time) > 0.6)
        for sound in (
            noise,
            0.3 * sweep,
            0.2 * tones * fall,
            pulses,
            0.01 * (sweep + noise),
            noise * fall + 0.1 * tones,
        ):
            yield Samples(sound.astype(np.float32), audio.sample_rate_hz)
