"""A trained classifier, used on files, bytes and samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, overload

import numpy as np
from numpy.typing import NDArray

from audiocls.batches import hop_samples
from audiocls.decoding import UnusableClipError
from audiocls.errors import ParamsError
from audiocls.inference.feeding import Fed, feed
from audiocls.inference.loading import find_model
from audiocls.inference.pooling import Pooler, probabilities_of
from audiocls.inference.runtime import Runtime, TorchRuntime
from audiocls.inference.runtime_choice import RuntimeKind, load_runtime
from audiocls.inference.segments import Segment, SegmentParams, WindowScores, find_segments
from audiocls.inference.sources import Source, as_sources
from audiocls.inference.streaming import Stream
from audiocls.models import InferenceSettings

UNKNOWN: Final = "unknown"
BATCH_WINDOWS: Final = 32


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

    def __init__(self, runtime: Runtime, settings: InferenceSettings) -> None:
        """Classify with a runtime, as the settings say."""
        self.settings = settings
        self.runtime = runtime

    @classmethod
    def load(cls, model: str | Path, *, device: str = "auto", runtime: RuntimeKind = "torch") -> Classifier:
        """Load a model.

        Args:
            model: A folder, the id of an MLflow run, an MLflow URI such as `models:/name@alias`, or a name on the
                Hugging Face hub. A folder without `inference.json` gets defaults, which are logged.
            device: "auto", "cpu", "cuda" or another of torch's names; "auto" takes a GPU if there is one.
            runtime: "torch"; "onnx" or "onnx-int8" for what `export_onnx` wrote into the folder; or "auto" for the
                faster of "torch" and "onnx", by a short measurement with each load.

        Raises:
            ParamsError: There is no such model, its settings do not belong to it, or the runtime cannot be used.
        """
        return cls(*load_runtime(find_model(model), runtime, device))

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
        poolers: dict[int, Pooler] = {}

        def take(item: Fed, logits: NDArray[np.float32]) -> None:
            poolers.setdefault(item.index, Pooler(self.settings)).add(
                probabilities_of(logits[None], self.settings.temperature)[0]
            )

        for done in self._run(sources, self.runtime.logits, take):
            pooler = poolers.pop(done.index, None)
            yield self._answer(done, pooler, threshold)

    def windows(self, source: Source, *, hop_seconds: float | None = None) -> WindowScores:
        """Return the probabilities of all windows of one recording.

        Args:
            source: A path or URI, the bytes of a file, or (samples, rate in Hz).
            hop_seconds: Between the starts of two windows, at most a window; None: as the model was evaluated.

        Raises:
            UnusableClipError: The recording cannot be used.
        """
        starts: list[int] = []
        lengths: list[int] = []
        rows: list[NDArray[np.float64]] = []

        def take(item: Fed, logits: NDArray[np.float32]) -> None:
            assert item.window is not None  # only windows are scored
            starts.append(item.first_sample)
            lengths.append(len(item.window))
            rows.append(probabilities_of(logits[None], self.settings.temperature)[0])

        (done,) = self._run([source], self.runtime.logits, take, hop_seconds)
        if done.reason is not None:
            raise UnusableClipError(done.reason, f"{done.name}: {done.detail}")
        return WindowScores(np.array(starts), np.array(lengths), np.stack(rows), done.num_samples)

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
        audio = self.settings.audio
        scores = self.windows(source, hop_seconds=hop_seconds)
        hop = hop_samples(audio) if hop_seconds is None else round(hop_seconds * audio.sample_rate_hz)
        chosen = params or SegmentParams.of(self.settings.segmentation)
        return find_segments(scores, self.labels, chosen, hop, audio.sample_rate_hz, ignore)

    def stream(self, rate_hz: int, *, hop_seconds: float | None = None) -> Stream:
        """Begin to listen to samples at a rate; see `Stream`."""

        def score(windows: list[NDArray[np.float32]]) -> NDArray[np.float64]:
            return probabilities_of(self.runtime.logits(windows), self.settings.temperature)

        return Stream(score, self.settings, rate_hz, hop_seconds)

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
        sums: dict[int, NDArray[np.float32]] = {}

        def take(item: Fed, embedding: NDArray[np.float32]) -> None:
            sums[item.index] = sums[item.index] + embedding if item.index in sums else embedding

        found: list[NDArray[np.float32]] = []
        for done in self._run(sources, self.runtime.embeddings, take):
            if done.reason is not None:
                raise UnusableClipError(done.reason, f"{done.name}: {done.detail}")
            found.append(sums.pop(done.index) / np.float32(done.windows))
        return found[0] if is_one else np.stack(found)

    def _run(
        self,
        sources: Iterable[Source],
        score: Callable[[Sequence[NDArray[np.float32]]], NDArray[np.float32]],
        take: Callable[[Fed, NDArray[np.float32]], None],
        hop_seconds: float | None = None,
    ) -> Iterator[Fed]:
        """Score the windows of all sources in batches; yield the end of each source when all of it is scored."""
        waiting: list[Fed] = []
        windows = 0

        def flush() -> Iterator[Fed]:
            nonlocal windows
            cut = [item for item in waiting if item.window is not None]
            scored = iter(score([item.window for item in cut if item.window is not None]) if cut else ())
            for item in waiting:
                if item.window is None:
                    yield item
                else:
                    take(item, next(scored))
            waiting.clear()
            windows = 0

        for item in feed(sources, self.settings.audio, hop_seconds):
            waiting.append(item)
            windows += item.window is not None
            if windows == BATCH_WINDOWS:
                yield from flush()
        yield from flush()

    def _answer(self, done: Fed, pooler: Pooler | None, threshold: float | None) -> Prediction:
        if done.reason is not None or pooler is None:
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
