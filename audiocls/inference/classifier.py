"""A trained classifier, used on files, bytes and samples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, overload

import numpy as np
import torch
from numpy.typing import NDArray

from audiocls.batches import hop_samples
from audiocls.decoding import UnusableClipError
from audiocls.errors import ParamsError
from audiocls.inference.choices import RuntimeKind
from audiocls.inference.feeding import Fed, feed
from audiocls.inference.loading import find_model
from audiocls.inference.runtime import Runtime, TorchRuntime
from audiocls.inference.runtime_choice import load_runtime
from audiocls.inference.scoring import Closes, Score, batch_windows, in_groups, never, score_in_batches
from audiocls.inference.segments import Segment, SegmentParams, WindowScores, find_segments
from audiocls.inference.sources import Source, as_sources
from audiocls.inference.streaming import Stream
from audiocls.metrics import Pooler, probabilities_of
from audiocls.models import InferenceSettings

UNKNOWN: Final = "unknown"


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer on one recording, or the reason why there is none."""

    name: str
    label: str | None = None
    probability: float | None = None
    probabilities: dict[str, float] = field(default_factory=dict)
    seconds: float | None = None
    windows: int = 0
    reason: str | None = None
    """As in quarantine: `missing`, `unreadable`, `truncated`, `empty`, `too_short`, `silent`, `non_finite` ..."""
    detail: str | None = None

    def top(self, k: int) -> list[tuple[str, float]]:
        """Return the `k` most probable labels with their probabilities, the most probable first."""
        return sorted(self.probabilities.items(), key=lambda item: -item[1])[:k]


