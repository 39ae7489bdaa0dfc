"""Clips as model inputs: truncated or padded to one length, and collated into batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from audiocls.batches.kept_features import MappedFeatures
from audiocls.batches.lengths import cut_of, fill, filled_length, input_samples
from audiocls.errors import ParamsError
from audiocls.models import WaveformFeatureExtractor, build_front_end, masked_waveforms, model_inputs
from audiocls.params import AudioParams
from audiocls.waveforms import MappedWaveforms

Features = dict[str, NDArray[Any]]
Example = tuple[NDArray[np.float32] | Features, int]
"""A waveform or its features, and the class index."""

WAVEFORMS, LENGTHS, PLACES = "waveforms", "lengths", "places"
"""The keys of a batch whose inputs `Collator.finish` has yet to compute; see `WaveformBatch`."""

_THIRDS: Final = 3


@dataclass(frozen=True, slots=True)
class WaveformBatch:
    """Waveforms read into one array."""

    waveforms: NDArray[np.float32]  # (batch, samples of the longest), padded with zeros
    lengths: NDArray[np.int64]  # (batch,), in samples
    targets: NDArray[np.int64]  # (batch,), class indices
    places: NDArray[np.float32] | None = None  # (batch, 3), in [0, 1): positions of the crops for fusion

    def rows(self) -> list[NDArray[np.float32]]:
        """Return each waveform without padding."""
        return [row[:length] for row, length in zip(self.waveforms, self.lengths, strict=True)]

    def masked(self) -> dict[str, torch.Tensor]:
        """Return the output of `WaveformFeatureExtractor` for `rows`, without copying them."""
        return masked_waveforms(self.waveforms, self.lengths)


class ClipDataset(Dataset[Example]):
    """Waveforms and class indices of some clips, read from the mapped store on demand."""

    def __init__(
        self,
        clips: pd.DataFrame,
        waveforms: MappedWaveforms,
        labels: Sequence[str],
        audio: AudioParams,
        *,
        training: bool,
        features: MappedFeatures | None = None,
        seed: int = 0,
    ) -> None:
        """Serve the rows of `clips`.

        Args:
            clips: Rows with a `label`; `waveforms` holds the same clips in the same order.
            waveforms: The mapped store of the samples.
            labels: Class names; the position is the class index.
            audio: How long clips are truncated and short ones padded.
            training: Cut, or crop for fusion, at random positions if `audio.truncate` asks for it; otherwise the
                positions are always the same.
            features: Stored features of the same clips in the same order, if the extractor is slow. They replace the
                waveforms of the clips that have them.
            seed: Seed of the random cuts; with the epoch, it determines them.
        """
        index = {name: i for i, name in enumerate(labels)}
        self.targets = clips["label"].map(index).to_numpy(np.int64)
        self._waveforms = waveforms
        self._samples = input_samples(audio)
        self._pad = audio.pad
        self._truncate = cut_of(audio, training=training)
        self._training = training
        self._features = features
        self._seed = seed
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Draw the positions at which the clips are cut in this epoch.

        They are drawn for the whole epoch at once, so that a training that resumes within an epoch, prefetches, or
        reads in another process gets the same cuts.
        """
        self._epoch = epoch
        rng = np.random.default_rng([self._seed, epoch])
        if self._truncate == "random":
            self._places = rng.random(len(self), np.float32)
        elif self._truncate == "fusion":
            shape = (len(self), _THIRDS)
            self._places = rng.random(shape, np.float32) if self._training else np.full(shape, 0.5, np.float32)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> Example:
        """Return the features of one clip if they are stored, else its waveform, and its class index.

        `index + copy * len(self)` is a copy of the clip `index`, which may be cut at another position.
        """
        row = index % len(self)
        if self._features is not None and self._features.has(row):
            return self._features.read(row), int(self.targets[row])
        return self.waveform(index), int(self.targets[row])

    def __getitems__(self, indices: Sequence[int]) -> list[Example] | WaveformBatch:
        """Return several clips; torch's DataLoader calls this for each batch."""
        if self._features is not None:
            return [self[index] for index in indices]
        rows = np.asarray(indices) % len(self)
        natural = self._natural_lengths()[rows]
        lengths = np.array([filled_length(int(length), self._samples, self._pad) for length in natural])
        waveforms = np.zeros((len(indices), lengths.max()), np.float32)
        for clip, index, row, read, length in zip(waveforms, indices, rows, natural, lengths, strict=True):
            self._waveforms.read_into(clip[:read], row, self._start(index))
            if length > read:
                clip[:length] = np.resize(clip[:read], length)
        places = np.stack([self._place(index) for index in indices]) if self._truncate == "fusion" else None
        return WaveformBatch(waveforms, lengths, self.targets[rows], places)

    def lengths(self) -> list[int]:
        """Return the length of each clip after truncation and padding, in samples."""
        return [filled_length(int(length), self._samples, self._pad) for length in self._natural_lengths()]

    def _natural_lengths(self) -> NDArray[np.int64]:
        num_samples = self._waveforms.num_samples
        return num_samples if self._truncate == "fusion" else np.minimum(num_samples, self._samples)

    def waveform(self, index: int) -> NDArray[np.float32]:
        """Return one clip as the extractor's input, at most `input_samples` long unless `truncate` is `fusion`."""
        start = self._start(index)
        stop = None if self._truncate == "fusion" else start + self._samples
        waveform = self._waveforms.read(index % len(self), start, stop)
        return fill(waveform, self._samples, self._pad)

    def _start(self, index: int) -> int:
        surplus = int(self._waveforms.num_samples[index % len(self)]) - self._samples
        if surplus <= 0 or self._truncate in ("head", "fusion"):
            return 0
        if self._truncate == "center":
            return surplus // 2
        return min(int(float(self._place(index)) * (surplus + 1)), surplus)

    def _place(self, index: int) -> NDArray[np.float32]:
        """Return the position of a cut, (), or of the crops for fusion, (3,), as fractions of the possible range."""
        copy, row = divmod(int(index), len(self))
        places: NDArray[np.float32] = self._places[row]
        if copy:
            places = np.random.default_rng([self._seed, self._epoch, copy, row]).random(places.shape, np.float32)
        return places


