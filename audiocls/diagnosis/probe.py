"""A simple classifier of training clips, as a yardstick: it does not depend on the model or on how it was trained.

Linear discriminant analysis predicts the class from a coarse spectrogram, of clips of groups that it did not see. It
does so twice, from the part of each clip that fits into the model's input and from the whole clip.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict

from audiocls.batches import cut_of, input_samples
from audiocls.diagnosis.evidence import Probed
from audiocls.params import AudioParams
from audiocls.waveforms import MappedWaveforms

MOST_CLIPS: Final = 400
_FOLDS: Final = 5
_SPANS: Final = 6
_BANDS: Final = 16
_FRAME_SECONDS: Final = 0.032
_MOST_SECONDS: Final = 30


def probe(clips: pd.DataFrame, targets: NDArray[np.int64], store: Path, audio: AudioParams, seed: int) -> Probed | None:
    """Predict the class of training clips with a simple classifier, if any of them is longer than the model's input.

    Args:
        clips: The sample of training clips, rows of the clips table.
        targets: Their class indices, shape (num_clips,).
        store: The waveform store.
        audio: Says which part of a clip is kept.
        seed: Of the sample, the random cuts and the folds.
    """
    kept = input_samples(audio)
    lengths = clips["num_samples"].to_numpy(np.int64)
    if not (lengths > kept).any() or audio.truncate == "fusion":
        return None
    rng = np.random.default_rng([seed, 5])
    rows = np.sort(rng.permutation(len(clips))[:MOST_CLIPS])
    groups = clips["group"].to_numpy(str)[rows]
    folds = min(_FOLDS, len(np.unique(groups)))
    if folds < 2 or len(np.unique(targets[rows])) < 2:
        return None
    waveforms = MappedWaveforms(clips.iloc[rows], store)
    most = _MOST_SECONDS * audio.sample_rate_hz
    surplus = np.maximum(np.minimum(lengths[rows], most) - kept, 0)
    cut = cut_of(audio, training=True)
    starts = {"head": 0 * surplus, "center": surplus // 2}.get(cut, rng.integers(surplus + 1))
    parts = [waveforms.read(i, int(start), int(start) + kept) for i, start in enumerate(starts)]
    wholes = [waveforms.read(i, 0, most) for i in range(len(rows))]
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    found = []
    for sounds in (parts, wholes):
        features = np.stack([spectrogram(sound, audio.sample_rate_hz) for sound in sounds])
        linear = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
        found.append(cross_val_predict(linear, features, targets[rows], groups=groups, cv=splitter))
    return Probed(rows, found[0].astype(np.int64), found[1].astype(np.int64))


def spectrogram(waveform: NDArray[np.float32], sample_rate_hz: int) -> NDArray[np.float32]:
    """Return the levels in bands over spans of a sound, flat, relative to its mean level."""
    frame = round(_FRAME_SECONDS * sample_rate_hz)
    padded = np.pad(waveform, (0, max(0, _SPANS * frame - len(waveform))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, frame)[:: frame // 2]
    power = np.abs(np.fft.rfft(frames * np.hanning(frame).astype(np.float32), axis=1)) ** 2
    edges = np.unique(np.geomspace(2, power.shape[1], _BANDS + 1).astype(int))
    bands = np.add.reduceat(power, edges[:-1], axis=1)
    spans = np.stack([part.mean(axis=0) for part in np.array_split(bands, _SPANS)])
    levels = np.log10(spans + 1e-8)
    return (levels - levels.mean()).ravel().astype(np.float32)
