"""Clips as the model sees them: cut or filled to one length, and gathered into batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from audiocls.mapped import MappedWaveforms
from audiocls.models.families import model_inputs
from audiocls.params import AudioParams

Example = tuple[NDArray[np.float32], int]


class ClipDataset(Dataset[Example]):
    """Waveforms and class indices of some clips, read from the mapped store when asked for."""

    def __init__(
        self,
        clips: pd.DataFrame,
        waveforms: MappedWaveforms,
        labels: Sequence[str],
        audio: AudioParams,
        *,
        training: bool,
    ) -> None:
        """Serve the rows of `clips`.

        Args:
            clips: Rows with a `label`; `waveforms` holds the same clips in the same order.
            waveforms: Where the samples are read from.
            labels: Class names; the position is the class index.
            audio: How long clips are cut and short ones filled.
            training: Cut at random places where `audio.truncate` says so; otherwise the cut is the same every time.
        """
        index = {name: i for i, name in enumerate(labels)}
        self.targets = clips["label"].map(index).to_numpy(np.int64)
        self._waveforms = waveforms
        self._samples = input_samples(audio)
        self._pad = audio.pad
        self._truncate = audio.truncate if training or audio.truncate != "random" else "center"

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> Example:
        """Return one clip, at most `input_samples` long, and its class index."""
        surplus = int(self._waveforms.num_samples[index]) - self._samples
        start = _cut(surplus, self._truncate) if surplus > 0 else 0
        waveform = self._waveforms.read(index, start, start + self._samples)
        return fill(waveform, self._samples, self._pad), int(self.targets[index])


def input_samples(audio: AudioParams) -> int:
    """Return the length of the model's input in samples."""
    return round(audio.max_seconds * audio.sample_rate_hz)


def _cut(surplus: int, truncate: Literal["random", "head", "center"]) -> int:
    """Return the first sample to keep where `surplus` samples are too many."""
    match truncate:
        case "random":
            # torch's generator, because Trainer seeds it, and restores it when training is resumed.
            return int(torch.randint(surplus + 1, ()))
        case "head":
            return 0
        case "center":
            return surplus // 2


def fill(
    waveform: NDArray[np.float32], samples: int, pad: Literal["zero", "repeat", "repeat_pad"]
) -> NDArray[np.float32]:
    """Repeat a clip shorter than `samples` as the policy says; the zeros come with the batch.

    Args:
        waveform: Shape (length,), length <= samples.
        samples: Length to fill.
        pad: `repeat` fills all of it and cuts the last repeat; `repeat_pad` stops at the last whole one.
    """
    if pad == "zero" or len(waveform) >= samples:
        return waveform
    whole = samples if pad == "repeat" else samples // len(waveform) * len(waveform)
    return np.resize(waveform, whole)


class Collator:
    """Gathers examples into the model's inputs with `labels`."""

    def __init__(self, extractor: Any, audio: AudioParams) -> None:
        self._extractor = extractor
        self._samples = input_samples(audio)

    def __call__(self, examples: Sequence[Example]) -> dict[str, torch.Tensor]:
        """Return the inputs of the family, each (batch, ...), and `labels` (batch,) int64."""
        batch = model_inputs([waveform for waveform, _ in examples], self._extractor, self._samples)
        return batch | {"labels": torch.tensor([target for _, target in examples])}