class Collator:
    """Collate examples into the model's inputs and `labels`."""

    def __init__(
        self, extractor: Any, audio: AudioParams, least_length: int | None = None, *, leave_to_device: bool = False
    ) -> None:
        """Collate for one model.

        Args:
            extractor: The model's feature extractor.
            audio: The length of the model's inputs.
            least_length: Trim batches to their longest clip, but not below this length, in steps of the mask; for
                families that ignore padding. None: keep the length that the extractor produces.
            leave_to_device: If spectrograms can be computed in batches, return waveforms, and let `finish` compute
                the spectrograms on the model's device.

        Raises:
            ParamsError: Batches are to be trimmed, but the extractor returns no attention masks.
        """
        if least_length is not None and not getattr(extractor, "return_attention_mask", True):
            raise ParamsError(
                "training.group_by_length: the feature extractor of model.pretrained returns no attention masks "
                "(return_attention_mask: false), so all clips are padded to one length; remove the param"
            )
        self._extractor = extractor
        self._samples = input_samples(audio)
        self._least_length = least_length
        self._front_end = build_front_end(extractor, self._samples)
        self._leaves = leave_to_device and self._front_end is not None

    @property
    def keeps_waveforms(self) -> bool:
        """Whether batches still hold waveforms, which can be augmented on the device."""
        return self._leaves or isinstance(self._extractor, WaveformFeatureExtractor)

    @torch.no_grad()
    def finish(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Compute the inputs of waveforms that were left to the device; return any other batch unchanged."""
        if WAVEFORMS not in batch or self._front_end is None:
            return batch
        others = {name: value for name, value in batch.items() if name not in (WAVEFORMS, LENGTHS, PLACES)}
        return self._shortened(others | self._front_end(batch[WAVEFORMS], batch[LENGTHS], batch.get(PLACES)))

    def __call__(self, examples: Sequence[Example] | WaveformBatch) -> dict[str, torch.Tensor]:
        """Return the inputs of the family, each (batch, ...), and `labels` (batch,) int64."""
        return self._shortened(self._whole(examples))

    def _shortened(self, batch: dict[str, Any]) -> dict[str, Any]:
        if self._least_length is None or "attention_mask" not in batch:
            return batch
        longest = max(int(batch["attention_mask"].sum(1).max()), self._least_length)
        return {name: tensor[:, :longest] if tensor.ndim > 1 else tensor for name, tensor in batch.items()}

    def _whole(self, examples: Sequence[Example] | WaveformBatch) -> dict[str, torch.Tensor]:
        if isinstance(examples, WaveformBatch):
            return self._inputs(examples) | {"labels": torch.from_numpy(examples.targets)}
        waveforms = [clip for clip, _ in examples if isinstance(clip, np.ndarray)]
        batch = model_inputs(waveforms, self._extractor, self._samples) if waveforms else {}
        if len(waveforms) < len(examples):
            batch = _merge([clip for clip, _ in examples], batch)
        return batch | {"labels": torch.tensor([target for _, target in examples])}

    def _inputs(self, batch: WaveformBatch) -> dict[str, torch.Tensor]:
        if isinstance(self._extractor, WaveformFeatureExtractor):
            return batch.masked()
        if self._front_end is None:
            return model_inputs(batch.rows(), self._extractor, self._samples)
        left = {WAVEFORMS: torch.from_numpy(batch.waveforms), LENGTHS: torch.from_numpy(batch.lengths)}
        if batch.places is not None:
            left[PLACES] = torch.from_numpy(batch.places)
        return left if self._leaves else self.finish(left)


def _merge(
    clips: Sequence[NDArray[np.float32] | Features], computed: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Stack stored features, and those computed from the waveforms, in the order of the clips."""
    batch = {}
    for name in next(clip for clip in clips if isinstance(clip, dict)):
        fresh = iter(computed.get(name, ()))
        rows = [clip[name] if isinstance(clip, dict) else next(fresh).numpy() for clip in clips]
        batch[name] = torch.from_numpy(np.stack(rows))
    return batch
