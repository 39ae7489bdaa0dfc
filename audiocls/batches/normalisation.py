"""Mean and standard deviation of the training clips' log-mel frames, for an AST trained from scratch.

AST's extractor normalizes all frames by one mean and one deviation; the defaults are AudioSet's, which a checkpoint
keeps. No other family needs them: Whisper and wav2vec2-BERT normalize each clip by itself, and the first layer of CLAP
and `logmel-resnet` is a batch norm.
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
"""If there are more training clips, this many are used, evenly spaced; a million frames are enough."""

_BATCH: Final = 32
# Rounded, so that the order of summation, such as with another number of cores, does not change the extractor.
_DECIMALS: Final = 4


def normalise_by_training(
    extractor: Any, split_clips: pd.DataFrame, waveforms: Path, params: RunParams
) -> dict[str, float]:
    """Set the extractor's mean and deviation from the training clips, in place, for AST without a checkpoint.

    Args:
        extractor: The family's extractor, which is saved with the model and part of the feature store's key.
        split_clips: The clips table with its splits; validation and test are not read.
        waveforms: The waveform store.
        params: The whole run's.

    Returns:
        `train/feature_mean` and `train/feature_std`; empty if the extractor is unchanged.

    Raises:
        DataError: There are no training clips.
    """
    if params.model.pretrained is not None or not isinstance(extractor, ASTFeatureExtractor):
        return {}
    clips = split_clips[split_clips["split"] == "train"]
    if clips.empty:
        raise DataError(
            "there are no training clips to compute the mean and the deviation of the spectrograms; check the splits."
        )
    chosen = clips.iloc[np.unique(np.linspace(0, len(clips) - 1, MOST_CLIPS).round().astype(int))]
    extractor.mean, extractor.std = _statistics(extractor, chosen, waveforms, params.audio)
    logger.info(
        "Normalizing log-mel frames with mean %.4f and deviation %.4f of %d training clips.",
        extractor.mean, extractor.std, len(chosen),
    )  # fmt: skip
    return {"train/feature_mean": extractor.mean, "train/feature_std": extractor.std}


def _statistics(extractor: Any, clips: pd.DataFrame, waveforms: Path, audio: AudioParams) -> tuple[float, float]:
    """Return the mean and deviation over all bins of the frames, without padding."""
    plain = copy.copy(extractor)
    plain.do_normalize = False
    dataset = ClipDataset(clips.assign(label=""), MappedWaveforms(clips, waveforms), [""], audio, training=False)
    sums = torch.zeros(3, dtype=torch.float64)
    for batch in DataLoader(dataset, batch_size=_BATCH, collate_fn=Collator(plain, audio)):
        frames = batch["input_values"].double()
        # Only padding frames are 0 in every bin.
        values = frames[(frames != 0).any(-1)]
        sums += torch.stack([torch.tensor(values.numel()).double(), values.sum(), values.square().sum()])
    count, total, squares = sums.tolist()
    mean = total / count
    return round(mean, _DECIMALS), round(float(np.sqrt(squares / count - mean**2)), _DECIMALS)
