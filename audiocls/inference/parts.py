"""Segments and windows of many recordings, as a command line asks for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

from audiocls.batches import input_samples
from audiocls.errors import ParamsError, name_some
from audiocls.inference.answers import Answer
from audiocls.inference.choices import PartKind
from audiocls.inference.classifier import Classifier
from audiocls.inference.feeding import Fed
from audiocls.inference.segments import SegmentParams, WindowScores
from audiocls.models import InferenceSettings


@dataclass(frozen=True, slots=True)
class PartParams:
    """Which parts of a recording are asked for; None: as the model's settings say."""

    kind: PartKind
    hop_seconds: float | None = None
    """Between the starts of two windows."""
    on: float | None = None
    off: float | None = None
    smoothing_seconds: float | None = None
    min_seconds: float | None = None
    merge_seconds: float | None = None
    """These five are as in `SegmentParams`."""
    ignore: tuple[str, ...] = ()
    """Labels of which no segments are reported."""

    def segment_params(self, settings: InferenceSettings) -> SegmentParams:
        """Return the thresholds and durations: the given ones, then the model's, then the defaults.

        Raises:
            ParamsError: They contradict each other.
        """
        given = {each.name: getattr(self, each.name) for each in fields(SegmentParams)}
        return SegmentParams.of(
            settings.segmentation | {name: value for name, value in given.items() if value is not None}
        )

    def check(self, settings: InferenceSettings) -> None:
        """Check that a model can be asked this.

        Raises:
            ParamsError: It cannot.
        """
        audio = settings.audio
        if self.hop_seconds is not None and not (
            0 < round(self.hop_seconds * audio.sample_rate_hz) <= input_samples(audio)
        ):
            raise ParamsError(
                f"--hop {self.hop_seconds:g}: must be above 0 and at most {audio.max_seconds:g}, the length of the "
                "model's window in seconds."
            )
        unknown = [label for label in self.ignore if label not in settings.labels]
        if unknown:
            raise ParamsError(f"--ignore {name_some(unknown)}: the model's labels are {name_some(settings.labels)}.")
        self.segment_params(settings)


class PartFinder:
    """Answers with the parts of recordings."""

    def __init__(self, classifier: Classifier, params: PartParams) -> None:
        """Ask a model.

        Raises:
            ParamsError: The model cannot be asked this.
        """
        params.check(classifier.settings)
        self._classifier, self._params = classifier, params
        self._segment_params = params.segment_params(classifier.settings)
        self._rate_hz = classifier.settings.audio.sample_rate_hz

    def answer_groups(self, groups: Iterable[Sequence[str]]) -> Iterator[list[Answer]]:
        """Yield the answers of each group of files in its turn; on a CPU they do not depend on the other groups."""
        for found in self._classifier.window_groups(groups, hop_seconds=self._params.hop_seconds):
            yield [self._answer(end, scores) for end, scores in found]

    def _answer(self, end: Fed, scores: WindowScores | None) -> Answer:
        if scores is None:
            return Answer(reason=end.reason, detail=end.detail)
        parts = self._segments(scores) if self._params.kind == "segments" else self._windows(scores)
        return Answer(seconds=end.num_samples / self._rate_hz, windows=end.windows, parts=parts)

    def _segments(self, scores: WindowScores) -> Sequence[Sequence[Any]]:
        return self._classifier.segments_in(
            scores, hop_seconds=self._params.hop_seconds, params=self._segment_params, ignore=self._params.ignore
        )

    def _windows(self, scores: WindowScores) -> Sequence[Sequence[Any]]:
        return [
            (start / self._rate_hz, (start + length) / self._rate_hz, probabilities)
            for start, length, probabilities in zip(
                scores.starts.tolist(), scores.lengths.tolist(), scores.probabilities.tolist(), strict=True
            )
        ]
