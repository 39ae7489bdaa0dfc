"""Decisions on sound as it comes, such as from a microphone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiocls.batches import hop_samples, input_samples
from audiocls.decoding import MonoStream, UnusableClipError
from audiocls.inference.decisions import Decisions
from audiocls.inference.sources import as_frames
from audiocls.inference.windows import Window, WindowCutter
from audiocls.models import InferenceSettings

Score = Callable[[list[NDArray[np.float32]]], NDArray[np.float64]]
"""Returns the probabilities of windows, shape (num_windows, num_classes)."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What the model says of a stretch of a stream."""

    start_seconds: float
    end_seconds: float
    label: str
    probability: float
    probabilities: dict[str, float]
    labels: tuple[str, ...] = ()
    """The labels that are given; one, or any number, with `label` as their text."""


class Stream:
    """Takes blocks of samples of any size and returns decisions; those of the same sound are always the same.

    Every sample is in a decision: windows overlap or touch, and `finish` decides on the last one. A decision comes with
    the block that completes its window.
    """

    def __init__(
        self, score: Score, settings: InferenceSettings, rate_hz: int, hop_seconds: float | None = None
    ) -> None:
        """Listen to samples at a rate.

        Args:
            score: The model.
            settings: Of the model.
            rate_hz: Of the samples that will come.
            hop_seconds: Between the starts of two windows, at most a window; None: as the model was evaluated.

        Raises:
            UnusableClipError: The rate is none.
            ValueError: Samples between windows would be in none of them.
        """
        audio = settings.audio
        if audio.truncate == "fusion":
            raise ValueError("this model fuses a whole recording into one input, and a stream has no end")
        hop = hop_samples(audio) if hop_seconds is None else round(hop_seconds * audio.sample_rate_hz)
        self._mono = MonoStream(rate_hz, audio)
        self._cutter = WindowCutter(input_samples(audio), hop)
        self._score = score
        self._settings = settings
        self._decisions = Decisions.of(settings)
        self._hop = hop
        self._finished = False

    @property
    def latency_seconds(self) -> float:
        """The longest time from a sample to the first decision that covers it, apart from what the model takes.

        It is a window at the start of the stream and a hop from then on; the resampler adds 0.04 s to
        samples at 44.1 kHz and 0.12 s to samples at 8 kHz.
        """
        return input_samples(self._settings.audio) / self._settings.audio.sample_rate_hz

    @property
    def hop_seconds(self) -> float:
        """The time between two decisions."""
        return self._hop / self._settings.audio.sample_rate_hz

    @property
    def received_seconds(self) -> float:
        """How much has come."""
        return self._mono.frames / self._mono.rate_hz

    def add(self, block: NDArray[Any]) -> list[Decision]:
        """Take samples, shape (frames,) or (frames, channels), floats of full scale 1.0 or integers.

        Returns:
            The decisions on the windows that are complete with them; mostly none or one.

        Raises:
            UnusableClipError: They are not samples, or NaN; nothing of the block is taken.
            RuntimeError: The stream is finished.
        """
        if self._finished:
            raise RuntimeError("the stream is finished; begin another one")
        return self._decide([*self._cutter.add(self._mono.add(as_frames(np.asarray(block))))])

    def finish(self) -> list[Decision]:
        """End the stream, and return the decisions on what is left of it.

        Raises:
            UnusableClipError: All of it together was empty or too short.
            RuntimeError: The stream is finished.
        """
        if self._finished:
            raise RuntimeError("the stream is finished; begin another one")
        self._finished = True
        try:
            rest = self._mono.finish()
        except UnusableClipError as error:
            if error.reason != "silent":  # in a stream silence is an event like any other
                raise
            rest = self._mono.rest
        return self._decide([*self._cutter.add(rest), *self._cutter.finish()])

    def _decide(self, windows: list[Window]) -> list[Decision]:
        if not windows:
            return []
        found = self._score([window.samples for window in windows])
        return [self._decision(window, row) for window, row in zip(windows, found, strict=True)]

    def _decision(self, window: Window, probabilities: NDArray[np.float64]) -> Decision:
        rate_hz = self._settings.audio.sample_rate_hz
        given = self._decisions.given(probabilities.tolist())
        return Decision(
            window.first_sample / rate_hz,
            (window.first_sample + len(window.samples)) / rate_hz,
            self._decisions.text_of(given),
            float(probabilities.max()),
            dict(zip(self._settings.labels, map(float, probabilities), strict=True)),
            given,
        )
