"""Which clips, or which of their windows, an epoch trains on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audiocls.balance import EpochSampler, LabelSetSampler, WindowSampler
from audiocls.params import Resampled, RunParams
from audiocls.sources import LABELS
from audiocls.training.machines import num_processes


def choose_sampler(
    clips: pd.DataFrame, params: RunParams, clip_of: NDArray[np.int64] | None
) -> EpochSampler | WindowSampler | None:
    """Return the sampler of the clips of each epoch, or of their windows; None if each clip is used once.

    Args:
        clips: The training clips.
        params: Of the run.
        clip_of: Clip of each window, ascending from 0 without gaps; None if clips are not cut into windows.
    """
    per_epoch = None if params.audio.chunk is None else params.audio.chunk.per_epoch
    files = None
    if isinstance(params.balance, Resampled):
        training = params.training
        examples_per_step = training.batch_size * training.gradient_accumulation_steps * num_processes()
        per_clip = 1.0 if clip_of is None else float(np.minimum(np.bincount(clip_of), per_epoch or np.inf).mean())
        max_clips = None if training.max_steps is None else round(training.max_steps * examples_per_step / per_clip)
        plan: dict[str, Any] = {"epochs": training.epochs, "max_clips": max_clips}
        files = (
            LabelSetSampler(clips[LABELS].tolist(), params.balance, params.seed, **plan)
            if params.is_multi_label
            else EpochSampler(clips["label"].to_numpy(), params.balance, params.seed, **plan)
        )
    if clip_of is None:
        return files
    return WindowSampler(clip_of, params.seed, per_epoch=per_epoch, files=files)
