"""Mean and deviation of the log-mel frames of the training clips, for a spectrogram transformer made from scratch.

AST's extractor takes one mean and one deviation out of all frames; its own are AudioSet's, which a checkpoint keeps.
No other family has any: Whisper's and wav2vec2-BERT's extractors normalise each clip by itself, and CLAP's and
`logmel-resnet`'s first layer is a batch norm, which learns them in training.
"""

from __future__ import annotations

import copy
import logging
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader
from transformers import ASTFeatureExtractor

from audiocls.batches.dataset import ClipDataset, Collator
from audiocls.errors import DataError
from audiocls.params import AudioParams, RunParams
from audiocls.waveforms import MappedWaveforms

logger = logging.getLogger(__name__)

MOST_CLIPS: Final = 2_000
"""Of more training clips, as many, evenly spread: a million frames say two numbers well enough."""

_BATCH: Final = 32
# So that sums in another order, as on another number of cores, do not make another extractor.
_DECIMALS: Final = 4


def normalise_by_training(
    extractor: Any, split_clips: pd.DataFrame, waveforms: Path, params: RunParams
) -> dict[str, float]:
    """Write the statistics of the training clips into the extractor, in place, where it has any and nothing to keep.

    Args:
        extractor: The family's, saved with the model, and part of the feature store's key.
        split_clips: The clips table with its splits; validation and test are not read.
        waveforms: The waveform store.
        params: The whole run's.

    Returns:
        `train/feature_mean` and `train/feature_std`; empty where the extractor stays as it is.

    Raises:
        DataError: There are no training clips.
    """
    if params.model.pretrained is not None or not isinstance(extractor, ASTFeatureExtractor):
        return {}
    clips = split_clips[split_clips["split"] == "train"]
    if clips.empty:
        raise DataError("there are no training clips to compute the mean and the deviation of the spectrograms from.")
    chosen = clips.iloc[np.unique(np.linspace(0, len(clips) - 1, MOST_CLIPS).round().astype(int))]
    extractor.mean, extractor.std = _statistics(extractor, chosen, waveforms, params.audio)
    logger.info(
        "Log-mel frames of %d training clips have mean %.4f and deviation %.4f; the extractor takes these out.",
        len(chosen), extractor.mean, extractor.std,
    )  # fmt: skip
    return {"train/feature_mean": extractor.mean, "train/feature_std": extractor.std}


def _statistics(extractor: Any, clips: pd.DataFrame, waveforms: Path, audio: AudioParams) -> tuple[float, float]:
    """Return mean and deviation over all bins of the frames, without those that fill a clip up."""
    plain = copy.copy(extractor)
    plain.do_normalize = False
    dataset = ClipDataset(clips.assign(label=""), MappedWaveforms(clips, waveforms), [""], audio, training=False)
    sums = torch.zeros(3, dtype=torch.float64)
    for batch in DataLoader(dataset, batch_size=_BATCH, collate_fn=Collator(plain, audio)):
        frames = batch["input_values"].double()
        # Logarithms of real powers are not 0 in every bin; the frames that fill are.
        values = frames[(frames != 0).any(-1)]
        sums += torch.stack([torch.tensor(values.numel()).double(), values.sum(), values.square().sum()])
    count, total, squares = sums.tolist()
    mean = total / count
    return round(mean, _DECIMALS), round(float(np.sqrt(squares / count - mean**2)), _DECIMALS)
