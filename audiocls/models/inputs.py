"""Waveforms as a model's inputs: what its feature extractor makes of them, all of one length."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import ASTFeatureExtractor, SeamlessM4TFeatureExtractor, WhisperFeatureExtractor

from audiocls.models.adapters.spectrogram import HOP_SAMPLES, WINDOW_SAMPLES, frames_of
from audiocls.models.waveform_extractor import WaveformFeatureExtractor


def model_inputs(waveforms: list[NDArray[np.float32]], extractor: Any, samples: int) -> dict[str, torch.Tensor]:
    """Turn waveforms, none longer than `samples`, into a batch of the model's inputs, zero-padded to one length.

    That length is the longest clip's in `logmel-resnet`, which keeps to its mask at any length; the model's window
    where it has one; and elsewhere that of `samples`, so that a clip's logits do not depend on what else is in its
    batch.
    """
    match extractor:
        case WaveformFeatureExtractor():
            length: dict[str, Any] = {"padding": True}
        case ASTFeatureExtractor():
            waveforms, length = [_at_least(clip, WINDOW_SAMPLES) for clip in waveforms], {}
        case WhisperFeatureExtractor():
            length = {}
        case SeamlessM4TFeatureExtractor():
            # Of fewer than two frames there is no variance to normalise by.
            least = WINDOW_SAMPLES + HOP_SAMPLES
            waveforms = [_at_least(clip, least) for clip in waveforms]
            frames = frames_of(max(samples, least))
            length = {"padding": "max_length", "max_length": frames + frames % 2}
        case _:
            length = {"padding": "max_length", "max_length": samples}
    batch = extractor(waveforms, sampling_rate=extractor.sampling_rate, return_tensors="pt", **length)
    return dict(batch)


def _at_least(waveform: NDArray[np.float32], samples: int) -> NDArray[np.float32]:
    return waveform if len(waveform) >= samples else np.pad(waveform, (0, samples - len(waveform)))
