"""Clips of a run, read from its stores by a DataLoader."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from audiocls.batches import ClipDataset
from audiocls.features.store import map_features
from audiocls.splits import PreparedData
from audiocls.waveforms import MappedWaveforms


def open_clips(
    clips: pd.DataFrame, labels: Sequence[str], extractor: Any, data: PreparedData, *, training: bool = False
) -> ClipDataset:
    """Serve the features of clips if they are stored, else their waveforms.

    Args:
        clips: Rows of the clips table, or windows of them.
        labels: Class names; the position is the class index.
        extractor: The model's feature extractor.
        data: The run's.
        training: Cut long clips at random positions, and ignore stored features if clips are augmented.
    """
    params = data.params
    store = None if training and params.augmentation else data.features
    features = None if store is None else map_features(store, clips, extractor, params.audio)
    waveforms = MappedWaveforms(clips, data.waveforms)
    return ClipDataset(clips, waveforms, labels, params.audio, training=training, features=features, seed=params.seed)