class Classifier:
    """A model with all that its use needs: `Classifier.load("runs/.../model").predict("clip.wav")`."""

    def __init__(self, runtime: Runtime, settings: InferenceSettings, *, threads: int = 1) -> None:
        """Classify with a runtime, as the settings say, in so many batches at a time."""
        self.settings = settings
        self.runtime = runtime
        self.threads = threads

    @classmethod
    def load(
        cls, model: str | Path, *, device: str = "auto", runtime: RuntimeKind = "torch", threads: int | None = None
    ) -> Classifier:
        """Load a model.

        Args:
            model: A folder, the id of an MLflow run, an MLflow URI such as `models:/name@alias`, or a name on the
                Hugging Face hub. A folder without `inference.json` gets defaults, which are logged.
            device: "auto", "cpu", "cuda" or another of torch's names; "auto" takes a GPU if there is one.
            runtime: "torch"; "onnx" or "onnx-int8" for what `export_onnx` wrote into the folder; or "auto" for the
                faster of "torch" and "onnx", by a short measurement with each load.
            threads: Batches that are scored at a time, each by one thread; None: on a CPU as many as torch has threads,
                and one on a GPU.

        Raises:
            ParamsError: There is no such model, its settings do not belong to it, or the runtime cannot be used.
        """
        chosen, settings = load_runtime(find_model(model), runtime, device, threads=None if threads is None else 1)
        on_cpu = not isinstance(chosen, TorchRuntime) or chosen.model.device.type == "cpu"
        return cls(chosen, settings, threads=threads or (torch.get_num_threads() if on_cpu else 1))

    @property
    def labels(self) -> list[str]:
        """Class names; the position is the class index."""
        return self.settings.labels

    @overload
    def predict(self, given: list[Source], *, threshold: float | None = None) -> list[Prediction]: ...

    @overload
    def predict(self, given: Source, *, threshold: float | None = None) -> Prediction: ...

    def predict(self, given: Any, *, threshold: float | None = None) -> Prediction | list[Prediction]:
        """Classify one recording, or each of a list.

        Args:
            given: A path or URI, the bytes of a file, (samples, rate in Hz), or a list of these.
            threshold: Answers of a lower probability get the label "unknown".

        Returns:
            Of a list, an answer for each in its order; one that cannot be used has a `reason`.

        Raises:
            UnusableClipError: The one recording that was given cannot be used.
        """
        sources, is_one = as_sources(given)
        found = list(self.predict_each(sources, threshold=threshold))
        if not is_one:
            return found
        if found[0].reason is not None:
            raise UnusableClipError(found[0].reason, f"{found[0].name}: {found[0].detail}")
        return found[0]

    def predict_each(self, sources: Iterable[Source], *, threshold: float | None = None) -> Iterator[Prediction]:
        """Classify recordings as they come, and yield each answer in its turn; memory does not grow with them."""
        yield from self._predict(sources, threshold)

    def predict_groups(self, groups: Iterable[Sequence[Source]]) -> Iterator[list[Prediction]]:
        """Classify groups of recordings as they come, and yield the answers of each group in its turn.

        On a CPU, the answers of a group are the same, bit for bit, whatever the other groups are.
        """
        return in_groups(groups, lambda sources, closes: self._predict(sources, None, closes))

    def _predict(
        self, sources: Iterable[Source], threshold: float | None, closes: Closes = never
    ) -> Iterator[Prediction]:
        pooler = Pooler(self.settings.pooling)
        for item, row in self._run(sources, self._probabilities, closes=closes):
            if row is not None:
                pooler.add(row)
            else:
                yield self._answer(item, pooler, threshold)
                pooler = Pooler(self.settings.pooling)

    def _probabilities(self, windows: Sequence[NDArray[np.float32]]) -> NDArray[np.float64]:
        return probabilities_of(self.runtime.logits(windows), self.settings.temperature)

    def windows(self, source: Source, *, hop_seconds: float | None = None) -> WindowScores:
        """Return the probabilities of all windows of one recording.

        Args:
            source: A path or URI, the bytes of a file, or (samples, rate in Hz).
            hop_seconds: Between the starts of two windows, at most a window; None: as the model was evaluated.

        Raises:
            UnusableClipError: The recording cannot be used.
        """
        ((end, scores),) = self._window_scores([source], hop_seconds)
        if scores is None:
            raise UnusableClipError(str(end.reason), f"{end.name}: {end.detail}")
        return scores

    def window_groups(
        self, groups: Iterable[Sequence[Source]], *, hop_seconds: float | None = None
    ) -> Iterator[list[tuple[Fed, WindowScores | None]]]:
        """Yield the ends and the windows of the recordings of each group in its turn; None: it cannot be used.

        On a CPU, they are the same, bit for bit, whatever the other groups are.
        """
        return in_groups(groups, lambda sources, closes: self._window_scores(sources, hop_seconds, closes))

    def _window_scores(
        self, sources: Iterable[Source], hop_seconds: float | None, closes: Closes = never
    ) -> Iterator[tuple[Fed, WindowScores | None]]:
        places: list[tuple[int, int]] = []
        rows: list[NDArray[np.float64]] = []
        for item, row in self._run(sources, self._probabilities, hop_seconds, closes):
            if item.window is not None and row is not None:
                places.append((item.first_sample, len(item.window)))
                rows.append(row)
                continue
            if item.reason is None:
                starts, lengths = np.array(places).T
                yield item, WindowScores(starts, lengths, np.stack(rows), item.num_samples)
            else:
                yield item, None
            places, rows = [], []

    def segments(
        self,
        source: Source,
        *,
        hop_seconds: float | None = None,
        params: SegmentParams | None = None,
        ignore: Iterable[str] = (),
    ) -> list[Segment]:
        """Return which sound is where in a recording, by start.

        Args:
            source: A path or URI, the bytes of a file, or (samples, rate in Hz).
            hop_seconds: The resolution; None: the distance of the windows that the model was evaluated with.
            params: Thresholds and durations; None: those that come with the model, or the defaults.
            ignore: Labels that are not reported, such as that of background noise.

        Raises:
            UnusableClipError: The recording cannot be used.
        """
        scores = self.windows(source, hop_seconds=hop_seconds)
        return self.segments_in(scores, hop_seconds=hop_seconds, params=params, ignore=ignore)

    def segments_in(
        self,
        scores: WindowScores,
        *,
        hop_seconds: float | None = None,
        params: SegmentParams | None = None,
        ignore: Iterable[str] = (),
    ) -> list[Segment]:
        """Do what `segments` does with the scores of `windows`, of the same `hop_seconds`."""
        audio = self.settings.audio
        hop = hop_samples(audio) if hop_seconds is None else round(hop_seconds * audio.sample_rate_hz)
        chosen = params or SegmentParams.of(self.settings.segmentation)
        return find_segments(scores, self.labels, chosen, hop, audio.sample_rate_hz, ignore)

    def stream(self, rate_hz: int, *, hop_seconds: float | None = None) -> Stream:
        """Begin to listen to samples at a rate; see `Stream`."""
        return Stream(self._probabilities, self.settings, rate_hz, hop_seconds)

    def embed(self, given: Any) -> NDArray[np.float32]:
        """Return the mean over its windows of what the model's head takes, for one recording or each of a list.

        Returns:
            Shape (dim,), or (num_recordings, dim) of a list.

        Raises:
            UnusableClipError: A recording cannot be used.
            ParamsError: The runtime has no embeddings.
        """
        if not isinstance(self.runtime, TorchRuntime):
            raise ParamsError("this runtime computes no embeddings; load the model with runtime='torch'")
        sources, is_one = as_sources(given)
        found: list[NDArray[np.float32]] = []
        total = np.zeros((), np.float32)
        for item, row in self._run(sources, self.runtime.embeddings):
            if row is not None:
                total = total + row
            elif item.reason is not None:
                raise UnusableClipError(item.reason, f"{item.name}: {item.detail}")
            else:
                found.append(total / np.float32(item.windows))
                total = np.zeros((), np.float32)
        return found[0] if is_one else np.stack(found)

    def _run(
        self,
        sources: Iterable[Source],
        score: Score,
        hop_seconds: float | None = None,
        closes: Closes = never,
    ) -> Iterator[tuple[Fed, NDArray[Any] | None]]:
        """Yield the windows of all sources with their rows of scores, and after those of a source its end."""
        items = feed(sources, self.settings.audio, hop_seconds)
        return score_in_batches(items, score, batch_windows(self.settings.audio.max_seconds), self.threads, closes)

    def _answer(self, done: Fed, pooler: Pooler, threshold: float | None) -> Prediction:
        if done.reason is not None:
            return Prediction(done.name, reason=done.reason, detail=done.detail)
        pooled = pooler.result()
        best = int(pooled.argmax())
        is_known = threshold is None or pooled[best] >= threshold
        return Prediction(
            done.name,
            self.labels[best] if is_known else UNKNOWN,
            float(pooled[best]),
            dict(zip(self.labels, map(float, pooled), strict=True)),
            done.num_samples / self.settings.audio.sample_rate_hz,
            pooler.windows,
        )
