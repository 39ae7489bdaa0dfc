"""The clips table with one row per window, as validation and test read it, and training with `audio.chunk`."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audiocls.batches.windows import place_windows, windows_per_clip
from audiocls.params import AudioParams

CLIP: Final = "clip"
"""The column with the position of a window's clip in the original table."""


def cut_into_windows(clips: pd.DataFrame, audio: AudioParams) -> pd.DataFrame:
    """Return a row for each window that `place_windows` returns, in the order of the clips.

    Args:
        clips: Rows of the clips table, with `num_samples` and `first_sample`.
        audio: Length of the input, and the hop.

    Returns:
        The rows of the clips with the samples and `audio_hash` of the windows, and the column `clip`.
    """
    num_samples = clips["num_samples"].to_numpy(np.int64)
    clip, start, length = place_windows(num_samples, audio)
    windows = clips.iloc[clip].reset_index(drop=True).assign(**{CLIP: clip})
    windows["first_sample"] = windows["first_sample"].to_numpy(np.int64) + start
    windows["num_samples"] = length
    if "audio_hash" in windows:
        # The hash of the clip and the start identify the window's samples.
        is_cut = length < num_samples[clip]
        cut = windows.loc[is_cut, "audio_hash"] + ":" + pd.Series(start, dtype="str")[is_cut]
        windows.loc[is_cut, "audio_hash"] = cut
    return windows


def count_windows(clips: pd.DataFrame, audio: AudioParams) -> NDArray[np.int64]:
    """Return the number of windows of each clip, shape (num_clips,)."""
    return windows_per_clip(clips["num_samples"].to_numpy(np.int64), audio)
